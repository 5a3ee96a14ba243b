//! `tollhouse backup`.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tollhouse_store::db::Db;
use tollhouse_store::faults::by_hand;

use super::{Said, said};
use crate::process::{Process, ask, exchange, server, tollhouse};
use crate::test_server::{REVOKED, TestServer};

cases![
    a_copy_is_made_while_a_server_writes_and_a_server_starts_from_it,
    a_copy_overwrites_nothing_and_leaves_nothing_behind,
    a_damaged_database_is_not_copied,
    an_interrupted_copy_leaves_nothing_behind,
    postgresql_has_a_program_for_copies,
];

/// `tollhouse` with the key beside the database.
fn plain(folder: &Path, words: &[&str]) -> Command {
    let mut command = tollhouse(folder);
    command.args(words).env_remove("TOLLHOUSE_SECRET_KEY_FILE");
    command
}

async fn backup(folder: &Path, words: &[&str]) -> Said {
    said(plain(folder, &[&["backup"], words].concat()), b"").await
}

async fn serve(folder: &Path, url: &str) -> Process {
    let mut command = server(folder, url);
    command.env_remove("TOLLHOUSE_SECRET_KEY_FILE");
    Process::start(command).await
}

/// Everything in a folder whose name begins so.
fn names(folder: &Path, begin: &str) -> Vec<String> {
    let all = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").file_name());
    let mut all: Vec<String> = all.filter_map(|name| name.into_string().ok()).collect();
    all.retain(|name| name.starts_with(begin));
    all.sort();
    all
}

/// So large that a copy takes a while.
async fn grow(url: &str, rows: u32) {
    let sql = format!(
        "INSERT INTO audit_events (at, event, credential, target_kind, target_id, detail)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT 0, 'test', 'nothing', 'test', i, hex(randomblob(1000)) FROM n"
    );
    by_hand(&url.parse().expect("a URL"), &sql).await.expect("rows");
}

async fn published(server: &Process) -> String {
    let address = server.address;
    let head = format!("GET /oauth/discovery/keys HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let (status, body) = exchange(address, head).await.expect("an answer");
    assert_eq!(status, 200);
    body
}

async fn a_copy_is_made_while_a_server_writes_and_a_server_starts_from_it(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    const SELF: &str = "/api/v4/personal_access_tokens/self";
    let (folder, url) = (t.folder.path(), t.empty_database());
    let first = serve(folder, &url).await;
    let keys = published(&first).await;
    let run = async |words: &[&str]| said(plain(folder, &[words, &["--database", &url]].concat()), b"").await;
    run(&["user", "create", "ada"]).await.done();
    let token = ["token", "create", "--user", "ada", "--name", "x", "--scopes", "api"];
    let (live, dead, mut moving) = (run(&token).await, run(&token).await, run(&token).await.done().to_owned());
    assert_eq!(ask(first.address, "DELETE", SELF, dead.done()).await.map(|(status, _)| status), Some(204));
    grow(&url, 10_000).await;

    // Writes go on, one after the other; each is timed.
    let (over, written, slowest) = (Cell::new(false), Cell::new(0), Cell::new(Duration::ZERO));
    let writing = async {
        while !over.get() {
            let began = Instant::now();
            let (status, body) =
                ask(first.address, "POST", &format!("{SELF}/rotate"), &moving).await.expect("an answer");
            assert_eq!(status, 200, "{body}");
            slowest.set(slowest.get().max(began.elapsed()));
            let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            moving = answer["token"].as_str().expect("a token").to_owned();
            written.set(written.get() + 1);
        }
    };
    let copying = async {
        let before = written.get();
        let told = backup(folder, &["copy.db", "--with-key", "--database", &url]).await;
        let during = written.get() - before;
        over.set(true);
        (told, during)
    };
    let ((), (told, during)) = tokio::join!(writing, copying);
    assert!(told.done().starts_with("copied ") && told.done().ends_with("the secret of its keys is in copy.db.key"));
    assert!(during > 0 && slowest.get() < Duration::from_secs(4), "{during} writes, the slowest {:?}", slowest.get());
    for name in ["copy.db", "copy.db.key"] {
        let mode = std::fs::metadata(folder.join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(names(folder, "copy.db"), ["copy.db", "copy.db.key"]);

    // What happens from now on is not in the copy.
    assert_eq!(ask(first.address, "DELETE", SELF, live.done()).await.map(|(status, _)| status), Some(204));
    first.kill().await;
    let restored = serve(folder, &format!("sqlite:{}", folder.join("copy.db").display())).await;
    assert_eq!(published(&restored).await, keys, "it signs with the same keys");
    assert_eq!(ask(restored.address, "GET", SELF, live.done()).await.map(|(status, _)| status), Some(200));
    assert_eq!(ask(restored.address, "GET", SELF, dead.done()).await, Some((401, REVOKED.to_owned())));
    assert_eq!(restored.terminate().await, Some(0));
}

async fn a_copy_overwrites_nothing_and_leaves_nothing_behind(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let folder = t.folder.path();
    let copy = async |words: &[&str]| backup(folder, &[words, &["--database", &t.database_url]].concat()).await;
    std::fs::write(folder.join("there"), "mine").expect("a file");
    std::fs::write(folder.join("beside.key"), "mine").expect("a file");
    std::os::unix::fs::symlink("nowhere", folder.join("link")).expect("a link");
    std::fs::create_dir(folder.join("open")).expect("a folder");
    std::fs::set_permissions(folder.join("open"), PermissionsExt::from_mode(0o777)).expect("a mode");
    let taken = |name: &str| format!("{name} already exists, and is not overwritten");
    assert_eq!(copy(&["there"]).await.refused(1), taken("there"));
    assert_eq!(copy(&["."]).await.refused(1), taken("."));
    assert_eq!(copy(&["link"]).await.refused(1), taken("link"));
    assert_eq!(copy(&["beside", "--with-key"]).await.refused(1), taken("beside.key"));
    assert!(copy(&["no/where"]).await.refused(1).contains("No such file or directory"));
    assert_eq!(copy(&["no/.."]).await.refused(2), "no/.. is not the name of a file");
    assert!(copy(&["open/copy"]).await.refused(2).ends_with("chmod o-w open"));
    // The secret of this server is not beside its database.
    assert!(copy(&["copy", "--with-key"]).await.refused(2).starts_with("secret_key_file: "));
    let mut wrong = plain(folder, &["backup", "copy", "--with-key", "--database", &t.database_url]);
    std::fs::write(folder.join("wrong"), "0".repeat(64)).expect("a file");
    std::fs::set_permissions(folder.join("wrong"), PermissionsExt::from_mode(0o600)).expect("a mode");
    t.app.keys().await.expect("keys");
    wrong.env("TOLLHOUSE_SECRET_KEY_FILE", folder.join("wrong"));
    assert!(said(wrong, b"").await.refused(1).starts_with("the secret cannot decrypt the keys"));
    for name in ["missing.db", "there"] {
        let words = ["copy", "--database", &format!("sqlite:{name}")];
        assert!(backup(folder, &words).await.refused(1).starts_with(&format!("sqlite:{name}: ")), "{name}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("there")).expect("a file"), "mine");
    assert_eq!(names(folder, "copy"), Vec::<String>::new());
    assert_eq!(names(&folder.join("open"), ""), Vec::<String>::new());
    // Without the secret, and with keys that need none.
    let done = copy(&["copy"]).await;
    assert!(done.done().ends_with(&format!("keep {}.key too", folder.join("tollhouse.db").display())), "{done:?}");
    let mut open = plain(folder, &["backup", "other", "--with-key", "--database", &t.database_url]);
    open.env("TOLLHOUSE_KEYS_AT_REST", "open");
    assert_eq!(said(open, b"").await.refused(2), "there is no secret to copy: keys.at_rest is \"open\"");
    assert_eq!(names(folder, "copy"), ["copy"]);
}

async fn a_damaged_database_is_not_copied(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let (folder, url) = (t.folder.path(), t.empty_database());
    let parsed = url.parse().expect("a URL");
    Db::open(&parsed, 0).await.expect("a database").close().await;
    grow(&url, 500).await;
    let path = folder.join("empty.db");
    let mut bytes = std::fs::read(&path).expect("a file");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 3 * 4096].fill(0xa5);
    std::fs::write(&path, bytes).expect("a file");
    let told = backup(folder, &["copy.db", "--database", &url]).await;
    assert!(told.refused(1).starts_with("the copy of "), "{told:?}");
    assert_eq!(names(folder, "copy"), Vec::<String>::new());
}

async fn an_interrupted_copy_leaves_nothing_behind(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let folder = t.folder.path();
    grow(&t.database_url, 30_000).await;
    for signal in ["-TERM", "-HUP", "-QUIT"] {
        let mut child =
            plain(folder, &["backup", "copy.db", "--database", &t.database_url]).spawn().expect("it starts");
        while !names(folder, "copy").iter().any(|name| name.ends_with(".part")) {
            assert!(child.try_wait().expect("it runs").is_none(), "it has begun");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        let code = child.wait().expect("it ends").code();
        assert_eq!(code, Some(1), "{signal}");
        assert_eq!(names(folder, "copy"), Vec::<String>::new(), "{signal}");
    }
}

async fn postgresql_has_a_program_for_copies(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let told = backup(t.folder.path(), &["copy", "--database", &t.database_url]).await;
    assert!(told.refused(2).contains("use pg_dump --format=custom --file=FILE"), "{told:?}");
    assert_eq!(names(t.folder.path(), "copy"), Vec::<String>::new());
}
