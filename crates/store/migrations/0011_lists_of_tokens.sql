-- Lists of tokens: searched and sorted by name, by the day of expiry and by last use. A token that never ends, or was never
-- used, is sorted after all others. The order of creation is that of the numbers.
ALTER TABLE personal_access_tokens ADD COLUMN lower_name TEXT NOT NULL DEFAULT '';
UPDATE personal_access_tokens SET lower_name = lower(name);

-- The five networks from which it was last used, the newest first, separated by spaces.
ALTER TABLE personal_access_tokens ADD COLUMN last_used_ips TEXT NOT NULL DEFAULT '';

CREATE INDEX personal_access_tokens_name ON personal_access_tokens (lower_name, id);
CREATE INDEX personal_access_tokens_expiry ON personal_access_tokens (COALESCE(expires_on, 9223372036854775807), id);
CREATE INDEX personal_access_tokens_used ON personal_access_tokens (COALESCE(last_used_at, 9223372036854775807), id);
