//! When an `id_token` comes along, and its claims.

use serde_json::json;
use tollhouse::operations::users::Confirm;
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::UserId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::tx::{Change, Tx};

use super::{both, exchange};
use crate::cases::sign_in::guess;
use crate::oauth::{USER, ask, changed, id_token, is_error, sent_back, tokens};
use crate::test_server::{EXPIRED, Session, TestServer};

cases![
    oauth_075_no_id_token_without_openid,
    oauth_077_an_id_token_with_openid,
    oauth_078_an_id_token_says_who_and_since_when,
    oauth_079_the_public_address_for_openid_alone,
    oauth_080_the_primary_address_for_email,
    oauth_082_direct_groups_alone,
    oauth_095_openid_and_no_secret,
    oauth_096_an_id_token_is_for_its_client,
    oauth_126_a_refreshed_id_token_has_no_nonce,
    t22_email_claims_are_of_confirmed_addresses,
    t22_an_address_that_has_to_be_confirmed_again with "accounts.confirmation_required = false",
    auth_time_is_of_the_session_that_allowed_it,
    auth_time_stays_the_same_through_refresh,
    auth_time_of_a_password_is_its_own with "oauth.password_grant = true",
    auth_time_that_was_not_kept_is_not_told,
    an_id_token_is_for_a_person with "oauth.password_grant = true",
    lifetimes_are_settings with "oauth.access_token_lifetime = '1h'\noauth.id_token_lifetime = '60s'",
];

async fn oauth_075_no_id_token_without_openid(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api email").await;
    let body = client.redeem(&code).await.has(200).json();
    assert!(body.get("id_token").is_none() && body["scope"] == "api email", "{body}");
}

async fn oauth_077_an_id_token_with_openid(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid").await;
    let reply = client.redeem(&code).await;
    let claims = id_token(&reply);
    assert_eq!((&claims["sub"], &claims["nickname"]), (&json!(ada.id.to_string()), &json!("ada")));
    let body = reply.json();
    assert_eq!(body["id_token"].as_str().expect("a text").split('.').count(), 3);
}

async fn oauth_078_an_id_token_says_who_and_since_when(t: TestServer) {
    let client = t.client("openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    guess(&t, "ada", "correct horse").await;
    t.later(500);
    let signed_in = t.now().seconds();
    let reply = guess(&t, "ada", "correct horse").await;
    let session = Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a cookie") };
    t.later(300);
    let reply = client.allow(&session, "openid", &[]).await;
    let code = sent_back(&reply, "code").expect("a code");
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!(claims["iss"], "http://127.0.0.1:8080");
    assert_eq!(claims["sub"], ada.id.to_string());
    assert_eq!((&claims["auth_time"], &claims["iat"]), (&json!(signed_in), &json!(t.now().seconds())));
}

/// Signed in by the page, as a browser does it.
async fn signed_in(t: &TestServer) -> Session {
    Session { cookie: guess(t, "ada", "correct horse").await.has(302).cookie("_gitlab_session").expect("a cookie") }
}

/// OpenID Connect Core section 2: of the authentication in question, not of the newest one anywhere.
async fn auth_time_is_of_the_session_that_allowed_it(t: TestServer) {
    let client = t.client("openid").await;
    t.user_with_password("ada", "correct horse").await;
    let mut told = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        told.push(t.now().seconds());
        sessions.push(signed_in(&t).await);
        t.later(100);
    }
    for (session, signed_in) in sessions.iter().zip(told).rev() {
        let code = sent_back(&client.allow(session, "openid", &[]).await, "code").expect("a code");
        let claims = id_token(&client.redeem(&code).await);
        assert_eq!(claims["auth_time"], json!(signed_in));
    }
}

/// OpenID Connect Core section 12.2, repeated answers and sign-ins meanwhile included.
async fn auth_time_stays_the_same_through_refresh(t: TestServer) {
    let client = t.client("openid api").await;
    t.user_with_password("ada", "correct horse").await;
    let session = signed_in(&t).await;
    let signed_in_at = json!(t.now().seconds());
    t.later(50);
    let code = sent_back(&client.allow(&session, "openid api", &[]).await, "code").expect("a code");
    let mut reply = client.redeem(&code).await;
    assert_eq!(id_token(&reply)["auth_time"], signed_in_at);
    for _ in 0..3 {
        t.later(3600);
        signed_in(&t).await;
        let refresh = tokens(&reply).refresh;
        reply = client.refresh(&refresh).await;
        assert_eq!(id_token(&reply)["auth_time"], signed_in_at);
        let again = client.refresh(&refresh).await;
        assert_eq!(id_token(&again)["auth_time"], signed_in_at, "told again");
    }
}

async fn auth_time_of_a_password_is_its_own(t: TestServer) {
    let client = t.client("openid").await;
    t.user_with_password("ada", "correct horse").await;
    signed_in(&t).await;
    t.later(500);
    let login = [("username", "ada"), ("password", "correct horse"), ("scope", "openid")];
    let given = json!(t.now().seconds());
    let reply = client.token("password", &login).await;
    assert_eq!(id_token(&reply)["auth_time"], given);
    t.later(500);
    signed_in(&t).await;
    assert_eq!(id_token(&client.refresh(&tokens(&reply).refresh).await)["auth_time"], given);
}

/// Codes and tokens of a version that did not keep it.
async fn auth_time_that_was_not_kept_is_not_told(t: TestServer) {
    let (client, ada) = both(&t).await;
    let (code, later) = (client.code(&ada, "openid").await, client.code(&ada, "openid").await);
    let given = tokens(&client.redeem(&code).await);
    for table in ["oauth_access_tokens", "oauth_access_grants"] {
        let text = format!("UPDATE {table} SET authenticated_at = NULL");
        tollhouse_store::faults::by_hand(&t.url(), &text).await.expect("it runs");
    }
    for reply in [client.refresh(&given.refresh).await, client.redeem(&later).await] {
        let claims = id_token(&reply);
        assert!(claims.get("auth_time").is_none() && claims["sub"] == ada.id.to_string(), "{claims}");
    }
}

async fn oauth_079_the_public_address_for_openid_alone(t: TestServer) {
    let (client, ada) = both(&t).await;
    t.does(SetPublicEmail { user: ada.id, email: "ada@example.test" }).await;
    let code = client.code(&ada, "openid").await;
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("ada@example.test"), &json!(true)));
}

async fn oauth_080_the_primary_address_for_email(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid email").await;
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("ada@example.test"), &json!(true)));
}

async fn oauth_082_direct_groups_alone(t: TestServer) {
    let (client, ada) = both(&t).await;
    let (g1, g3) = (t.group("g1", Visibility::Private).await, t.group("g3", Visibility::Private).await);
    let g4 = t.subgroup("g4", Some(g3), Visibility::Private).await;
    // She is in the first by way of its parent, and sees the second.
    t.subgroup("g5", Some(g1), Visibility::Private).await;
    t.group("g2", Visibility::Public).await;
    for (group, level) in [(g1, AccessLevel::Owner), (g3, AccessLevel::Developer), (g4, AccessLevel::Maintainer)] {
        t.member(MembershipSource::Group(group), &ada, level).await;
    }
    let code = client.code(&ada, "openid").await;
    let claims = id_token(&client.redeem(&code).await);
    let direct = claims["groups_direct"].as_array().expect("a list").iter();
    let mut direct: Vec<&str> = direct.map(|path| path.as_str().expect("a path")).collect();
    direct.sort_unstable();
    assert_eq!(direct, ["g1", "g3", "g3/g4"]);
    assert!(claims.get("groups").is_none());
    let nobody = client.code(&t.user("grace").await, "openid").await;
    assert_eq!(id_token(&client.redeem(&nobody).await)["groups_direct"], json!([]));
}

async fn oauth_095_openid_and_no_secret(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid").await;
    let reply = ask(&t, &changed(&exchange(&client, &code), &[("client_secret", None)])).await;
    is_error(&reply, 401, "invalid_client");
}

async fn oauth_096_an_id_token_is_for_its_client(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid").await;
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!(claims["aud"], client.uid.as_str());
    assert_eq!(claims["exp"], t.now().seconds() + 120);
}

async fn oauth_126_a_refreshed_id_token_has_no_nonce(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "openid", &[("nonce", Some("n-0S6_WzA2Mj"))]).await;
    let first = client.redeem(&code).await;
    assert_eq!(id_token(&first)["nonce"], "n-0S6_WzA2Mj");
    t.later(3600);
    let claims = id_token(&client.refresh(&tokens(&first).refresh).await);
    assert!(claims.get("nonce").is_none(), "{claims}");
    assert_eq!((&claims["sub"], &claims["iat"]), (&json!(ada.id.to_string()), &json!(t.now().seconds())));
}

async fn t22_email_claims_are_of_confirmed_addresses(t: TestServer) {
    let (client, ada) = both(&t).await;
    let told = async |scope: &str| {
        let code = client.code(&ada, scope).await;
        let reply = client.redeem(&code).await;
        let claims = id_token(&reply);
        let info = t.get("/oauth/userinfo").bearer(&tokens(&reply).access).await.has(200).json();
        for name in ["email", "email_verified"] {
            assert_eq!(claims.get(name), info.get(name), "{name}");
        }
        (claims.get("email").cloned(), claims.get("email_verified").cloned())
    };
    assert_eq!(told("openid").await, (None, None), "nothing is public");
    t.does(SetPublicEmail { user: ada.id, email: "root@example.test" }).await;
    assert_eq!(told("openid").await, (None, None), "nobody confirmed that this is hers");
    let primary = (Some(json!("ada@example.test")), Some(json!(true)));
    assert_eq!(told("openid email").await, primary);
    t.does(SetPublicEmail { user: ada.id, email: "ada@example.test" }).await;
    assert_eq!(told("openid").await, primary);
}

async fn t22_an_address_that_has_to_be_confirmed_again(t: TestServer) {
    let (client, ada) = both(&t).await;
    t.does(SetPublicEmail { user: ada.id, email: "ada@example.test" }).await;
    let codes = [client.code(&ada, "openid email").await, client.code(&ada, "openid").await];
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    for code in codes {
        let claims = id_token(&client.redeem(&code).await);
        assert_eq!((claims.get("email"), claims.get("email_verified")), (None, None), "{claims}");
    }
}

/// There is no operation for it yet.
struct SetPublicEmail {
    user: UserId,
    email: &'static str,
}

impl Operation for SetPublicEmail {
    type Output = ();

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        tollhouse_store::faults::set_public_email(tx, self.user, self.email).await?;
        Ok(Change::nothing(()))
    }
}

async fn an_id_token_is_for_a_person(t: TestServer) {
    let client = t.client("api openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let login = [("username", "ada"), ("password", "correct horse"), ("scope", "openid")];
    let claims = id_token(&client.token("password", &login).await);
    assert_eq!((&claims["sub"], claims.get("nonce")), (&json!(ada.id.to_string()), None));
    let itself = client.token("client_credentials", &[("scope", "openid")]).await;
    assert!(!itself.status.is_server_error() && itself.json().get("id_token").is_none(), "{}", itself.body);
}

async fn lifetimes_are_settings(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid api").await;
    let reply = client.redeem(&code).await;
    assert_eq!(reply.has(200).json()["expires_in"], 3600);
    assert_eq!(id_token(&reply)["exp"], t.now().seconds() + 60);
    let given = tokens(&reply);
    t.later(3600);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    t.later(1);
    t.get(USER).bearer(&given.access).await.is(401, EXPIRED);
    assert_eq!(client.refresh(&given.refresh).await.has(200).json()["expires_in"], 3600);
}
