-- When the person authenticated in the session in which they allowed it (auth_time, OpenID Connect Core section 2). NULL:
-- no person, or a row from before this column.
ALTER TABLE oauth_access_grants ADD COLUMN authenticated_at BIGINT;
ALTER TABLE oauth_access_tokens ADD COLUMN authenticated_at BIGINT;

-- The codes of a user that can still be redeemed end with all of their sessions.
CREATE INDEX oauth_access_grants_user ON oauth_access_grants (user_id) WHERE redeemed_at IS NULL;
