//! The OAuth provider as its own process: killed among redemptions and refreshes, and started with the wrong secret.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::id::{ApplicationId, UserId};
use tollhouse_domain::time::{Clock, Timestamp};
use tollhouse_store::tx::{Change, Tx};

use crate::oauth::{CALLBACK, Client, SignInAndAllow, encoded};
use crate::process::{Process, output, post_form, tollhouse};
use crate::test_server::TestServer;

cases![
    kill_9_among_redemptions_and_refreshes,
    t23_a_server_starts_with_the_right_secret_alone,
    t23_two_nodes_make_the_same_keys,
];

/// Many codes in one transaction. The program's clock is the real one.
struct Codes {
    user: UserId,
    client: ApplicationId,
    count: usize,
}

impl Operation for Codes {
    type Output = Vec<String>;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<Vec<String>>, Failed> {
        let mut codes = Vec::new();
        for _ in 0..self.count {
            let allow = SignInAndAllow { user: self.user, application: self.client };
            codes.push(allow.run(tx, Clock::system().now()).await?.into_value());
        }
        Ok(Change::nothing(codes))
    }
}

fn credentials(client: &Client) -> [(&str, &str); 2] {
    [("client_id", &client.uid), ("client_secret", &client.secret)]
}

fn redemption(client: &Client, code: &str) -> String {
    let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
    encoded(&[&pairs[..], &credentials(client)].concat())
}

fn refreshing(client: &Client, token: &str) -> String {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token)];
    encoded(&[&pairs[..], &credentials(client)].concat())
}

fn field(body: &str, name: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(body).expect("JSON");
    answer[name].as_str().unwrap_or_else(|| panic!("{name}: {body}")).to_owned()
}

async fn kill_9_among_redemptions_and_refreshes(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    let codes = t.does(Codes { user: ada.id, client: client.id, count: 120 }).await;
    t.leave().await;
    // Code, and the refresh token of the last pair that came of it.
    let held: RefCell<BTreeMap<usize, String>> = RefCell::default();
    let refreshed = RefCell::new(0_usize);
    let lost = RefCell::new(0_usize);
    let mut waiting: Vec<usize> = (0..codes.len()).collect();
    for stop in [60, 140, 240] {
        let server = Process::serve(&t, &[]).await;
        let work = async {
            loop {
                // In turn: a code, and a refresh of what is held.
                if let Some(i) = waiting.pop() {
                    match post_form(server.address, "/oauth/token", &redemption(&client, &codes[i])).await {
                        Some((200, body)) => drop(held.borrow_mut().insert(i, field(&body, "refresh_token"))),
                        // Redeemed before the kill, and its answer lost: the person allows it again.
                        Some((400, body)) if body.contains("invalid_grant") => *lost.borrow_mut() += 1,
                        Some(other) => panic!("{other:?}"),
                        None => {
                            waiting.push(i);
                            return;
                        }
                    }
                }
                let some = held.borrow().iter().nth(*refreshed.borrow() % 7).map(|(i, token)| (*i, token.clone()));
                let Some((i, token)) = some else { continue };
                let Some((status, body)) =
                    post_form(server.address, "/oauth/token", &refreshing(&client, &token)).await
                else {
                    return;
                };
                assert_eq!(status, 200, "an honest client is not locked out: {body}");
                held.borrow_mut().insert(i, field(&body, "refresh_token"));
                *refreshed.borrow_mut() += 1;
            }
        };
        let reached = async {
            while *refreshed.borrow() < stop {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = reached => {}
        }
        server.kill().await;
    }
    assert!(*lost.borrow() <= 3, "at most the one that was under way at each kill");
    let server = Process::serve(&t, &[]).await;
    for (i, token) in held.take() {
        let (status, body) =
            post_form(server.address, "/oauth/token", &refreshing(&client, &token)).await.expect("told");
        assert_eq!(status, 200, "what was acknowledged holds: {body}");
        let (status, body) =
            post_form(server.address, "/oauth/token", &redemption(&client, &codes[i])).await.expect("an answer");
        assert_eq!(status, 400, "a code is good once: {body}");
    }
    assert_eq!(server.terminate().await, Some(0));
}

async fn t23_a_server_starts_with_the_right_secret_alone(t: TestServer) {
    // The keys are made by the first one that is asked for them.
    t.app.keys().await.expect("keys");
    t.leave().await;
    let right = t.folder.path().join("secret_key");
    let start = |file: &std::path::Path| {
        let mut command = tollhouse(t.folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--database", &t.database_url]);
        command.env("TOLLHOUSE_SECRET_KEY_FILE", file).env("TOLLHOUSE_DATA_DIR", t.folder.path().join("data"));
        command
    };
    let refused = async |file: &std::path::Path, words: &str| {
        let output = output(start(file)).await;
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words) && text.trim_end().lines().count() == 1, "{text}");
    };
    let other = t.folder.path().join("other_key");
    let private = |path: &std::path::Path, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).expect("a file");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("its mode");
    };
    private(&other, &"0a".repeat(32));
    refused(&other, "cannot decrypt the keys in this database").await;
    for damaged in ["", "\n", "abc", &"zz".repeat(32), &format!("{0}\n{0}\n{0}", "0a".repeat(32))] {
        private(&other, damaged);
        refused(&other, "one secret of 64 hexadecimal digits").await;
    }
    refused(&t.folder.path().join("nowhere"), "nowhere").await;
    if t.app.db.is_postgres() {
        refused(std::path::Path::new(""), "PostgreSQL needs secret_key_file").await;
    }
    assert_eq!(Process::serve(&t, &[]).await.terminate().await, Some(0));
    // A new secret above the old one takes its place; then the old one opens nothing.
    let old = std::fs::read_to_string(&right).expect("the secret");
    private(&right, &format!("{}\n{old}", "0b".repeat(32)));
    let server = Process::serve(&t, &[]).await;
    let keys = post_form(server.address, "/oauth/userinfo", "").await;
    assert_eq!(keys.map(|(status, _)| status), Some(401));
    let again = t.reopened("").await;
    let mut sealed = String::new();
    for _ in 0..200 {
        let trail = again.trail(10).await;
        sealed = format!("{trail:?}");
        if sealed.matches("key.sealed_again").count() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(sealed.matches("key.sealed_again").count(), 3, "{sealed}");
    again.leave().await;
    assert_eq!(server.terminate().await, Some(0));
    private(&other, &old);
    refused(&other, "cannot decrypt the keys in this database").await;
    private(&right, &"0b".repeat(32));
    assert_eq!(Process::serve(&t, &[]).await.terminate().await, Some(0));
}

async fn t23_two_nodes_make_the_same_keys(t: TestServer) {
    let (a, b) = (t.reopened("").await, t.reopened("").await);
    let (one, two) = tokio::join!(a.app.keys(), b.app.keys());
    let (one, two) = (one.expect("keys"), two.expect("keys"));
    assert_eq!(one.published(), two.published());
    assert_eq!((one.published().len(), one.salt()), (1, two.salt()));
    let jwt = one.sign("JWT", &serde_json::json!({ "sub": "1" })).await.expect("signed");
    assert_eq!(
        jwt,
        two.sign("JWT", &serde_json::json!({ "sub": "1" })).await.expect("signed"),
        "PKCS #1 signatures are deterministic"
    );
    for node in [a, b] {
        node.app.db.close().await;
    }
}
