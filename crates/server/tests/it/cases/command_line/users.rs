//! `tollhouse user`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use tollhouse::operations::users::{CreateFirstAdministrator, PASSWORD_FILE, SetState};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::user::AccountState;

use super::said;
use crate::cases::sign_in::guess;
use crate::test_server::{M401, TestServer};

cases![
    a_user_is_made,
    a_user_without_an_address_is_made,
    what_is_wrong_with_a_new_user_is_named,
    who_is_blocked_is_refused_until_they_are_not,
    a_password_is_set_and_sessions_end,
    a_user_is_named_by_number_first,
    t15_a_lock_out_is_lifted with "passwords.lock_for = '36500d'\nlimits.sign_in_failures = 0",
    t15_who_is_locked_out_is_told_to_few,
    t29_a_command_names_the_user_of_the_system,
    t31_the_first_password_goes_with_its_change,
];

async fn a_user_is_made(t: TestServer) {
    let text = t.shell(&["user", "create", "grace", "--email", "grace@example.test"]).await;
    assert_eq!(text.done(), "created grace (1), without a password");
    let words = ["user", "create", "ada", "--email", "ada@example.test", "--name", "Ada Example", "--admin", "--json"];
    let words: Vec<&str> = words.into_iter().chain(["--external", "--password-stdin"]).collect();
    let made = t.shell_with(&words, "correct horse\n").await.json();
    assert_eq!((&made["id"], &made["name"]), (&2.into(), &"Ada Example".into()));
    assert_eq!((&made["is_admin"], &made["external"]), (&true.into(), &true.into()));
    // She may come in at once, and is shown to herself as she was to whoever made her.
    guess(&t, "ada", "correct horse").await.has(302);
    let token = t.shell(&["token", "create", "--user", "ada", "--name", "x", "--scopes", "api"]).await;
    let shown = t.get("/api/v4/users?username=ada").token(token.done()).await.json();
    for field in ["id", "username", "web_url", "created_at", "email", "namespace_id", "note", "created_by"] {
        assert_eq!(shown[0][field], made[field], "{field}");
    }
    let keys = |user: &serde_json::Value| user.as_object().expect("a user").keys().cloned().collect::<BTreeSet<_>>();
    let others: Vec<String> = keys(&made).difference(&keys(&shown[0])).cloned().collect();
    assert_eq!(others, ["followers", "following", "is_followed"], "nobody follows themselves");
    assert!(keys(&shown[0]).is_subset(&keys(&made)));
    let mut by_variable = t.command(&["user", "create", "linus", "--email", "linus@example.test"]);
    by_variable.env("TOLLHOUSE_PASSWORD", "battery staple");
    assert_eq!(said(by_variable, b"").await.done(), "created linus (3)");
    guess(&t, "linus", "battery staple").await.has(302);
}

async fn a_user_without_an_address_is_made(t: TestServer) {
    for (login, id) in [("grace", 1), ("linus", 2)] {
        let said = t.shell(&["user", "create", login]).await;
        assert_eq!(said.done(), format!("created {login} ({id}), without a password"));
    }
    let made = t.shell_json(&["user", "create", "ada", "--admin"]).await;
    assert_eq!((&made["email"], &made["commit_email"]), (&"".into(), &"".into()));
    assert!(made["public_email"].is_null(), "{made}");
    assert!(made["confirmed_at"].is_null(), "{made}");
    // There is nothing to confirm, so the API is open.
    let token = t.shell(&["token", "create", "--user", "ada", "--name", "x", "--scopes", "api"]).await;
    assert_eq!(t.get("/api/v4/user").token(token.done()).await.has(200).json()["email"], "");
    let list = t.shell(&["user", "list"]).await;
    assert!(list.done().contains("linus  -"), "{list:?}");
    let empty = t.shell(&["user", "create", "x", "--email", ""]).await;
    assert_eq!(empty.refused(2), "--email is empty; leave it out for an account without an address");
    let taken = t.shell(&["user", "create", "ada"]).await;
    assert_eq!(taken.refused(1), "username \"ada\" has already been taken");
}

async fn what_is_wrong_with_a_new_user_is_named(t: TestServer) {
    t.user("ada").await;
    t.group("harbour", tollhouse_domain::access::Visibility::Public).await;
    let long = "x".repeat(256);
    let cases: &[(&[&str], &str)] = &[
        (&["ada", "--email", "new@example.test"], "username \"ada\" has already been taken"),
        (&["ADA", "--email", "new@example.test"], "username \"ADA\" has already been taken"),
        (&["lin", "--email", "Ada@Example.test"], "email \"Ada@Example.test\" has already been taken"),
        (
            &["ada", "--email", "ada@example.test"],
            "username \"ada\", email \"ada@example.test\" has already been taken",
        ),
        (&["harbour", "--email", "new@example.test"], "username \"harbour\" has already been taken"),
        (
            &["api", "--email", "x"],
            "username \"api\" is a reserved name; email \"x\" is invalid, write one such as ada@example.test",
        ),
        (
            &["a b", "--email", "a b@example.test", "--name", " "],
            "username \"a b\" can contain only letters, digits, '_', '-' and '.', such as ada-lovelace; name \" \" can't be \
             blank; email \"a b@example.test\" is invalid, write one such as ada@example.test",
        ),
        (
            &["lin", "--email", "n@example.test", "--name", "a\u{1b}[2Jb"],
            "name \"a\\u{1b}[2Jb\" can't hold control characters",
        ),
        (&["lin", "--email", "n@example.test", "--name", &long], "name is too long (maximum is 255 characters)"),
    ];
    for (words, text) in cases {
        let words: Vec<&str> = ["user", "create"].iter().chain(words.iter()).copied().collect();
        assert_eq!(t.shell(&words).await.refused(1), *text);
    }
    let short = ["user", "create", "lin", "--email", "new@example.test", "--password-stdin"];
    let short = t.shell_with(&short, "short").await;
    assert_eq!(short.refused(1), "password is too short (minimum is 8 characters)");
    for (password, email, text) in [
        ("password", "new@example.test", COMMON),
        ("        ", "new@example.test", COMMON),
        ("Linus.Torvalds", "new@example.test", PERSONAL),
        ("linus torvalds", "new@example.test", PERSONAL),
        ("sdlavrot-sunil", "new@example.test", PERSONAL),
        ("kernel.master", "kernel.master@example.test", PERSONAL),
    ] {
        let words =
            ["user", "create", "linus.torvalds", "--name", "Linus Torvalds", "--email", email, "--password-stdin"];
        assert_eq!(t.shell_with(&words, password).await.refused(1), format!("password {text}"), "{password}");
    }
    assert_eq!(t.count("user.created").await, 1, "nothing came of any of them");
}

async fn who_is_blocked_is_refused_until_they_are_not(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let asks = async || t.get("/api/v4/user").token(&token).await;
    asks().await.is_user(&ada);
    assert_eq!(t.shell(&["user", "block", "ada"]).await.done(), "ada (1) is blocked now");
    asks().await.is_forbidden("Your account has been blocked.");
    t.get("/api/v4/user").session(&session).await.is(401, M401);
    assert_eq!(t.shell(&["user", "block", "ADA"]).await.done(), "ada (1) was blocked already");
    assert_eq!(t.shell_json(&["user", "block", "1"]).await["state"], "blocked");
    assert_eq!(t.shell(&["user", "unblock", "1"]).await.done(), "ada (1) is active now");
    asks().await.is_user(&ada);
    assert_eq!(t.shell(&["user", "unblock", "ada"]).await.done(), "ada (1) was active already");
    assert_eq!(t.count("user.blocked").await, 1);
    ada.set_state(SetState::ban(ada.id)).await;
    for change in ["block", "unblock"] {
        assert_eq!(
            t.shell(&["user", change, "ada"]).await.refused(1),
            "ada (1) is banned, and this command does not change that"
        );
    }
    assert_eq!(t.shell(&["user", "block", "nobody"]).await.refused(1), "there is no user nobody");
    let pending =
        SetState { from: &[AccountState::Banned], to: AccountState::BlockedPendingApproval, ..SetState::ban(ada.id) };
    ada.set_state(pending).await;
    assert_eq!(t.shell(&["user", "block", "ada"]).await.done(), "ada (1) is blocked now");
}

const COMMON: &str = "is too easy to guess: choose another one, such as four words that don't belong together";
const PERSONAL: &str = "is the user name, the name or the e-mail address of the account, perhaps reversed or with digits: \
                        choose one that has nothing to do with them";

async fn a_password_is_set_and_sessions_end(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let set = async |password: &str| t.shell_with(&["user", "password", "ada", "--password-stdin"], password).await;
    assert_eq!(set(" battery staple ").await.done(), "ada (1) has a new password, and all sessions have ended");
    t.get("/api/v4/user").session(&session).await.is(401, M401);
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    guess(&t, "ada", "correct horse").await.has(200);
    guess(&t, "ada", "battery staple").await.has(200);
    guess(&t, "ada", " battery staple ").await.has(302);
    assert_eq!(set("short").await.refused(1), "password is too short (minimum is 8 characters)");
    for length in [129, 4096] {
        assert_eq!(set(&"x".repeat(length)).await.refused(1), "password is too long (maximum is 128 characters)");
    }
    assert_eq!(set("12345678").await.refused(1), format!("password {COMMON}"));
    assert_eq!(set("ada@example.test").await.refused(1), format!("password {PERSONAL}"));
    let old = "password is the one that the account has already: choose a new one";
    assert_eq!(set(" battery staple ").await.refused(1), old);
    let none = t.shell(&["user", "password", "ada"]).await;
    assert_eq!(none.refused(2), "no password was given: pass it on stdin with --password-stdin");
    let shown = t.shell(&["user", "password", "ada", "hunter22"]).await;
    assert_eq!(shown.refused(2), "a password is never an argument, because others can read it");
    guess(&t, "ada", " battery staple ").await.has(302);
}

async fn a_user_is_named_by_number_first(t: TestServer) {
    for name in ["ada", "1", "7"] {
        t.user(name).await;
    }
    assert_eq!(t.shell(&["user", "block", "1"]).await.done(), "ada (1) is blocked now");
    assert_eq!(t.shell(&["user", "block", "7"]).await.done(), "7 (3) is blocked now");
    assert_eq!(t.shell(&["user", "block", "0"]).await.refused(1), "there is no user 0");
    let huge = "9".repeat(40);
    assert_eq!(t.shell(&["user", "block", &huge]).await.refused(1), format!("there is no user {huge}"));
    assert_eq!(t.shell(&["user", "block", ""]).await.refused(1), "there is no user ");
}

async fn t15_a_lock_out_is_lifted(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    assert_eq!(t.shell(&["user", "unlock", "ada"]).await.done(), "ada (1) was not locked out");
    for _ in 0..10 {
        guess(&t, "ada", "wrong horse").await;
    }
    guess(&t, "ada", "correct horse").await.has(200);
    assert!(t.shell(&["user", "list"]).await.done().ends_with("active, locked"));
    assert_eq!(t.shell(&["user", "unlock", "ada"]).await.done(), "ada (1) may sign in by password again");
    guess(&t, "ada", "correct horse").await.has(302);
    assert_eq!(t.shell_json(&["user", "unlock", "ada"]).await["locked"], false);
    assert_eq!(t.count("user.unlocked").await, 1);
    // A new password lifts it too.
    for _ in 0..10 {
        guess(&t, "ada", "wrong horse").await;
    }
    t.shell_with(&["user", "password", "ada", "--password-stdin"], "battery staple").await.done();
    guess(&t, "ada", "battery staple").await.has(302);
}

async fn t15_who_is_locked_out_is_told_to_few(t: TestServer) {
    let (ada, grace) = (t.user_with_password("ada", "correct horse").await, t.user("grace").await);
    let warden = t.admin().await;
    let notes = t.post("/api/v4/projects").token(&ada.token([Scope::Api]).await);
    let notes = notes.json(r#"{"name":"notes","visibility":"public"}"#).await.has(201).json()["id"].clone();
    for _ in 0..10 {
        guess(&t, "ada", "wrong horse").await;
    }
    let token = async |person: &crate::test_server::Person| person.token([Scope::Api]).await;
    let (hers, others, wardens) = (token(&ada).await, token(&grace).await, token(&warden).await);
    let (one, list) = (format!("/api/v4/users/{}", ada.id), "/api/v4/users?username=ada");
    for (token, told) in [(&hers, true), (&others, false), (&wardens, true)] {
        assert_eq!(t.get(&one).token(token).await.json()["locked"], told);
        assert_eq!(t.get(list).token(token).await.json()[0]["locked"], told);
    }
    assert_eq!(t.get("/api/v4/user").token(&hers).await.json()["locked"], true);
    assert_eq!(t.get(list).await.json()[0]["locked"], false, "nobody is told");
    let project = t.get(&format!("/api/v4/projects/{notes}")).token(&others).await.json();
    assert_eq!((&project["owner"]["username"], &project["owner"]["locked"]), (&"ada".into(), &false.into()));
}

async fn t29_a_command_names_the_user_of_the_system(t: TestServer) {
    let asked = |flag: &str| {
        let output = std::process::Command::new("id").arg(flag).output().expect("id runs");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    let who = format!("command_line:{}({})", asked("-ru"), asked("-run"));
    t.shell(&["user", "create", "ada", "--email", "ada@example.test"]).await.done();
    t.shell_with(&["user", "password", "ada", "--password-stdin"], "correct horse").await.done();
    let token = t.shell(&["token", "create", "--user", "ada", "--name", "x", "--scopes", "api"]).await;
    t.shell_with(&["token", "revoke"], token.done()).await.done();
    t.shell(&["node", "refresh"]).await.done();
    let lines = t.trail(10).await;
    let events: Vec<&str> = lines.iter().map(|line| line.event.as_str()).collect();
    let expected = ["nodes.refreshed", "token.revoked", "token.created", "user.password_changed", "user.created"];
    assert_eq!(events, expected);
    for line in lines {
        assert_eq!(line.credential, who, "{line:?}");
        assert_eq!((line.actor_id, line.subject_id, line.address.as_deref()), (None, None, None));
    }
}

async fn t31_the_first_password_goes_with_its_change(t: TestServer) {
    t.does(CreateFirstAdministrator { password_digest: "x".into(), email: String::new() }).await.expect("the first");
    t.user("ada").await;
    let data = t.folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("a mode");
    std::fs::write(data.join(PASSWORD_FILE), "secret").expect("a file");
    for (user, stays) in [("ada", true), ("root", false)] {
        let mut command = t.command(&["user", "password", user, "--password-stdin"]);
        command.env("TOLLHOUSE_DATA_DIR", &data);
        said(command, b"correct horse").await.done();
        assert_eq!(data.join(PASSWORD_FILE).exists(), stays, "{user}");
    }
    // Nothing says where the data is, but that it is most likely beside the database.
    let beside = t.folder.path().join(PASSWORD_FILE);
    std::fs::write(&beside, "secret").expect("a file");
    t.shell_with(&["user", "password", "root", "--password-stdin"], "battery staple").await.done();
    assert_eq!(beside.exists(), t.app.db.is_postgres());
}
