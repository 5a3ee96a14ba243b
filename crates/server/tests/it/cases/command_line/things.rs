//! `tollhouse application`, `group`, `project`, `member` and `node`.

use tollhouse::operations::members::{Add, Remove};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::By;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Date;

use crate::oauth::{self, Client};
use crate::test_server::TestServer;

cases![
    an_application_is_made_and_works,
    what_is_wrong_with_an_application_is_named,
    an_application_goes_with_its_tokens,
    groups_and_projects_are_made_by_their_paths,
    members_come_and_go,
    a_refresh_is_one_entry_that_says_all,
    servers_are_listed,
];

async fn an_application_is_made_and_works(t: TestServer) {
    let words = ["application", "create", "--name", "Ferry board", "--scopes", "api,openid", "--redirect-uri"];
    let words: Vec<&str> = words.into_iter().chain([oauth::CALLBACK, "--redirect-uri", "http://127.0.0.1/x"]).collect();
    let text = t.shell(&words).await;
    let value = |name: &str| {
        let line = text.done().lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().to_owned()
    };
    let id = tollhouse_domain::id::ApplicationId(1);
    assert_eq!((value("id").as_str(), value("name").as_str()), ("1", "Ferry board"));
    let (uid, secret) = (value("client id"), value("client secret"));
    let client = Client { town: t.clone(), id, uid, secret, confidential: true };
    let ada = t.user("ada").await;
    let pair = client.tokens(&ada, "api").await;
    oauth::user(&t, &pair.access).await.is_user(&ada);
    let words = ["application", "create", "--name", "x", "--scopes", "api", "--public", "--trusted", "--json"];
    let words: Vec<&str> = words.into_iter().chain(["--redirect-uri", oauth::CALLBACK]).collect();
    let made = t.shell(&words).await.json();
    assert_eq!((&made["confidential"], &made["callback_url"]), (&false.into(), &oauth::CALLBACK.into()));
    assert!(made["secret"].is_string() && made["application_id"].is_string());
    let token = t.admin().await.token([Scope::Api]).await;
    let known = t.get("/api/v4/applications").token(&token).await.json();
    assert_eq!(known[0]["callback_url"], format!("{}\nhttp://127.0.0.1/x", oauth::CALLBACK));
    assert_eq!(known[1]["application_id"], made["application_id"]);
}

async fn what_is_wrong_with_an_application_is_named(t: TestServer) {
    let make = async |name: &str, uri: &str| {
        t.shell(&["application", "create", "--name", name, "--scopes", "api", "--redirect-uri", uri]).await
    };
    assert_eq!(
        make("", "x").await.refused(1),
        "name can't be blank; redirect_uri \"x\" must be an absolute URI, write one such as https://app.example.test/callback"
    );
    let both = make("a\u{202e}b", "javascript:alert(1)").await;
    assert_eq!(
        both.refused(1),
        "name \"a\\u{202e}b\" can't hold control characters; redirect_uri \"javascript:alert(1)\" is forbidden by the server, \
         write one such as https://app.example.test/callback"
    );
    assert_eq!(t.count("application.created").await, 0);
}

async fn an_application_goes_with_its_tokens(t: TestServer) {
    let (_, client, pair) = t.begun("api").await;
    let other = t.client("api").await;
    oauth::user(&t, &pair.access).await.has(200);
    let removed = t.shell(&["application", "delete", "1"]).await;
    assert_eq!(removed.done(), "removed Ferry board (1), with all its codes and tokens");
    oauth::user(&t, &pair.access).await.has(401);
    client.refresh(&pair.refresh).await.has(400);
    assert_eq!(t.shell(&["application", "delete", "1"]).await.refused(1), "there is no application 1");
    let by_uid = t.shell(&["application", "delete", &other.uid, "--json"]).await;
    assert_eq!(by_uid.done(), "", "nothing is left to show");
    assert_eq!(t.shell_json(&["application", "list"]).await, serde_json::json!([]));
}

async fn groups_and_projects_are_made_by_their_paths(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await);
    let make = async |words: &[&str]| t.shell(words).await;
    let harbour = ["group", "create", "harbour", "--name", "Harbour", "--visibility", "public", "--owner", "ada"];
    assert_eq!(make(&harbour).await.done(), "created the group harbour (3)");
    let pilots = t.shell_json(&["group", "create", "Harbour/pilots"]).await;
    let token = warden.token([Scope::Api]).await;
    assert_eq!(pilots, t.get("/api/v4/groups/harbour%2Fpilots?with_projects=false").token(&token).await.json());
    assert_eq!((&pilots["visibility"], &pilots["full_name"]), (&"private".into(), &"Harbour / pilots".into()));
    assert_eq!(make(&["group", "create", "nowhere/x"]).await.refused(1), "there is no group nowhere");
    assert_eq!(make(&["group", "create", "ada/x"]).await.refused(1), "there is no group ada");
    assert_eq!(make(&["group", "create", "harbour"]).await.refused(1), "path \"harbour\" has already been taken");
    assert!(make(&["group", "create", "api"]).await.refused(1).starts_with("path "));
    assert_eq!(make(&["group", "create", ""]).await.refused(1), "name can't be blank");
    let public = ["group", "create", "harbour/pilots/x", "--visibility", "public"];
    assert_eq!(
        make(&public).await.refused(1),
        "visibility \"public\" is not allowed in this parent group, because that group is less visible"
    );

    let made = t.shell_json(&["project", "create", "harbour/timetable", "--user", "ada", "--name", "Timetable"]).await;
    let mut shown = t.get("/api/v4/projects/1").token(&token).await.json();
    shown.as_object_mut().expect("an object").remove("permissions");
    assert_eq!(made, shown);
    assert_eq!((&made["creator_id"], &made["visibility"]), (&ada.id.0.into(), &"private".into()));
    assert_eq!(make(&["project", "create", "ada/notes"]).await.done(), "created the project ada/notes (2)");
    t.get("/api/v4/projects/ada%2Fnotes").token(&ada.token([Scope::Api]).await).await.has(200);
    let who = make(&["project", "create", "harbour/x"]).await;
    assert_eq!(who.refused(2), "--user is required: it names the creator of a project in a group");
    assert_eq!(
        make(&["project", "create", "x"]).await.refused(2),
        "x: the full path of a project is NAMESPACE/PROJECT, such as ada/notes"
    );
    assert_eq!(make(&["project", "create", "nowhere/x"]).await.refused(1), "there is no group or user nowhere");
    assert_eq!(
        make(&["project", "create", "ada/notes"]).await.refused(1),
        "name \"notes\", path \"notes\" has already been taken"
    );
    let long = make(&["project", "create", "ada/y", "--description", &"x".repeat(2_001)]).await;
    assert_eq!(long.refused(1), "description is too long (maximum is 2000 characters)");
    t.user("grace").await;
    for path in ["harbour/x", "ada/x"] {
        let stranger = make(&["project", "create", path, "--user", "grace"]).await;
        assert_eq!(stranger.refused(1), format!("namespace \"{}\" is not valid", &path[..path.len() - 2]));
    }
}

async fn members_come_and_go(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let harbour = t.group("harbour", Visibility::Private).await;
    let charts = t.project(harbour, "charts", Visibility::Private).await;
    let sees = async || t.get(&format!("/api/v4/projects/{charts}")).token(&token).await.status.as_u16();
    assert_eq!(sees().await, 404);
    let member = async |words: &[&str]| {
        let words: Vec<&str> = ["member"].iter().chain(words).chain(&["--user", "ada"]).copied().collect();
        t.shell(&words).await
    };
    let added = member(&["add", "--group", "harbour", "--level", "developer", "--expires-at", "2999-01-31"]).await;
    assert_eq!(added.done(), "ada (1) is a member of harbour as developer, until 2999-01-31");
    assert_eq!(sees().await, 200);
    let again = member(&["add", "--group", &harbour.to_string(), "--level", "owner"]).await;
    assert_eq!(again.refused(1), "user \"ada\" is a member already");
    let removed = member(&["remove", "--group", "HARBOUR"]).await;
    assert_eq!(removed.done(), "ada (1) is no longer a member of harbour");
    assert_eq!(sees().await, 404);
    assert_eq!(member(&["remove", "--group", "harbour"]).await.refused(1), "ada (1) is not a member of harbour");
    let made = member(&["add", "--project", "harbour/charts", "--level", "reporter", "--json"]).await.json();
    assert_eq!(
        (&made["username"], &made["access_level"], &made["expires_at"]),
        (&"ada".into(), &20.into(), &().into())
    );
    assert_eq!(sees().await, 200);
    assert_eq!(member(&["remove", "--project", &charts.to_string(), "--json"]).await.done(), "");
    assert_eq!(sees().await, 404);
    // One that is over is in nobody's way.
    let over = Date::parse("2020-01-01");
    t.does(Add { of: MembershipSource::Project(charts), user: ada.id, level: AccessLevel::Guest, expires_at: over })
        .await;
    assert_eq!(sees().await, 404);
    member(&["add", "--project", "harbour/charts", "--level", "reporter"]).await.done();
    assert_eq!(sees().await, 200);
    // A group keeps an owner.
    let owner = |user| Add { of: MembershipSource::Group(harbour), user, level: AccessLevel::Owner, expires_at: None };
    t.does(owner(ada.id)).await;
    assert_eq!(
        member(&["remove", "--group", "harbour"]).await.refused(1),
        "user \"ada\" is the last owner of the group"
    );
    let grace = t.user("grace").await.id;
    t.does(owner(grace)).await;
    // Of two that go at once, one stays.
    let [one, other] = [ada.id, grace].map(|user| Remove { of: MembershipSource::Group(harbour), user });
    let by = By::system();
    let (one, other) = tokio::join!(t.app.perform(one, &by), t.app.perform(other, &by));
    assert!(one.is_ok() != other.is_ok());
    for (flag, named) in
        [("--group", "nowhere"), ("--group", "99"), ("--project", "99"), ("--project", "x"), ("--project", "x/y")]
    {
        let said = member(&["add", flag, named, "--level", "guest"]).await;
        assert_eq!(said.refused(1), format!("there is no {} {named}", &flag[2..]));
    }
    let lines: Vec<String> = t.events().await.into_iter().filter(|event| event.starts_with("member.")).collect();
    let (came, went) = ("member.added", "member.removed");
    assert_eq!(lines, [went, came, came, came, came, went, came, went, came]);
}

async fn a_refresh_is_one_entry_that_says_all(t: TestServer) {
    let words = async || t.log(1).await.into_iter().filter(|(_, word)| *word == Invalidation::All).count();
    assert_eq!(words().await, 0);
    assert_eq!(t.shell(&["node", "refresh"]).await.done(), "the caches of all servers are empty");
    assert_eq!(words().await, 1);
}

async fn servers_are_listed(t: TestServer) {
    let other = t.reopened("").await;
    t.app.settled().await;
    let listed = async || t.shell_json(&["node", "list"]).await.as_array().expect("a list").clone();
    let mut two = listed().await;
    for _ in 0..50 {
        // One that has just started says how far it has come after its first round.
        if two.len() == 2 && two.iter().all(|node| node["behind"] == 0 && node["answering"] == true) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        two = listed().await;
    }
    assert_eq!(two.len(), 2);
    assert!(two.iter().all(|node| node["name"] == "test" && node["answering"] == true && node["behind"] == 0));
    let said = t.shell(&["node", "list"]).await;
    let text = said.done();
    assert!(text.starts_with("ID") && text.lines().count() == 3 && text.contains("running"), "{text}");
    assert!(text.lines().next().is_some_and(|heads| heads.contains("LAST SEEN")), "{text}");
    other.leave().await;
    let one = listed().await;
    assert_eq!(one.len(), 1);
    assert!(two.iter().any(|node| node["id"] == one[0]["id"]), "who left has no row");
}
