//! Lists: every row once, in batches, for people and as the REST API has them.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tollhouse::operations::{Failed, Operation, users};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::faults::by_hand;
use tollhouse_store::tx::{Change, Tx};

use crate::test_server::TestServer;

cases![
    a_list_is_what_the_api_shows_an_administrator,
    a_long_list_comes_in_batches,
    a_reader_who_has_seen_enough_ends_it,
    an_empty_list_is_a_list,
    lists_of_tokens_can_be_narrowed,
    t30_names_cannot_command_a_terminal,
];

async fn a_list_is_what_the_api_shows_an_administrator(t: TestServer) {
    let warden = t.admin().await;
    let token = warden.token([Scope::Api]).await;
    let ada =
        t.person(users::CreateUser { created_by: Some(warden.id), ..users::CreateUser::person("ada", "Ada") }).await;
    let harbour = t.group("harbour", Visibility::Internal).await;
    t.subgroup("pilots", Some(harbour), Visibility::Private).await;
    let charts = t.project(harbour, "charts", Visibility::Private).await;
    t.member(MembershipSource::Project(charts), &ada, AccessLevel::Developer).await;
    let own = t.post("/api/v4/projects").token(&ada.token([Scope::Api]).await).json(r#"{"name":"notes"}"#);
    own.await.has(201);
    t.client("api").await;
    let mut of_wire = t.get("/api/v4/users").token(&token).await.json();
    of_wire.as_array_mut().expect("a list").reverse();
    let mut listed = t.shell_json(&["user", "list"]).await;
    // Nobody follows themselves, so the API leaves that out of the row of whoever asks.
    let own = listed[0].as_object_mut().expect("the warden");
    assert!(["followers", "following", "is_followed"].iter().all(|key| own.remove(*key).is_some()));
    assert_eq!(listed, of_wire);
    for (words, target) in [
        (["project", "list"], "/api/v4/projects?order_by=id&sort=asc"),
        (["group", "list"], "/api/v4/groups?order_by=id"),
        (["application", "list"], "/api/v4/applications"),
    ] {
        let listed = t.shell_json(&words).await;
        assert_eq!(listed, t.get(target).token(&token).await.has(200).json(), "{target}");
        assert!(listed.as_array().is_some_and(|rows| !rows.is_empty()), "{target}");
    }
    let text = t.shell(&["project", "list"]).await;
    assert_eq!(
        text.done(),
        "ID  PATH            VISIBILITY  NAME\n1   harbour/charts  private     harbour / charts\n2   ada/notes       private     Ada / notes"
    );
    let text = t.shell(&["group", "list"]).await;
    assert!(text.done().ends_with("harbour/pilots  private     harbour / pilots"), "{}", text.out);
    let text = t.shell(&["application", "list"]).await;
    assert!(text.done().lines().nth(1).is_some_and(|line| line.starts_with("1   Ferry board  confidential  ")));
}

/// Many users in one transaction.
struct Crowd(usize);

impl Operation for Crowd {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        for i in 0..self.0 {
            users::CreateUser::person(&format!("u{i}"), "One of many").run(tx, now).await?.into_value();
        }
        Ok(Change::nothing(()))
    }
}

async fn a_long_list_comes_in_batches(t: TestServer) {
    // Two whole batches and a row.
    t.does(Crowd(1001)).await;
    let json = t.shell_json(&["user", "list"]).await;
    let ids: Vec<i64> = json.as_array().expect("a list").iter().map(|row| row["id"].as_i64().expect("an id")).collect();
    assert_eq!(ids, (1..=1001).collect::<Vec<_>>());
    let text = t.shell(&["user", "list"]).await;
    assert_eq!(text.done().lines().count(), 1002, "with the heads of the columns, once");
    let at = |line: &str| line.find("One of many");
    let lines: Vec<&str> = text.done().lines().skip(1).collect();
    assert!(lines[..500].iter().all(|line| at(line) == at(lines[0])), "aligned");
}

async fn a_reader_who_has_seen_enough_ends_it(t: TestServer) {
    t.does(Crowd(3000)).await;
    for more in [&[][..], &["--json"]] {
        let words: Vec<&str> = ["user", "list"].iter().chain(more).copied().collect();
        let mut command = tokio::process::Command::from(t.command(&words));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let mut some = [0; 100];
        child.stdout.take().expect("its words").read_exact(&mut some).await.expect("some words");
        let output = child.wait_with_output().await.expect("it ends");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    }
    // A secret that nobody took is another matter.
    let words = ["token", "create", "--user", "u0", "--name", "x", "--scopes", "api"];
    let mut command = tokio::process::Command::from(t.command(&words));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with("tollhouse: token 1 was created, but its secret could not be printed, and is lost"),
        "{said}"
    );
}

async fn an_empty_list_is_a_list(t: TestServer) {
    for what in ["user", "token", "application", "project", "group"] {
        assert_eq!(t.shell_json(&[what, "list"]).await, serde_json::json!([]), "{what}");
        assert_eq!(t.shell(&[what, "list"]).await.done(), format!("there are no {what}s"));
    }
    t.user("ada").await;
    assert_eq!(t.shell(&["token", "list", "--user", "ada", "--active"]).await.done(), "there are no tokens");
}

async fn lists_of_tokens_can_be_narrowed(t: TestServer) {
    t.user("ada").await;
    t.user("grace").await;
    for user in ["ada", "grace", "ada"] {
        t.shell(&["token", "create", "--user", user, "--name", "x", "--scopes", "api,read_user"]).await.done();
    }
    t.shell(&["token", "revoke", "1"]).await.done();
    let ids = async |more: &[&str]| {
        let words: Vec<&str> = ["token", "list"].iter().chain(more).copied().collect();
        let rows = t.shell_json(&words).await;
        rows.as_array().expect("a list").iter().map(|row| row["id"].as_i64().expect("an id")).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]).await, [1, 2, 3]);
    assert_eq!(ids(&["--active"]).await, [2, 3]);
    assert_eq!(ids(&["--user", "ada"]).await, [1, 3]);
    assert_eq!(ids(&["--user", "1", "--active"]).await, [3]);
    assert_eq!(t.shell(&["token", "list", "--user", "x"]).await.refused(1), "there is no user x");
    let text = t.shell(&["token", "list"]).await;
    let lines: Vec<Vec<&str>> = text.done().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["1", "ada", "x", "api,read_user"]);
    assert_eq!((lines[1][5], lines[1][7]), ("never", "revoked"));
    assert_eq!((lines[2][1], lines[2][7]), ("grace", "live"));
}

async fn t30_names_cannot_command_a_terminal(t: TestServer) {
    t.user("ada").await;
    let evil = "UPDATE users SET name = 'a' || CHAR(27) || '[2J' || CHAR(10) || 'root'";
    let evil = if t.app.db.is_postgres() { evil.replace("CHAR", "CHR") } else { evil.to_owned() };
    by_hand(&t.url(), &evil).await.expect("changed");
    let text = t.shell(&["user", "list"]).await;
    assert!(text.done().contains("a\\u{1b}[2J\\u{a}root") && !text.out.contains('\u{1b}'), "{}", text.out);
    let text = t.shell(&["user", "block", "x\u{1b}[2J\u{202e}"]).await;
    assert_eq!(text.refused(1), "there is no user x\\u{1b}[2J\\u{202e}");
}
