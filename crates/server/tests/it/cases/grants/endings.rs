//! What ends a code before anybody has redeemed it.

use tollhouse::operations::applications::Delete;
use tollhouse::operations::grants::Authorize;
use tollhouse::operations::users::{SetPassword, SetState};
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::audit::By;
use tollhouse_domain::id::UserId;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::sessions;
use tollhouse_store::tx::{Change, Tx};

use super::both;
use crate::oauth::{CALLBACK, Client, USER, create, encoded, is_error, sent_back, tokens};
use crate::test_server::{BeginSession, Person, Session, TestServer};

cases![
    a_code_ends_with_a_password_that_somebody_else_sets,
    a_code_ends_with_a_password_that_is_changed_on_the_page,
    a_code_ends_with_a_block_and_with_a_ban,
    a_code_ends_with_all_sessions,
    a_code_ends_with_its_application,
    a_code_outlives_one_session,
    a_code_that_was_redeemed_is_still_noticed,
    a_code_is_redeemed_before_a_new_password_or_never,
    a_code_that_is_being_issued_ends_with_the_sessions,
    a_session_that_is_ending_issues_no_code,
];

/// A new password, as an administrator or a command sets one.
fn new_password(user: UserId) -> SetPassword {
    SetPassword { user, seen: None, digest: "x".to_owned(), expires_at: None }
}

/// Ends every session of somebody, and nothing else.
struct EndAllSessions(UserId);

impl Operation for EndAllSessions {
    type Output = ();

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        sessions::remove_all_of(tx, self.0).await?;
        Ok(Change::nothing(()))
    }
}

async fn is_refused(client: &Client, code: &str) {
    is_error(&client.redeem(code).await, 400, "invalid_grant");
}

/// Her code ends by what happens; his goes on, and so does one that she is given afterwards.
async fn ends(t: &TestServer, what: impl AsyncFn(&Person)) {
    let (client, ada) = both(t).await;
    let grace = t.user("grace").await;
    let (hers, also, his) =
        (client.code(&ada, "api").await, client.code(&ada, "openid").await, client.code(&grace, "api").await);
    what(&ada).await;
    is_refused(&client, &hers).await;
    is_refused(&client, &also).await;
    tokens(&client.redeem(&his).await);
    let given = tokens(&client.redeem(&client.code(&ada, "api").await).await);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    assert_eq!(t.count("code.reuse_detected").await, 0);
}

async fn a_code_ends_with_a_password_that_somebody_else_sets(t: TestServer) {
    ends(&t, async |ada| assert!(t.does(new_password(ada.id)).await)).await;
}

async fn a_code_ends_with_a_password_that_is_changed_on_the_page(t: TestServer) {
    let client = t.client("api").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let session = ada.session().await;
    let code = client.code(&ada, "api").await;
    let csrf = session.csrf();
    let form = |current: &str| {
        encoded(&[
            ("authenticity_token", &csrf),
            ("user[password]", current),
            ("user[new_password]", "battery staple"),
            ("user[password_confirmation]", "battery staple"),
        ])
    };
    let page = "/-/user_settings/password";
    t.post(page).session(&session).form(&form("wrong horse")).await.has(200);
    tokens(&client.redeem(&code).await);
    let code = client.code(&ada, "api").await;
    t.post(page).session(&session).form(&form("correct horse")).await.has(302);
    is_refused(&client, &code).await;
}

async fn a_code_ends_with_a_block_and_with_a_ban(t: TestServer) {
    let client = t.client("api").await;
    type Change = fn(UserId) -> SetState;
    let ways: [(&str, Change, Change); 2] =
        [("ada", SetState::block, SetState::unblock), ("grace", SetState::ban, SetState::unban)];
    for (name, out, back) in ways {
        let person = t.user(name).await;
        let code = client.code(&person, "api").await;
        person.set_state(out(person.id)).await;
        is_refused(&client, &code).await;
        person.set_state(back(person.id)).await;
        is_refused(&client, &code).await;
        tokens(&client.redeem(&client.code(&person, "api").await).await);
    }
}

async fn a_code_ends_with_all_sessions(t: TestServer) {
    ends(&t, async |ada| t.does(EndAllSessions(ada.id)).await).await;
}

async fn a_code_ends_with_its_application(t: TestServer) {
    let ada = t.user("ada").await;
    let (client, other) = (t.client("api").await, t.client("api").await);
    let (code, kept) = (client.code(&ada, "api").await, other.code(&ada, "api").await);
    t.does(Delete { id: client.id }).await;
    is_error(&client.redeem(&code).await, 401, "invalid_client");
    is_refused(&t.client_with(create("api")).await, &code).await;
    tokens(&other.redeem(&kept).await);
}

async fn a_code_outlives_one_session(t: TestServer) {
    let (client, ada) = both(&t).await;
    let session = ada.session().await;
    let code = sent_back(&client.allow(&session, "api", &[]).await, "code").expect("a code");
    t.post("/users/sign_out").session(&session).form("").await.has(302);
    tokens(&client.redeem(&code).await);
}

async fn a_code_that_was_redeemed_is_still_noticed(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let given = tokens(&client.redeem(&code).await);
    t.does(new_password(ada.id)).await;
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    t.later(121);
    is_refused(&client, &code).await;
    assert_eq!(t.count("code.reuse_detected").await, 1);
}

async fn a_code_is_redeemed_before_a_new_password_or_never(t: TestServer) {
    let (client, ada) = both(&t).await;
    let password = std::sync::Arc::new(new_password(ada.id));
    for _ in 0..20 {
        let code = client.code(&ada, "api").await;
        let (redeemed, _) = tokio::join!(client.redeem(&code).send(), t.does(password.clone()));
        match redeemed.status.as_u16() {
            200 => drop(tokens(&redeemed)),
            _ => drop(is_error(&redeemed, 400, "invalid_grant")),
        }
        is_refused(&client, &code).await;
    }
}

/// Somebody with a session of their own, to be held or ended.
async fn begun(t: &TestServer) -> (Client, Person, Plaintext, Authorize) {
    let (client, ada) = both(t).await;
    let session = Plaintext::session();
    let lifetime = t.app.settings.sessions.lifetime.0;
    t.does(BeginSession { user: ada.id, session: session.clone(), lifetime }).await;
    let authorize = Authorize {
        application: client.id,
        user: ada.id,
        session: session.digest(),
        redirect_uri: CALLBACK.to_owned(),
        scopes: Scopes::from([Scope::Api]),
        challenge: None,
        nonce: None,
    };
    (client, ada, session, authorize)
}

/// The other one has got as far as the row that the first one holds.
async fn for_a_while() {
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
}

/// The password changes after the page was let in, and before its code is there.
async fn a_code_that_is_being_issued_ends_with_the_sessions(t: TestServer) {
    let (client, ada, _, authorize) = begun(&t).await;
    let mut tx = t.app.db.begin().await.expect("a transaction");
    let Ok(change) = authorize.run(&mut tx, t.now()).await else { panic!("it runs") };
    let (town, password) = (t.clone(), new_password(ada.id));
    let ending = tokio::task::spawn_local(async move { town.does(password).await });
    for_a_while().await;
    assert!(!ending.is_finished(), "it waits");
    let committed = tx.commit(change, &By::system(), t.now()).await.expect("a commit");
    assert!(ending.await.expect("an end"));
    is_refused(&client, committed.value.expect("a code").reveal()).await;
}

async fn a_session_that_is_ending_issues_no_code(t: TestServer) {
    let (client, ada, session, authorize) = begun(&t).await;
    let mut tx = t.app.db.begin().await.expect("a transaction");
    let Ok(change) = new_password(ada.id).run(&mut tx, t.now()).await else { panic!("it runs") };
    let town = t.clone();
    let issuing = tokio::task::spawn_local(async move { town.does(authorize).await });
    for_a_while().await;
    assert!(!issuing.is_finished(), "it waits");
    let _ = tx.commit(change, &By::system(), t.now()).await.expect("a commit");
    assert!(issuing.await.expect("an end").is_none(), "nobody allowed it");
    let session = Session { cookie: session.reveal().to_owned() };
    let reply = client.allow(&session, "api", &[]).await;
    assert_eq!(reply.has(302).header("location"), Some("/users/sign_in"));
}
