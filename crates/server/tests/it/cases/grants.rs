//! The token endpoint (oauth.md section 6), but for what `refresh.rs` holds: each grant, each mistake in its order, a
//! code that comes twice, and what nobody means to send.

use serde_json::{Map, Value, json};
use tollhouse::operations::users::{Confirm, Create, SetPassword, SetState};
use tollhouse::operations::{Failed, Operation, applications};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::UserId;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, UserKind};
use tollhouse_store::faults::Fault;
use tollhouse_store::members::Of;
use tollhouse_store::tx::{Change, Tx};

use super::sign_in::guess;
use super::users::keys;
use crate::oauth::{
    CALLBACK, CHALLENGE, Client, Tokens, VERIFIER, basic, changed, create, encoded, is_error, sent_back, tokens,
};
use crate::town::{Ask, EXPIRED, M401, Person, REVOKED, Reply, Session, Town, logged};

cases![
    oauth_006_a_code_becomes_tokens,
    oauth_007_no_such_code,
    oauth_008_a_code_is_good_once_and_its_tokens_live_on with "compat.rotation = 'gitlab'",
    oauth_009_an_access_token_opens_the_api,
    oauth_011_a_refresh_gives_another_access_token,
    oauth_012_and_that_one_opens_the_api,
    oauth_013_a_refresh_keeps_the_scopes,
    oauth_014_no_such_refresh_token,
    oauth_016_a_refresh_after_revocation,
    oauth_032_a_public_application_shows_a_verifier,
    oauth_033_a_wrong_verifier,
    oauth_036_neither_challenge_nor_verifier,
    oauth_038_a_wrong_password_counts,
    oauth_041_tokens_for_a_password,
    oauth_042_tokens_for_a_password_without_a_client with "compat.password_grant = 'gitlab'",
    oauth_043_no_client_and_one_is_demanded with "oauth.ropc_without_client_credentials = false",
    oauth_044_a_password_of_nobody,
    oauth_045_neither_name_nor_password,
    oauth_046_a_password_by_an_unknown_client,
    oauth_047_a_password_and_no_secret,
    oauth_049_a_password_of_who_may_not_come_in,
    oauth_050_a_password_and_a_wrong_secret,
    oauth_055_an_application_for_itself,
    oauth_056_an_application_that_is_not_known,
    oauth_057_an_application_asks_for_more_than_it_has,
    oauth_058_an_application_asks_for_nothing_in_particular,
    oauth_059_an_application_by_basic,
    oauth_075_no_id_token_without_openid,
    oauth_077_an_id_token_with_openid,
    oauth_078_an_id_token_says_who_and_since_when,
    oauth_079_the_public_address_for_openid_alone,
    oauth_080_the_primary_address_for_email,
    oauth_082_direct_groups_alone,
    oauth_095_openid_and_no_secret,
    oauth_096_an_id_token_is_for_its_client,
    oauth_104_no_grant_type,
    oauth_105_an_unknown_grant_type,
    oauth_106_no_redirect_uri,
    oauth_107_a_code_of_another_application,
    oauth_108_a_challenge_and_no_verifier,
    oauth_110_a_refresh_asks_for_more,
    oauth_126_a_refreshed_id_token_has_no_nonce,
    oauth_132_an_expired_access_token_is_revoked_in_vain,
    oauth_134_of_two_exchanges_at_once_one_wins,
    every_challenge_with_every_verifier,
    every_challenge_with_every_verifier_as_the_original with "compat.pkce = 'gitlab'",
    mistakes_are_told_in_their_order,
    mistakes_of_the_other_grants_in_their_order,
    a_code_repeated_at_once_ends_nothing,
    a_code_repeated_later_ends_its_family,
    a_code_repeated_otherwise_ends_its_family,
    a_code_repeated_by_a_refused_client_ends_nothing,
    a_refused_client_does_not_use_up_a_code,
    a_code_is_of_no_use_to_other_clients,
    two_mechanisms_that_agree_are_one,
    a_public_client_by_basic,
    json_does_as_well_as_a_form,
    t19_no_secret_in_the_query,
    t19_secrets_in_the_query_as_the_original with "compat.query_secrets = 'gitlab'",
    a_code_lives_ten_minutes,
    a_code_outlives_a_restart,
    a_hundred_exchanges_at_once_have_one_winner,
    a_blocked_person_gets_nothing_by_any_grant,
    t16_passwords_are_for_confidential_clients,
    t16_the_lock_out_counts_every_password,
    t14_every_password_costs_a_hash,
    a_password_of_who_may_not_come_in_is_no_grant,
    a_password_may_come_with_an_address,
    no_password_grant_at_all with "oauth.password_grant = false",
    t21_admin_scopes_come_by_the_page_alone,
    t21_admin_scopes_as_the_original with "compat.admin_scopes = 'gitlab'",
    t22_email_claims_are_of_confirmed_addresses,
    t22_an_address_that_has_to_be_confirmed_again with "accounts.confirmation_required = false",
    parameters_as_nobody_means_them,
    bodies_as_nobody_means_them,
    scopes_are_words_that_the_application_has,
    what_an_answer_looks_like,
    what_a_refusal_looks_like,
    an_id_token_is_for_a_person,
    lifetimes_are_settings with "oauth.access_token_lifetime = '1h'\noauth.id_token_lifetime = '60s'",
    a_storage_that_refuses_uses_no_code_up,
    no_secret_of_an_exchange_is_written_down,
    what_is_sent_reaches_no_header_and_no_line,
];

const USER: &str = "/api/v4/user";
const TOKEN: &str = "/oauth/token";

/// A request for authorization with the challenge that [`VERIFIER`] meets.
const CHALLENGED: [(&str, Option<&str>); 2] =
    [("code_challenge", Some(CHALLENGE)), ("code_challenge_method", Some("S256"))];

type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

const MALFORMED: &str =
    "The request is missing a required parameter, includes an unsupported parameter value, or is otherwise malformed.";
const INVALID_CLIENT: &str = "Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.";
const INVALID_GRANT: &str = "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.";

/// Ada, and a confidential application.
async fn both(t: &Town) -> (Client, Person) {
    (t.client("api read_api read_user openid email").await, t.user("ada").await)
}

/// These pairs and nothing else.
pub fn ask(t: &Town, pairs: &[(&str, &str)]) -> Ask {
    t.post(TOKEN).form(&encoded(pairs))
}

/// All that redeems a code of a confidential application, for tests that change a part of it.
fn exchange<'a>(client: &'a Client, code: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("client_id", client.uid.as_str()),
        ("client_secret", client.secret.as_str()),
    ]
}

/// Redeems a code that was asked for with [`CHALLENGED`].
fn redeem_challenged(client: &Client, code: &str) -> Ask {
    let pairs = [("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    client.token("authorization_code", &pairs)
}

fn by_password(client: &Client, login: &str, password: &str) -> Ask {
    client.token("password", &[("username", login), ("password", password)])
}

pub fn revoke(client: &Client, token: &str) -> Ask {
    let pairs = [("token", token), ("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    client.town.post("/oauth/revoke").form(&encoded(&pairs))
}

/// The same application, asking another process.
pub fn at(town: &Town, client: &Client) -> Client {
    Client { town: town.clone(), ..client.clone() }
}

/// The claims. That they are signed is tested with the keys.
#[track_caller]
pub fn id_token(reply: &Reply) -> Value {
    let body = reply.has(200).json();
    let token = body["id_token"].as_str().expect("an id_token");
    let claims = token.split('.').nth(1).expect("claims");
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).expect("base64");
    serde_json::from_slice(&claims).expect("JSON")
}

/// The names of all events, the newest first.
pub async fn trail(t: &Town) -> Vec<String> {
    let mut reader = t.app.db.read().await.expect("a reader");
    let lines = tollhouse_store::audit_events::newest(&mut reader, 1_000).await.expect("the trail");
    lines.into_iter().map(|line| line.event).collect()
}

pub async fn count(t: &Town, event: &str) -> usize {
    trail(t).await.iter().filter(|known| *known == event).count()
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

async fn oauth_006_a_code_becomes_tokens(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let reply = client.redeem(&code).await;
    let Tokens { access, refresh } = tokens(&reply);
    assert!(is_hex(&code) && is_hex(&access) && is_hex(&refresh), "{code} {}", reply.body);
    assert_ne!(access, refresh);
    let body = reply.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(7200)));
    assert_eq!((&body["scope"], &body["created_at"]), (&json!("api"), &json!(t.now().seconds())));
}

async fn oauth_007_no_such_code(t: Town) {
    let client = t.client("api").await;
    for code in ["no such code", &"0".repeat(64)] {
        assert_eq!(is_error(&client.redeem(code).await, 400, "invalid_grant"), INVALID_GRANT);
    }
}

async fn oauth_008_a_code_is_good_once_and_its_tokens_live_on(t: Town) {
    let (client, ada) = both(&t).await;
    let other = t.client("api").await;
    let code = client.code(&ada, "api").await;
    let first = tokens(&client.redeem(&code).await);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    is_error(&other.redeem(&code).await, 400, "invalid_grant");
    t.later(300);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    t.get(USER).bearer(&first.access).await.is_user(&ada);
    tokens(&client.refresh(&first.refresh).await);
    assert_eq!(count(&t, "code.reuse_detected").await, 0);
}

async fn oauth_009_an_access_token_opens_the_api(t: Town) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "api").await;
    let reply = t.get(USER).bearer(&given.access).await;
    assert_eq!(reply.is_user(&ada).json()["id"], ada.id.0);
    t.get(&format!("{USER}?access_token={}", given.access)).await.is_user(&ada);
    // The other half of the pair opens nothing.
    t.get(USER).bearer(&given.refresh).await.is(401, M401);
}

async fn oauth_011_a_refresh_gives_another_access_token(t: Town) {
    let (client, ada) = both(&t).await;
    let first = client.tokens(&ada, "api").await;
    let next = tokens(&client.refresh(&first.refresh).await);
    assert_ne!(next.access, first.access);
    assert_ne!(next.refresh, first.refresh);
    assert!(is_hex(&next.access) && is_hex(&next.refresh));
}

async fn oauth_012_and_that_one_opens_the_api(t: Town) {
    let (client, ada) = both(&t).await;
    let first = client.tokens(&ada, "api").await;
    let next = tokens(&client.refresh(&first.refresh).await);
    t.get(USER).bearer(&next.access).await.is_user(&ada);
}

async fn oauth_013_a_refresh_keeps_the_scopes(t: Town) {
    let (client, ada) = both(&t).await;
    for scope in ["api", "read_user read_api"] {
        let first = client.tokens(&ada, scope).await;
        assert_eq!(client.refresh(&first.refresh).await.has(200).json()["scope"], scope);
    }
}

async fn oauth_014_no_such_refresh_token(t: Town) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "api").await;
    for unknown in ["no such token", &"0".repeat(64), &given.access] {
        is_error(&client.refresh(unknown).await, 400, "invalid_grant");
    }
}

async fn oauth_016_a_refresh_after_revocation(t: Town) {
    let (client, ada) = both(&t).await;
    let (one, two) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
    revoke(&client, &one.access).await.is(200, "{}");
    revoke(&client, &two.refresh).await.is(200, "{}");
    for given in [one, two] {
        is_error(&client.refresh(&given.refresh).await, 400, "invalid_grant");
        t.get(USER).bearer(&given.access).await.is(401, REVOKED);
    }
}

async fn oauth_032_a_public_application_shows_a_verifier(t: Town) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let code = client.code(&ada, "api").await;
    let pairs = [
        ("grant_type", "authorization_code"),
        ("client_id", client.uid.as_str()),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let given = tokens(&ask(&t, &pairs).await);
    assert!(is_hex(&given.refresh));
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn oauth_033_a_wrong_verifier(t: Town) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let code = client.code(&ada, "api").await;
    for wrong in [CHALLENGE, &VERIFIER[1..], &VERIFIER.to_lowercase()] {
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", wrong)];
        is_error(&client.token("authorization_code", &pairs).await, 400, "invalid_grant");
    }
    tokens(&client.redeem(&code).await);
}

async fn oauth_036_neither_challenge_nor_verifier(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "read_user").await;
    let reply = ask(&t, &exchange(&client, &code)).await;
    assert_eq!(reply.has(200).json()["scope"], "read_user");
}

async fn oauth_038_a_wrong_password_counts(t: Town) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let failures = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        tollhouse_store::users::failures(&mut reader, ada.id).await.expect("a count").1
    };
    for failed in 1..=3 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "invalid_grant");
        assert_eq!(failures().await, failed);
    }
    tokens(&by_password(&client, "ada", "correct horse").await);
    assert_eq!(failures().await, 3);
}

async fn oauth_041_tokens_for_a_password(t: Town) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let reply = by_password(&client, "ada", "correct horse").await;
    let given = tokens(&reply);
    assert!(is_hex(&given.refresh));
    assert_eq!(reply.json()["scope"], "api");
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn oauth_042_tokens_for_a_password_without_a_client(t: Town) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    let given = tokens(&ask(&t, &pairs).await);
    assert!(is_hex(&given.refresh));
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    tokens(&by_password(&t.public_client("api").await, "ada", "correct horse").await);
}

async fn oauth_043_no_client_and_one_is_demanded(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
    let settings = "oauth.ropc_without_client_credentials = false\ncompat.password_grant = 'gitlab'";
    let twin = t.reopened(settings).await;
    is_error(&ask(&twin, &pairs).await, 401, "invalid_client");
    twin.app.db.close().await;
}

async fn oauth_044_a_password_of_nobody(t: Town) {
    let client = t.client("api").await;
    is_error(&by_password(&client, "nobody", "correct horse").await, 400, "invalid_grant");
}

async fn oauth_045_neither_name_nor_password(t: Town) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    is_error(&client.token("password", &[]).await, 400, "invalid_grant");
    for half in [("username", "ada"), ("password", "correct horse")] {
        is_error(&client.token("password", &[half]).await, 400, "invalid_grant");
    }
}

async fn oauth_046_a_password_by_an_unknown_client(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let unknown = Client { uid: "0".repeat(64), ..t.client("api").await };
    is_error(&by_password(&unknown, "ada", "correct horse").await, 401, "invalid_client");
}

async fn oauth_047_a_password_and_no_secret(t: Town) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    let pairs = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", "correct horse"),
        ("client_id", client.uid.as_str()),
    ];
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
}

async fn oauth_049_a_password_of_who_may_not_come_in(t: Town) {
    let client = t.client("api").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let grace = t.user_with_password("grace", "correct horse").await;
    ada.set_state(SetState::block(ada.id)).await;
    t.does(&Confirm { user: grace.id, confirmed: false }).await;
    for name in ["ada", "grace"] {
        is_error(&by_password(&client, name, "correct horse").await, 400, "invalid_grant");
    }
}

async fn oauth_050_a_password_and_a_wrong_secret(t: Town) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    for secret in ["gloas-wrong", ""] {
        let reply = ask(&t, &pairs).with("authorization", &basic(&client.uid, secret)).await;
        is_error(&reply, 401, "invalid_client");
    }
    tokens(&ask(&t, &pairs).with("authorization", &client.basic()).await);
}

async fn oauth_055_an_application_for_itself(t: Town) {
    let client = t.client("api read_user").await;
    let reply = client.token("client_credentials", &[("scope", "read_user")]).await;
    assert_eq!(keys(reply.has(200)), ["access_token", "token_type", "expires_in", "scope", "created_at"]);
    let body = reply.json();
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("read_user")));
    // It speaks for nobody.
    t.get(USER).bearer(&tokens(&reply).access).await.is(401, M401);
}

async fn oauth_056_an_application_that_is_not_known(t: Town) {
    let client = t.client("api").await;
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", client.uid.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    for change in [("client_id", Some("nobody")), ("client_secret", Some("gloas-wrong")), ("client_secret", None)] {
        let reply = ask(&t, &changed(&own, &[change])).await;
        assert_eq!(is_error(&reply, 401, "invalid_client"), INVALID_CLIENT);
    }
    tokens(&ask(&t, &own).await);
}

async fn oauth_057_an_application_asks_for_more_than_it_has(t: Town) {
    let client = t.client("read_user").await;
    for scope in ["api", "read_user api", "nonsense"] {
        is_error(&client.token("client_credentials", &[("scope", scope)]).await, 400, "invalid_scope");
    }
}

async fn oauth_058_an_application_asks_for_nothing_in_particular(t: Town) {
    let client = t.client("read_user api").await;
    let reply = client.token("client_credentials", &[]).await;
    assert_eq!(reply.has(200).json()["scope"], "api");
}

async fn oauth_059_an_application_by_basic(t: Town) {
    let client = t.client("api").await;
    let pairs = [("grant_type", "client_credentials")];
    tokens(&ask(&t, &pairs).with("authorization", &client.basic()).await);
    let wrong = ask(&t, &pairs).with("authorization", &basic(&client.uid, "gloas-wrong")).await;
    is_error(&wrong, 401, "invalid_client");
}

async fn oauth_075_no_id_token_without_openid(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api email").await;
    let body = client.redeem(&code).await.has(200).json();
    assert!(body.get("id_token").is_none() && body["scope"] == "api email", "{body}");
}

async fn oauth_077_an_id_token_with_openid(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid").await;
    let reply = client.redeem(&code).await;
    let claims = id_token(&reply);
    assert_eq!((&claims["sub"], &claims["nickname"]), (&json!(ada.id.to_string()), &json!("ada")));
    let body = reply.json();
    assert_eq!(body["id_token"].as_str().expect("a text").split('.').count(), 3);
}

async fn oauth_078_an_id_token_says_who_and_since_when(t: Town) {
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

async fn oauth_079_the_public_address_for_openid_alone(t: Town) {
    let (client, ada) = both(&t).await;
    t.does(&SetPublicEmail { user: ada.id, email: "ada@example.test" }).await;
    let code = client.code(&ada, "openid").await;
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("ada@example.test"), &json!(true)));
}

async fn oauth_080_the_primary_address_for_email(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid email").await;
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("ada@example.test"), &json!(true)));
}

async fn oauth_082_direct_groups_alone(t: Town) {
    let (client, ada) = both(&t).await;
    let (g1, g3) = (t.group("g1", Visibility::Private).await, t.group("g3", Visibility::Private).await);
    let g4 = t.subgroup("g4", Some(g3), Visibility::Private).await;
    // She is in the first by way of its parent, and sees the second.
    t.subgroup("g5", Some(g1), Visibility::Private).await;
    t.group("g2", Visibility::Public).await;
    for (group, level) in [(g1, AccessLevel::Owner), (g3, AccessLevel::Developer), (g4, AccessLevel::Maintainer)] {
        t.member(Of::Group(group), &ada, level).await;
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

async fn oauth_095_openid_and_no_secret(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid").await;
    let reply = ask(&t, &changed(&exchange(&client, &code), &[("client_secret", None)])).await;
    is_error(&reply, 401, "invalid_client");
}

async fn oauth_096_an_id_token_is_for_its_client(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid").await;
    let claims = id_token(&client.redeem(&code).await);
    assert_eq!(claims["aud"], client.uid.as_str());
    assert_eq!(claims["exp"], t.now().seconds() + 120);
}

async fn oauth_104_no_grant_type(t: Town) {
    let client = t.client("api").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    for reply in [t.post(TOKEN).await, ask(&t, &own).await, ask(&t, &[("grant_type", ""), own[0], own[1]]).await] {
        let description = is_error(&reply, 400, "invalid_request");
        assert_eq!(description, "Missing required parameter: grant_type.");
    }
}

async fn oauth_105_an_unknown_grant_type(t: Town) {
    let client = t.client("api").await;
    for grant in ["foo", "Authorization_Code", "implicit", "authorization_code refresh_token"] {
        let description = is_error(&client.token(grant, &[]).await, 400, "unsupported_grant_type");
        assert_eq!(description, "The authorization grant type is not supported by the authorization server.");
    }
}

async fn oauth_106_no_redirect_uri(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let reply = client.token("authorization_code", &[("code", &code)]).await;
    let description = is_error(&reply, 400, "invalid_request");
    assert_eq!(description, "Missing required parameter: redirect_uri.");
}

async fn oauth_107_a_code_of_another_application(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    is_error(&t.client("api").await.redeem(&code).await, 400, "invalid_grant");
}

async fn oauth_108_a_challenge_and_no_verifier(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    is_error(&client.redeem(&code).await, 400, "invalid_request");
}

async fn oauth_110_a_refresh_asks_for_more(t: Town) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "read_user").await;
    for wider in ["api", "read_user api", "nonsense"] {
        let pairs = [("refresh_token", given.refresh.as_str()), ("scope", wider)];
        is_error(&client.token("refresh_token", &pairs).await, 400, "invalid_scope");
    }
    tokens(&client.refresh(&given.refresh).await);
}

async fn oauth_126_a_refreshed_id_token_has_no_nonce(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "openid", &[("nonce", Some("n-0S6_WzA2Mj"))]).await;
    let first = client.redeem(&code).await;
    assert_eq!(id_token(&first)["nonce"], "n-0S6_WzA2Mj");
    t.later(3600);
    let claims = id_token(&client.refresh(&tokens(&first).refresh).await);
    assert!(claims.get("nonce").is_none(), "{claims}");
    assert_eq!((&claims["sub"], &claims["iat"]), (&json!(ada.id.to_string()), &json!(t.now().seconds())));
}

async fn oauth_132_an_expired_access_token_is_revoked_in_vain(t: Town) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "api").await;
    t.later(7201);
    revoke(&client, &given.access).await.is(200, "{}");
    let next = tokens(&client.refresh(&given.refresh).await);
    t.get(USER).bearer(&next.access).await.is_user(&ada);
}

async fn oauth_134_of_two_exchanges_at_once_one_wins(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let (one, two) = tokio::join!(client.redeem(&code).send(), client.redeem(&code).send());
    let (won, lost) = if one.status.as_u16() == 200 { (one, two) } else { (two, one) };
    let given = tokens(&won);
    is_error(&lost, 400, "invalid_grant");
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn every_challenge_with_every_verifier(t: Town) {
    challenges_and_verifiers(&t, false).await;
}

async fn every_challenge_with_every_verifier_as_the_original(t: Town) {
    challenges_and_verifiers(&t, true).await;
}

/// `as_the_original`: public applications need not send a challenge.
async fn challenges_and_verifiers(t: &Town, as_the_original: bool) {
    let session = t.user("ada").await.session().await;
    for client in [t.client("api").await, t.public_client("api").await] {
        for (challenge, method) in [(None, None), (Some(VERIFIER), Some("plain")), (Some(CHALLENGE), Some("S256"))] {
            let with = [("code_challenge", challenge), ("code_challenge_method", method)];
            for verifier in [None, Some(""), Some(CHALLENGE), Some(VERIFIER)] {
                let sent = client.allow(&session, "api", &with).await;
                if challenge.is_none() && !client.confidential && !as_the_original {
                    assert_eq!(sent_back(&sent, "error").as_deref(), Some("invalid_request"));
                    let description = sent_back(&sent, "error_description").expect("a description");
                    assert_eq!(description, "Missing required parameter: code_challenge.");
                    assert_eq!(sent_back(&sent, "code"), None);
                    continue;
                }
                let code = sent_back(&sent, "code").expect("a code");
                let pairs =
                    changed(&[("code", code.as_str()), ("redirect_uri", CALLBACK)], &[("code_verifier", verifier)]);
                let reply = client.token("authorization_code", &pairs).await;
                let (status, error) = match (challenge, verifier) {
                    (None, None | Some("")) | (Some(_), Some(VERIFIER)) => (200, None),
                    (Some(_), None | Some("")) => (400, Some("invalid_request")),
                    _ => (400, Some("invalid_grant")),
                };
                let told = (reply.status.as_u16(), reply.json()["error"].as_str().map(str::to_owned));
                let what = format!("{method:?} with {verifier:?}, confidential: {}", client.confidential);
                assert_eq!(told, (status, error.map(str::to_owned)), "{what}: {}", reply.body);
            }
        }
    }
}

async fn mistakes_are_told_in_their_order(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let good = changed(&exchange(&client, &code), &[("code_verifier", Some(VERIFIER))]);
    let (wrong, other) = (("client_secret", Some("gloas-wrong")), ("redirect_uri", Some("https://other.test/")));
    let table: &[(Changes<'_>, u16, &str)] = &[
        (&[wrong, ("grant_type", None)], 400, "invalid_request"),
        (&[wrong, ("grant_type", Some("foo"))], 400, "unsupported_grant_type"),
        (&[wrong, ("code", None)], 400, "invalid_request"),
        (&[wrong, ("code_verifier", None)], 400, "invalid_request"),
        (&[wrong, ("redirect_uri", None)], 400, "invalid_request"),
        (&[wrong, ("code", Some("unknown"))], 401, "invalid_client"),
        (&[wrong, other, ("code_verifier", Some(CHALLENGE))], 401, "invalid_client"),
        (&[("client_id", None), ("client_secret", None)], 401, "invalid_client"),
        (&[("code", Some("unknown")), other], 400, "invalid_grant"),
        (&[other], 400, "invalid_grant"),
        (&[other, ("code_verifier", Some(CHALLENGE))], 400, "invalid_grant"),
        (&[("code_verifier", Some(CHALLENGE))], 400, "invalid_grant"),
    ];
    for (changes, status, error) in table {
        is_error(&ask(&t, &changed(&good, changes)).await, *status, error);
    }
    tokens(&ask(&t, &good).await);
}

async fn mistakes_of_the_other_grants_in_their_order(t: Town) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    let grant = |pairs: &[(&'static str, Option<&'static str>)]| ask(&t, &changed(&own, pairs));
    let wrong = ("client_secret", Some("gloas-wrong"));
    let (password, itself) = (("grant_type", Some("password")), ("grant_type", Some("client_credentials")));
    let (ada, more) = (("username", Some("ada")), ("scope", Some("sudo")));
    let (right, false_one) = (("password", Some("correct horse")), ("password", Some("wrong horse")));
    is_error(&grant(&[password, wrong]).await, 401, "invalid_client");
    is_error(&grant(&[password, wrong, ada, false_one, more]).await, 401, "invalid_client");
    is_error(&grant(&[password, ada, false_one, more]).await, 400, "invalid_grant");
    is_error(&grant(&[password, ada, right, more]).await, 400, "invalid_scope");
    is_error(&grant(&[itself, wrong, more]).await, 401, "invalid_client");
    is_error(&grant(&[itself, more]).await, 400, "invalid_scope");
    tokens(&grant(&[password, ada, right]).await);
}

async fn a_code_repeated_at_once_ends_nothing(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let first = tokens(&redeem_challenged(&client, &code).await);
    for wait in [0, 60, 59] {
        t.later(wait);
        is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
        t.get(USER).bearer(&first.access).await.is_user(&ada);
    }
    tokens(&client.refresh(&first.refresh).await);
    assert_eq!(count(&t, "code.reuse_detected").await, 0);
}

async fn a_code_repeated_later_ends_its_family(t: Town) {
    let (client, ada) = both(&t).await;
    for refreshed in [false, true] {
        let bystander = client.tokens(&ada, "api").await;
        let code = client.code(&ada, "api").await;
        let mut last = tokens(&client.redeem(&code).await);
        if refreshed {
            last = tokens(&client.refresh(&last.refresh).await);
        }
        t.get(USER).bearer(&last.access).await.is_user(&ada);
        let before = count(&t, "code.reuse_detected").await;
        t.later(121);
        is_error(&client.redeem(&code).await, 400, "invalid_grant");
        t.get(USER).bearer(&last.access).await.is(401, REVOKED);
        is_error(&client.refresh(&last.refresh).await, 400, "invalid_grant");
        assert_eq!(count(&t, "code.reuse_detected").await, before + 1);
        t.get(USER).bearer(&bystander.access).await.is_user(&ada);
    }
}

async fn a_code_repeated_otherwise_ends_its_family(t: Town) {
    let two_addresses = format!("{CALLBACK}\nhttps://app.example.test/other");
    let client = t.client_with(applications::Create { redirect_uri: two_addresses, ..create("api") }).await;
    let (ada, other) = (t.user("ada").await, t.client("api").await);
    let changes = [
        (&other, ("code_verifier", Some(VERIFIER))),
        (&client, ("redirect_uri", Some("https://app.example.test/other"))),
        (&client, ("code_verifier", Some(CHALLENGE))),
    ];
    for (seen, (who, change)) in changes.into_iter().enumerate() {
        let code = client.code_with(&ada, "api", &CHALLENGED).await;
        let first = tokens(&redeem_challenged(&client, &code).await);
        let same = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
        let repeat = who.token("authorization_code", &changed(&same, &[change])).await;
        is_error(&repeat, 400, "invalid_grant");
        t.get(USER).bearer(&first.access).await.is(401, REVOKED);
        is_error(&client.refresh(&first.refresh).await, 400, "invalid_grant");
        assert_eq!(count(&t, "code.reuse_detected").await, seen + 1);
    }
}

async fn a_code_repeated_by_a_refused_client_ends_nothing(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let first = tokens(&client.redeem(&code).await);
    let before = trail(&t).await;
    t.later(300);
    let same = exchange(&client, &code);
    for change in [("client_secret", Some("gloas-wrong")), ("client_secret", None), ("client_id", Some("nobody"))] {
        is_error(&ask(&t, &changed(&same, &[change])).await, 401, "invalid_client");
    }
    t.get(USER).bearer(&first.access).await.is_user(&ada);
    assert_eq!(trail(&t).await, before);
    tokens(&client.refresh(&first.refresh).await);
}

async fn a_refused_client_does_not_use_up_a_code(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let pairs = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    // What a common library does: Basic first, and on any error the same code with the credentials in the body.
    for header in [basic(&client.uid, "gloas-wrong"), basic(&client.uid, ""), basic("nobody", &client.secret)] {
        is_error(&ask(&t, &pairs).with("authorization", &header).await, 401, "invalid_client");
    }
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
    tokens(&client.redeem(&code).await);
}

async fn a_code_is_of_no_use_to_other_clients(t: Town) {
    let ada = t.user("ada").await;
    let clients = [
        t.client("api").await,
        t.client("api").await,
        t.public_client("api").await,
        t.public_client("api").await,
        t.trusted_client("api").await,
    ];
    for client in &clients {
        let code = client.code_with(&ada, "api", &CHALLENGED).await;
        for other in clients.iter().filter(|other| other.uid != client.uid) {
            is_error(&redeem_challenged(other, &code).await, 400, "invalid_grant");
        }
        let given = tokens(&redeem_challenged(client, &code).await);
        t.get(USER).bearer(&given.access).await.is_user(&ada);
    }
    assert_eq!(count(&t, "code.reuse_detected").await, 0);
}

async fn two_mechanisms_that_agree_are_one(t: Town) {
    let (client, ada) = both(&t).await;
    let other = t.client("api").await;
    let code = client.code(&ada, "api").await;
    let by_both = |code: &str, id: &str, secret: Option<&str>| {
        let body = changed(&exchange(&client, code), &[("client_id", Some(id)), ("client_secret", secret)]);
        ask(&t, &body).with("authorization", &client.basic())
    };
    for (id, secret) in [
        (&other.uid, Some(other.secret.as_str())),
        (&other.uid, None),
        (&client.uid, Some("gloas-wrong")),
        (&client.uid, Some(other.secret.as_str())),
    ] {
        is_error(&by_both(&code, id, secret).await, 400, "invalid_request");
    }
    tokens(&by_both(&code, &client.uid, Some(client.secret.as_str())).await);
    let code = client.code(&ada, "api").await;
    tokens(&by_both(&code, &client.uid, None).await);
}

async fn a_public_client_by_basic(t: Town) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let redeem = |code: &str, secret: &str| {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        ask(&t, &pairs).with("authorization", &basic(&client.uid, secret))
    };
    let code = client.code(&ada, "api").await;
    // It need not show its secret, but a wrong one is wrong.
    is_error(&redeem(&code, "gloas-wrong").await, 401, "invalid_client");
    tokens(&redeem(&code, "").await);
    let code = client.code(&ada, "api").await;
    tokens(&redeem(&code, &client.secret).await);
}

async fn json_does_as_well_as_a_form(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid api").await;
    let object = |pairs: &[(&str, &str)]| {
        let fields: Map<String, Value> = pairs.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        Value::Object(fields)
    };
    let reply = t.post(TOKEN).json(object(&exchange(&client, &code))).await;
    let given = tokens(&reply);
    assert_eq!(id_token(&reply)["sub"], ada.id.to_string());
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", given.refresh.as_str())];
    tokens(&t.post(TOKEN).json(object(&refresh)).with("authorization", &client.basic()).await);
    is_error(&t.post(TOKEN).json(object(&exchange(&client, &code)[2..])).await, 400, "invalid_request");
}

/// T19, in its order.
const SECRET_NAMES: [&str; 7] =
    ["client_secret", "password", "code", "refresh_token", "code_verifier", "token", "device_code"];

async fn t19_no_secret_in_the_query(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let whole = encoded(&exchange(&client, &code));
    let given = client.tokens(&ada, "api").await;
    let about = [
        ("token", given.access.as_str()),
        ("client_id", client.uid.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    for name in SECRET_NAMES {
        // Whatever stands in the body: it has been written to somebody's log by now.
        is_error(&t.post(&format!("{TOKEN}?{name}=x")).form(&whole).await, 400, "invalid_request");
        for path in ["/oauth/revoke", "/oauth/introspect"] {
            let reply = t.post(&format!("{path}?{name}=x")).form(&encoded(&about)).await;
            is_error(&reply, 400, "invalid_request");
        }
    }
    is_error(&t.post(&format!("{TOKEN}?{whole}")).await, 400, "invalid_request");
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    // What is no secret may stand there.
    let harmless = encoded(&[("grant_type", "authorization_code"), ("client_id", &client.uid)]);
    let rest = changed(&exchange(&client, &code), &[("grant_type", None), ("client_id", None)]);
    tokens(&t.post(&format!("{TOKEN}?{harmless}")).form(&encoded(&rest)).await);
}

async fn t19_secrets_in_the_query_as_the_original(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let given = tokens(&t.post(&format!("{TOKEN}?{}", encoded(&exchange(&client, &code)))).await);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn a_code_lives_ten_minutes(t: Town) {
    let (client, ada) = both(&t).await;
    let (early, late) = (client.code(&ada, "api").await, client.code(&ada, "api").await);
    t.later(599);
    tokens(&client.redeem(&early).await);
    t.later(2);
    is_error(&client.redeem(&late).await, 400, "invalid_grant");
    tollhouse::job::sweep(&t.app).await;
    is_error(&client.redeem(&late).await, 400, "invalid_grant");
}

async fn a_code_outlives_a_restart(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let again = t.reopened("").await;
    let given = tokens(&at(&again, &client).redeem(&code).await);
    again.app.db.close().await;
    let again = t.reopened("").await;
    is_error(&at(&again, &client).redeem(&code).await, 400, "invalid_grant");
    again.get(USER).bearer(&given.access).await.is_user(&ada);
    again.app.db.close().await;
}

async fn a_hundred_exchanges_at_once_have_one_winner(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let mut attempts = Vec::new();
    for _ in 0..100 {
        let (client, code) = (client.clone(), code.clone());
        attempts.push(tokio::task::spawn_local(async move { client.redeem(&code).await }));
    }
    let mut won = Vec::new();
    for attempt in attempts {
        let reply = attempt.await.expect("an answer");
        match reply.status.as_u16() {
            200 => won.push(tokens(&reply)),
            503 => drop(is_error(&reply, 503, "temporarily_unavailable")),
            _ => drop(is_error(&reply, 400, "invalid_grant")),
        }
    }
    assert_eq!(won.len(), 1);
    t.get(USER).bearer(&won[0].access).await.is_user(&ada);
    assert_eq!(count(&t, "code.reuse_detected").await, 0);
}

async fn a_blocked_person_gets_nothing_by_any_grant(t: Town) {
    let client = t.client("api").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let (given, code) = (client.tokens(&ada, "api").await, client.code(&ada, "api").await);
    ada.set_state(SetState::block(ada.id)).await;
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    is_error(&client.refresh(&given.refresh).await, 400, "invalid_grant");
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
    t.get(USER).bearer(&given.access).await.has(403);
    // This one has no person behind it.
    tokens(&client.token("client_credentials", &[]).await);
    ada.set_state(SetState::unblock(ada.id)).await;
    let next = tokens(&client.refresh(&given.refresh).await);
    t.get(USER).bearer(&next.access).await.is_user(&ada);
}

async fn t16_passwords_are_for_confidential_clients(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let before = t.app.hasher.hashed();
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
    let public = t.public_client("api").await;
    is_error(&by_password(&public, "ada", "correct horse").await, 401, "unauthorized_client");
    let with_secret = ask(&t, &pairs).with("authorization", &public.basic()).await;
    is_error(&with_secret, 401, "unauthorized_client");
    assert_eq!(t.app.hasher.hashed(), before, "they learn nothing, at no cost");
    tokens(&by_password(&t.client("api").await, "ada", "correct horse").await);
}

async fn t16_the_lock_out_counts_every_password(t: Town) {
    const WRONG: &str = "Invalid login or password.";
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    for _ in 0..5 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "invalid_grant");
        assert!(guess(&t, "ada", "wrong horse").await.has(200).body.contains(WRONG));
    }
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
    assert!(guess(&t, "ada", "correct horse").await.has(200).body.contains(WRONG), "one lock for both doors");
    t.later(599);
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
    t.later(1);
    tokens(&by_password(&client, "ada", "correct horse").await);
    for _ in 0..10 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "invalid_grant");
    }
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
}

async fn t14_every_password_costs_a_hash(t: Town) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    t.user("grace").await;
    let before = t.app.hasher.hashed();
    for login in ["ada", "nobody", "grace"] {
        is_error(&by_password(&client, login, "wrong horse").await, 400, "invalid_grant");
    }
    assert_eq!(t.app.hasher.hashed() - before, 3, "unknown and without a password too");
    is_error(&by_password(&client, "ada", &"x".repeat(1025)).await, 400, "invalid_grant");
    assert_eq!(t.app.hasher.hashed() - before, 3, "too long, and not hashed");
}

async fn a_password_of_who_may_not_come_in_is_no_grant(t: Town) {
    let client = t.client("api").await;
    let digest = t.app.hasher.hash(&Plaintext::new("correct horse".into())).await;
    let person = |name: &str| Create { password_digest: Some(digest.clone()), ..Create::person(name, name) };
    let idle = Create { state: AccountState::Deactivated, ..person("idle") };
    let pending = Create { state: AccountState::BlockedPendingApproval, ..person("pending") };
    let internal = Create { kind: UserKind::Internal, ..person("internal") };
    let unconfirmed = Create { confirmed: false, ..person("unconfirmed") };
    let idle = t.person(idle).await;
    let stale = t.person(person("stale")).await;
    let expires_at = Some(t.now());
    t.does(&SetPassword { user: stale.id, seen: None, digest: digest.clone(), expires_at }).await;
    t.later(1);
    let others = [t.person(pending).await, t.person(internal).await, t.person(unconfirmed).await];
    for who in [&idle, &stale].into_iter().chain(&others) {
        is_error(&by_password(&client, &who.name, "correct horse").await, 400, "invalid_grant");
    }
    // Only the form lets those in again who were away for long.
    let mut reader = t.app.db.read().await.expect("a reader");
    let user = tollhouse_store::users::find(&mut reader, idle.id).await.expect("a look-up").expect("a user");
    assert_eq!(user.state, AccountState::Deactivated);
    drop(reader);
    let ada = t.person(person("ada")).await;
    tokens(&by_password(&client, &ada.name, "correct horse").await);
}

async fn a_password_may_come_with_an_address(t: Town) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let given = tokens(&by_password(&client, "ADA@example.test", "correct horse").await);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn no_password_grant_at_all(t: Town) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "unsupported_grant_type");
    is_error(&ask(&t, &[("grant_type", "password")]).await, 400, "unsupported_grant_type");
    tokens(&client.token("client_credentials", &[]).await);
}

/// Somebody who may act as anybody, and an application that may be told so.
async fn powers(t: &Town) -> (Client, Person) {
    let digest = t.app.hasher.hash(&Plaintext::new("correct horse".into())).await;
    let warden = Create { administrator: true, password_digest: Some(digest), ..Create::person("warden", "Warden") };
    (t.client("api sudo admin_mode read_service_ping").await, t.person(warden).await)
}

async fn t21_admin_scopes_come_by_the_page_alone(t: Town) {
    let (client, warden) = powers(&t).await;
    let login = [("username", "warden"), ("password", "correct horse")];
    for scope in ["sudo", "admin_mode", "read_service_ping", "api sudo"] {
        let asked = changed(&login, &[("scope", Some(scope))]);
        is_error(&client.token("password", &asked).await, 400, "invalid_scope");
        is_error(&client.token("client_credentials", &[("scope", scope)]).await, 400, "invalid_scope");
    }
    for reply in [client.token("password", &login).await, client.token("client_credentials", &[]).await] {
        assert_eq!(reply.has(200).json()["scope"], "api");
    }
    let code = client.code(&warden, "api sudo").await;
    assert_eq!(client.redeem(&code).await.has(200).json()["scope"], "api sudo");
}

async fn t21_admin_scopes_as_the_original(t: Town) {
    let (client, _) = powers(&t).await;
    let asked = [("username", "warden"), ("password", "correct horse"), ("scope", "sudo")];
    assert_eq!(client.token("password", &asked).await.has(200).json()["scope"], "sudo");
    assert_eq!(client.token("client_credentials", &asked[2..]).await.has(200).json()["scope"], "sudo");
}

async fn t22_email_claims_are_of_confirmed_addresses(t: Town) {
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
    t.does(&SetPublicEmail { user: ada.id, email: "root@example.test" }).await;
    assert_eq!(told("openid").await, (None, None), "nobody confirmed that this is hers");
    let primary = (Some(json!("ada@example.test")), Some(json!(true)));
    assert_eq!(told("openid email").await, primary);
    t.does(&SetPublicEmail { user: ada.id, email: "ada@example.test" }).await;
    assert_eq!(told("openid").await, primary);
}

async fn t22_an_address_that_has_to_be_confirmed_again(t: Town) {
    let (client, ada) = both(&t).await;
    t.does(&SetPublicEmail { user: ada.id, email: "ada@example.test" }).await;
    let codes = [client.code(&ada, "openid email").await, client.code(&ada, "openid").await];
    t.does(&Confirm { user: ada.id, confirmed: false }).await;
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

async fn parameters_as_nobody_means_them(t: Town) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let given = client.tokens(&ada, "api").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    let by_code = changed(&exchange(&client, &code), &[("code_verifier", Some(VERIFIER))]);
    let refresh = [("grant_type", Some("refresh_token")), ("refresh_token", Some(given.refresh.as_str()))];
    let refresh = changed(&own, &refresh);
    let login = [("grant_type", Some("password")), ("username", Some("ada")), ("password", Some("correct horse"))];
    let login = changed(&own, &login);
    let itself = changed(&own, &[("grant_type", Some("client_credentials")), ("scope", Some("api"))]);
    // What a value of 5,000 characters is, and what an empty one is.
    let table = [
        (&by_code, "grant_type", "unsupported_grant_type", "invalid_request"),
        (&by_code, "code", "invalid_grant", "invalid_request"),
        (&by_code, "redirect_uri", "invalid_grant", "invalid_request"),
        (&by_code, "client_id", "invalid_client", "invalid_client"),
        (&by_code, "client_secret", "invalid_client", "invalid_client"),
        (&by_code, "code_verifier", "invalid_grant", "invalid_request"),
        (&refresh, "refresh_token", "invalid_grant", "invalid_request"),
        (&login, "username", "invalid_grant", "invalid_grant"),
        (&login, "password", "invalid_grant", "invalid_grant"),
        (&itself, "scope", "invalid_scope", ""),
    ];
    let long = "x".repeat(5_000);
    for (base, name, huge, empty) in table {
        let (whole, rest) = (encoded(base), encoded(&changed(base, &[(name, None)])));
        let right = base.iter().find(|(known, _)| *known == name).expect("the parameter").1;
        for form in [
            format!("{whole}&{name}=x"),
            format!("{whole}&{}", encoded(&[(name, right)])),
            format!("{rest}&{name}[]={right}"),
            format!("{rest}&{name}[]=x&{name}[]=y"),
            format!("{rest}&{name}[a]={right}"),
        ] {
            is_error(&t.post(TOKEN).form(&form).await, 400, "invalid_request");
        }
        for (value, error) in [("", empty), (long.as_str(), huge)] {
            if !error.is_empty() {
                let reply = ask(&t, &changed(base, &[(name, Some(value))])).await;
                is_error(&reply, if error == "invalid_client" { 401 } else { 400 }, error);
            }
        }
        for wrong in [json!([right]), json!({ "a": right }), json!(5), json!(true)] {
            let mut body: Map<String, Value> =
                base.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
            body.insert(name.to_owned(), wrong.clone());
            let reply = t.post(TOKEN).json(Value::Object(body)).await;
            assert!(reply.status.is_client_error(), "{name} {wrong}: {}", reply.body);
            assert!(reply.json()["error"].is_string(), "{name} {wrong}: {}", reply.body);
            if wrong.is_array() || wrong.is_object() {
                is_error(&reply, 400, "invalid_request");
            }
        }
        for bytes in ["%00", "%ff%fe", "x%00x"] {
            let reply = t.post(TOKEN).form(&format!("{rest}&{name}={bytes}")).await;
            assert!(reply.status.is_client_error(), "{name} {bytes}: {}", reply.body);
        }
    }
    // None of it used anything up.
    for whole in [&by_code, &refresh, &login, &itself] {
        tokens(&ask(&t, whole).await);
    }
}

async fn bodies_as_nobody_means_them(t: Town) {
    for body in ["{", "[]", "5", "null", "\"code\"", "{\"grant_type\":}", "{}", ""] {
        let reply = t.post(TOKEN).json(body).await;
        assert!(reply.status.is_client_error(), "{body}: {} {}", reply.status, reply.body);
    }
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let wide: String = (0..20_000).map(|i| format!("a{i}=&")).collect();
    for (media, body) in [
        ("application/json", deep.as_str()),
        ("application/x-www-form-urlencoded", wide.as_str()),
        ("application/x-www-form-urlencoded", "=&=&&%"),
        ("text/plain", "grant_type=client_credentials"),
        ("multipart/form-data", "x"),
        ("image/png", "x"),
    ] {
        let reply = t.post(TOKEN).body(media, body).await;
        assert!(reply.status.is_client_error(), "{media}: {} {}", reply.status, reply.body);
    }
}

async fn scopes_are_words_that_the_application_has(t: Town) {
    let client = t.client("api read_user").await;
    let asked = |scope: &str| client.token("client_credentials", &[("scope", scope)]);
    for bad in
        ["api\tread_user", "api\nread_user", "api\r\nread_user", "API", "read_api", "api,read_user", "*", "api openid"]
    {
        let description = is_error(&asked(bad).await, 400, "invalid_scope");
        assert_eq!(description, "The requested scope is invalid, unknown, or malformed.");
    }
    for (scope, given) in [("", "api"), ("read_user", "read_user"), ("read_user api", "read_user api")] {
        assert_eq!(asked(scope).await.has(200).json()["scope"], given);
    }
}

async fn what_an_answer_looks_like(t: Town) {
    let client = t.client("api openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let code = client.code(&ada, "openid api").await;
    let first = client.redeem(&code).await;
    let next = client.refresh(&tokens(&first).refresh).await;
    let login = [("username", "ada"), ("password", "correct horse"), ("scope", "openid api")];
    let replies = [first, next, client.token("password", &login).await, client.token("client_credentials", &[]).await];
    for reply in &replies {
        assert_eq!(reply.has(200).header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("pragma"), Some("no-cache"));
        assert_eq!(reply.header("www-authenticate"), None);
        assert_eq!(reply.header("set-cookie"), None);
    }
    let order: &[&str] =
        &["access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at", "id_token"];
    for reply in &replies[..3] {
        assert_eq!(keys(reply), order);
    }
    let without = client.code(&ada, "api").await;
    assert_eq!(keys(&client.redeem(&without).await), &order[..6]);
}

async fn what_a_refusal_looks_like(t: Town) {
    let client = t.client("api").await;
    let wrong = Client { secret: "gloas-wrong".to_owned(), ..client.clone() };
    let public = t.public_client("api").await;
    let table = [
        (client.redeem("unknown"), 400, "invalid_grant", INVALID_GRANT),
        (wrong.redeem("unknown"), 401, "invalid_client", INVALID_CLIENT),
        (
            by_password(&public, "ada", "x"),
            401,
            "unauthorized_client",
            "The client is not authorized to perform this request using this method.",
        ),
        (
            client.token("client_credentials", &[("scope", "x")]),
            400,
            "invalid_scope",
            "The requested scope is invalid, unknown, or malformed.",
        ),
        (
            client.token("foo", &[]),
            400,
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server.",
        ),
        (client.token("authorization_code", &[]), 400, "invalid_request", "Missing required parameter: code."),
        (client.token("refresh_token", &[]), 400, "invalid_request", "Missing required parameter: refresh_token."),
        (client.token("foo", &[("grant_type", "foo")]), 400, "invalid_request", MALFORMED),
    ];
    for (ask, status, error, description) in table {
        let reply = ask.await;
        assert_eq!(is_error(&reply, status, error), description);
        assert_eq!(keys(&reply), ["error", "error_description"]);
        let challenge = format!(r#"Bearer realm="Doorkeeper", error="{error}", error_description="{description}""#);
        assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let media = reply.header("content-type").expect("a media type");
        assert!(media.starts_with("application/json"), "{media}");
    }
}

async fn an_id_token_is_for_a_person(t: Town) {
    let client = t.client("api openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let login = [("username", "ada"), ("password", "correct horse"), ("scope", "openid")];
    let claims = id_token(&client.token("password", &login).await);
    assert_eq!((&claims["sub"], claims.get("nonce")), (&json!(ada.id.to_string()), None));
    let itself = client.token("client_credentials", &[("scope", "openid")]).await;
    assert!(!itself.status.is_server_error() && itself.json().get("id_token").is_none(), "{}", itself.body);
}

async fn lifetimes_are_settings(t: Town) {
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

async fn a_storage_that_refuses_uses_no_code_up(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    for fault in [Fault::Writes, Fault::Everything] {
        t.app.db.faults.set(fault);
        let reply = client.redeem(&code).await;
        is_error(&reply, 503, "temporarily_unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    t.app.db.faults.set(Fault::None);
    let first = tokens(&client.redeem(&code).await);
    t.later(121);
    // A theft that cannot be acted upon is not answered as if it had been.
    t.app.db.faults.set(Fault::Writes);
    is_error(&client.redeem(&code).await, 503, "temporarily_unavailable");
    t.app.db.faults.set(Fault::None);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    t.get(USER).bearer(&first.access).await.is(401, REVOKED);
}

async fn no_secret_of_an_exchange_is_written_down(t: Town) {
    let client = t.client("api openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let mut secrets = vec![client.secret.clone(), VERIFIER.to_owned(), "correct horse".to_owned()];
    let lines = logged(async {
        let code = client.code_with(&ada, "openid api", &CHALLENGED).await;
        let reply = redeem_challenged(&client, &code).await;
        let first = tokens(&reply);
        is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
        let next = tokens(&client.refresh(&first.refresh).await);
        let wrong = Client { secret: "gloas-wrong".to_owned(), ..client.clone() };
        is_error(&wrong.refresh(&next.refresh).await, 401, "invalid_client");
        let by_password = tokens(&by_password(&client, "ada", "correct horse").await);
        t.post(&format!("{TOKEN}?client_secret={}&code={code}", client.secret)).form("").await.has(400);
        t.get(&format!("{USER}?access_token={}", next.access)).await.is_user(&ada);
        t.later(121);
        is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
        is_error(&client.refresh(&first.refresh).await, 400, "invalid_grant");
        revoke(&client, &by_password.refresh).await.is(200, "{}");
        let signed = reply.json()["id_token"].as_str().expect("an id_token").to_owned();
        secrets.extend([code, signed]);
        for Tokens { access, refresh } in [first, next, by_password] {
            secrets.extend([access, refresh]);
        }
    })
    .await;
    assert!(lines.contains(TOKEN), "{lines}");
    let mut reader = t.app.db.read().await.expect("a reader");
    let rows = tollhouse_store::audit_events::newest(&mut reader, 100).await.expect("the trail");
    assert!(rows.len() >= 6);
    let rows = format!("{rows:?}");
    for secret in &secrets {
        let part = &secret[secret.len().saturating_sub(20)..];
        assert!(!lines.contains(part), "{secret} in {lines}");
        assert!(!rows.contains(part), "{secret} in {rows}");
    }
}

async fn what_is_sent_reaches_no_header_and_no_line(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let good = changed(
        &exchange(&client, &code),
        &[("code_verifier", Some(VERIFIER)), ("scope", Some("api")), ("refresh_token", Some("x"))],
    );
    let evil = "x\r\nX-Evil: 1\u{1b}[31m\u{202e}\"<script>";
    let lines = logged(async {
        for grant in ["authorization_code", "refresh_token", "password", "client_credentials", evil] {
            for name in ["client_id", "client_secret", "code", "code_verifier", "redirect_uri", "refresh_token"] {
                let pairs = changed(&good, &[("grant_type", Some(grant)), (name, Some(evil))]);
                let pairs = changed(&pairs, &[("username", Some(evil)), ("password", Some(evil))]);
                let reply = ask(&t, &pairs).await;
                assert!(!reply.status.is_server_error(), "{grant} {name}: {}", reply.body);
                assert!(reply.headers.get("x-evil").is_none());
                let challenge = reply.header("www-authenticate").unwrap_or_default();
                assert!(!challenge.contains("<script") && !reply.body.contains("<script"), "{}", reply.body);
            }
        }
        let unknown = ask(&t, &[(evil, evil)]).await;
        assert!(unknown.status.is_client_error() && !unknown.body.contains("<script"), "{}", unknown.body);
        let scope = client.token("client_credentials", &[("scope", evil)]).await;
        is_error(&scope, 400, "invalid_scope");
        let id = ask(&t, &[("grant_type", "client_credentials")]).with("authorization", &basic(evil, evil)).await;
        is_error(&id, 401, "invalid_client");
    })
    .await;
    assert!(lines.contains(TOKEN), "{lines}");
    assert!(!lines.contains('\u{1b}') && !lines.contains('\u{202e}') && !lines.contains("\nX-Evil"), "{lines}");
    let mut reader = t.app.db.read().await.expect("a reader");
    let rows = tollhouse_store::audit_events::newest(&mut reader, 100).await.expect("the trail");
    assert!(rows.iter().all(|row| !row.detail.contains(['\n', '\u{1b}', '\u{202e}'])), "{rows:?}");
}
