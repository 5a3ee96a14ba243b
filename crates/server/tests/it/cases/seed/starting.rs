//! `demo --seed` as a process.

use std::io::Write;
use std::process::Stdio;

use tollhouse_store::audit_events;
use tollhouse_store::db::Db;

use super::example;
use crate::process::{Process, ask, output, tollhouse};
use crate::test_server::{EXPIRED, REVOKED, TestServer};

cases![
    seed_the_example_holds_what_it_says,
    a_seed_comes_by_standard_input,
    seed_a_mistake_ends_it_before_anything_is_made,
    t33_what_a_seed_leaves_to_chance_is_new_each_time,
    t33_a_seeded_database_is_not_served,
];

async fn seed_the_example_holds_what_it_says(t: TestServer) {
    let (file, empty) = (example().display().to_string(), t.empty_database());
    let (server, facts) = Process::demo(t.folder.path(), &["--seed", &file, "--database", &empty]).await;
    let at = server.address;
    for (user, id) in [("root", 1), ("ada", 2), ("grace", 3), ("mallory", 4)] {
        assert_eq!(facts["users"][user]["id"], id, "{facts}");
    }
    for (project, id) in [("harbour/timetable", 1), ("harbour/pilots/charts", 2), ("ada/notes", 3)] {
        assert_eq!(facts["projects"][project], id, "{facts}");
    }
    let group = facts["groups"]["harbour/pilots"].as_i64().expect("its number");
    let status = async |path: &str, token: &str| ask(at, "GET", path, token).await.expect("an answer").0;
    assert_eq!(status("/api/v4/user", "glpat-root-everything").await, 200);
    assert_eq!(status("/api/v4/user", "glpat-mallory-api").await, 403);
    assert_eq!(status("/api/v4/projects/2", "glpat-ada-reads").await, 200);
    assert_eq!(status("/api/v4/projects/3", "glpat-ada-api").await, 200);
    assert_eq!(status(&format!("/api/v4/groups/{group}"), "glpat-ada-api").await, 200);
    let own = "/api/v4/personal_access_tokens/self";
    assert_eq!(ask(at, "GET", own, "glpat-ada-expired").await, Some((401, EXPIRED.to_owned())));
    assert_eq!(ask(at, "GET", own, "glpat-ada-revoked").await, Some((401, REVOKED.to_owned())));
    for token in facts["tokens"].as_array().expect("tokens") {
        let (name, secret) = (token["name"].as_str().expect("a name"), token["token"].as_str().expect("a secret"));
        let live = !["over", "withdrawn", "of a blocked user"].contains(&name);
        assert_eq!(status("/api/v4/user", secret).await == 200, live, "{name}");
    }
    let form = "grant_type=refresh_token&refresh_token=oauth-ada-expired-refresh&client_id=ferry-board\
                &client_secret=ferry-board-secret";
    let (status, body) = crate::process::post_form(at, "/oauth/token", form).await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert_eq!(facts["applications"][1]["client_id"], "ferry-app");
    assert_eq!(server.terminate().await, Some(0));
    // The demo does not offer the grant; a server on its database can.
    let mut command = crate::process::server(t.folder.path(), &empty);
    command.arg("--demo-data").env("TOLLHOUSE_OAUTH_PASSWORD_GRANT", "true");
    if empty.starts_with("sqlite:") {
        // The demo made its secret beside the file.
        command.env_remove("TOLLHOUSE_SECRET_KEY_FILE");
    }
    let server = Process::start(command).await;
    let at = server.address;
    // Of root in clear, of ada as it was hashed elsewhere.
    let password = "correct horse battery";
    for user in ["root", "ada"] {
        let form = format!(
            "grant_type=password&username={user}&password={password}&scope=read_user&client_id=ferry-board\
             &client_secret=ferry-board-secret"
        );
        let (status, body) = crate::process::post_form(at, "/oauth/token", &form).await.expect("an answer");
        assert_eq!(status, 200, "{user}: {body}");
    }
    assert_eq!(server.terminate().await, Some(0));
    let db = Db::open(&empty.parse().expect("a URL"), 0).await.expect("it stays");
    let lines = audit_events::newest(&mut db.read().await.expect("a reader"), 100).await.expect("the trail");
    let seeded: Vec<_> = lines.iter().filter(|line| line.event == "instance.seeded").collect();
    assert_eq!(seeded.len(), 1);
    assert_eq!(seeded[0].detail, "4 users, 2 groups, 3 projects, 7 tokens, 2 applications, 2 OAuth tokens");
    db.close().await;
}

async fn a_seed_comes_by_standard_input(t: TestServer) {
    let mut command = tollhouse(t.folder.path());
    command.args(["demo", "--seed", "-", "--listen", "127.0.0.1:0", "--json", "--database", &t.empty_database()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let seed = b"[[user]]\nusername = 'ada'\n[[token]]\nuser = 'ada'\nname = \"it's\"\nscopes = ['api']\ntoken = \"it's-a-secret\"\n";
    child.stdin.take().expect("a pipe").write_all(seed).expect("it listens");
    let mut words = std::io::BufReader::new(child.stdout.take().expect("its words"));
    let said = tokio::task::spawn_blocking(move || {
        use std::io::BufRead;
        let mut said = String::new();
        while !said.contains("Ctrl-C") && words.read_line(&mut said).expect("its words") > 0 {}
        said
    });
    let said = said.await.expect("its words");
    let id = child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(said.contains("From standard input: 1 user, 1 token\n"), "{said}");
    assert!(said.contains(r"  curl -s -H 'PRIVATE-TOKEN: it'\''s-a-secret' http://127.0.0.1:"), "{said}");
}

async fn seed_a_mistake_ends_it_before_anything_is_made(t: TestServer) {
    let empty = t.empty_database();
    let file = t.folder.path().join("seed.toml");
    std::fs::write(&file, "[[user]]\nusername = 'a b'\n[[user]]\nusername = 'c d'\n").expect("a file");
    let refused = async |seed: &str| {
        let mut command = tollhouse(t.folder.path());
        command.args(["demo", "--listen", "127.0.0.1:0", "--database", &empty, "--seed", seed]);
        let output = output(command).await;
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let told = refused("seed.toml").await;
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert_eq!(lines[0], "tollhouse: seed.toml: 2 mistakes, so nothing was created");
    assert!(lines[1].starts_with("seed.toml:2: user `a b`: ") && lines[2].starts_with("seed.toml:4: user `c d`: "));
    assert!(refused(".").await.starts_with("tollhouse: .: Is a directory"));
    assert!(refused("nowhere.toml").await.starts_with("tollhouse: nowhere.toml: No such file"));
    // Standard input is closed.
    assert_eq!(refused("-").await, "tollhouse: standard input:1: the file is empty\n");
    assert!(Db::is_empty(&empty.parse().expect("a URL")).await.expect("an answer"));
    assert!(!t.folder.path().join("empty.db").exists());
}

async fn t33_what_a_seed_leaves_to_chance_is_new_each_time(t: TestServer) {
    let file = t.folder.path().join("seed.toml");
    let text = "[[user]]\nusername='u'\n[[token]]\nuser='u'\nname='x'\nscopes=['api']\n\
                [[token]]\nuser='u'\nname='x'\nscopes=['api']\ntoken='chosen-secret'\n\
                [[application]]\nname='A'\nredirect_uris=['https://a.test/']\n";
    std::fs::write(&file, text).expect("a file");
    let secrets = async || {
        let (server, facts) = Process::demo(t.folder.path(), &["--seed", "seed.toml"]).await;
        server.kill().await;
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let application = &facts["applications"][0];
        let made = [&facts["tokens"][0]["token"], &application["client_id"], &application["client_secret"]].map(text);
        (made, text(&facts["tokens"][1]["token"]))
    };
    let (first, second) = (secrets().await, secrets().await);
    assert!(first.0.iter().zip(&second.0).all(|(one, other)| one != other));
    assert_eq!((first.1.as_str(), second.1.as_str()), ("chosen-secret", "chosen-secret"));
}

async fn t33_a_seeded_database_is_not_served(t: TestServer) {
    let (file, empty) = (example().display().to_string(), t.empty_database());
    let (server, _) = Process::demo(t.folder.path(), &["--seed", &file, "--database", &empty]).await;
    assert_eq!(server.terminate().await, Some(0));
    let ended = async |arguments: &[&str]| {
        let mut command = tollhouse(t.folder.path());
        command.args(arguments).args(["--listen", "127.0.0.1:0", "--database", &empty]);
        let output = output(command).await;
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (code, text) = ended(&["serve"]).await;
    assert!(code == Some(2) && text.contains("--demo-data"), "{text}");
    let (code, text) = ended(&["demo", "--seed", &file]).await;
    assert!(code == Some(1) && text.contains("is not empty"), "{text}");
}
