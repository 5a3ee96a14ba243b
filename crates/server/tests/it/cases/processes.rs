//! The program as a process: killed without warning, refused to start, and what it leaves on the disk.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use tollhouse::operations::{Failed, Operation, tokens};
use tollhouse_domain::id::UserId;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::{Clock, Timestamp};
use tollhouse_store::tx::{Change, Tx};

use crate::process::{Process, ask, output, server, tollhouse};
use crate::test_server::{REVOKED, TestServer};

cases![
    kill_9_among_a_thousand_revocations,
    kill_9_among_a_thousand_rotations,
    kill_9_at_each_step_of_a_commit,
    of_three_that_start_at_once_one_makes_the_administrator,
    t31_the_first_administrator_has_the_address_that_was_given,
    t12_http_for_others_must_be_asked_for,
    external_url_is_spelt_anew_and_both_are_told,
    t31_what_is_on_the_disk_is_its_owners_alone,
    t33_a_demo_database_is_not_served,
    t33_a_demo_that_ends_takes_its_database_along,
    settings_are_read_and_refused,
    a_start_that_cannot_succeed_touches_no_database,
    a_log_that_nobody_asked_for_is_refused,
    what_is_under_way_is_answered_at_the_end,
];

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";

/// Many tokens in one transaction. The program's clock is the real one.
struct Tokens {
    user: UserId,
    count: usize,
}

impl Operation for Tokens {
    type Output = Vec<String>;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<Vec<String>>, Failed> {
        let mut made = Vec::new();
        for _ in 0..self.count {
            let create = tokens::CreateToken {
                user: self.user,
                administrator: None,
                self_service: false,
                grantable: None,
                impersonation: false,
                name: "test".into(),
                scopes: Scopes::from([Scope::Api]),
                expires_at: None,
                description: None,
                require_expiry: true,
                secret: None,
            };
            let change = create.run(tx, Clock::system().now()).await?;
            made.push(change.into_value().secret.reveal().to_owned());
        }
        Ok(Change::nothing(made))
    }
}

async fn prepared(t: &TestServer, count: usize) -> Vec<String> {
    let ada = t.user("ada").await;
    let made = t.does(Tokens { user: ada.id, count }).await;
    t.leave().await;
    made
}

/// Up to so many at once, until the work is done or the server is gone.
async fn at_once<F: Future<Output = ()>>(count: usize, work: impl Fn(usize) -> F) {
    let mut tasks: Vec<_> = (0..count).map(|i| Box::pin(work(i))).collect();
    std::future::poll_fn(|context| {
        tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
        if tasks.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn kill_9_among_a_thousand_revocations(t: TestServer) {
    let tokens = prepared(&t, 1_000).await;
    let tried: RefCell<BTreeSet<usize>> = RefCell::default();
    let acknowledged: RefCell<BTreeSet<usize>> = RefCell::default();
    for stop in [150, 420, 700, 1_000] {
        let server = Process::serve(&t, &[]).await;
        let address = server.address;
        let next = RefCell::new((0..tokens.len()).filter(|i| !acknowledged.borrow().contains(i)).collect::<Vec<_>>());
        let work = async {
            at_once(8, async |_| {
                loop {
                    let Some(i) = next.borrow_mut().pop() else { return };
                    tried.borrow_mut().insert(i);
                    match ask(address, "DELETE", SELF, &tokens[i]).await {
                        // Done before, though its answer was lost: the repeat says so.
                        Some((204, _)) => drop(acknowledged.borrow_mut().insert(i)),
                        Some((401, body)) if body == REVOKED => drop(acknowledged.borrow_mut().insert(i)),
                        Some(other) => panic!("{other:?}"),
                        None => return,
                    }
                }
            })
            .await;
        };
        let reached = async {
            while acknowledged.borrow().len() < stop {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = reached => {}
        }
        server.kill().await;
    }
    let server = Process::serve(&t, &[]).await;
    let (tried, acknowledged) = (tried.into_inner(), acknowledged.into_inner());
    assert_eq!(acknowledged.len(), 1_000);
    assert!(tried.len() == 1_000);
    at_once(8, async |part| {
        for i in (part..tokens.len()).step_by(8) {
            let answer = ask(server.address, "GET", SELF, &tokens[i]).await;
            assert_eq!(answer, Some((401, REVOKED.to_owned())), "acknowledged holds");
        }
    })
    .await;
    assert_eq!(server.terminate().await, Some(0));
}

/// The program dies in the middle of a batch, by a switch of its own.
async fn kill_9_at_each_step_of_a_commit(t: TestServer) {
    const EACH: usize = 8;
    let steps = ["savepoint", "before commit", "after commit", "told"];
    let tokens = prepared(&t, steps.len() * EACH).await;
    let file = t.folder.path().join("kill-at");
    for (step, tokens) in steps.into_iter().zip(tokens.chunks(EACH)) {
        let mut command = server(t.folder.path(), &t.database_url);
        command.env("TOLLHOUSE_KILL_AT", &file);
        let dying = Process::start(command).await;
        // On PostgreSQL it commits something of its own when it begins to listen.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        std::fs::write(&file, step).expect("a file");
        let acknowledged: RefCell<BTreeSet<usize>> = RefCell::default();
        at_once(EACH, async |i| match ask(dying.address, "DELETE", SELF, &tokens[i]).await {
            Some((204, _)) => drop(acknowledged.borrow_mut().insert(i)),
            // Not revoked, or nobody knows.
            Some((503, _)) | None => {}
            Some(other) => panic!("{step}: {other:?}"),
        })
        .await;
        assert_eq!(dying.ended().await, None, "{step}: by a signal");
        std::fs::remove_file(&file).expect("a file");
        let next = Process::serve(&t, &[]).await;
        let mut durable = BTreeSet::new();
        for (i, token) in tokens.iter().enumerate() {
            match ask(next.address, "GET", SELF, token).await {
                Some((200, _)) => {}
                Some((401, body)) if body == REVOKED => drop(durable.insert(i)),
                other => panic!("{step}: {other:?}"),
            }
        }
        let acknowledged = acknowledged.into_inner();
        assert!(acknowledged.is_subset(&durable), "{step}: {acknowledged:?} of {durable:?}");
        match step {
            "savepoint" | "before commit" => assert!(durable.is_empty(), "{step}: {durable:?}"),
            _ => assert!(!durable.is_empty(), "{step}"),
        }
        // Whoever asks again is told the truth.
        for (i, token) in tokens.iter().enumerate() {
            let expected = if durable.contains(&i) { 401 } else { 204 };
            assert_eq!(
                ask(next.address, "DELETE", SELF, token).await.map(|(status, _)| status),
                Some(expected),
                "{step}"
            );
        }
        assert_eq!(next.terminate().await, Some(0));
    }
}

async fn kill_9_among_a_thousand_rotations(t: TestServer) {
    const CHAINS: usize = 4;
    let first = prepared(&t, CHAINS).await;
    // Every secret of a chain, the last one live.
    let chains: Vec<Rc<RefCell<Vec<String>>>> =
        first.into_iter().map(|token| Rc::new(RefCell::new(vec![token]))).collect();
    let total = || chains.iter().map(|chain| chain.borrow().len() - 1).sum::<usize>();
    for stop in [130, 380, 610, 870, 1_000] {
        let server = Process::serve(&t, &[]).await;
        let address = server.address;
        let work = async {
            at_once(CHAINS, async |i| {
                let chain = chains[i].clone();
                loop {
                    let secret = chain.borrow().last().expect("a secret").clone();
                    // After a kill this is the very request whose answer was lost, if one was.
                    let Some((status, body)) = ask(address, "POST", ROTATE, &secret).await else { return };
                    assert_eq!(status, 200, "an honest client is not locked out: {body}");
                    let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                    chain.borrow_mut().push(answer["token"].as_str().expect("a token").to_owned());
                }
            })
            .await;
        };
        let reached = async {
            while total() < stop {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = reached => {}
        }
        server.kill().await;
    }
    assert!(total() >= 1_000);
    let server = Process::serve(&t, &[]).await;
    for chain in &chains {
        let chain = chain.take();
        let (last, dead) = chain.split_last().expect("secrets");
        // A rotation that was under way at the kill may have happened; then the last one gets its successor again.
        let live = match ask(server.address, "GET", SELF, last).await {
            Some((200, _)) => last.clone(),
            _ => {
                let (status, body) = ask(server.address, "POST", ROTATE, last).await.expect("an answer");
                assert_eq!(status, 200, "{body}");
                let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                answer["token"].as_str().expect("a token").to_owned()
            }
        };
        assert_eq!(ask(server.address, "GET", SELF, &live).await.map(|(status, _)| status), Some(200));
        for secret in dead {
            assert_eq!(ask(server.address, "GET", SELF, secret).await, Some((401, REVOKED.to_owned())));
        }
    }
    assert_eq!(server.terminate().await, Some(0));
}

/// Exit code, and the one line on stderr.
async fn refused(t: &TestServer, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = tollhouse(t.folder.path());
    command.args(arguments);
    let output = output(command).await;
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    (output.status.code(), text.trim_end().to_owned())
}

async fn t12_http_for_others_must_be_asked_for(t: TestServer) {
    let (code, text) = refused(&t, &["serve", "--listen", "0.0.0.0:0", "--database", &t.database_url]).await;
    assert_eq!(code, Some(2));
    assert!(text.contains("set external_url to an https URL, such as"), "{text}");
    let (code, text) = refused(&t, &["demo", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(code, Some(2));
    assert!(text.contains("add --public and --external-url"), "{text}");
}

async fn external_url_is_spelt_anew_and_both_are_told(t: TestServer) {
    t.leave().await;
    for (typed, told) in [("HTTPS://B\u{fc}cher.example:443", true), ("https://xn--bcher-kva.example", false)] {
        let server = Process::serve(&t, &["--external-url", typed]).await;
        let (status, body) = ask(server.address, "GET", "/api/v4/groups", "").await.expect("an answer");
        assert_eq!((status, body.as_str()), (200, "[]"));
        let lines: Vec<_> = server.said.iter().filter(|line| line.contains("was normalized")).collect();
        assert_eq!(lines.len(), usize::from(told), "{:?}", server.said);
        let named = |line: &str| line.contains(typed) && line.contains("https://xn--bcher-kva.example");
        assert!(lines.iter().all(|line| named(line)), "{lines:?}");
        assert_eq!(server.terminate().await, Some(0));
    }
    for bad in ["https://hunter2/path", "https://u:hunter2@x", "https://hunter2 x"] {
        let (code, text) = refused(&t, &["serve", "--external-url", bad, "--database", &t.database_url]).await;
        assert!(code == Some(2) && text.contains("external_url") && !text.contains("hunter2"), "{text}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

async fn t31_what_is_on_the_disk_is_its_owners_alone(t: TestServer) {
    let data = t.folder.path().join("data");
    let file = data.join(tollhouse::operations::users::PASSWORD_FILE);
    assert_eq!(Process::serve(&t, &[]).await.terminate().await, Some(0));
    assert_eq!((mode(&data), mode(&file)), (0o700, 0o600));
    let password = std::fs::read_to_string(&file).expect("a password");
    assert!(super::sign_in::guess(&t, "root", password.trim()).await.status.as_u16() == 302, "it is the password");
    assert_eq!(Process::serve(&t, &[]).await.terminate().await, Some(0));
    assert_eq!(std::fs::read_to_string(&file).expect("a password"), password, "written once");
    if t.app.db.is_postgres() {
        return;
    }
    let database = t.folder.path().join("tollhouse.db");
    for name in ["tollhouse.db", "tollhouse.db-wal", "tollhouse.db-shm", "tollhouse.db.lock"] {
        let path = t.folder.path().join(name);
        assert!(!path.exists() || mode(&path) == 0o600, "{name}");
    }
    let set_mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    set_mode(&database, 0o604);
    let (code, text) = refused(&t, &["serve", "--listen", "127.0.0.1:0", "--database", &t.database_url]).await;
    assert_eq!(code, Some(2));
    assert!(text.contains("chmod o-rwx"), "{text}");
    let default = t.folder.path().join("tollhouse-data");
    std::fs::create_dir(&default).expect("a folder");
    set_mode(&default, 0o777);
    let (code, text) = refused(&t, &["serve", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(code, Some(2));
    assert!(text.contains("chmod o-w"), "{text}");
    // A group may read.
    set_mode(&database, 0o640);
    let secret = t.folder.path().join("secret_key");
    set_mode(&secret, 0o640);
    assert_eq!(Process::serve(&t, &[]).await.terminate().await, Some(0));
    set_mode(&secret, 0o644);
    let (code, text) = refused(&t, &["serve", "--listen", "127.0.0.1:0", "--database", &t.database_url]).await;
    assert_eq!(code, Some(2));
    assert!(text.starts_with("tollhouse: secret_key_file: ") && text.contains("chmod o-rwx"), "{text}");
    let mut command = tollhouse(t.folder.path());
    command.args(["serve", "--database", "postgres://x:hunter2@127.0.0.1:1/x"]);
    let said = String::from_utf8(output(command).await.stderr).expect("UTF-8");
    assert!(
        said.contains("warning: others can read a password on the command line") && !said.contains("hunter2"),
        "{said}"
    );
}

async fn of_three_that_start_at_once_one_makes_the_administrator(t: TestServer) {
    let start = || Process::serve(&t, &[]);
    let (one, two, three) = tokio::join!(start(), start(), start());
    let folder = std::fs::read_dir(t.folder.path().join("data")).expect("a folder");
    let names: Vec<_> = folder.map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(names, [tollhouse::operations::users::PASSWORD_FILE]);
    let password = std::fs::read_to_string(t.folder.path().join("data").join(&names[0])).expect("a password");
    super::sign_in::guess(&t, "root", password.trim()).await.has(302);
    for server in [one, two, three] {
        assert_eq!(server.terminate().await, Some(0));
    }
}

async fn t31_the_first_administrator_has_the_address_that_was_given(t: TestServer) {
    let (folder, empty) = (t.folder.path(), t.empty_database());
    let start = async |url: &str, email: &str| {
        let mut server = crate::process::server(folder, url);
        server.env("TOLLHOUSE_ROOT_EMAIL", email);
        assert_eq!(Process::start(server).await.terminate().await, Some(0));
        let mut list = tollhouse(folder);
        list.args(["user", "list", "--json", "--database", url]);
        let listed: serde_json::Value = serde_json::from_slice(&output(list).await.stdout).expect("JSON");
        assert_eq!(listed[0]["username"], "root");
        (listed[0]["email"].clone(), listed[0]["confirmed_at"].is_null())
    };
    assert_eq!(start(&t.database_url, "").await, ("".into(), true));
    // It is for the first start alone.
    assert_eq!(start(&t.database_url, "root@example.org").await, ("".into(), true));
    assert_eq!(start(&empty, "Root@example.org").await, ("Root@example.org".into(), false));
    for (bad, told) in
        [("root", "`root` is not an address"), ("a@b@c", "`a@b@c` is not an address"), (" ", "` ` is not an address")]
    {
        let mut serve = tollhouse(folder);
        serve.args(["serve", "--listen", "127.0.0.1:0", "--database", &empty]).env("TOLLHOUSE_ROOT_EMAIL", bad);
        let ended = output(serve).await;
        let text = String::from_utf8(ended.stderr).expect("UTF-8");
        assert!(
            ended.status.code() == Some(2) && text.starts_with(&format!("tollhouse: TOLLHOUSE_ROOT_EMAIL: {told}")),
            "{text}"
        );
    }
}

async fn t33_a_demo_database_is_not_served(t: TestServer) {
    t.does(super::threats::Mark).await;
    t.leave().await;
    let (code, text) = refused(&t, &["serve", "--listen", "127.0.0.1:0", "--database", &t.database_url]).await;
    assert_eq!(code, Some(2));
    assert!(text.contains("--demo-data"), "{text}");
    assert_eq!(Process::serve(&t, &["--demo-data"]).await.terminate().await, Some(0));
    let (code, text) = refused(&t, &["demo", "--listen", "127.0.0.1:0", "--database", &t.database_url]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("is not empty"), "{text}");
}

async fn t33_a_demo_that_ends_takes_its_database_along(t: TestServer) {
    // Its database is a SQLite file of its own, whatever this test server has.
    if t.app.db.is_postgres() {
        return;
    }
    let left = || {
        let names = std::fs::read_dir(t.folder.path()).expect("a folder").map(|file| file.expect("a file").file_name());
        names.filter(|name| name.to_string_lossy().starts_with("tollhouse-demo-")).count()
    };
    for signal in ["-INT", "-TERM", "-HUP", "-QUIT", "-USR1", "-USR2", "-ALRM"] {
        let (demo, _) = Process::demo(t.folder.path(), &[]).await;
        assert_eq!(left(), 1);
        demo.signal(signal);
        assert_eq!(demo.ended().await, Some(0), "{signal}");
        assert_eq!(left(), 0, "{signal}");
    }
}

async fn settings_are_read_and_refused(t: TestServer) {
    let mut print = tollhouse(t.folder.path());
    print.args(["config", "--print-default"]);
    assert_eq!(output(print).await.stdout, tollhouse::config::DEFAULT.as_bytes());
    let documented = include_str!("../../../../../docs/configuration.md");
    assert!(documented.contains(tollhouse::config::DEFAULT.trim_end()), "docs/configuration.md shows other defaults");
    let (unit, shown) =
        (include_str!("../../../../../examples/tollhouse.service"), include_str!("../../../../../docs/deploy.md"));
    assert!(shown.contains(unit), "docs/deploy.md shows another unit");
    std::fs::write(t.folder.path().join("tollhouse.toml"), "[rotation]\nwindows = '1s'\n").expect("a file");
    let (code, text) = refused(&t, &["serve"]).await;
    assert_eq!(
        (code, text.as_str()),
        (
            Some(2),
            "tollhouse: tollhouse.toml: rotation.windows: there is no such setting; did you mean rotation.window? tollhouse config --print-default lists all"
        )
    );
    let (code, text) = refused(&t, &["serve", "--config", "nowhere.toml"]).await;
    assert_eq!(code, Some(2));
    assert!(text.contains("nowhere.toml"), "{text}");
    let mut nowhere = tollhouse(t.folder.path());
    std::fs::write(t.folder.path().join("a-file"), "").expect("a file");
    nowhere.args(["serve", "--check"]).env("TOLLHOUSE_DATA_DIR", "a-file/data").env("TOLLHOUSE_CONFIG", "/dev/null");
    let nowhere = output(nowhere).await;
    let text = String::from_utf8(nowhere.stderr).expect("UTF-8");
    assert!(nowhere.status.code() == Some(2) && text.contains("data_dir: a-file/data cannot be created in "), "{text}");
    let mut unknown = tollhouse(t.folder.path());
    unknown.args(["serve", "--nope"]);
    assert_eq!(output(unknown).await.status.code(), Some(2));
}

async fn what_is_under_way_is_answered_at_the_end(t: TestServer) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let token = prepared(&t, 1).await.remove(0);
    let server = Process::serve(&t, &[]).await;
    let mut slow = tokio::net::TcpStream::connect(server.address).await.expect("a connection");
    let head = format!(
        "POST {ROTATE} HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let ending = tokio::task::spawn_local(server.terminate());
    // Another one takes over meanwhile.
    let next = Process::serve(&t, &[]).await;
    slow.write_all(b"}").await.expect("sent");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(ending.await.expect("an end"), Some(0));
    assert_eq!(ask(next.address, "GET", SELF, &token).await.map(|(status, _)| status), Some(401));
    assert_eq!(next.terminate().await, Some(0));
}

/// What is wrong with a start: a variable, its value, and how the line on stderr begins.
type Mistake<'m> = (&'m str, String, String);

async fn a_start_that_cannot_succeed_touches_no_database(t: TestServer) {
    let (folder, empty) = (t.folder.path(), t.empty_database());
    let url: tollhouse_store::db::Url = empty.parse().expect("a URL");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a mode");
        path.display().to_string()
    };
    let missing = folder.join("missing").display().to_string();
    let (broken, nothing) = (file("broken.toml", "[[rule]]\nname = 'x'\nnope = 1\n"), file("nothing", ""));
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address").to_string();
    let mistakes: [Mistake<'_>; 14] = [
        ("TOLLHOUSE_GATEWAY_RULES", missing.clone(), format!("gateway.rules: {missing}: ")),
        ("TOLLHOUSE_GATEWAY_RULES", folder.display().to_string(), format!("gateway.rules: {}: ", folder.display())),
        ("TOLLHOUSE_GATEWAY_RULES", broken.clone(), format!("gateway.rules: {broken}: line 3: rule `x`: ")),
        ("TOLLHOUSE_SECRET_KEY_FILE", missing.clone(), format!("secret_key_file: {missing}: ")),
        ("TOLLHOUSE_SECRET_KEY_FILE", nothing.clone(), format!("secret_key_file: {nothing}: one secret of 64 ")),
        ("TOLLHOUSE_LISTEN", "192.0.2.1:0".into(), "listen: 192.0.2.1:0: ".into()),
        ("TOLLHOUSE_LISTEN", taken.clone(), format!("listen: {taken}: ")),
        ("TOLLHOUSE_METRICS_LISTEN", taken.clone(), format!("metrics.listen: {taken}: ")),
        ("TOLLHOUSE_EXTERNAL_URL", "git.example.test".into(), "external_url".into()),
        ("TOLLHOUSE_LOG_LEVEL", "warning".into(), "TOLLHOUSE_LOG_LEVEL: `warning` is no level: ".into()),
        ("TOLLHOUSE_ROOT_PASSWORD", "short".into(), "TOLLHOUSE_ROOT_PASSWORD is too short".into()),
        ("TOLLHOUSE_ROOT_PASSWORD", "12345678".into(), "TOLLHOUSE_ROOT_PASSWORD is too easy to guess: ".into()),
        ("TOLLHOUSE_ROOT_PASSWORD", "Administrator".into(), "TOLLHOUSE_ROOT_PASSWORD is the user name, ".into()),
        ("TOLLHOUSE_ROOT_PASSWORD", "root1234".into(), "TOLLHOUSE_ROOT_PASSWORD is the user name, ".into()),
    ];
    let run = async |mistake: Option<&Mistake<'_>>, flags: &[&str]| {
        let mut command = tollhouse(folder);
        command.args(["serve", "--database", &empty]).args(flags);
        command.env("TOLLHOUSE_DATA_DIR", folder.join("data")).env("TOLLHOUSE_LISTEN", "127.0.0.1:0");
        command.env("TOLLHOUSE_INSECURE_HTTP", "true");
        if let Some((name, value, _)) = mistake {
            command.env(name, value);
        }
        let ended = output(command).await;
        assert!(tollhouse_store::db::Db::is_empty(&url).await.expect("an answer"), "{mistake:?}");
        assert!(!folder.join("data").exists() && !folder.join("empty.db").exists(), "{mistake:?}");
        (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
    };
    for mistake in &mistakes {
        let (code, text) = run(Some(mistake), &[]).await;
        let in_use = mistake.1 == taken;
        assert_eq!(code, Some(if in_use { 1 } else { 2 }), "{mistake:?}: {text}");
        assert!(text.starts_with(&format!("tollhouse: {}", mistake.2)), "{mistake:?}: {text}");
        // The server that these settings are for may be running, and what a database holds is not asked over a network.
        let passes = in_use || t.app.db.is_postgres() && mistake.0 == "TOLLHOUSE_ROOT_PASSWORD";
        let (code, text) = run(Some(mistake), &["--check"]).await;
        assert_eq!(code, Some(if passes { 0 } else { 2 }), "{mistake:?}: {text}");
    }
    let (code, text) = run(None, &["--check"]).await;
    assert_eq!((code, text.as_str()), (Some(0), ""));
    // PostgreSQL needs a secret of its own.
    let mut unnamed = tollhouse(folder);
    unnamed.args(["serve", "--check", "--database", "postgres://nobody@127.0.0.1:1/x"]);
    unnamed.env_remove("TOLLHOUSE_SECRET_KEY_FILE");
    let ended = output(unnamed).await;
    let text = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(
        ended.status.code() == Some(2) && text.starts_with("tollhouse: PostgreSQL needs secret_key_file"),
        "{text}"
    );
    let server = Process::start(crate::process::server(folder, &empty)).await;
    assert_eq!(server.terminate().await, Some(0));
    assert!(folder.join("data").join(tollhouse::operations::users::PASSWORD_FILE).exists());
}

async fn a_log_that_nobody_asked_for_is_refused(t: TestServer) {
    let run = async |words: &[&str], name: &str, value: &str| {
        let mut command = t.command(words);
        command.env(name, value);
        let ended = output(command).await;
        (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8").trim_end().to_owned())
    };
    for words in [&["serve", "--check", "--listen", "127.0.0.1:0"][..], &["user", "list"]] {
        for value in ["warning", "Information", "", "info,tollhouse=verbose", "trace2"] {
            let (code, text) = run(words, "TOLLHOUSE_LOG_LEVEL", value).await;
            assert_eq!(code, Some(2), "{words:?} {value}: {text}");
            let told = format!("tollhouse: TOLLHOUSE_LOG_LEVEL: `{value}` ");
            assert!(text.starts_with(&told) && text.contains("use error, warn, info, debug, trace or off"), "{text}");
        }
        for value in ["xml", "JSON", ""] {
            let (code, text) = run(words, "TOLLHOUSE_LOG_FORMAT", value).await;
            assert_eq!(code, Some(2), "{words:?} {value}: {text}");
            for word in ["TOLLHOUSE_LOG_FORMAT", value, "text", "json"] {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
        // The target of another program's part is no mistake.
        let (code, text) = run(words, "TOLLHOUSE_LOG_LEVEL", "nobody::knows=debug").await;
        assert_eq!((code, text.as_str()), (Some(0), ""), "{words:?}");
    }
    // It silences nothing else.
    let mut server = crate::process::server(t.folder.path(), &t.database_url);
    server.env("TOLLHOUSE_LOG_LEVEL", "nobody::knows=warn");
    assert_eq!(Process::start(server).await.terminate().await, Some(0));
}
