//! Nonsense on stdin and on the command line: one clear line, nothing done, no secret repeated.

use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use tollhouse_domain::scope::Scope;

use super::said;
use crate::process::tollhouse;
use crate::test_server::TestServer;

cases![
    what_is_no_token_on_stdin,
    what_is_no_password_on_stdin,
    a_stdin_that_is_closed,
    a_secret_among_the_arguments_is_not_repeated,
    flags_that_do_not_fit,
    a_command_that_is_none_suggests_no_other_one,
    an_address_to_listen_at_is_told_with_an_example,
];

/// What is no one line of text.
const BROKEN: &[(&[u8], &str)] = &[
    (b"", "is missing: stdin is empty"),
    (b"\n", "is missing: stdin is empty"),
    (b"\r\n", "is missing: stdin is empty"),
    (b"glpat-a\nglpat-b\n", "has more than one line, or contains control characters"),
    (b"glpat-a\0b", "has more than one line, or contains control characters"),
    (b"\0", "has more than one line, or contains control characters"),
    (b"glpat-\xff", "is not UTF-8"),
    (b"glpat-\xc0\xaf", "is not UTF-8"),
];

async fn what_is_no_token_on_stdin(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for verb in ["identify", "revoke", "rotate"] {
        for (bytes, text) in BROKEN {
            let said = said(t.command(&["token", verb]), bytes).await;
            assert_eq!(said.refused(2), format!("the token on stdin {text}"), "{verb}");
        }
        let huge = said(t.command(&["token", verb]), &b"x".repeat(8 << 20)).await;
        assert_eq!(huge.refused(2), "the token on stdin is too long");
        let twice = t.shell_with(&["token", verb], &format!("{token} {token}")).await;
        assert_eq!(twice.refused(1), format!("this token is unknown in {}", t.url()), "{verb}");
        let cut = t.shell_with(&["token", verb], &token[..token.len() - 1]).await;
        assert_eq!(cut.refused(1), format!("this token is unknown in {}", t.url()), "{verb}");
    }
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn what_is_no_password_on_stdin(t: TestServer) {
    t.user("ada").await;
    for words in [&["user", "password", "ada"][..], &["user", "create", "x", "--email", "x@example.test"]] {
        let words: Vec<&str> = words.iter().chain(&["--password-stdin"]).copied().collect();
        for (bytes, text) in BROKEN {
            let said = said(t.command(&words), bytes).await;
            assert_eq!(said.refused(2), format!("the password on stdin {text}"));
        }
        let huge = said(t.command(&words), &b"x".repeat(8 << 20)).await;
        assert_eq!(huge.refused(2), "the password on stdin is too long");
        let long = said(t.command(&words), &b"x".repeat(4096)).await;
        assert_eq!(long.refused(1), "password is too long (maximum is 128 characters)");
    }
    assert_eq!(t.events().await, ["user.created"]);
    let mut command = t.command(&["user", "password", "ada"]);
    command.env("TOLLHOUSE_PASSWORD", std::ffi::OsStr::from_bytes(b"a\xff"));
    assert_eq!(said(command, b"").await.refused(2), "TOLLHOUSE_PASSWORD is not UTF-8");
    let mut command = t.command(&["user", "password", "ada"]);
    command.env("TOLLHOUSE_PASSWORD", "");
    assert_eq!(said(command, b"").await.refused(1), "password is too short (minimum is 8 characters)");
}

async fn a_stdin_that_is_closed(t: TestServer) {
    t.user("ada").await;
    for (words, what) in
        [("token revoke", "token"), ("token identify", "token"), ("user password ada --password-stdin", "password")]
    {
        let line = format!("exec \"$0\" {words} --database \"$1\" <&-");
        let command = t.command(&[]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line]).arg(command.get_program()).arg(&t.database_url).current_dir(t.folder.path());
        shell.stdout(Stdio::piped());
        let said = said(shell, b"").await;
        assert_eq!(said.refused(2), format!("the {what} on stdin is missing: stdin is empty"));
    }
}

async fn a_secret_among_the_arguments_is_not_repeated(t: TestServer) {
    t.user("ada").await;
    for words in [
        &["token", "revoke", "glpat-hunter2"][..],
        &["token", "rotate", "glpat-hunter2"],
        &["token", "identify", "glpat-hunter2"],
        &["token", "revoke", "-1"],
        &["token", "revoke", "1.5"],
        &["user", "password", "ada", "hunter2-hunter2"],
    ] {
        let said = t.shell_with(words, "").await;
        assert_eq!(said.code, Some(2), "{words:?}");
        assert!(!said.err.contains("hunter2") && said.out.is_empty(), "{}", said.err);
    }
    assert_eq!(t.events().await, ["user.created"]);
}

async fn flags_that_do_not_fit(t: TestServer) {
    t.user("ada").await;
    let token = |rest: &[&'static str]| [&["token", "create", "--user", "ada", "--name", "x"], rest].concat();
    let cases: &[(Vec<&str>, &str)] = &[
        (vec!["user"], "Usage"),
        (vec!["user", "frobnicate"], "frobnicate"),
        (vec!["user", "create"], "<LOGIN>"),
        (vec!["user", "create", "x", "--email"], "--email"),
        (vec!["user", "create", "x", "--email", ""], "--email is empty"),
        (vec!["user", "list", "--nope"], "--nope"),
        (vec!["user", "list", "--json", "--json"], "--json"),
        (token(&[]), "--scopes"),
        (token(&["--scopes", ""]), "at least one scope"),
        (token(&["--scopes", "api,nope"]), "there is no scope nope"),
        (token(&["--scopes", "api", "--scopes", "api"]), "--scopes"),
        (token(&["--scopes", "api", "--expires-at", "tomorrow"]), "a date must be written as 2027-01-31"),
        (token(&["--scopes", "api", "--expires-at", "2027-02-30"]), "a date must be written as 2027-01-31"),
        (vec!["member", "add", "--user", "ada", "--level", "developer"], "--group"),
        (vec!["member", "add", "--group", "x", "--project", "y", "--user", "ada", "--level", "guest"], "--project"),
        (vec!["member", "add", "--group", "x", "--user", "ada", "--level", "king"], "one of minimal, guest, planner"),
        (vec!["group", "create", "x", "--visibility", "secret"], "one of private, internal, public"),
        (vec!["application", "create", "--name", "x", "--scopes", "api"], "--redirect-uri"),
    ];
    for (words, text) in cases {
        let said = t.shell(words).await;
        assert_eq!(said.code, Some(2), "{words:?}: {}", said.err);
        assert!(said.err.contains(text) && said.out.is_empty(), "{words:?}: {}", said.err);
    }
    let blank = t.shell(&["token", "create", "--user", "ada", "--name", " ", "--scopes", "api"]).await;
    assert_eq!(blank.refused(1), "name \" \" can't be blank");
    let mut broken = t.command(&["user", "block"]);
    broken.arg(std::ffi::OsStr::from_bytes(b"a\xff"));
    assert_eq!(said(broken, b"").await.code, Some(2));
    assert_eq!(t.events().await, ["user.created"]);
}

/// `rename` was taken for a slip of `create`.
async fn a_command_that_is_none_suggests_no_other_one(t: TestServer) {
    for (words, there_are) in [
        (&["project", "rename", "1", "x"][..], "there are create, list"),
        (&["group", "rename"], "there are create, list"),
        (&["token", "remove", "1"], "there are create, list, revoke, revoke-all, rotate, identify"),
        (&["--json", "user", "delete", "ada"], "--json"),
        (&["user", "--json", "delete", "ada"], "there are create, list, block, unblock, unlock, password"),
        (
            &["frobnicate"],
            "there are serve, demo, explain, backup, config, user, token, application, project, group, member, audit, node",
        ),
        (&["usr"], "'user'"),
        (&["project", "craete"], "'create'"),
        (&["user", "lsit"], "'list'"),
    ] {
        let mut command = tollhouse(t.folder.path());
        command.args(words);
        let said = said(command, b"").await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{words:?}");
        let suggested = there_are.starts_with('\'');
        assert_eq!(said.err.contains("a similar subcommand exists"), suggested, "{words:?}: {}", said.err);
        assert!(said.err.contains(there_are), "{words:?}: {}", said.err);
    }
    let mut broken = t.command(&["user"]);
    broken.arg("--config").arg(std::ffi::OsStr::from_bytes(b"\xff")).arg("delete");
    assert!(said(broken, b"").await.err.contains("there are create, list"));
}

async fn an_address_to_listen_at_is_told_with_an_example(t: TestServer) {
    for command in ["serve", "demo"] {
        for address in ["localhost:0", "8080", ":8080", "127.0.0.1", "::1:80", "http://127.0.0.1:80", ""] {
            let mut started = tollhouse(t.folder.path());
            started.args([command, "--listen", address]);
            let said = said(started, b"").await;
            assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{address}");
            assert!(
                said.err.contains(&format!("'{address}'")) && said.err.contains("such as 127.0.0.1:8080"),
                "{}",
                said.err
            );
        }
    }
}
