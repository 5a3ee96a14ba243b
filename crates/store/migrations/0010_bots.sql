-- What a bot belongs to: the group or project whose access token it is the user of, or of which it is a service account.
-- Memberships do not say it, since a bot can be a member of something else too.
CREATE TABLE bots (
    user_id     BIGINT PRIMARY KEY REFERENCES users (id),
    kind        TEXT NOT NULL,
    source_kind TEXT NOT NULL,
    source_id   BIGINT NOT NULL
);
CREATE INDEX bots_source ON bots (source_kind, source_id, kind, user_id);
