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

# Mutants of `domain` and `auth`, each against the tests of its crate. `just mutants 0/4` runs the first quarter
mutants shard="0/1":
    CARGO_TARGET_DIR=target/mutants cargo mutants --package tollhouse-domain --package tollhouse-auth --all-features --shard {{shard}} --output target/mutants

# Mutants of the gateway's decision and of the access requirement, at most 60, against a part of tests/it
mutants-server shard="0/1":
    CARGO_TARGET_DIR=target/mutants cargo mutants --package tollhouse --features faults --shard {{shard}} --output target/mutants \
        --file crates/server/src/gateway/answer.rs --file crates/server/src/gateway/matching.rs --file crates/server/src/endpoint/access.rs \
        --re ' in (judge|readable|Rules::decide|Rule::is_about|Rule::requirement)$|Rule::(is_about|takes) ->|readable ->|struct AccessRequirement|admit ->|from_caller .*None' \
        -- --test it -- every_route_answers_every_credential

# Everything that must be green before a change is merged
ci:
    .ci/run

# Documentation of the code
doc:
    cargo doc --workspace --no-deps
