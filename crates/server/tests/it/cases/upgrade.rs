//! A database and a settings file of an earlier version, on this one. The files in `upgrade/` were written by that version
//! and are never changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tollhouse_domain::secret::Digest;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::faults::by_hand;
use tollhouse_store::oauth_access_grants;

use crate::postgres::empty_beside;
use crate::process::{Process, ask, exchange, post_form, server};
use crate::test_server::TestServer;

cases![a_database_and_settings_of_step_3_go_on];

const SETTINGS: &str = include_str!("../upgrade/step_3/settings.toml");
const SQLITE: &[u8] = include_bytes!("../upgrade/step_3/sqlite.db.gz");
const SQLITE_SECRETS: &str = include_str!("../upgrade/step_3/sqlite.json");
const POSTGRES: &str = include_str!("../upgrade/step_3/postgres.sql");
const POSTGRES_SECRETS: &str = include_str!("../upgrade/step_3/postgres.json");

/// The settings file holds every default of that version, as `config --print-default` printed it. The database has two
/// people, a personal access token, a session, an application on plain http, its refresh token, and a code whose PKCE
/// challenge is `plain`. `bob`'s password was typed in NFD.
async fn a_database_and_settings_of_step_3_go_on(t: TestServer) {
    let folder = t.folder.path().join("upgraded");
    std::fs::create_dir(&folder).expect("a folder");
    private(&folder, 0o700);
    let secrets = if t.app.db.is_postgres() { POSTGRES_SECRETS } else { SQLITE_SECRETS };
    let secrets: serde_json::Value = serde_json::from_str(secrets).expect("JSON");
    let secret = |name: &str| secrets[name].as_str().expect(name).to_owned();
    let database = restored(&t, &folder).await;
    std::fs::write(folder.join("secret_key"), secret("secret_key")).expect("a file");
    private(&folder.join("secret_key"), 0o600);
    std::fs::write(folder.join("tollhouse.toml"), SETTINGS).expect("a file");

    let mut command = server(&folder, &database);
    // The file says where the data is.
    command.env_remove("TOLLHOUSE_DATA_DIR");
    // The session is as old as its file, which only gets older.
    command.env("TOLLHOUSE_SESSIONS_LONGEST", "0s");
    let process = Process::start(command).await;
    let named = process.said.iter().filter(|line| line.contains("metrics.listen")).count();
    assert_eq!(named, 1, "metrics.allow is no longer used: {:?}", process.said);

    let url: Url = database.parse().expect("a URL");
    let db = Db::join(&url, 0).await.expect("a database");
    let code = Digest::of(secret("open_code").as_bytes());
    let grant = oauth_access_grants::find(&mut db.read().await.expect("a reader"), code).await.expect("a look-up");
    let challenge = grant.and_then(|grant| grant.challenge).map(|challenge| challenge.as_str().to_owned());
    assert!(challenge.is_none_or(|value| !value.contains("must-not-stand-in-clear")), "a verifier is kept in clear");
    db.close().await;

    let at = process.address;
    let (status, user) = ask(at, "GET", "/api/v4/user", &secret("token")).await.expect("an answer");
    assert!(status == 200 && user.contains(r#""username":"ada""#), "{status} {user}");
    let with_session = async |at, path: &str| {
        let cookie = format!("_gitlab_session={}", secret("session"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
        exchange(at, request).await.expect("an answer")
    };
    let (status, projects) = with_session(at, "/api/v4/projects?membership=true").await;
    assert!(status == 200 && projects.contains("ada/lighthouse"), "{status} {projects}");

    let client = format!("client_id={}&client_secret={}", secret("client_id"), secret("client_secret"));
    let refresh = format!("grant_type=refresh_token&refresh_token={}&{client}", secret("refresh_token"));
    let (status, tokens) = post_form(at, "/oauth/token", &refresh).await.expect("an answer");
    assert!(status == 200 && tokens.contains("id_token"), "{status} {tokens}");
    // A redirect URI that could not be registered today under https goes on.
    let to = "redirect_uri=http%3A%2F%2Fportal.example.test%2Fback&response_type=code&scope=api+openid";
    let (status, page) = with_session(at, &format!("/oauth/authorize?client_id={}&{to}", secret("client_id"))).await;
    assert!(status == 200 && page.contains("http://portal.example.test/back?code="), "{status} {page}");
    // The file says `oauth.password_grant = true`, and it counts.
    let password = "Schlu%CC%88ssel+zum+Haus";
    let grant = format!("grant_type=password&username=bob&password={password}&scope=api&{client}");
    let (status, tokens) = post_form(at, "/oauth/token", &grant).await.expect("an answer");
    assert!(status == 200 && tokens.contains("refresh_token"), "{status} {tokens}");
    assert!(process.panics().is_empty());
    assert_eq!(process.terminate().await, Some(0));

    // Where its sign-in is too long ago it has ended with the upgrade, whatever its row says.
    let mut command = server(&folder, &database);
    command.env_remove("TOLLHOUSE_DATA_DIR").env("TOLLHOUSE_SESSIONS_LONGEST", "60s");
    let process = Process::start(command).await;
    let (status, answer) = with_session(process.address, "/api/v4/user").await;
    assert_eq!(status, 401, "{answer}");
    assert_eq!(process.terminate().await, Some(0));
}

/// The database of that version; its URL.
async fn restored(t: &TestServer, folder: &Path) -> String {
    if t.app.db.is_postgres() {
        let url = empty_beside(&t.database_url);
        by_hand(&url.parse().expect("a URL"), POSTGRES).await.expect("restored");
        return url;
    }
    let (packed, database) = (folder.join("tollhouse.db.gz"), folder.join("tollhouse.db"));
    std::fs::write(&packed, SQLITE).expect("a file");
    let unpacked = Command::new("gzip").arg("-d").arg(&packed).status().expect("gzip runs");
    assert!(unpacked.success());
    private(&database, 0o600);
    format!("sqlite:{}", database.display())
}

fn private(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}
