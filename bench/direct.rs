//! What the database and the store do by themselves, with no server in between. Each prints how many a second.
//!
//! * `bench direct commits FILE SECONDS`: durable commits of one row through one plain connection.
//! * `bench direct select FILE FIRST COUNT SECONDS`: a prepared SELECT of a token by its primary key, at random.
//! * `bench direct find DATABASE COUNT SECONDS`: `Lookup::find` of the tokens `bench-token-N`, at random.
//! * `bench direct create FOLDER DATABASE CLIENTS SECONDS`: the operation that creates a personal access token, for a user
//!   who is made first.
//! * `bench direct revoke FOLDER DATABASE HOW COUNT SECONDS`: makes COUNT tokens of one user and revokes them, `together` or
//!   `each` by itself (for SECONDS at most): tokens a second. `wait`: together, while somebody else makes tokens; the
//!   longest of those writes in ms.
//! * `bench direct list DATABASE USER MEMBERSHIP SECONDS`: a page of 20 projects with its count.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use tokio::runtime::Runtime;
use tollhouse::operations::revocations::RevokeSelected;
use tollhouse::operations::{tokens, users};
use tollhouse_domain::access::Viewer;
use tollhouse_domain::id::UserId;
use tollhouse_domain::lookup::{Key, Lookup};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Clock;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::list::Span;
use tollhouse_store::projects::{self, Filter};
use tollhouse_store::revocations::Selection;

use crate::check::Dice;
use crate::servers;

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let each = match arguments {
        ["commits", file, seconds] => commits(Path::new(file), time(seconds)?)?,
        ["select", file, first, count, seconds] => {
            select(Path::new(file), number(first)?, number(count)?, time(seconds)?)?
        }
        ["find", database, count, seconds] => find(database, number(count)?, time(seconds)?)?,
        ["create", folder, database, clients, seconds] => {
            create(Path::new(folder), database, number(clients)?, time(seconds)?)?
        }
        ["revoke", folder, database, how, count, seconds] => {
            revoke(Path::new(folder), database, how, number(count)?, time(seconds)?)?
        }
        ["list", database, user, membership, seconds] => {
            list(database, UserId(number(user)?), *membership == "true", time(seconds)?)?
        }
        _ => bail!("bench direct: see bench/direct.rs"),
    };
    println!("{each}");
    Ok(())
}

fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| anyhow!("{text}: {error}"))
}

fn time(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs_f64(text.parse()?))
}

/// How many a second; each call gets its number.
fn repeat(during: Duration, mut once: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < during {
        once(done)?;
        done += 1;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

fn commits(file: &Path, during: Duration) -> Result<f64> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS plain (id INTEGER PRIMARY KEY AUTOINCREMENT, at BIGINT NOT NULL);
         CREATE TABLE IF NOT EXISTS padding (bytes BLOB)",
    )?;
    // As in a server that has run for a while: a log that grows costs each commit some milliseconds more than one that has
    // its length and begins anew.
    connection.execute_batch("INSERT INTO padding VALUES (zeroblob(8000000)); DELETE FROM padding")?;
    let mut insert = connection.prepare("INSERT INTO plain (at) VALUES (?1)")?;
    repeat(during, |n| Ok(insert.execute([n as i64]).map(drop)?))
}

fn select(file: &Path, first: i64, count: usize, during: Duration) -> Result<f64> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = connection.prepare("SELECT family_id FROM personal_access_tokens WHERE id = ?1")?;
    let mut dice = Dice(0x7011_4053);
    repeat(during, |_| {
        let family: i64 = select.query_row([first + dice.below(count) as i64], |row| row.get(0))?;
        ensure!(family > 0, "a token without a family");
        Ok(())
    })
}

fn find(database: &str, count: usize, during: Duration) -> Result<f64> {
    let mut dice = Dice(0x7011_4053);
    let digests: Vec<Digest> =
        (0..200_000).map(|_| Digest::of(format!("bench-token-{}", dice.below(count)).as_bytes())).collect();
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let db = open(database).await?;
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < during {
            let found = db.find(Key::Token(digests[done % digests.len()])).await;
            found.ok().flatten().context("a token was not found")?;
            done += 1;
        }
        let each = done as f64 / began.elapsed().as_secs_f64();
        db.close().await;
        Ok(each)
    })
}

fn create(folder: &Path, database: &str, clients: usize, during: Duration) -> Result<f64> {
    Runtime::new()?.block_on(async {
        let (app, _) = servers::open(folder, database).await?;
        let username = format!("bench-{}", app.now().0);
        let user = servers::perform(&app, users::CreateUser::person(&username, &username)).await?;
        let began = Instant::now();
        let clients = (0..clients).map(|_| {
            let app = app.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while began.elapsed() < during {
                    servers::perform(&app, servers::token_of(user)).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        });
        let mut done = 0;
        for client in clients.collect::<Vec<_>>() {
            done += client.await??;
        }
        let each = f64::from(done) / began.elapsed().as_secs_f64();
        app.db.close().await;
        Ok(each)
    })
}

fn revoke(folder: &Path, database: &str, how: &str, count: usize, during: Duration) -> Result<f64> {
    Runtime::new()?.block_on(async {
        let (app, _) = servers::open(folder, database).await?;
        let person = async |what: &str| {
            let username = format!("bench-{what}-{}", app.now().0);
            servers::perform(&app, users::CreateUser::person(&username, &username)).await
        };
        let (user, other) = (person("revoked").await?, person("other").await?);
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let made = (0..64.min(count - ids.len())).map(|_| servers::perform(&app, servers::token_of(user)));
            for made in futures_util::future::join_all(made).await {
                ids.push(made?.token.id);
            }
        }
        let selection = Selection { user: Some(user), ..Selection::default() };
        let together = RevokeSelected { selection, administrator: None, dry_run: false };
        let began = Instant::now();
        let figure = match how {
            "together" => {
                let ended = servers::perform(&app, together).await?.len();
                ensure!(ended == count, "{ended} of {count} were revoked");
                count as f64 / began.elapsed().as_secs_f64()
            }
            "each" => {
                let mut done = 0;
                for id in ids {
                    servers::perform(&app, tokens::Revoke { id }).await?;
                    done += 1;
                    if began.elapsed() > during {
                        break;
                    }
                }
                f64::from(done) / began.elapsed().as_secs_f64()
            }
            "wait" => {
                let over = AtomicBool::new(false);
                let writes = async {
                    let mut longest = Duration::ZERO;
                    while !over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        servers::perform(&app, servers::token_of(other)).await?;
                        longest = longest.max(began.elapsed());
                    }
                    anyhow::Ok(longest)
                };
                let revokes = async {
                    let done = servers::perform(&app, together).await;
                    over.store(true, Ordering::Relaxed);
                    done
                };
                let (longest, ended) = tokio::join!(writes, revokes);
                ensure!(ended?.len() == count, "not all were revoked");
                longest?.as_secs_f64() * 1000.0
            }
            _ => bail!("together, each or wait: {how}"),
        };
        app.db.close().await;
        Ok(figure)
    })
}

fn list(database: &str, user: UserId, membership: bool, during: Duration) -> Result<f64> {
    let viewer = Viewer::User { id: user, external: false };
    Runtime::new()?.block_on(async {
        let db = open(database).await?;
        let (filter, now) = (Filter { membership, ..Filter::default() }, Clock::system().now());
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < during {
            let mut reader = db.read().await?;
            let (rows, _) = projects::list(&mut reader, &filter, viewer, &Span::offset(20, 0), now).await?;
            ensure!(!rows.is_empty(), "an empty page");
            done += 1;
        }
        let each = f64::from(done) / began.elapsed().as_secs_f64();
        db.close().await;
        Ok(each)
    })
}

async fn open(database: &str) -> Result<Db> {
    let url: Url = database.parse().map_err(|text| anyhow!("{text}"))?;
    Ok(Db::open(&url, 0).await?)
}
