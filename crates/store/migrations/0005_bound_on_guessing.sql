-- Passwords that were refused, or are being compared, by whom they came from and the minute (T14, T15). `source`: an
-- address, an IPv6 network, or a browser that signed in to the account before.
CREATE TABLE sign_in_failures (
    source   TEXT NOT NULL,
    minute   BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    PRIMARY KEY (source, minute)
);
CREATE INDEX sign_in_failures_minute ON sign_in_failures (minute);

-- What stands in for the accounts of names that nobody has, so that they lock as accounts do (T14). A fixed number of rows.
CREATE TABLE sign_in_decoys (
    slot            BIGINT PRIMARY KEY,
    failed_attempts BIGINT NOT NULL,
    locked_until    BIGINT
);
