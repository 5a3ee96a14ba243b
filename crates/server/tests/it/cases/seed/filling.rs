//! What stands in a seed is in the database afterwards, and works as if it had been made in any other way.

use std::fmt::Write;

use tollhouse_domain::access::Visibility;
use tollhouse_domain::audit::By;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::UserName;
use tollhouse_domain::secret::Plaintext;
use tollhouse_store::faults::Fault;
use tollhouse_store::users;

use super::{filler, planted};
use crate::cases::sign_in::guess;
use crate::test_server::{EXPIRED, M401, REVOKED, TestServer};

cases![
    seed_people_are_as_they_were_asked_for,
    seed_passwords_in_clear_and_hashed_elsewhere,
    seed_groups_and_projects_stand_in_each_other,
    seed_the_longest_names_fit,
    seed_memberships_count_and_end,
    seed_tokens_live_and_dead,
    seed_applications_and_their_tokens,
    seed_what_was_asked_for_before_it_was_made_is_known_afterwards,
    seed_nothing_is_half_filled,
    seed_the_trail_has_one_line,
];

const USER: &str = "/api/v4/user";

async fn seed_people_are_as_they_were_asked_for(t: TestServer) {
    let seed = r#"
        [[user]]
        username = "root"
        admin = true
        name = "Wardén"
        email = "warden@harbour.test"
        [[user]]
        username = "Ada"
        external = true
        [[user]]
        username = "grace"
        state = "deactivated"
        [[user]]
        username = "fresh"
        confirmed = false
        [[user]]
        username = "linus"
        email = ""
        [[user]]
        username = "jean"
        email = ""
    "#;
    let mut seed = seed.to_owned();
    for user in ["root", "ADA", "grace", "fresh", "linus"] {
        let _ = write!(seed, "[[token]]\nuser='{user}'\nname='x'\nscopes=['api']\ntoken='token-of-{user}'\n");
    }
    let made = planted(&t, &seed).await;
    assert_eq!(made.users.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(t.get(USER).token("token-of-linus").await.has(200).json()["email"], "");
    let root = t.get(USER).token("token-of-root").await.has(200).json();
    assert_eq!((root["name"].as_str(), root["email"].as_str()), (Some("Wardén"), Some("warden@harbour.test")));
    assert_eq!(root["is_admin"], true);
    let ada = t.get(USER).token("token-of-ADA").await.has(200).json();
    assert_eq!((ada["username"].as_str(), ada["name"].as_str()), (Some("Ada"), Some("Ada")));
    assert_eq!((ada["email"].as_str(), ada["external"].as_bool()), (Some("Ada@example.test"), Some(true)));
    for refused in ["token-of-grace", "token-of-fresh"] {
        t.get(USER).token(refused).await.has(403);
    }
}

async fn seed_passwords_in_clear_and_hashed_elsewhere(t: TestServer) {
    let hashed = t.app.hasher.hash(&Plaintext::new("correct horse".into())).await;
    let seed = format!(
        "[[user]]\nusername = 'ada'\npassword = 'password'\n\
         [[user]]\nusername = 'grace'\npassword_hash = '{hashed}'\n\
         [[user]]\nusername = 'edsger'\n\
         [[user]]\nusername = 'lin'\npassword = 'caf\u{e9} au lait'\n"
    );
    planted(&t, &seed).await;
    guess(&t, "lin", "cafe\u{301} au lait").await.has(302);
    // One that nobody could choose.
    guess(&t, "ada", "password").await.has(302);
    guess(&t, "ada@example.test", "correct horse").await.has(200);
    guess(&t, "grace", "correct horse").await.has(302);
    guess(&t, "edsger", "battery staple").await.has(200);
}

async fn seed_groups_and_projects_stand_in_each_other(t: TestServer) {
    // A group may stand before the one around it.
    let seed = r#"
        [[group]]
        path = "harbour/pilots/night"
        [[group]]
        path = "harbour/pilots"
        visibility = "internal"
        [[group]]
        path = "harbour"
        name = "The harbour"
        visibility = "public"
        [[project]]
        path = "Harbour/timetable"
        name = "Timetable"
        description = "When\nthe ferries leave"
        visibility = "public"
        creator = "grace"
        [[project]]
        path = "harbour/pilots/night/charts"
        [[project]]
        path = "grace/notes"
        [[user]]
        username = "grace"
        [[token]]
        user = "grace"
        name = "x"
        scopes = ["api"]
        token = "token-of-grace"
    "#;
    let made = planted(&t, seed).await;
    assert_eq!(made.projects.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let paths: Vec<_> = made.groups.iter().map(|group| group.full_path.as_str()).collect();
    assert_eq!(paths, ["harbour", "harbour/pilots", "harbour/pilots/night"]);
    assert_eq!(made.groups[2].full_name, "The harbour / pilots / night");
    let timetable = t.get("/api/v4/projects/harbour%2Ftimetable").await.has(200).json();
    assert_eq!(timetable["id"], 1);
    assert_eq!(
        (timetable["name"].as_str(), timetable["description"].as_str()),
        (Some("Timetable"), Some("When\nthe ferries leave"))
    );
    assert_eq!(timetable["path_with_namespace"], "harbour/timetable", "as the group is spelled");
    let grace = |path: &str| t.get(&format!("/api/v4/projects/{path}")).token("token-of-grace");
    assert_eq!(grace("1").await.has(200).json()["creator_id"], 1);
    grace("harbour%2Fpilots%2Fnight%2Fcharts").await.has(404);
    let notes = grace("grace%2Fnotes").await.has(200).json();
    assert_eq!((notes["visibility"].as_str(), notes["creator_id"].as_i64()), (Some("private"), Some(1)));
    assert_eq!(notes["permissions"]["project_access"]["access_level"], 50, "the owner's own");
    t.get("/api/v4/groups/harbour%2Fpilots").await.has(404);
    t.get("/api/v4/groups/harbour%2Fpilots").token("token-of-grace").await.has(200);
}

async fn seed_the_longest_names_fit(t: TestServer) {
    // Three bytes each, which no index compresses away.
    let name: String = (0..255).filter_map(|i| char::from_u32(0x4e00 + i * 79)).collect();
    let (user, secret, description) = ("u".repeat(255), "s".repeat(255), "é".repeat(2_000));
    let mut seed = format!(
        "[[user]]\nusername='{user}'\nname='{name}'\nemail='u@x'\n\
         [[project]]\npath='{user}/{user}'\nname='{name}'\ndescription='{description}'\n\
         [[token]]\nuser='{user}'\nname='{name}'\nscopes=['api']\ntoken='{secret}'\n\
         [[application]]\nname='{name}'\nredirect_uris=['https://a.test/']\nclient_id='{user}'\nclient_secret='{secret}'\n"
    );
    let segments = ["a".repeat(255), "b".repeat(255), "c".repeat(255), "d".repeat(256 - 4), "eee".into()];
    for i in 1..=segments.len() {
        let _ = write!(seed, "[[group]]\npath='{}'\nname='{name}'\n", segments[..i].join("/"));
    }
    assert_eq!(segments.join("/").len(), 1_024);
    planted(&t, &seed).await;
    assert_eq!(t.get(USER).token(&secret).await.has(200).json()["name"], *name);
    for (part, longer, mistake) in [
        ("eee'", "eeee'", "`path` is too long (maximum is 1024 bytes)"),
        ("ééé'", "éééé'", "`description` is too long (maximum is 2000 characters)"),
    ] {
        let longer = seed.replace(part, longer);
        let told = tollhouse::cli::seed::Seed::of(&super::source(&longer)).expect_err("a mistake").0;
        assert!(told.ends_with(mistake), "{told}");
    }
}

async fn seed_memberships_count_and_end(t: TestServer) {
    let today = t.now().date();
    let seed = format!(
        "[[user]]\nusername = 'ada'\n[[user]]\nusername = 'grace'\n[[user]]\nusername = 'edsger'\n\
         [[group]]\npath = 'pilots'\n\
         members = [{{ user = 'ada', level = 'reporter', expires_at = {tomorrow} }},\n\
                    {{ user = 'grace', level = 'owner', expires_at = '{today}' }}]\n\
         [[project]]\npath = 'pilots/charts'\nmembers = [{{ user = 'EDSGER', level = 'maintainer' }}]\n",
        tomorrow = today.plus_days(1),
    );
    let tokens = ["ada", "grace", "edsger"]
        .map(|user| format!("[[token]]\nuser='{user}'\nname='x'\nscopes=['api']\ntoken='token-of-{user}'\n"));
    planted(&t, &(seed + &tokens.concat())).await;
    let charts = |user: &str| t.get("/api/v4/projects/pilots%2Fcharts").token(&format!("token-of-{user}"));
    let level =
        async |user: &str, of: &str| charts(user).await.has(200).json()["permissions"][of]["access_level"].clone();
    assert_eq!(level("ada", "group_access").await, 20);
    assert_eq!(level("edsger", "project_access").await, 40);
    charts("grace").await.has(404);
    t.later(24 * 3600);
    charts("ada").await.has(404);
    charts("edsger").await.has(200);
}

async fn seed_tokens_live_and_dead(t: TestServer) {
    let today = t.now().date();
    let token = |name: &str, more: &str| {
        format!(
            "[[token]]\nuser='ada'\nname='{name}'\nscopes=['read_user','self_rotate']\ntoken='token-{name}'\n{more}\n"
        )
    };
    let seed = [
        "[[user]]\nusername='ada'\n".to_owned(),
        token("usual", ""),
        token("long", "expires_at = 2099-12-31"),
        token("soon", &format!("expires_at = {}", today.plus_days(1))),
        token("today", &format!("expires_at = '{today}'")),
        token("old", "expires_at = 1970-01-02"),
        token("over", "expired = true"),
        token("gone", "revoked = true"),
        token("both", "expired = true\nrevoked = true"),
        "[[token]]\nuser='ada'\nname='chance'\nscopes=['api']\n".to_owned(),
    ];
    let made = planted(&t, &seed.concat()).await;
    let own = |name: &str| t.get("/api/v4/personal_access_tokens/self").token(&format!("token-{name}"));
    for (name, expires_at) in [
        ("usual", today.plus_days(365).to_string()),
        ("long", "2099-12-31".to_owned()),
        ("soon", today.plus_days(1).to_string()),
    ] {
        let answer = own(name).await.has(200).json();
        assert_eq!((answer["name"].as_str(), answer["expires_at"].as_str()), (Some(name), Some(&*expires_at)));
        assert_eq!((answer["active"].as_bool(), answer["user_id"].as_i64()), (Some(true), Some(1)));
    }
    for name in ["today", "old", "over", "both"] {
        own(name).await.is(401, EXPIRED);
    }
    own("gone").await.is(401, REVOKED);
    let randomness = &made.tokens.last().expect("a token").secret;
    assert!(randomness.reveal().starts_with("glpat-"));
    t.get(USER).token(randomness.reveal()).await.has(200);
    // What was chosen is rotated like any other.
    let next = t.post("/api/v4/personal_access_tokens/self/rotate").token("token-long").await.has(200).json();
    t.get(USER).token(next["token"].as_str().expect("a token")).await.has(200);
    own("long").await.is(401, REVOKED);
    // Nothing of it is swept before its time.
    let swept = t.swept("").await;
    let own = |name: &str| swept.get("/api/v4/personal_access_tokens/self").token(&format!("token-{name}"));
    own("old").await.is(401, EXPIRED);
    own("gone").await.is(401, REVOKED);
    swept.app.db.close().await;
}

async fn seed_applications_and_their_tokens(t: TestServer) {
    let seed = r#"
        [[user]]
        username = "ada"
        [[application]]
        name = "Ferry board"
        redirect_uris = ["https://board.test/a", "https://board.test/b"]
        scopes = ["read_user", "openid"]
        client_id = "ferry-board"
        client_secret = "a:'secret' of 8 bytes"
        [[application]]
        name = "Ferry app"
        redirect_uris = ["app.test:/back"]
        confidential = false
        trusted = true
        [[oauth_token]]
        application = "Ferry board"
        user = "ada"
        scopes = ["read_user"]
        token = "access-of-ada"
        refresh_token = "refresh-of-ada"
        expires_in = 60
        [[oauth_token]]
        application = "Ferry board"
        user = "ada"
        scopes = ["read_user"]
        token = "access-expired"
        refresh_token = "refresh-expired"
        expired = true
        [[oauth_token]]
        application = "Ferry board"
        user = "ada"
        scopes = ["read_user"]
        token = "access-revoked"
        refresh_token = "refresh-revoked"
        revoked = true
        [[oauth_token]]
        application = "Ferry board"
        scopes = ["read_user"]
        token = "access-of-the-board"
        [[oauth_token]]
        application = "Ferry app"
        user = "ada"
        scopes = ["api"]
    "#
    .replace(" of 8 bytes", "");
    let made = planted(&t, &seed).await;
    let [board, app] = &made.applications[..] else { panic!("two applications") };
    assert_eq!((board.application.uid.as_str(), board.secret.reveal()), ("ferry-board", "a:'secret'"));
    assert_eq!((board.application.confidential, board.application.trusted), (true, false));
    assert_eq!(board.application.redirect_uris.to_string(), "https://board.test/a\nhttps://board.test/b");
    assert_eq!((app.application.uid.len(), app.application.confidential, app.application.trusted), (64, false, true));
    assert!(app.secret.reveal().starts_with("gloas-"));

    let info = t.get("/oauth/token/info").bearer("access-of-ada").await.has(200).json();
    assert_eq!((info["expires_in"].as_i64(), info["resource_owner_id"].as_i64()), (Some(60), Some(1)));
    assert_eq!(info["application"]["uid"], "ferry-board");
    t.get(USER).bearer("access-of-ada").await.has(200);
    t.get(USER).bearer("access-expired").await.is(401, EXPIRED);
    t.get(USER).bearer("access-revoked").await.is(401, REVOKED);
    t.get(USER).bearer("access-of-the-board").await.is(401, M401);
    t.get("/oauth/token/info").bearer("access-of-the-board").await.has(200);
    assert!(made.oauth_tokens[3].refresh.is_none());
    let last = &made.oauth_tokens[4];
    t.get(USER).bearer(last.access.reveal()).await.has(200);
    assert_eq!(last.refresh.as_ref().map(|secret| secret.reveal().len()), Some(64));

    let refresh = |secret: &str| {
        let form =
            format!("grant_type=refresh_token&refresh_token={secret}&client_id=ferry-board&client_secret=a:'secret'");
        t.post("/oauth/token").form(&form)
    };
    for secret in ["refresh-of-ada", "refresh-expired"] {
        let fresh = refresh(secret).await.has(200).json();
        t.get(USER).bearer(fresh["access_token"].as_str().expect("a token")).await.has(200);
    }
    refresh("refresh-revoked").await.has(400);
    let own = "grant_type=client_credentials&scope=read_user&client_id=ferry-board&client_secret=a:'secret'";
    t.post("/oauth/token").form(own).await.has(200);
}

async fn seed_what_was_asked_for_before_it_was_made_is_known_afterwards(t: TestServer) {
    let seed = "[[user]]\nusername='ada'\n[[token]]\nuser='ada'\nname='x'\nscopes=['api']\ntoken='chosen-secret'\n\
                [[application]]\nname='A'\nredirect_uris=['https://a.test/']\n\
                [[oauth_token]]\napplication='A'\nuser='ada'\nscopes=['api']\ntoken='chosen-access'\n";
    t.get(USER).token("chosen-secret").await.is(401, M401);
    t.get(USER).bearer("chosen-access").await.is(401, M401);
    planted(&t, seed).await;
    t.get(USER).token("chosen-secret").await.has(200);
    t.get(USER).bearer("chosen-access").await.has(200);
    let entries = t.log(1).await;
    assert_eq!(
        entries.iter().map(|(_, what)| *what).collect::<Vec<_>>(),
        [Invalidation::All],
        "one entry, however much was made"
    );
}

async fn seed_nothing_is_half_filled(t: TestServer) {
    let seed = "[[user]]\nusername='ada'\n[[user]]\nusername='grace'\n[[group]]\npath='harbour'\n";
    let fill = std::sync::Arc::new(filler(&t, seed).await);
    let empty = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        let ada = users::named(&mut reader, UserName::Name("ada")).await.expect("an answer");
        drop(reader);
        ada.is_none() && t.count("instance.seeded").await == 0
    };
    t.app.db.faults.set(Fault::Writes);
    assert!(t.app.perform(fill.clone(), &By::system()).await.is_err());
    t.app.db.faults.set(Fault::None);
    assert!(empty().await, "the storage failed");
    // Somebody is in the way of the last line of the file.
    t.group("harbour", Visibility::Public).await;
    assert!(t.app.perform(fill, &By::system()).await.is_err());
    assert!(empty().await, "what came before is not there either");
    assert!(!t.reopened("").await.app.demo);
}

async fn seed_the_trail_has_one_line(t: TestServer) {
    let mut seed = String::new();
    for i in 0..1_000 {
        let _ = write!(
            seed,
            "[[user]]\nusername='u{i}'\n[[token]]\nuser='u{i}'\nname='x'\nscopes=['api']\ntoken='token-{i:04}'\n"
        );
    }
    planted(&t, &seed).await;
    let lines = t.trail(10).await;
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].event.as_str(), lines[0].detail.as_str()), ("instance.seeded", "1000 users, 1000 tokens"));
    assert_eq!(t.get(USER).token("token-0999").await.has(200).json()["id"], 1_000);
}
