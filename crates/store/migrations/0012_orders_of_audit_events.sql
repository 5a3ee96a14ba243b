-- The audit log is listed by time; `id` decides between equals. Of one resource, of one kind of resource, or all of it.
DROP INDEX audit_events_at;
CREATE INDEX audit_events_at ON audit_events (at, id);
DROP INDEX audit_events_target;
CREATE INDEX audit_events_target ON audit_events (target_kind, target_id, at, id);
CREATE INDEX audit_events_kind ON audit_events (target_kind, at, id);
