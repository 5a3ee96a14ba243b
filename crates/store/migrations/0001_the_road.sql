-- What is found without regard to case stands a second time, lower-cased by the application, since the databases differ
-- in what they take for a letter.
--
-- Times are milliseconds since 1970 (columns ending in _at), days are counted from 1970-01-01 (ending in _on).
-- Both are bound from the application's clock, never taken from the database's.

CREATE TABLE instance (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id                  {{pk}},
    username            TEXT NOT NULL,
    lower_username      TEXT NOT NULL UNIQUE,
    name                TEXT NOT NULL,
    lower_name          TEXT NOT NULL,
    email               TEXT NOT NULL,
    lower_email         TEXT NOT NULL UNIQUE,
    public_email        TEXT NOT NULL DEFAULT '',
    commit_email        TEXT NOT NULL DEFAULT '',
    state               TEXT NOT NULL,
    kind                TEXT NOT NULL,
    administrator       BOOLEAN NOT NULL,
    external            BOOLEAN NOT NULL,
    private_profile     BOOLEAN NOT NULL,
    can_create_group    BOOLEAN NOT NULL,
    projects_limit      BIGINT NOT NULL,
    bio                 TEXT NOT NULL DEFAULT '',
    location            TEXT,
    linkedin            TEXT NOT NULL DEFAULT '',
    twitter             TEXT NOT NULL DEFAULT '',
    discord             TEXT NOT NULL DEFAULT '',
    github              TEXT NOT NULL DEFAULT '',
    website_url         TEXT NOT NULL DEFAULT '',
    organization        TEXT NOT NULL DEFAULT '',
    job_title           TEXT NOT NULL DEFAULT '',
    pronouns            TEXT,
    note                TEXT,
    namespace_id        BIGINT,
    created_by_id       BIGINT,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    confirmed_at        BIGINT,
    last_activity_on    BIGINT,
    current_sign_in_at  BIGINT,
    last_sign_in_at     BIGINT,
    current_sign_in_ip  TEXT,
    last_sign_in_ip     TEXT,
    sign_in_count       BIGINT NOT NULL DEFAULT 0,
    password_digest     TEXT,
    password_expires_at BIGINT,
    failed_attempts     BIGINT NOT NULL DEFAULT 0,
    locked_until        BIGINT
);

CREATE TABLE namespaces (
    id          {{pk}},
    kind        TEXT NOT NULL,
    parent_id   BIGINT REFERENCES namespaces (id),
    owner_id    BIGINT REFERENCES users (id),
    name        TEXT NOT NULL,
    lower_name  TEXT NOT NULL,
    path        TEXT NOT NULL,
    full_path   TEXT NOT NULL,
    full_name   TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    visibility  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX namespaces_parent ON namespaces (parent_id);
CREATE INDEX namespaces_owner ON namespaces (owner_id);

CREATE TABLE projects (
    id               {{pk}},
    namespace_id     BIGINT NOT NULL REFERENCES namespaces (id),
    creator_id       BIGINT REFERENCES users (id),
    name             TEXT NOT NULL,
    lower_name       TEXT NOT NULL,
    path             TEXT NOT NULL,
    description      TEXT,
    visibility       BIGINT NOT NULL,
    archived         BOOLEAN NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    last_activity_at BIGINT NOT NULL,
    UNIQUE (namespace_id, name)
);

-- Every full path, of whatever it is, stands here once, so that a group and a project cannot have the same URL.
CREATE TABLE routes (
    lower_path  TEXT PRIMARY KEY,
    source_kind TEXT NOT NULL,
    source_id   BIGINT NOT NULL
);
CREATE INDEX routes_source ON routes (source_kind, source_id);

CREATE TABLE members (
    source_kind   TEXT NOT NULL,
    source_id     BIGINT NOT NULL,
    user_id       BIGINT NOT NULL REFERENCES users (id),
    access_level  BIGINT NOT NULL,
    expires_on    BIGINT,
    created_by_id BIGINT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (source_kind, source_id, user_id)
);
CREATE INDEX members_user ON members (user_id, source_kind);

CREATE TABLE sessions (
    digest        {{blob}} PRIMARY KEY,
    user_id       BIGINT NOT NULL REFERENCES users (id),
    created_at    BIGINT NOT NULL,
    extended_at   BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    address       TEXT,
    user_agent    TEXT
);
CREATE INDEX sessions_user ON sessions (user_id, extended_at);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- What grew from one sign-in, grant or token creation (docs/protocols/rotation.md section 2).
CREATE TABLE token_families (
    id           {{pk}},
    head_id      BIGINT,
    head_used_at BIGINT,
    ended_at     BIGINT,
    end_reason   TEXT
);

CREATE TABLE personal_access_tokens (
    id           {{pk}},
    family_id    BIGINT NOT NULL REFERENCES token_families (id),
    previous_id  BIGINT,
    digest       {{blob}} NOT NULL UNIQUE,
    user_id      BIGINT NOT NULL REFERENCES users (id),
    name         TEXT NOT NULL,
    description  TEXT,
    scopes       TEXT NOT NULL,
    impersonation BOOLEAN NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_on   BIGINT,
    last_used_at BIGINT,
    rotated_at   BIGINT,
    handed_at    BIGINT,
    replaced_at  BIGINT,
    asked_expiry BIGINT,
    salt         {{blob}}
);
CREATE INDEX personal_access_tokens_user ON personal_access_tokens (user_id);
CREATE INDEX personal_access_tokens_family ON personal_access_tokens (family_id);
CREATE INDEX personal_access_tokens_salt ON personal_access_tokens (rotated_at) WHERE salt IS NOT NULL;
CREATE INDEX personal_access_tokens_rotated ON personal_access_tokens (rotated_at) WHERE rotated_at IS NOT NULL;
CREATE INDEX personal_access_tokens_replaced ON personal_access_tokens (replaced_at) WHERE replaced_at IS NOT NULL;
CREATE INDEX token_families_ended ON token_families (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE audit_events (
    id          {{pk}},
    at          BIGINT NOT NULL,
    event       TEXT NOT NULL,
    actor_id    BIGINT,
    subject_id  BIGINT,
    credential  TEXT NOT NULL,
    address     TEXT,
    target_kind TEXT NOT NULL,
    target_id   BIGINT NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_target ON audit_events (target_kind, target_id);

-- One row with a count per account, address and hour (T29), so that guessing cannot fill the disk.
CREATE TABLE failed_sign_ins (
    user_id  BIGINT NOT NULL,
    address  TEXT NOT NULL,
    hour     BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    PRIMARY KEY (user_id, address, hour)
);
CREATE INDEX failed_sign_ins_hour ON failed_sign_ins (hour);

-- The order of the log is the order in which this row's lock is taken (docs/protocols/revocation.md W2).
CREATE TABLE invalidation_head (
    id       BIGINT PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE invalidations (
    position BIGINT PRIMARY KEY,
    mark     BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    key      {{blob}} NOT NULL,
    made_at  BIGINT NOT NULL
);

INSERT INTO invalidation_head (id, position) VALUES (1, 0);
INSERT INTO invalidations (position, mark, kind, key, made_at) VALUES (0, {{mark}}, 'nothing', {{empty}}, 0);
