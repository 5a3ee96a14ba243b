-- Running servers that remember credentials (docs/protocols/revocation.md section 3). A row is updated at every
-- revocation; half of each page is kept free, so that it can stay in its page.
CREATE TABLE nodes (
    id         {{blob}} PRIMARY KEY,
    seen       BIGINT NOT NULL,
    marked     BOOLEAN NOT NULL,
    name       TEXT NOT NULL,
    started_at BIGINT NOT NULL
){{half_full}};
