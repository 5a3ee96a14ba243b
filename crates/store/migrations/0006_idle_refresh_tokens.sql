-- What waits for its rotation, by how long: with `oauth.refresh_idle` it is dead some day.
CREATE INDEX oauth_access_tokens_idle ON oauth_access_tokens (created_at)
    WHERE rotated_at IS NULL AND refresh_digest IS NOT NULL;
