//! Where a credential may stand, and the order (authentication.md section 1).

use serde_json::json;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;

use crate::test_server::{EXPIRED, M401, REVOKED, TestServer};

cases![
    auth_001_nothing_is_nobody,
    auth_002_nobody_sees_public_groups,
    auth_003_a_public_list_asks_for_nothing,
    auth_009_a_token_in_its_header,
    auth_010_a_token_in_the_query,
    auth_011_a_token_as_bearer,
    auth_012_a_token_without_any_prefix,
    auth_013_the_header_in_capitals,
    auth_014_the_header_in_small_letters,
    auth_015_a_token_in_a_form,
    auth_020_an_unknown_access_token_parameter,
    auth_021_an_unknown_private_token,
    auth_022_an_unknown_bearer,
    auth_023_a_bad_token_is_not_nobody,
    auth_027_an_expired_token,
    auth_028_a_token_is_dead_on_its_day,
    auth_029_a_token_lives_to_the_last_second_before_it,
    auth_030_expired_comes_before_absent,
    auth_031_a_revoked_token,
    auth_032_a_revoked_token_on_a_public_list,
    auth_033_expired_and_revoked_is_expired,
    auth_050_the_challenge_of_an_expired_token,
    auth_051_a_plain_401_has_no_challenge,
    auth_082_an_unknown_bearer_gives_way_to_the_header,
    auth_083_of_two_tokens_the_header_counts,
    auth_084_of_two_tokens_the_parameter_counts,
    auth_085_an_unknown_parameter_ends_it,
    auth_086_an_empty_parameter_gives_way,
    auth_087_two_bearers,
    auth_088_two_bearers_though_one_is_empty,
    auth_090_bearer_without_a_value,
    auth_091_the_scheme_in_any_case,
    auth_092_a_token_as_basic_password_is_nobody,
    auth_095_basic_is_nobody,
    auth_096_nul_in_a_parameter,
    auth_097_broken_utf_8_in_authorization,
    auth_104_a_job_token_where_none_counts,
    auth_172_a_feed_token_is_nobody,
    auth_176_both_forms_of_a_token,
    auth_180_white_space_counts,
    auth_190_json_is_not_seen_by_the_bearer_guard,
    auth_191_the_query_wins_over_the_form,
    auth_200_a_token_error_to_the_byte,
    auth_203_two_bearers_on_an_unknown_path,
    oauth_010_an_unknown_bearer_is_401,
    rest_011_revoked,
];

async fn auth_001_nothing_is_nobody(t: TestServer) {
    t.get("/api/v4/user").await.is(401, M401);
}

async fn auth_002_nobody_sees_public_groups(t: TestServer) {
    let open = t.group("open", Visibility::Public).await;
    t.group("closed", Visibility::Private).await;
    t.group("inside", Visibility::Internal).await;
    assert_eq!(t.get("/api/v4/groups").await.ids(), [open.0]);
}

async fn auth_003_a_public_list_asks_for_nothing(t: TestServer) {
    t.get("/api/v4/groups").await.is(200, "[]");
}

async fn auth_009_a_token_in_its_header(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn auth_010_a_token_in_the_query(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for name in ["private_token", "access_token", "bearer_token"] {
        t.get(&format!("/api/v4/user?{name}={token}")).await.is_user(&ada);
    }
}

async fn auth_011_a_token_as_bearer(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").bearer(&token).await.is_user(&ada);
}

async fn auth_012_a_token_without_any_prefix(t: TestServer) {
    let ada = t.user("ada").await;
    let mut create = ada.create_token([Scope::Api].into(), None);
    create.secret = Some(Plaintext::new("0123456789abcdefghij".into()));
    t.get("/api/v4/user").bearer("0123456789abcdefghij").await;
    t.does(create).await;
    t.get("/api/v4/user").bearer("0123456789abcdefghij").await.is_user(&ada);
}

async fn auth_013_the_header_in_capitals(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").with("PRIVATE-TOKEN", &token).await.is_user(&ada);
}

async fn auth_014_the_header_in_small_letters(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").with("private-token", &token).await.is_user(&ada);
}

async fn auth_015_a_token_in_a_form(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let made = t.post("/api/v4/projects").form(&format!("name=a&private_token={token}")).await;
    assert_eq!(made.has(201).json()["creator_id"], ada.id.0);
    let made = t.post("/api/v4/projects").json(json!({"name": "b", "access_token": token})).await;
    made.has(201);
    let parts = format!(
        "--x\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\nc\r\n--x\r\ncontent-disposition: form-data; name=\"private_token\"\r\n\r\n{token}\r\n--x--\r\n"
    );
    t.post("/api/v4/projects").body("multipart/form-data; boundary=x", parts).await.has(201);
}

async fn auth_020_an_unknown_access_token_parameter(t: TestServer) {
    t.get("/api/v4/user?access_token=123a").await.is(401, M401);
}

async fn auth_021_an_unknown_private_token(t: TestServer) {
    t.get("/api/v4/user").token("invalid token").await.is(401, M401);
}

async fn auth_022_an_unknown_bearer(t: TestServer) {
    t.get("/api/v4/user").bearer("invalid_20byte_token").await.is(401, M401);
}

async fn auth_023_a_bad_token_is_not_nobody(t: TestServer) {
    t.get("/api/v4/projects").token("unknown").await.is(401, M401);
}

async fn auth_027_an_expired_token(t: TestServer) {
    let token = t.user("ada").await.expired_token([Scope::Api]).await;
    t.later(24 * 3600);
    t.get("/api/v4/user").token(&token).await.is(401, EXPIRED);
}

async fn auth_028_a_token_is_dead_on_its_day(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token_until(t.now().date().plus_days(1)).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    t.later(12 * 3600);
    t.get("/api/v4/user").token(&token).await.is(401, EXPIRED);
}

async fn auth_029_a_token_lives_to_the_last_second_before_it(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token_until(t.now().date().plus_days(1)).await;
    t.later(12 * 3600 - 1);
    assert!(t.now().iso().contains("T23:59:59"));
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn auth_030_expired_comes_before_absent(t: TestServer) {
    let group = t.group("closed", Visibility::Private).await;
    let project = t.project(group, "secret", Visibility::Private).await;
    let token = t.user("ada").await.expired_token([Scope::Api]).await;
    t.get(&format!("/api/v4/projects/{project}")).token(&token).await.is(401, EXPIRED);
}

async fn auth_031_a_revoked_token(t: TestServer) {
    let token = t.user("ada").await.revoked_token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is(401, REVOKED);
}

async fn auth_032_a_revoked_token_on_a_public_list(t: TestServer) {
    let token = t.user("ada").await.revoked_token([Scope::ReadApi]).await;
    t.get("/api/v4/groups").token(&token).await.is(401, REVOKED);
}

async fn auth_033_expired_and_revoked_is_expired(t: TestServer) {
    let ada = t.user("ada").await;
    let made = ada.made_token([Scope::Api]).await;
    t.does(tollhouse::operations::tokens::Revoke { id: made.token.id }).await;
    t.later(400 * 24 * 3600);
    t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, EXPIRED);
}

async fn auth_050_the_challenge_of_an_expired_token(t: TestServer) {
    let token = t.user("ada").await.expired_token([Scope::Api]).await;
    let reply = t.get("/api/v4/user").token(&token).await;
    let challenge = r#"Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="Token is expired. You can either do re-authorization or token refresh.""#;
    assert_eq!(reply.has(401).header("www-authenticate"), Some(challenge));
}

async fn auth_051_a_plain_401_has_no_challenge(t: TestServer) {
    for ask in [t.get("/api/v4/user"), t.get("/api/v4/user").token("invalid token")] {
        let reply = ask.await;
        assert_eq!(reply.has(401).header("www-authenticate"), None);
    }
}

async fn auth_082_an_unknown_bearer_gives_way_to_the_header(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").bearer("unknown").token(&token).await.is_user(&ada);
}

async fn auth_083_of_two_tokens_the_header_counts(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b) = (ada.token([Scope::Api]).await, grace.token([Scope::Api]).await);
    t.get("/api/v4/user").bearer(&a).token(&b).await.is_user(&grace);
}

async fn auth_084_of_two_tokens_the_parameter_counts(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b) = (ada.token([Scope::Api]).await, grace.token([Scope::Api]).await);
    t.get(&format!("/api/v4/user?private_token={a}")).token(&b).await.is_user(&ada);
}

async fn auth_085_an_unknown_parameter_ends_it(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get("/api/v4/user?private_token=unknown").token(&token).await.is(401, M401);
}

async fn auth_086_an_empty_parameter_gives_way(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user?private_token=").token(&token).await.is_user(&ada);
}

const TWO_BEARERS: &str =
    r#"{"error":"invalid_request","error_description":"Both Authorization header and payload includes access token."}"#;

async fn auth_087_two_bearers(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let reply = t.get(&format!("/api/v4/user?access_token={token}")).bearer(&token).await;
    reply.is(400, TWO_BEARERS);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("www-authenticate"), None);
    let form = t.post("/api/v4/projects").bearer(&token).form(&format!("name=x&access_token={token}")).await;
    form.is(400, TWO_BEARERS);
}

async fn auth_088_two_bearers_though_one_is_empty(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get("/api/v4/projects?access_token=").bearer(&token).await.is(400, TWO_BEARERS);
    t.get("/api/v4/projects?access_token=x").with("authorization", "Bearer").await.is(400, TWO_BEARERS);
}

async fn auth_090_bearer_without_a_value(t: TestServer) {
    for value in ["Bearer", "Bearer ", "bearer"] {
        t.get("/api/v4/user").with("authorization", value).await.is(401, M401);
        t.get("/api/v4/projects").with("authorization", value).await.is(200, "[]");
    }
}

async fn auth_091_the_scheme_in_any_case(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for scheme in ["bearer", "BEARER", "Bearer"] {
        t.get("/api/v4/user").with("authorization", &format!("{scheme} {token}")).await.is_user(&ada);
    }
}

async fn auth_092_a_token_as_basic_password_is_nobody(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let basic = data_encoding::BASE64.encode(format!("ada:{token}").as_bytes());
    let reply = t.get("/api/v4/user").with("authorization", &format!("Basic {basic}")).await;
    assert_eq!(reply.is(401, M401).header("www-authenticate"), None);
}

async fn auth_095_basic_is_nobody(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let basic = data_encoding::BASE64.encode(b"ada:correct horse");
    t.get("/api/v4/user").with("authorization", &format!("Basic {basic}")).await.is(401, M401);
    t.get("/api/v4/groups").with("authorization", &format!("Basic {basic}")).await.is(200, "[]");
}

async fn auth_096_nul_in_a_parameter(t: TestServer) {
    for target in
        ["/api/v4/user?private_token=a%00b", "/api/v4/nope?x=%00", "/api/v4/projects/a%00b", "/api/v4/user?%00=1"]
    {
        let reply = t.get(target).await;
        assert_eq!(reply.is(400, "Bad Request").header("content-type"), Some("text/plain"));
    }
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.post("/api/v4/projects").token(&token).form("name=a%00").await.is(400, "Bad Request");
    t.post("/api/v4/projects").token(&token).json(r#"{"name":"a\u0000"}"#).await.is(400, "Bad Request");
}

async fn auth_097_broken_utf_8_in_authorization(t: TestServer) {
    let basic = data_encoding::BASE64.encode(b"\xff\xfe:x");
    let nul = data_encoding::BASE64.encode(b"a\0:x");
    for value in [basic, nul] {
        t.get("/api/v4/groups").with("authorization", &format!("Basic {value}")).await.is(400, "Bad Request");
    }
    t.get("/api/v4/user?private_token=%ff").await.is(400, "Bad Request");
}

async fn auth_104_a_job_token_where_none_counts(t: TestServer) {
    t.get("/api/v4/groups").token("glcbt-ABCD").await.is(200, "[]");
    t.get("/api/v4/user").token("glcbt-ABCD").await.is(401, M401);
    t.get("/api/v4/groups").bearer("glcbt-1_x").await.is(200, "[]");
}

async fn auth_172_a_feed_token_is_nobody(t: TestServer) {
    t.get("/api/v4/user?feed_token=glft-x").await.is(401, M401);
}

async fn auth_176_both_forms_of_a_token(t: TestServer) {
    let ada = t.user("ada").await;
    let routable = ada.token([Scope::Api]).await;
    assert!(routable.starts_with("glpat-") && routable.matches('.').count() == 2, "{routable}");
    let mut create = ada.create_token([Scope::Api].into(), None);
    create.secret = Some(Plaintext::new("glpat-abcdefghijkmnopqrstu".into()));
    t.does(create).await;
    for token in [routable.as_str(), "glpat-abcdefghijkmnopqrstu"] {
        t.get("/api/v4/user").token(token).await.is_user(&ada);
    }
}

async fn auth_180_white_space_counts(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get(&format!("/api/v4/user?private_token={token}%20")).await.is(401, M401);
    t.get("/api/v4/user").with("authorization", &format!("Bearer  {token}")).await.is(401, M401);
}

async fn auth_190_json_is_not_seen_by_the_bearer_guard(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b) = (ada.token([Scope::Api]).await, grace.token([Scope::Api]).await);
    let made = t.post("/api/v4/projects").bearer(&a).json(json!({"name": "x", "access_token": b})).await;
    assert_eq!(made.has(201).json()["creator_id"], grace.id.0);
}

async fn auth_191_the_query_wins_over_the_form(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b) = (ada.token([Scope::Api]).await, grace.token([Scope::Api]).await);
    let target = format!("/api/v4/projects?private_token={a}");
    let made = t.post(&target).form(&format!("name=x&private_token={b}")).await;
    assert_eq!(made.has(201).json()["creator_id"], ada.id.0);
}

async fn auth_200_a_token_error_to_the_byte(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.revoked_token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is(401, REVOKED);
    let small = ada.token([Scope::WriteRepository]).await;
    let body = r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"read_user api read_api"}"#;
    t.get("/api/v4/user").token(&small).await.is(403, body);
}

async fn auth_203_two_bearers_on_an_unknown_path(t: TestServer) {
    t.get("/api/v4/nope?access_token=y").bearer("x").await.is(400, TWO_BEARERS);
    t.post("/api/v4/nope").bearer("x").form("access_token=y").await.is(400, TWO_BEARERS);
    t.post("/api/v4/nope").bearer("x").json("{").await.has(400);
}

async fn oauth_010_an_unknown_bearer_is_401(t: TestServer) {
    t.get("/api/v4/user").bearer("invalid_token").await.is(401, M401);
}

async fn rest_011_revoked(t: TestServer) {
    let token = t.user("ada").await.revoked_token([Scope::Api]).await;
    let reply = t.get("/api/v4/projects").token(&token).await;
    reply.is(401, REVOKED);
    let challenge = r#"Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="Token was revoked. You have to re-authorize from the user.""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
}
