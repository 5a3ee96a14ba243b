# `just` lists what there is.

_default:
    @just --list --unsorted

# Every test, on SQLite and on PostgreSQL
test:
    cargo test --workspace

# The tests of the wire against a server that garbles every answer: each of them must fail
garbled:
    TOLLHOUSE_GARBLE=1 cargo test -p tollhouse --test it

# Each field of each access requirement, changed in memory: the matrix must notice (CONTRIBUTING has the last result)
flips:
    TOLLHOUSE_FLIPS=all cargo test -p tollhouse --test it -- every_flip

# Released clients, a browser, kill -9, a trace of system calls
e2e:
    cargo build --release
    e2e/run

# The side-by-side benchmark
bench:
    bench/run

# Known vulnerabilities in the dependencies, against the local copy of the advisory database
advisories:
    cargo deny --locked --offline check advisories

# Fetches that copy
fetch-advisories:
    cargo deny fetch db

# What has to be green before a change is merged
ci:
    .ci/run

# What the code says of itself
doc:
    cargo doc --workspace --no-deps
