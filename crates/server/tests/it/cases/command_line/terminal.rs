//! A secret that is typed: what is awaited is said, and nothing of it is shown.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tollhouse_domain::scope::Scope;

use crate::cases::sign_in::guess;
use crate::test_server::{REVOKED, TestServer};

cases![a_typed_token_is_not_shown, a_new_password_is_typed_twice, a_terminal_is_left_as_it_was,];

/// A command with a terminal for its stdin; what the terminal shows, and what the command says.
struct Typist {
    child: Child,
    terminal: File,
    /// The other end, as the command has it.
    other: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Typist {
    fn start(t: &TestServer, words: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("granted");
        unlockpt(&terminal).expect("unlocked");
        let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let other = File::options().read(true).write(true).open(&name).expect("its other end");
        let mut command = t.command(words);
        let at_both_ends = || Stdio::from(other.try_clone().expect("the same"));
        command.stdin(at_both_ends()).stdout(Stdio::piped()).stderr(at_both_ends());
        let child = command.spawn().expect("it starts");
        let terminal = File::from(terminal);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, seen) = (terminal.try_clone().expect("the same"), shown.clone());
        std::thread::spawn(move || {
            let mut some = [0; 256];
            while let Ok(count @ 1..) = reader.read(&mut some) {
                seen.lock().expect("no panic").extend_from_slice(&some[..count]);
            }
        });
        Self { child, terminal, other, shown }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic")).replace("\r\n", "\n")
    }

    /// Until the terminal shows this at its end, and shows nothing of what is typed.
    async fn asked(&self, prompt: &str) {
        for _ in 0..500 {
            if self.shown().ends_with(prompt) && !self.echoes() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not asked: {:?}", self.shown());
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.other).expect("its modes").local_modes.contains(LocalModes::ECHO)
    }

    fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).expect("typed");
    }

    /// Its exit code, what it printed and what the terminal shows; which shows again what is typed.
    async fn ended(mut self) -> (Option<i32>, String, String) {
        let mut status = None;
        for _ in 0..500 {
            status = self.child.try_wait().expect("it runs");
            if status.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = status.unwrap_or_else(|| panic!("it does not end: {:?}", self.shown()));
        assert!(self.echoes(), "the terminal is as it was");
        // What it said last is still on its way through the terminal.
        let mut seen = None;
        while seen.as_ref() != Some(&self.shown()) {
            seen = Some(self.shown());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut out = String::new();
        self.child.stdout.take().expect("its words").read_to_string(&mut out).expect("UTF-8");
        (status.code(), out, self.shown())
    }
}

async fn a_typed_token_is_not_shown(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for (verb, says) in [("identify", "state      "), ("revoke", "is revoked, with its whole family")] {
        let mut typist = Typist::start(&t, &["token", verb]);
        typist.asked("Token: ").await;
        typist.types(&format!("{token}\n"));
        let (code, out, shown) = typist.ended().await;
        assert_eq!((code, shown.as_str()), (Some(0), "Token: \n"), "{out}");
        assert!(out.contains(says) && !out.contains(&token), "{out}");
    }
    t.get("/api/v4/user").token(&token).await.is(401, REVOKED);
    let mut typist = Typist::start(&t, &["token", "revoke"]);
    typist.asked("Token: ").await;
    typist.types("\n");
    let (code, _, shown) = typist.ended().await;
    assert_eq!(
        (code, shown.as_str()),
        (Some(2), "Token: \ntollhouse: the token on stdin is missing: stdin is empty\n")
    );
}

async fn a_new_password_is_typed_twice(t: TestServer) {
    t.user("ada").await;
    for (again, code) in [("another horse", 1), ("correct horse", 0)] {
        let mut typist = Typist::start(&t, &["user", "password", "ada"]);
        typist.asked("New password: ").await;
        typist.types("correct horse\n");
        typist.asked("Repeat the new password: ").await;
        typist.types(&format!("{again}\n"));
        let (ended, _, shown) = typist.ended().await;
        assert_eq!(ended, Some(code), "{shown}");
        assert!(!shown.contains("horse"), "{shown}");
        assert_eq!(guess(&t, "ada", "correct horse").await.status.as_u16(), if code == 0 { 302 } else { 200 });
    }
    // Whoever makes a user is not asked, unless they want to be.
    let typist = Typist::start(&t, &["user", "create", "grace", "--email", "grace@example.test"]);
    assert_eq!(typist.ended().await.0, Some(0));
}

async fn a_terminal_is_left_as_it_was(t: TestServer) {
    t.user("ada").await;
    for signal in ["-INT", "-TERM"] {
        let typist = Typist::start(&t, &["user", "password", "ada"]);
        typist.asked("New password: ").await;
        let id = typist.child.id().to_string();
        std::process::Command::new("kill").args([signal, &id]).status().expect("kill runs");
        let (code, _, shown) = typist.ended().await;
        assert_eq!((code, shown.as_str()), (Some(1), "New password: \ntollhouse: interrupted\n"));
    }
    assert_eq!(t.count("user.password_changed").await, 0);
}
