//! Changing one's password on the page for it.

use std::time::Duration;

use tollhouse::operations::users::SetPassword;
use tollhouse_domain::scope::Scope;

use super::sign_in::guess;
use crate::test_server::{M401, Reply, Session, TestServer};

cases![
    a_person_changes_their_password,
    an_expired_password_is_changed_and_opens_again,
    the_current_password_must_be_known with "limits.sign_in_failures = 0",
    a_change_with_what_the_form_does_not_send,
    the_rule_stands_on_the_page_and_a_password_manager_sees_whose_it_is,
    t14_a_new_password_is_held_to_the_rule,
    t14_a_new_password_that_cannot_be_read,
    t14_a_refused_new_password_is_no_wrong_one,
    t14_the_old_password_is_told_to_who_knows_it,
    a_password_from_before_the_rule_goes_on,
    a_password_is_the_same_on_every_keyboard with "oauth.password_grant = true",
];

const PAGE: &str = "/-/user_settings/password/edit";

async fn signed_in(t: &TestServer, password: &str) -> Session {
    let reply = guess(t, "ada", password).await;
    Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a cookie") }
}

async fn change(t: &TestServer, session: &Session, fields: &[(&str, &str)]) -> Reply {
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

async fn a_person_changes_their_password(t: TestServer) {
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

async fn an_expired_password_is_changed_and_opens_again(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let digest = t.app.hasher.hash(&tollhouse_domain::secret::Plaintext::new("set by another".into())).await;
    let expires_at = Some(t.now());
    t.does(SetPassword { user: ada.id, seen: None, digest, expires_at }).await;
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

async fn the_current_password_must_be_known(t: TestServer) {
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

async fn a_change_with_what_the_form_does_not_send(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t, "correct horse").await;
    change(&t, &session, &[]).await.has(400);
    change(&t, &session, &[("user[password]", "x"), ("user[new_password][]", "y")]).await.has(400);
    let differ = change(&t, &session, &fields("correct horse", "battery staple", "battery stable")).await;
    assert!(differ.has(200).body.contains("differ"));
    let body =
        "user[password]=correct+horse&user[new_password]=battery+staple&user[password_confirmation]=battery+staple";
    t.post("/-/user_settings/password").session(&session).form(body).await.has(422);
    signed_in(&t, "correct horse").await;
}

async fn the_rule_stands_on_the_page_and_a_password_manager_sees_whose_it_is(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t, "correct horse").await;
    let page = t.get(PAGE).session(&session).await;
    let body = &page.has(200).body;
    assert!(body.contains(r#"<p id="rule" class="faint">8 to 128 characters."#), "{body}");
    assert!(body.contains(r#"aria-describedby="rule""#));
    let field = r#"<input type="text" value="ada" autocomplete="username" readonly hidden>"#;
    let (name, password) = (body.find(field), body.find(r#"type="password""#));
    assert!(name.is_some() && name < password, "{body}");
}

const PERSONAL: &str = "is the user name, the name or the e-mail address of the account";
const COMMON: &str = "is too easy to guess: choose another one";

async fn t14_a_new_password_is_held_to_the_rule(t: TestServer) {
    t.user_with_password("ada.lovelace", "correct horse").await;
    let reply = guess(&t, "ada.lovelace", "correct horse").await;
    let session = Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a cookie") };
    let (long, longest) =
        ("harbour master".repeat(10)[..129].to_owned(), "harbour master".repeat(10)[..128].to_owned());
    for (new, told) in [
        ("", "is too short (minimum is 8 characters)"),
        ("\u{e9}\u{e9}xk4!Q", "is too short (minimum is 8 characters)"),
        (&long, "is too long (maximum is 128 characters)"),
        ("harbour\tmaster", "hold control characters such as tabs or line breaks: leave them out"),
        ("harbour\u{85}master", "hold control characters"),
        ("password", COMMON),
        ("PassWord", COMMON),
        ("12345678", COMMON),
        ("        ", COMMON),
        ("qwertyuiop", COMMON),
        ("00000000", COMMON),
        ("ada.lovelace", PERSONAL),
        ("ADA.LOVELACE", PERSONAL),
        ("ecalevol.ada", PERSONAL),
        ("ada.lovelace@example.test", PERSONAL),
        ("tset.elpmaxe@ECALEVOL.ada", PERSONAL),
    ] {
        let reply = change(&t, &session, &fields("correct horse", new, new)).await;
        let body = reply.has(200).body.replace("&#39;", "'");
        let told = format!(
            "The new password {}",
            if told.starts_with("hold") { format!("can't {told}") } else { told.into() }
        );
        assert!(body.contains(&told), "{new:?}: {body}");
    }
    assert_eq!(t.count("user.password_changed").await, 0);
    change(&t, &session, &fields("correct horse", &longest, &longest)).await.has(302);
    guess(&t, "ada.lovelace", &longest).await.has(302);
}

async fn t14_a_new_password_that_cannot_be_read(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t, "correct horse").await;
    let token = form_urlencoded::byte_serialize(session.csrf().as_bytes()).collect::<String>();
    let send = async |new: &str| {
        let body = format!(
            "authenticity_token={token}&user[password]=correct+horse&user[new_password]={new}\
             &user[password_confirmation]={new}"
        );
        t.post("/-/user_settings/password").session(&session).form(&body).await
    };
    for unreadable in ["harbour%00master", "harbour%ffmaster", "%c3%28harbour"] {
        let reply = send(unreadable).await;
        assert!(reply.has(400).body.contains("Invalid form"), "{unreadable}: {}", reply.body);
    }
    let reply = send(&"x".repeat(100 << 10)).await;
    let (status, body) = (reply.status, &reply.body);
    assert!(body.contains("is too long (maximum is 128 characters)") || status == 413, "{status}: {body}");
    let reply = send(&"x".repeat(2 << 20)).await;
    assert!(reply.has(413).body.contains("64 KiB"), "{}", reply.body);
    signed_in(&t, "correct horse").await;
}

async fn t14_a_refused_new_password_is_no_wrong_one(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t, "correct horse").await;
    // More often than a wrong one may be given, before and after the current one is proven.
    for _ in 0..12 {
        for (current, new) in
            [("correct horse", "password"), ("wrong horse", "password"), ("correct horse", "correct horse")]
        {
            change(&t, &session, &fields(current, new, new)).await.has(200);
        }
    }
    assert_eq!(t.count("user.password_locked").await, 0);
    change(&t, &session, &fields("correct horse", "battery staple", "battery staple")).await.has(302);
}

async fn t14_the_old_password_is_told_to_who_knows_it(t: TestServer) {
    t.user_with_password("ada", COMPOSED).await;
    let session = signed_in(&t, COMPOSED).await;
    const OLD: &str = "The new password is the one that the account has already";
    for new in [COMPOSED, DECOMPOSED] {
        let reply = change(&t, &session, &fields(DECOMPOSED, new, new)).await;
        assert!(reply.has(200).body.contains(OLD), "{}", reply.body);
    }
    // Whoever found the session open learns nothing by it.
    let reply = change(&t, &session, &fields("wrong horse", COMPOSED, COMPOSED)).await;
    assert!(reply.has(200).body.contains("The current password is wrong.") && !reply.body.contains(OLD));
    t.get("/api/v4/user").session(&session).await.has(200);
}

async fn a_password_from_before_the_rule_goes_on(t: TestServer) {
    t.user_with_password("ada", "password").await;
    let session = signed_in(&t, "password").await;
    let reply = change(&t, &session, &fields("password", "Password1", "Password1")).await;
    assert!(reply.has(200).body.contains(COMMON));
    change(&t, &session, &fields("password", "battery staple", "battery staple")).await.has(302);
    let long = "harbour master ".repeat(60);
    t.user_with_password("grace", &long).await;
    guess(&t, "grace", &long).await.has(302);
}

const COMPOSED: &str = "caf\u{e9} cr\u{e8}me";
const DECOMPOSED: &str = "cafe\u{301} cre\u{300}me";

async fn a_password_is_the_same_on_every_keyboard(t: TestServer) {
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
    assert!(reply.has(200).body.contains("is too short"), "of the normal form");
    // The password grant.
    let client = t.client("api").await;
    let granted = client.token("password", &[("username", "ada"), ("password", "na\u{ef}ve the\u{301}")]).await;
    assert!(granted.has(200).json()["access_token"].is_string());
    // The command line.
    t.shell_with(&["user", "password", "ada", "--password-stdin"], DECOMPOSED).await.done();
    guess(&t, "ada", COMPOSED).await.has(302);
    // A hash from before there was a normal form is of what was typed.
    let digest = typed_hash(DECOMPOSED);
    t.does(SetPassword { user: ada.id, seen: None, digest, expires_at: None }).await;
    guess(&t, "ada", DECOMPOSED).await.has(302);
    assert!(guess(&t, "ada", "cafe creme").await.has(200).body.contains("Invalid login or password."));
}

/// Argon2id of these very bytes.
fn typed_hash(password: &str) -> String {
    use argon2::PasswordHasher;
    argon2::Argon2::default().hash_password(password.as_bytes()).expect("a hash").to_string()
}
