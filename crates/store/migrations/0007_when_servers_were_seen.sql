-- When a server last said how far it has read the log, in milliseconds since 1970 by its own clock. A server of an older
-- version, beside one of this, does not write it.
ALTER TABLE nodes ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
