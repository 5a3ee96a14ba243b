//! `demo --seed`: what a file asks for is there, whole or not at all.

use std::path::{Path, PathBuf};

use tollhouse::cli::seed::{Fill, Filled, Seed, Source};
use tollhouse_domain::audit::By;

use crate::test_server::TestServer;

pub mod filling;
pub mod mistakes;
pub mod starting;

/// What people copy from.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/seed.toml")
}

fn source(text: &str) -> Source {
    Source { name: "seed.toml".to_owned(), text: text.to_owned() }
}

async fn filler(t: &TestServer, text: &str) -> Fill {
    let seed = Seed::of(&source(text)).unwrap_or_else(|told| panic!("{told}"));
    let lifetime = t.app.settings.oauth.access_token_lifetime.0;
    Fill::prepare(seed, &t.app.hasher, lifetime).await.expect("passwords")
}

/// Fills a test server's database from this file.
async fn planted(t: &TestServer, text: &str) -> Filled {
    let fill = filler(t, text).await;
    t.app.perform(fill, &By::system()).await.expect("it fits").into_inner()
}
