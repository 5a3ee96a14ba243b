//! Administration from a shell: the real program, as its own process, on the database of a test server that runs meanwhile.

pub mod backup;
pub mod bad_input;
pub mod databases;
pub mod lists;
pub mod terminal;
pub mod things;
pub mod tokens;
pub mod users;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::process::tollhouse;
use crate::test_server::TestServer;

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    asked: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl TestServer {
    /// `tollhouse` with these words and the test server's database.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = tollhouse(self.folder.path());
        command.args(words).args(["--database", &self.database_url]);
        command
    }

    pub async fn shell(&self, words: &[&str]) -> Said {
        said(self.command(words), b"").await
    }

    /// The same, with something on stdin.
    pub async fn shell_with(&self, words: &[&str], stdin: &str) -> Said {
        said(self.command(words), stdin.as_bytes()).await
    }

    /// The same with `--json`: what it printed.
    pub async fn shell_json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        self.shell(&words).await.json()
    }
}

/// Runs it to its end, which must come soon.
pub async fn said(command: Command, stdin: &[u8]) -> Said {
    let asked = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        let mut child = command.spawn().expect("it starts");
        let mut pipe = child.stdin.take().expect("its stdin");
        let told = stdin.to_vec();
        // It may end before it has heard everything.
        tokio::task::spawn_local(async move { pipe.write_all(&told).await });
        child.wait_with_output().await.expect("it runs")
    });
    let output = ended.await.unwrap_or_else(|_| panic!("{asked} does not end"));
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { asked, code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// Done, without a word on stderr; what it printed, without the end of the last line.
    #[track_caller]
    pub fn done(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}: {}", self.asked, self.out);
        self.out.strip_suffix('\n').unwrap_or(&self.out)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap_or_else(|_| panic!("{}: not JSON: {}", self.asked, self.out))
    }

    /// Not done: the code, nothing on stdout, and the one line on stderr.
    #[track_caller]
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}: {}", self.asked, self.err);
        let line = self.err.strip_suffix('\n').expect("a line");
        assert!(!line.contains('\n'), "one line: {line}");
        line.strip_prefix("tollhouse: ").expect("who says so")
    }
}
