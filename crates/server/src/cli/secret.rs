//! Secrets that a command is given: on stdin, in the environment, or typed where nobody sees them. Never an argument, since
//! everybody on the machine can read a command line.

use std::io::{BufRead, IsTerminal, Read, Stdin, Write, stderr, stdin};

use anyhow::{Context, anyhow};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;
use tollhouse_domain::secret::Plaintext;
use zeroize::Zeroizing;

use super::{ENDING, Failure};

/// A token, from stdin.
pub(super) async fn token() -> Result<Plaintext, Failure> {
    if stdin().is_terminal() {
        return prompt("Token").await;
    }
    let secret = read("token").await?;
    // What stands around it is never part of one.
    Ok(Plaintext::new(secret.reveal().trim_matches(' ').to_owned()))
}

/// A password that is chosen: from stdin if that was asked for, else from `TOLLHOUSE_PASSWORD`. `None`: nobody gave one.
pub(super) async fn password(from_stdin: bool) -> Result<Option<Plaintext>, Failure> {
    match std::env::var("TOLLHOUSE_PASSWORD") {
        _ if from_stdin && stdin().is_terminal() => typed_twice().await.map(Some),
        _ if from_stdin => read("password").await.map(Some),
        Ok(password) => Ok(Some(Plaintext::new(password))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::Unusable("TOLLHOUSE_PASSWORD is not UTF-8".into())),
    }
}

/// The same, where there must be one.
pub(super) async fn some_password(from_stdin: bool) -> Result<Plaintext, Failure> {
    let asks = from_stdin || stdin().is_terminal() && std::env::var_os("TOLLHOUSE_PASSWORD").is_none();
    let missing = || Failure::Unusable("no password was given: pass it on stdin with --password-stdin".into());
    password(asks).await?.ok_or_else(missing)
}

/// So that nobody is locked out by a slip of the finger that they could not see.
async fn typed_twice() -> Result<Plaintext, Failure> {
    let (first, again) = (prompt("New password").await?, prompt("Repeat the new password").await?);
    match first.reveal() == again.reveal() {
        true => Ok(first),
        false => Err(anyhow!("the two passwords differ").into()),
    }
}

async fn prompt(what: &str) -> Result<Plaintext, Failure> {
    let stop = super::stop_signal(ENDING)?;
    let silent = Silence::fall(stdin())?;
    let _ = write!(stderr(), "{what}: ");
    // A signal must not leave a terminal behind that shows nothing.
    let line = tokio::select! {
        line = read(what) => line,
        () = stop.cancelled() => Err(anyhow!("interrupted").into()),
    };
    drop(silent);
    let _ = writeln!(stderr());
    line
}

/// The one line that stdin has; of a terminal, the next.
async fn read(what: &str) -> Result<Plaintext, Failure> {
    let (told, line) = oneshot::channel();
    // Not a task of the runtime: that would wait at its end for somebody who never types anything.
    std::thread::spawn(move || {
        let terminal = stdin().is_terminal();
        let mut bounded = stdin().lock().take(LONGEST as u64 + 1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let read = match terminal {
            true => bounded.read_until(b'\n', &mut bytes),
            false => bounded.read_to_end(&mut bytes),
        };
        let _ = told.send(read.map(|_| bytes));
    });
    let bytes = line.await.context("stdin")?.context("stdin")?;
    let refused = |why: &str| Failure::Unusable(format!("the {} on stdin {why}", what.to_ascii_lowercase()));
    if bytes.len() > LONGEST {
        return Err(refused("is too long"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err(refused("is missing: stdin is empty")),
        _ if text.contains(char::is_control) => Err(refused("has more than one line, or contains control characters")),
        _ => Ok(Plaintext::new(text.to_owned())),
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silence {
    terminal: Stdin,
    before: Termios,
}

impl Silence {
    fn fall(terminal: Stdin) -> Result<Self, Failure> {
        let before = tcgetattr(&terminal).context("the terminal")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent).context("the terminal")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Longer than any token or password that is not refused for its length.
const LONGEST: usize = 4096;
