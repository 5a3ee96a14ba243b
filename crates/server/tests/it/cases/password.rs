//! Changing one's password on the page for it.

use std::time::Duration;

use tollhouse::operations::users::SetPassword;
use tollhouse_domain::scope::Scope;

use super::sign_in::guess;
use crate::town::{M401, Reply, Session, Town};

cases![
    a_person_changes_their_password,
    an_expired_password_is_changed_and_opens_again,
    the_current_password_must_be_known,
    a_change_with_what_the_form_does_not_send,
    a_password_is_the_same_on_every_keyboard with "oauth.password_grant = true",
];

const PAGE: &str = "/-/user_settings/password/edit";

async fn signed_in(t: &Town, password: &str) -> Session {
    let reply = guess(t, "ada", password).await;
    Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a cookie") }
}

async fn change(t: &Town, session: &Session, fields: &[(&str, &str)]) -> Reply {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.append_pair("authenticity_token", &session.csrf());
    for (name, value) in fields {
        body.append_pair(name, value);
    }
    t.post("/-/user_settings/password").session(session).form(&body.finish()).await
}

fn fields<'a>(current: &'a str, new: &'a str, again: &'a str) -> [(&'static str, &'a str); 3] {
    [("user[password]", current), ("user[new_password]", new), ("user[password_confirmation]", again)]
}

async fn a_person_changes_their_password(t: Town) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let token = ada.token([Scope::Api]).await;
    let (mine, other) = (signed_in(&t, "correct horse").await, signed_in(&t, "correct horse").await);
    assert!(t.get(PAGE).session(&mine).await.has(200).body.contains("Change your password"));
    let reply = change(&t, &mine, &fields("correct horse", "battery staple", "battery staple")).await;
    assert_eq!(reply.has(302).header("location"), Some("/users/sign_in"));
    for session in [&mine, &other] {
        t.get("/api/v4/user").session(session).await.is(401, M401);
    }
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    assert!(guess(&t, "ada", "correct horse").await.has(200).body.contains("Invalid login or password."));
    signed_in(&t, "battery staple").await;
    assert_eq!(t.get(PAGE).await.has(302).header("location"), Some("/users/sign_in"));
}

async fn an_expired_password_is_changed_and_opens_again(t: Town) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let digest = t.app.hasher.hash(&tollhouse_domain::secret::Plaintext::new("set by another".into())).await;
    let expires_at = Some(t.now());
    t.does(&SetPassword { user: ada.id, seen: None, digest, expires_at }).await;
    t.later(1);
    let session = signed_in(&t, "set by another").await;
    t.get("/api/v4/user").session(&session).await.has(403);
    let elsewhere = t.get("/").session(&session).await;
    assert_eq!(elsewhere.has(302).header("location"), Some(PAGE));
    assert!(t.get(PAGE).session(&session).await.has(200).body.contains("Your password has expired."));
    change(&t, &session, &fields("set by another", "battery staple", "battery staple")).await.has(302);
    t.later(Duration::from_secs(60).as_secs());
    let session = signed_in(&t, "battery staple").await;
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
}

async fn the_current_password_must_be_known(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t, "correct horse").await;
    for _ in 0..10 {
        let reply = change(&t, &session, &fields("wrong horse", "battery staple", "battery staple")).await;
        assert!(reply.has(200).body.contains("The current password is wrong."));
    }
    // Whoever found the session open gets no more guesses than at the door.
    let reply = change(&t, &session, &fields("correct horse", "battery staple", "battery staple")).await;
    assert!(reply.has(200).body.contains("The current password is wrong."));
    t.later(600);
    change(&t, &session, &fields("correct horse", "battery staple", "battery staple")).await.has(302);
}

async fn a_change_with_what_the_form_does_not_send(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t, "correct horse").await;
    change(&t, &session, &[]).await.has(400);
    change(&t, &session, &[("user[password]", "x"), ("user[new_password][]", "y")]).await.has(400);
    let differ = change(&t, &session, &fields("correct horse", "battery staple", "battery stable")).await;
    assert!(differ.has(200).body.contains("differ"));
    for bad in ["short", &"x".repeat(1025)] {
        let reply = change(&t, &session, &fields("correct horse", bad, bad)).await;
        assert!(reply.has(200).body.contains("at least 8 characters"));
    }
    let body =
        "user[password]=correct+horse&user[new_password]=battery+staple&user[password_confirmation]=battery+staple";
    t.post("/-/user_settings/password").session(&session).form(body).await.has(422);
    signed_in(&t, "correct horse").await;
}

const COMPOSED: &str = "caf\u{e9} cr\u{e8}me";
const DECOMPOSED: &str = "cafe\u{301} cre\u{300}me";

async fn a_password_is_the_same_on_every_keyboard(t: Town) {
    let ada = t.user_with_password("ada", DECOMPOSED).await;
    for typed in [COMPOSED, DECOMPOSED] {
        guess(&t, "ada", typed).await.has(302);
    }
    let session = signed_in(&t, COMPOSED).await;
    // The page that changes it, where one person types it twice.
    let twice = fields(DECOMPOSED, "na\u{ef}ve th\u{e9}", "nai\u{308}ve the\u{301}");
    change(&t, &session, &twice).await.has(302);
    guess(&t, "ada", "nai\u{308}ve th\u{e9}").await.has(302);
    let session = signed_in(&t, "na\u{ef}ve th\u{e9}").await;
    let short = "e\u{301}".repeat(7);
    let reply = change(&t, &session, &fields("na\u{ef}ve th\u{e9}", &short, &short)).await;
    assert!(reply.has(200).body.contains("at least 8 characters"), "of the normal form");
    // The password grant.
    let client = t.client("api").await;
    let granted = client.token("password", &[("username", "ada"), ("password", "na\u{ef}ve the\u{301}")]).await;
    assert!(granted.has(200).json()["access_token"].is_string());
    // The command line.
    t.shell_with(&["user", "password", "ada", "--password-stdin"], DECOMPOSED).await.done();
    guess(&t, "ada", COMPOSED).await.has(302);
    // A hash from before there was a normal form is of what was typed.
    let digest = typed_hash(DECOMPOSED);
    t.does(&SetPassword { user: ada.id, seen: None, digest, expires_at: None }).await;
    guess(&t, "ada", DECOMPOSED).await.has(302);
    assert!(guess(&t, "ada", "cafe creme").await.has(200).body.contains("Invalid login or password."));
}

/// Argon2id of these very bytes.
fn typed_hash(password: &str) -> String {
    use argon2::PasswordHasher;
    argon2::Argon2::default().hash_password(password.as_bytes()).expect("a hash").to_string()
}
