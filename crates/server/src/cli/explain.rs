//! `tollhouse explain`: a request is pasted, and what would become of it is told. Nothing is sent, nothing changes.

use std::io::{ErrorKind, IsTerminal, Read, Write};

use anyhow::anyhow;
use axum::body::Body;
use axum::http::Request;

use super::{Failure, curl, head, open, shell};
use crate::explain::explain;

pub(super) async fn run(flags: super::Explain) -> Result<(), Failure> {
    let request = asked(&flags.curl).map_err(Failure::Unusable)?;
    let app = open::app(&flags.at).await?;
    if !flags.curl.is_empty() && !app.demo {
        eprintln!("tollhouse: warning: others can read a command line; pass the request on stdin instead");
    }
    let told = explain(&app, request.map(Body::from)).await;
    app.db.close().await;
    let told = told.map_err(|_| anyhow!("the database does not answer"))?;
    let text = match flags.json {
        true => serde_json::to_string(&told)? + "\n",
        false => told.to_string(),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// From the command line, or else from stdin: a line with curl, or the head of a request.
fn asked(words: &[String]) -> Result<Request<Vec<u8>>, String> {
    let large = || format!("the request is larger than {} KiB", LARGEST / 1024);
    if !words.is_empty() {
        let size: usize = words.iter().map(String::len).sum();
        return match words {
            _ if size > LARGEST => Err(large()),
            // The whole line in quotes.
            [line] if line.contains(' ') => curl::request(&shell::words(line)?),
            _ => curl::request(words),
        };
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Paste a curl command or the head of a request, then press Ctrl-D:");
    }
    let mut text = Vec::new();
    let read = stdin.lock().take(LARGEST as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| format!("stdin: {error}"))?;
    if text.len() > LARGEST {
        return Err(large());
    }
    let start = text.trim_ascii_start();
    let start = start.strip_prefix(b"$ ").unwrap_or(start);
    if !start.starts_with(b"curl") || !start.get(4).is_none_or(u8::is_ascii_whitespace) {
        return head::request(&text);
    }
    let line = std::str::from_utf8(start).map_err(|_| "the line is not UTF-8")?;
    curl::request(&shell::words(line)?)
}

const LARGEST: usize = 64 * 1024;
