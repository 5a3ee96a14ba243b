//! What database a command takes, and which it leaves alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use tollhouse_store::db::Db;
use tollhouse_store::faults::by_hand;

use super::{Said, said};
use crate::process::{Process, tollhouse};
use crate::test_server::TestServer;

cases![
    a_command_makes_no_database,
    a_foreign_database_is_left_as_it_is,
    an_older_or_newer_schema_is_refused,
    the_settings_say_where_it_is,
    one_file_is_for_the_server_and_for_commands,
    what_root_makes_belongs_to_the_server,
    commands_at_once_do_not_hinder_one_another,
    a_full_disk_takes_nothing_in_and_lets_rights_be_taken_away,
    t31_a_database_that_others_can_read_is_refused,
    t31_a_database_of_another_user_is_refused,
    t31_a_file_with_a_secret_is_checked,
    t31_a_password_in_a_url_draws_a_warning,
];

/// Why a server does not open the database.
async fn not_served(t: &TestServer) -> String {
    Db::open(&t.url(), 0).await.err().expect("it is not opened").to_string()
}

/// A command on some other database.
async fn list(t: &TestServer, url: &str) -> Said {
    let mut command = tollhouse(t.folder.path());
    command.args(["user", "list", "--database", url]);
    said(command, b"").await
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn private(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("a mode");
}

async fn a_command_makes_no_database(t: TestServer) {
    let (missing, empty) = (t.folder.path().join("missing.db"), t.folder.path().join("empty.db"));
    std::fs::write(&empty, "").expect("a file");
    private(&empty);
    for (path, text) in [
        (&missing, "there is no such file; `tollhouse serve` creates it"),
        (&empty, "it is empty; `tollhouse serve` creates the tables"),
    ] {
        assert_eq!(list(&t, &sqlite(path)).await.refused(1), format!("{}: {text}", sqlite(path)));
    }
    assert!(!missing.exists() && std::fs::read(&empty).expect("a file").is_empty());
    assert!(list(&t, "postgres://nobody@127.0.0.1:1/x").await.refused(1).starts_with("postgres://127.0.0.1:1/x: "));
    assert!(list(&t, "mysql:x").await.refused(2).starts_with("database: a database is sqlite:PATH or "));
    assert!(list(&t, "sqlite::memory:").await.refused(2).starts_with("database: a SQLite database is a file"));
    if t.app.db.is_postgres() {
        by_hand(&t.url(), "CREATE DATABASE nothing_in_it").await.expect("made");
        let (start, end) = t.database_url.split_once("localhost/").expect("a URL");
        let (_, end) = end.split_once('?').expect("a URL");
        let said = list(&t, &format!("{start}localhost/nothing_in_it?{end}")).await;
        assert!(said.refused(1).ends_with("it is empty; `tollhouse serve` creates the tables"));
    }
    let mut folder = tollhouse(t.folder.path());
    folder.args(["user", "list", "--database", "sqlite:."]);
    assert!(matches!(said(folder, b"").await.code, Some(1 | 2)), "a folder is none");
}

async fn a_foreign_database_is_left_as_it_is(t: TestServer) {
    let text = "it is not a database of Tollhouse";
    if t.app.db.is_postgres() {
        by_hand(&t.url(), "ALTER TABLE _sqlx_migrations RENAME TO other").await.expect("renamed");
        assert!(list(&t, &t.database_url).await.refused(1).ends_with(text));
        assert_eq!(not_served(&t).await, text);
        return;
    }
    let (garbage, other) = (t.folder.path().join("garbage.db"), t.folder.path().join("other.db"));
    std::fs::write(&garbage, "no database at all\n".repeat(1000)).expect("a file");
    // Of another program that also keeps its steps in this table.
    let sql = "CREATE TABLE _sqlx_migrations (version BIGINT, description TEXT); INSERT INTO _sqlx_migrations VALUES (1, 'init'), (2, 'more')";
    by_hand(&sqlite(&other).parse().expect("a URL"), sql).await.expect("made");
    for path in [&garbage, &other] {
        private(path);
        let before = std::fs::read(path).expect("a file");
        assert_eq!(list(&t, &sqlite(path)).await.refused(1), format!("{}: {text}", sqlite(path)));
        assert!(std::fs::read(path).expect("a file") == before, "not a byte is changed");
    }
    let beside = std::fs::read_dir(t.folder.path()).expect("a folder").flatten();
    let beside: Vec<_> = beside.map(|file| file.file_name().into_string().expect("a name")).collect();
    assert!(!beside.iter().any(|name| name.starts_with("other.db-") || name.starts_with("garbage.db-")), "{beside:?}");
}

async fn an_older_or_newer_schema_is_refused(t: TestServer) {
    let now = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    by_hand(&t.url(), now).await.expect("changed");
    let older = list(&t, &t.database_url).await;
    assert!(older.refused(1).ends_with("it is of an older version; `tollhouse serve` updates it"));
    by_hand(&t.url(), "UPDATE _sqlx_migrations SET version = 999 WHERE version > 1 AND version = (SELECT max(version) FROM _sqlx_migrations)").await.expect("changed");
    let none = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) SELECT 999, 'x', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1 AND NOT EXISTS (SELECT 1 FROM _sqlx_migrations WHERE version = 999)";
    by_hand(&t.url(), none).await.expect("changed");
    let newer = list(&t, &t.database_url).await;
    let text = "it is of a newer version than this program";
    assert!(newer.refused(1).ends_with(text));
    assert_eq!(not_served(&t).await, text);
    let url = t.url();
    let create = ["user", "create", "x", "--email", "x@example.test"];
    assert!(t.shell(&create).await.refused(1).starts_with(&format!("{url}: ")));
}

async fn the_settings_say_where_it_is(t: TestServer) {
    t.user("ada").await;
    let run = async |name: &str, value: &str| {
        let mut command = tollhouse(t.folder.path());
        command.args(["user", "list"]).env(name, value);
        said(command, b"").await
    };
    assert!(run("TOLLHOUSE_DATABASE", &t.database_url).await.done().contains("ada"));
    let file = t.folder.path().join("elsewhere.toml");
    let lines =
        format!("database = '{}'\nexternal_url = 'https://git.example.test'\nlisten = '0.0.0.0:443'\n", t.database_url);
    std::fs::write(&file, lines).expect("a file");
    assert!(run("TOLLHOUSE_CONFIG", "elsewhere.toml").await.done().contains("ada"));
    let mut command = tollhouse(t.folder.path());
    command.args(["user", "--json", "list", "--config"]).arg(&file);
    assert_eq!(said(command, b"").await.json()[0]["web_url"], "https://git.example.test/ada");
    assert!(run("TOLLHOUSE_CONFIG", "nowhere.toml").await.refused(2).starts_with("nowhere.toml: "));
    assert_eq!(
        run("TOLLHOUSE_NOPE", "1").await.refused(2),
        "TOLLHOUSE_NOPE: there is no such setting; tollhouse config --print-default lists all"
    );
    // Neither flag nor file: what `serve` would take here, which is not there.
    let nowhere = run("TOLLHOUSE_PASSWORD", "a secret that is no setting").await;
    let etc = t.folder.path().join("etc/tollhouse.toml");
    assert_eq!(
        nowhere.refused(1),
        format!(
            "sqlite:tollhouse-data/tollhouse.db: there is no such file; `tollhouse serve` creates it (settings: \
             the defaults, because there is no tollhouse.toml in this folder and no {}; --config names a file)",
            etc.display()
        )
    );
    let empty = run("TOLLHOUSE_CONFIG", "").await;
    assert!(empty.code == Some(2) && empty.err.contains("'--config <FILE>'"), "{empty:?}");
}

/// `--config`, then `TOLLHOUSE_CONFIG`, then the file here, then that of the machine; and for the server the same.
async fn one_file_is_for_the_server_and_for_commands(t: TestServer) {
    t.user("ada").await;
    let folder = t.folder.path();
    let write = |name: &str, lines: &str| {
        std::fs::create_dir_all(folder.join(name).parent().expect("a folder")).expect("a folder");
        std::fs::write(folder.join(name), lines).expect("a file");
    };
    let there = |name: &str| format!("database = 'sqlite:{name}.db'\n");
    write("etc/tollhouse.toml", &format!("database = '{}'\n", t.database_url));
    let run = async |set: &[(&str, &str)], flags: &[&str]| {
        let mut command = tollhouse(folder);
        command.args(["user", "list"]).args(flags).envs(set.iter().copied());
        said(command, b"").await
    };
    assert!(run(&[], &[]).await.done().contains("ada"));
    // From any folder.
    let mut elsewhere = tollhouse(folder);
    elsewhere.args(["user", "list"]).current_dir("/");
    assert!(said(elsewhere, b"").await.done().contains("ada"));
    // Each comes before the one that is above it here, and a path in it is relative to it.
    write("tollhouse.toml", &there("here"));
    write("named/by-variable.toml", &there("variable"));
    write("named/by-flag.toml", &there("flag"));
    let names = async |set: &[(&str, &str)], flags: &[&str], database: &str, file: &str| {
        let text =
            format!("sqlite:{database}.db: there is no such file; `tollhouse serve` creates it (settings: {file})");
        assert_eq!(run(set, flags).await.refused(1), text);
    };
    let by_variable = [("TOLLHOUSE_CONFIG", "named/by-variable.toml")];
    names(&[], &[], "here", "tollhouse.toml").await;
    names(&by_variable, &[], "named/variable", "named/by-variable.toml").await;
    names(&by_variable, &["--config", "named/by-flag.toml"], "named/flag", "named/by-flag.toml").await;
    // One that cannot be read is not passed over.
    std::fs::remove_file(folder.join("tollhouse.toml")).expect("it was there");
    std::fs::create_dir(folder.join("tollhouse.toml")).expect("a folder");
    assert!(run(&[], &[]).await.refused(2).starts_with("tollhouse.toml: "));
    std::fs::remove_dir(folder.join("tollhouse.toml")).expect("it was there");
    // The server takes the same.
    t.leave().await;
    let mut serve = tollhouse(folder);
    serve.arg("serve").current_dir("/").env("TOLLHOUSE_LOG_FORMAT", "json").env("TOLLHOUSE_LISTEN", "127.0.0.1:0");
    serve.env("TOLLHOUSE_DATA_DIR", folder.join("data")).stdout(Stdio::null()).stderr(Stdio::piped());
    assert_eq!(Process::start(serve).await.terminate().await, Some(0));
}

/// Root may run a command on the database of a server that is another user. Nothing is left that this one cannot open.
async fn what_root_makes_belongs_to_the_server(t: TestServer) {
    // Only root gives files away, and there are none on PostgreSQL.
    if t.app.db.is_postgres() || !rustix::process::geteuid().is_root() {
        return;
    }
    t.user("ada").await;
    t.leave().await;
    let folder = t.folder.path();
    let files = || -> Vec<_> {
        let folders = [folder.to_owned(), folder.join("data")];
        let inside = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        inside.flatten().flatten().map(|file| file.path()).collect()
    };
    for path in files().iter().map(std::path::PathBuf::as_path).chain([folder]) {
        std::os::unix::fs::chown(path, Some(SERVER), Some(SERVER)).expect("it changes hands");
    }
    let all_are_its_own = |when: &str| {
        for path in files() {
            let Ok(known) = std::fs::symlink_metadata(&path) else { continue };
            assert_eq!((known.uid(), known.gid()), (SERVER, SERVER), "{when}: {}", path.display());
        }
    };
    std::fs::remove_file(folder.join("tollhouse.db.lock")).expect("it was there");
    t.shell(&["user", "create", "grace", "--email", "grace@example.test"]).await.done();
    all_are_its_own("after a command");
    let copy = folder.join("data/copy.db");
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    std::os::unix::fs::chown(folder.join("data"), Some(SERVER), Some(SERVER)).expect("it changes hands");
    t.shell(&["backup", copy.to_str().expect("a path")]).await.done();
    all_are_its_own("after a copy was made");
    // While one is at work: it waits for the password, and has the database open.
    let mut waits = tokio::process::Command::from(t.command(&["user", "password", "grace", "--password-stdin"]));
    let mut waits = waits.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
    let open = || files().iter().any(|path| path.ends_with("tollhouse.db-wal"));
    // SQLite makes a file and gives it away in two steps.
    let given = || {
        let known = files().into_iter().filter_map(|path| std::fs::symlink_metadata(path).ok());
        known.into_iter().all(|known| known.uid() == SERVER)
    };
    for _ in 0..500 {
        if open() && given() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(open(), "{:?}", files());
    all_are_its_own("while a command works");
    waits.kill().await.expect("it dies");
    all_are_its_own("after a command was killed");
    // A server that root has started by mistake, with everything that it makes.
    let server = Process::serve(&t, &[]).await;
    all_are_its_own("while root serves");
    assert!(folder.join("tollhouse.db.lock").exists() && folder.join("data/initial_root_password").exists());
    assert_eq!(server.terminate().await, Some(0));
    all_are_its_own("after root has served");
}

/// Somebody who is not root.
const SERVER: u32 = 65_534;

async fn commands_at_once_do_not_hinder_one_another(t: TestServer) {
    let make = |login: String| {
        let t = t.clone();
        tokio::task::spawn_local(async move {
            t.shell(&["user", "create", &login, "--email", &format!("{login}@example.test")]).await
        })
    };
    let same: Vec<_> = (0..6).map(|_| make("ada".into())).collect();
    let others: Vec<_> = (0..6).map(|i| make(format!("u{i}"))).collect();
    // The server goes on meanwhile.
    for i in 0..20 {
        t.user(&format!("own{i}")).await;
    }
    let mut made = 0;
    for run in same {
        let said = run.await.expect("an end");
        match said.code {
            Some(0) => made += 1,
            _ => assert_eq!(said.refused(1), "username \"ada\", email \"ada@example.test\" has already been taken"),
        }
    }
    assert_eq!(made, 1);
    for run in others {
        run.await.expect("an end").done();
    }
    assert_eq!(t.count("user.created").await, 27);
}

async fn a_full_disk_takes_nothing_in_and_lets_rights_be_taken_away(t: TestServer) {
    t.user("ada").await;
    let full = async |words: &[&str]| {
        let mut command = t.command(words);
        command.env("TOLLHOUSE_STORAGE_RESERVE", "1000000GiB");
        said(command, b"").await
    };
    let made = full(&["user", "create", "x", "--email", "x@example.test"]).await;
    // Of a PostgreSQL server's disk nothing is known.
    if t.app.db.is_postgres() {
        made.done();
    } else {
        assert_eq!(made.refused(1), "the disk is almost full, so new data is refused (storage.reserve)");
    }
    assert_eq!(full(&["user", "block", "ada"]).await.done(), "ada (1) is blocked now");
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

async fn t31_a_database_that_others_can_read_is_refused(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let (folder, database) = (t.folder.path(), t.folder.path().join("tollhouse.db"));
    let lists = async || t.shell(&["user", "list"]).await;
    for name in ["tollhouse.db", "tollhouse.db-wal"] {
        let file = folder.join(name);
        let path = file.display();
        for open in [0o604, 0o602, 0o644, 0o666] {
            mode(&file, open);
            let text = format!("{path} is open to other users of this machine: chmod o-rwx {path}");
            assert_eq!(lists().await.refused(2), text, "{open:o}");
        }
        for closed in [0o660, 0o640, 0o600] {
            // SQLite gives a log that is empty the mode that the database has at that moment.
            mode(&folder.join("tollhouse.db-wal"), closed);
            mode(&file, closed);
            lists().await.done();
        }
    }
    let text = format!("other users of this machine can replace files in {0}: chmod o-w {0}", folder.display());
    for open in [0o777, 0o773] {
        mode(folder, open);
        assert_eq!(lists().await.refused(2), text, "{open:o}");
    }
    for closed in [0o1777, 0o775, 0o700] {
        mode(folder, closed);
        lists().await.done();
    }
    // A link does not hide where the file is.
    let (apart, link) = (folder.join("apart"), folder.join("link.db"));
    std::fs::create_dir(&apart).expect("a folder");
    std::os::unix::fs::symlink(&link, apart.join("x.db")).expect("a link");
    std::os::unix::fs::symlink(&database, &link).expect("a link");
    list(&t, &sqlite(&link)).await.done();
    list(&t, &sqlite(&apart.join("x.db"))).await.done();
    mode(&apart, 0o777);
    assert!(
        list(&t, &sqlite(&apart.join("x.db"))).await.refused(2).ends_with(&format!("chmod o-w {}", apart.display()))
    );
    mode(folder, 0o777);
    mode(&apart, 0o700);
    assert_eq!(list(&t, &sqlite(&apart.join("x.db"))).await.refused(2), text);
}

/// Root may work on everybody's files, so this needs the program to run as another user.
async fn t31_a_database_of_another_user_is_refused(t: TestServer) {
    const NOBODY: u32 = 65_534;
    if t.app.db.is_postgres() || !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, database) = (t.folder.path(), t.folder.path().join("tollhouse.db"));
    std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).expect("an owner");
    let as_nobody = async |words: &[&str]| {
        let ours = t.command(words);
        let mut command = std::process::Command::new("setpriv");
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
        command.args(ids).arg(ours.get_program()).args(ours.get_args()).current_dir(folder).env_clear();
        said(command, b"").await
    };
    // The folder of the program may be closed to others; then the table in `file_access.rs` is all there is.
    if as_nobody(&["user", "list", "--help"]).await.code != Some(0) {
        return;
    }
    let list = async || as_nobody(&["user", "list"]).await;
    std::os::unix::fs::chown(&database, Some(7), Some(NOBODY)).expect("an owner");
    mode(&database, 0o660);
    let path = database.display();
    let text = format!(
        "{path} belongs to the user 7, who is neither the user of this process nor root: chown {NOBODY} {path}"
    );
    assert_eq!(list().await.refused(2), text);
    mode(&database, 0o600);
    let text = format!(
        "sqlite:{path}: permission denied: run this as the user of the server or as root, such as with sudo -u tollhouse"
    );
    assert_eq!(list().await.refused(1), text);
    mode(&database, 0o660);
    t.shell(&["user", "list"]).await.done();
    for name in ["tollhouse.db", "tollhouse.db-wal", "tollhouse.db-shm"] {
        std::os::unix::fs::chown(folder.join(name), Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
    list().await.done();
}

async fn t31_a_file_with_a_secret_is_checked(t: TestServer) {
    let secret = t.folder.path().join("database-url");
    std::fs::write(&secret, &t.database_url).expect("a file");
    let settings = t.folder.path().join("settings.toml");
    std::fs::write(&settings, format!("database_file = '{}'\n", secret.display())).expect("a file");
    let by_file = async || {
        let mut command = tollhouse(t.folder.path());
        command.args(["user", "list", "--config", "settings.toml"]);
        said(command, b"").await
    };
    let by_variable = async || {
        let mut command = tollhouse(t.folder.path());
        command.args(["user", "list"]).env("TOLLHOUSE_DATABASE_FILE", &secret);
        said(command, b"").await
    };
    let path = secret.display();
    mode(&secret, 0o644);
    let text = format!("{path} is open to other users of this machine: chmod o-rwx {path}");
    assert_eq!(by_file().await.refused(2), format!("settings.toml: database_file: {text}"));
    assert_eq!(by_variable().await.refused(2), format!("TOLLHOUSE_DATABASE_FILE: {text}"));
    mode(&secret, 0o640);
    by_file().await.done();
    by_variable().await.done();
    mode(t.folder.path(), 0o777);
    assert!(by_file().await.refused(2).ends_with(&format!("chmod o-w {}", t.folder.path().display())));
}

async fn t31_a_password_in_a_url_draws_a_warning(t: TestServer) {
    let said = list(&t, "postgres://x:hunter2@127.0.0.1:1/x").await;
    assert_eq!(said.code, Some(1));
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("tollhouse: warning: others can read a password on the command line"));
    assert!(!said.err.contains("hunter2"));
}
