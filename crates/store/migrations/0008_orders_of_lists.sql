-- The orders of lists. What is open to somebody is read for each visibility in its order and merged, so that no list sorts
-- more than it shows; `id` decides between equals. A table of 100,000 rows costs some 4 MB for each.
CREATE INDEX projects_created_at ON projects (visibility, created_at, id);
CREATE INDEX projects_id ON projects (visibility, id);
CREATE INDEX projects_lower_name ON projects (visibility, lower_name, id);
CREATE INDEX projects_lower_path ON projects (visibility, lower(path), id);
CREATE INDEX projects_updated_at ON projects (visibility, updated_at, id);
CREATE INDEX projects_last_activity_at ON projects (visibility, last_activity_at, id);

-- Those of a group: counted, or shown newest first.
CREATE INDEX projects_namespace ON projects (namespace_id, visibility, created_at, id);

CREATE INDEX groups_lower_name ON namespaces (visibility, lower_name, id) WHERE kind = 'group';
CREATE INDEX groups_lower_path ON namespaces (visibility, lower(path), id) WHERE kind = 'group';
CREATE INDEX groups_id ON namespaces (visibility, id) WHERE kind = 'group';

-- Users are listed by number: all, those in one state, those from outside.
CREATE INDEX users_listed ON users (id, kind, state);
CREATE INDEX users_state ON users (state, id, kind);
CREATE INDEX users_external ON users (external, id);

-- Whether a user is a member of something is one entry of this index too, whichever is chosen for the question.
DROP INDEX members_user;
CREATE INDEX members_user ON members (user_id, source_kind, source_id);

-- The tokens of a user by number.
DROP INDEX personal_access_tokens_user;
CREATE INDEX personal_access_tokens_user ON personal_access_tokens (user_id, id);
