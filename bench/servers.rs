//! The three servers, each a process of its own that ends when its standard input does.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tollhouse::app::App;
use tollhouse::config::Settings;
use tollhouse::operations::{Operation, tokens, users};
use tollhouse::serve;
use tollhouse::urls::Urls;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Clock;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::users::Profile;

/// Makes the people, each with a token, and writes down who they are.
pub(crate) fn fill(folder: &Path, database: &str, people: usize) -> Result<()> {
    Runtime::new()?.block_on(async {
        let (app, _) = open(folder, database).await?;
        let mut list = BufWriter::new(File::create(folder.join("people"))?);
        for n in 0..people {
            let username = format!("user{n:05}");
            let user = perform(&app, users::CreateUser::person(&username, &format!("User {n:05}"))).await?;
            let token = perform(&app, token_of(user)).await?;
            writeln!(list, "{username} {user} {} {}", token.token.id, token.secret.reveal())?;
        }
        list.flush()?;
        app.db.close().await;
        Ok(())
    })
}

/// A token with the scope `api`, which nobody chose.
pub(crate) fn token_of(user: UserId) -> tokens::CreateToken {
    tokens::CreateToken {
        user,
        administrator: None,
        self_service: false,
        grantable: None,
        impersonation: false,
        name: "bench".to_owned(),
        scopes: Scopes::from([Scope::Api]),
        expires_at: None,
        description: None,
        require_expiry: true,
        secret: None,
    }
}

/// Serves as `tollhouse serve` does, and obeys lines: `profile USER`, `revoke TOKEN`, `look_ups`. A reply says that
/// it was acknowledged. `timed TOKEN` revokes too, and `commit TOKEN` does without waiting for anybody; the reply says
/// after how many microseconds. `leave` ends it.
pub(crate) fn tollhouse(folder: &Path, database: &str) -> Result<()> {
    let runtime = Runtime::new()?;
    let (app, listener) = runtime.block_on(open(folder, database))?;
    let level = tracing_subscriber::EnvFilter::try_new(&app.settings.log.level)?;
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).with_target(false).init();
    println!("{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let serving = runtime.spawn(serve::run(app.clone(), listener, stop.clone()));
    for line in std::io::stdin().lines() {
        let line = line?;
        if line == "leave" {
            break;
        }
        println!("{}", runtime.block_on(obey(&app, &line))?);
    }
    stop.cancel();
    Ok(runtime.block_on(serving)??)
}

async fn obey(app: &App, line: &str) -> Result<String> {
    match line.split_once(' ') {
        Some(("profile", user)) => {
            let profile = Profile { bio: Some(super::CHANGED.to_owned()), ..Profile::default() };
            perform(app, users::SetProfile { user: UserId(user.parse()?), profile }).await?;
        }
        Some(("revoke", token)) => {
            perform(app, tokens::Revoke { id: PersonalAccessTokenId(token.parse()?) }).await?;
        }
        Some((how @ ("timed" | "commit"), token)) => {
            let revoke = tokens::Revoke { id: PersonalAccessTokenId(token.parse()?) };
            let began = Instant::now();
            match how {
                "timed" => drop(perform(app, revoke).await?),
                _ => commit(app, revoke).await?,
            }
            return Ok(began.elapsed().as_micros().to_string());
        }
        _ => return Ok(app.auth.look_ups().to_string()),
    }
    Ok("done".to_owned())
}

/// The same transaction, and no more.
async fn commit<O: Operation>(app: &App, operation: O) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let change = operation.run(&mut tx, app.now()).await.map_err(|_| anyhow!("an operation failed"))?;
    let _ = tx.commit(change, &By::system(), app.now()).await?;
    Ok(())
}

pub(crate) async fn open(folder: &Path, database: &str) -> Result<(App, TcpListener)> {
    let mut settings = Settings::with("")?;
    settings.data_dir = folder.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let urls = Urls::new("", &[], listener.local_addr()?, false)?;
    let url: Url = database.parse().map_err(|text| anyhow!("{text}"))?;
    let db = Db::open(&url, settings.storage.reserve.0).await?;
    Ok((App::new(db, settings, urls, Clock::system(), tollhouse::keys::Seal::open()).await?, listener))
}

pub(crate) async fn perform<O: Operation>(app: &App, operation: O) -> Result<O::Output> {
    let done = app.perform(operation, &By::system()).await;
    Ok(done.map_err(|error| anyhow!("an operation failed: {error:?}"))?.into_inner())
}

/// The least that an axum program does.
pub(crate) fn axum(folder: &Path) -> Result<()> {
    bare(folder, |listener, (headers, body)| async move {
        let route = get(move || std::future::ready((headers.clone(), body.clone())));
        let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
        axum::serve(listener, Router::new().route("/api/v4/user", route)).await?;
        Ok(())
    })
}

/// The least that a hyper program does: no routes at all.
pub(crate) fn hyper(folder: &Path) -> Result<()> {
    bare(folder, |listener, (headers, body)| async move {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let (headers, body) = (headers.clone(), body.clone());
            let service = service_fn(move |_: Request<Incoming>| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = headers.clone();
                std::future::ready(Ok::<_, std::convert::Infallible>(response))
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
        }
    })
}

fn bare<F>(folder: &Path, serve: impl FnOnce(TcpListener, (HeaderMap, Bytes)) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let answer = answer(&fs::read(folder.join("answer"))?).context("the answer cannot be read")?;
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?);
    runtime.spawn(serve(listener, answer));
    std::io::stdin().lines().try_for_each(|line| line.map(drop))?;
    Ok(())
}

/// Headers and body of what Tollhouse sent, but for the two that hyper writes by itself.
fn answer(raw: &[u8]) -> Option<(HeaderMap, Bytes)> {
    let (head, body) = std::str::from_utf8(raw).ok()?.split_once("\r\n\r\n")?;
    let lines = head.lines().skip(1).map(|line| line.split_once(": "));
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line?;
        if !matches!(name, "date" | "content-length") {
            headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
        }
    }
    Some((headers, Bytes::copy_from_slice(body.as_bytes())))
}
