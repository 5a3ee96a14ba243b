CREATE TABLE oauth_applications (
    id            {{pk}},
    uid           TEXT NOT NULL UNIQUE,
    secret_digest {{blob}} NOT NULL,
    name          TEXT NOT NULL,
    redirect_uri  TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    confidential  BOOLEAN NOT NULL,
    trusted       BOOLEAN NOT NULL,
    owner_id      BIGINT REFERENCES users (id),
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX oauth_applications_owner ON oauth_applications (owner_id);

-- Authorization codes. What was redeemed stays for a while, so that a repeat is noticed.
CREATE TABLE oauth_access_grants (
    digest           {{blob}} PRIMARY KEY,
    application_id   BIGINT NOT NULL REFERENCES oauth_applications (id) ON DELETE CASCADE,
    user_id          BIGINT NOT NULL REFERENCES users (id),
    redirect_uri     TEXT NOT NULL,
    scopes           TEXT NOT NULL,
    challenge        TEXT,
    challenge_method TEXT,
    nonce            TEXT,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    redeemed_at      BIGINT,
    family_id        BIGINT
);
CREATE INDEX oauth_access_grants_expiry ON oauth_access_grants (expires_at) WHERE redeemed_at IS NULL;
CREATE INDEX oauth_access_grants_redeemed ON oauth_access_grants (redeemed_at) WHERE redeemed_at IS NOT NULL;
CREATE INDEX oauth_access_grants_application ON oauth_access_grants (application_id);

-- An access token and its refresh token are one generation of a family. Without a refresh token the family is over when
-- the token expires (ends_at).
CREATE TABLE oauth_access_tokens (
    id             {{pk}},
    family_id      BIGINT NOT NULL REFERENCES token_families (id) ON DELETE CASCADE,
    previous_id    BIGINT,
    digest         {{blob}} NOT NULL UNIQUE,
    refresh_digest {{blob}} UNIQUE,
    application_id BIGINT REFERENCES oauth_applications (id) ON DELETE CASCADE,
    user_id        BIGINT REFERENCES users (id),
    scopes         TEXT NOT NULL,
    redirect_uri   TEXT,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    ends_at        BIGINT,
    rotated_at     BIGINT,
    handed_at      BIGINT,
    replaced_at    BIGINT,
    salt           {{blob}}
);
CREATE INDEX oauth_access_tokens_family ON oauth_access_tokens (family_id);
CREATE INDEX oauth_access_tokens_application ON oauth_access_tokens (application_id);
CREATE INDEX oauth_access_tokens_user ON oauth_access_tokens (user_id, application_id);
CREATE INDEX oauth_access_tokens_salt ON oauth_access_tokens (rotated_at) WHERE salt IS NOT NULL;
CREATE INDEX oauth_access_tokens_rotated ON oauth_access_tokens (rotated_at) WHERE rotated_at IS NOT NULL;
CREATE INDEX oauth_access_tokens_replaced ON oauth_access_tokens (replaced_at) WHERE replaced_at IS NOT NULL;
CREATE INDEX oauth_access_tokens_end ON oauth_access_tokens (ends_at) WHERE ends_at IS NOT NULL;

-- What the instance signs and derives with, sealed under a key that does not stand here (T23).
CREATE TABLE sealed_keys (
    kid        TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL,
    slot       BIGINT NOT NULL,
    sealed     {{blob}} NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (purpose, slot)
);

-- Written and never read: a repeat is held against the successor itself.
ALTER TABLE personal_access_tokens DROP COLUMN asked_expiry;
