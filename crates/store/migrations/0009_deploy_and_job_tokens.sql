-- Deploy tokens (docs/wire/rest-api.md 2.11): of a project or a group, and nobody's.
CREATE TABLE deploy_tokens (
    id            {{pk}},
    digest        {{blob}} NOT NULL UNIQUE,
    source_kind   TEXT NOT NULL,
    source_id     BIGINT NOT NULL,
    name          TEXT NOT NULL,
    username      TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    created_by_id BIGINT,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT
);
CREATE INDEX deploy_tokens_source ON deploy_tokens (source_kind, source_id, id);

-- Tokens of CI jobs (2.12). Swept some time after the job is over.
CREATE TABLE job_tokens (
    id         {{pk}},
    digest     {{blob}} NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects (id),
    user_id    BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX job_tokens_expiry ON job_tokens (expires_at);

-- Whether only jobs of this project and of those in its allowlist may use their tokens for it: `inbound_enabled`.
ALTER TABLE projects ADD COLUMN job_tokens_limited BOOLEAN NOT NULL DEFAULT TRUE;

-- The projects, and the groups with everything inside, whose jobs may do so.
CREATE TABLE job_token_allowlist (
    project_id    BIGINT NOT NULL REFERENCES projects (id),
    source_kind   TEXT NOT NULL,
    source_id     BIGINT NOT NULL,
    created_by_id BIGINT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (project_id, source_kind, source_id)
);
