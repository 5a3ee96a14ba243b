//! `/oauth/authorize`: who is asked, what the page says, and where the answer goes (oauth.md 5; T20, T21).

use serde_json::json;
use tollhouse::error::Error;
use tollhouse::operations::applications::{Create, Delete};
use tollhouse::operations::users::{self, Confirm, SetPassword, SetState};
use tollhouse_domain::audit::By;
use tollhouse_domain::id::UserId;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use crate::oauth::{CALLBACK, CHALLENGE, Client, create, encoded, is_error, sent_back, tokens};
use crate::town::{Ask, Reply, Session, Town};

cases![
    oauth_001_the_page_that_asks,
    oauth_002_an_unknown_application_on_the_page,
    oauth_003_no_redirect_uri_on_the_page,
    oauth_004_allowed,
    oauth_005_an_unknown_application_by_post,
    oauth_017_nothing_asked_for,
    oauth_018_a_trusted_application_is_sent_on,
    oauth_019_who_has_its_token_is_sent_on,
    oauth_020_who_has_its_token_may_allow_again,
    oauth_021_nobody_signs_in_first_and_comes_back,
    oauth_022_an_unconfirmed_address,
    oauth_023_administrators_may_be_kept_from_it with "oauth.disable_admin_oauth_scopes = true",
    oauth_024_but_not_from_trusted_ones with "oauth.disable_admin_oauth_scopes = true",
    oauth_025_and_nobody_else_is with "oauth.disable_admin_oauth_scopes = true",
    oauth_026_a_login_asks_for_read_user_alone,
    oauth_027_a_login_gives_the_application_read_user with "compat.gl_auth_type = 'gitlab'",
    oauth_028_a_login_leaves_other_scopes,
    oauth_029_a_form_may_lead_to_a_custom_scheme,
    oauth_030_a_policy_without_form_action_gains_none,
    oauth_031_the_page_of_a_public_application,
    oauth_094_openid_needs_no_nonce,
    oauth_115_any_port_on_a_loopback_address,
    oauth_116_not_on_the_name_localhost,
    oauth_117_more_in_the_query_is_kept,
    oauth_118_a_token_is_refused_in_the_fragment,
    oauth_119_a_challenge_without_a_method,
    oauth_120_denied,
    oauth_129_a_blank_client_id,
    oauth_130_a_scope_that_the_application_lacks,
    oauth_131_no_scope_and_no_api,
    redirect_uris_that_nobody_may_register,
    redirect_uris_that_may_be_registered,
    redirect_uris_that_are_not_the_registered_one,
    a_redirect_uri_with_nul_is_no_text,
    a_second_redirect_uri_or_a_list_of_them,
    scheme_and_host_have_no_case_and_paths_do,
    custom_schemes_lead_to_their_app,
    loopback_addresses_and_their_ports,
    a_registered_query_in_any_order,
    t20_a_query_must_not_forestall_the_answer,
    t20_a_policy_names_an_origin_and_no_web_scheme,
    t20_public_applications_send_a_challenge,
    t20_as_the_original with "compat.pkce = 'gitlab'",
    t21_another_redirect_uri_is_asked_for,
    t21_other_scopes_are_asked_for,
    t21_scopes_of_administrators_are_asked_for,
    t21_as_the_original with "compat.admin_scopes = 'gitlab'",
    t21_only_administrators_register_their_scopes,
    t21_the_page_says_where_it_leads_and_whose_it_is,
    t21_names_that_deceive_are_refused,
    t21_a_get_changes_no_application,
    t10_a_forged_form_allows_nothing,
    t10_only_a_field_of_the_form_makes_it_a_denial,
    t10_the_page_takes_no_token,
    a_public_application_is_never_waved_through,
    consent_is_one_persons_and_ends_with_the_token,
    the_pages_own_forms_do_what_they_say,
    an_answer_in_the_fragment,
    response_modes_and_types_there_are_not,
    scopes_that_cannot_be_read,
    a_challenge_names_its_method,
    the_first_fault_is_told,
    a_fault_on_the_page_leads_nowhere,
    a_state_comes_back_untouched,
    a_state_of_five_thousand_characters_comes_all_the_way,
    a_forged_way_back_leads_to_nobody_else,
    an_earlier_way_back_is_no_part_of_a_later_one,
    what_is_too_long_to_be_remembered_is_not,
    the_head_of_the_page_gives_no_code,
    a_sign_in_asks_for_no_more_whatever_was_asked,
    what_would_fill_the_disk_is_refused,
    no_parameter_writes_a_header_or_a_line,
    what_people_send_is_escaped_on_every_page,
    who_may_not_come_in_allows_nothing,
    an_expired_password_comes_first,
    an_application_that_is_gone,
    a_code_that_cannot_be_kept_is_not_given,
];

const AUTHORIZE: &str = "/oauth/authorize";
const SIGN_IN: &str = "/users/sign_in";
const UNKNOWN_CLIENT: &str = "failed due to unknown client";
const BAD_REDIRECT: &str = "The redirect URI included is not valid.";
const BAD_SCOPE: &str = "The requested scope is invalid, unknown, or malformed.";
const BAD_TYPE: &str = "The authorization server does not support this response type.";
const BAD_MODE: &str = "The authorization server does not support this response mode.";
const BAD_METHOD: &str = "The code_challenge_method must be one of plain, S256.";
const DENIED: &str = "The resource owner or authorization server denied the request.";
const NO_CHALLENGE: &str = "Missing required parameter: code_challenge.";

type Fields = Vec<(String, String)>;

fn field<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn unescaped(text: &str) -> String {
    // The ampersand comes last, or `&#38;#60;` would be unescaped twice.
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(*entity, plain))
}

/// The forms of a page that name an application, each as its hidden inputs.
fn forms(reply: &Reply) -> Vec<Fields> {
    let input = |text: &str| {
        let (name, rest) = text.split_once(r#"" value=""#)?;
        let (value, _) = rest.split_once('"')?;
        Some((name.to_owned(), unescaped(value)))
    };
    let form = |text: &str| {
        let inside = text.split("</form>").next().unwrap_or_default();
        inside.split(r#"<input type="hidden" name=""#).skip(1).filter_map(input).collect::<Fields>()
    };
    reply.body.split("<form ").skip(1).map(form).filter(|form| field(form, "client_id").is_some()).collect()
}

/// The two forms of the consent page: what allows, and what denies.
#[track_caller]
fn consent(reply: &Reply) -> (Fields, Fields) {
    let body = &reply.has(200).body;
    assert!(body.contains("Authorize") && body.contains("Deny"), "{body}");
    let (mut allow, mut deny): (Vec<_>, Vec<_>) =
        forms(reply).into_iter().partition(|form| field(form, "_method").is_none());
    assert_eq!((allow.len(), deny.len()), (1, 1), "{body}");
    let (allow, deny) = (allow.remove(0), deny.remove(0));
    assert_eq!(field(&deny, "_method"), Some("delete"));
    (allow, deny)
}

#[track_caller]
fn lists(reply: &Reply, scope: &str) -> bool {
    reply.has(200).body.contains(&format!("<code>{scope}</code>"))
}

/// Where the page leads that waits for nobody.
#[track_caller]
fn sent_on(reply: &Reply) -> String {
    let refresh = r#"<meta http-equiv="refresh" content="0; url="#;
    let (_, rest) = reply.has(200).body.split_once(refresh).expect("a page that leads on");
    let target = rest.split('"').next().unwrap_or_default();
    assert!(reply.body.contains(&format!(r#"href="{target}""#)), "a link too: {}", reply.body);
    assert!(forms(reply).is_empty(), "nothing is asked: {}", reply.body);
    unescaped(target)
}

/// A page that asks nothing and leads nowhere.
#[track_caller]
fn is_closed(reply: &Reply) {
    reply.has(200);
    assert!(reply.header("content-type").is_some_and(|media| media.starts_with("text/html")), "{}", reply.body);
    assert_eq!(reply.header("location"), None);
    assert!(!reply.body.contains("http-equiv=\"refresh\"") && forms(reply).is_empty(), "{}", reply.body);
}

#[track_caller]
fn is_error_page(reply: &Reply, text: &str) {
    is_closed(reply);
    assert!(reply.body.contains(text), "{text}: {}", reply.body);
}

#[track_caller]
fn location(reply: &Reply) -> &str {
    reply.has(302).header("location").expect("a Location")
}

/// What stands under a name behind the first such mark of a URL.
fn carried(url: &str, mark: char, name: &str) -> Option<String> {
    let (_, pairs) = url.split_once(mark)?;
    form_urlencoded::parse(pairs.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// The application asks, and is told of an error by redirect, with its state.
#[track_caller]
fn is_told(reply: &Reply, error: &str, description: &str) {
    assert_eq!(sent_back(reply, "error").as_deref(), Some(error));
    assert_eq!(sent_back(reply, "error_description").as_deref(), Some(description));
    assert_eq!(sent_back(reply, "state").as_deref(), Some("a state"));
    assert_eq!(sent_back(reply, "code"), None);
}

/// An application with this redirect URI (or these).
fn with_uri(uri: &str) -> Create {
    Create { redirect_uri: uri.to_owned(), ..create("api") }
}

/// A page on GET, JSON on POST, and nobody is sent anywhere.
async fn is_refused_at(client: &Client, session: &Session, uri: &str) {
    let changes = [("redirect_uri", Some(uri))];
    let page = client.page(session, "api", &changes).await;
    is_error_page(&page, BAD_REDIRECT);
    let reply = client.allow(session, "api", &changes).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None), "{uri:?}: {}", reply.body);
    assert_eq!(is_error(&reply, 400, "invalid_redirect_uri"), BAD_REDIRECT, "{uri:?}");
    let denied = client.deny(session, "api", &changes).await;
    assert_eq!(denied.header("location"), None, "{uri:?}");
}

/// Asked on the page, and the code comes there.
async fn is_accepted_at(client: &Client, session: &Session, uri: &str) {
    let changes = [("redirect_uri", Some(uri))];
    consent(&client.page(session, "api", &changes).await);
    let reply = client.allow(session, "api", &changes).await;
    let joint = if uri.contains('?') { '&' } else { '?' };
    let to = location(&reply);
    assert!(to.starts_with(&format!("{uri}{joint}code=")), "{to}");
}

/// How many times somebody allowed something.
async fn allowed(t: &Town) -> usize {
    let mut reader = t.app.db.read().await.expect("a reader");
    let lines = tollhouse_store::audit_events::newest(&mut reader, 200).await.expect("the trail");
    lines.iter().filter(|line| line.event == "oauth.authorized").count()
}

/// The pairs of a request for `api`, and more.
fn form_of(client: &Client, more: &[(&str, &str)]) -> String {
    let mut pairs = client.request("api");
    pairs.extend(more);
    encoded(&pairs)
}

/// Keeps cookies from one request to the next.
#[derive(Default)]
struct Browser {
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn keep(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(known, _)| known != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    async fn goes(&mut self, ask: Ask) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let reply = if cookies.is_empty() { ask.await } else { ask.with("cookie", &cookies.join("; ")).await };
        for cookie in reply.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("a cookie");
            assert!(cookie.len() <= 4096, "no browser keeps {} bytes", cookie.len());
            let (name, rest) = cookie.split_once('=').expect("a name");
            self.keep(name, rest.split(';').next().unwrap_or_default());
            if cookie.contains("Max-Age=0") {
                self.cookies.retain(|(known, _)| known != name);
            }
        }
        reply
    }

    fn knows_the_way_back(&self) -> bool {
        self.cookies.iter().any(|(name, _)| name.starts_with("_tollhouse_return_"))
    }

    async fn signs_in(&mut self, t: &Town, login: &str, password: &str) -> Reply {
        let form = self.goes(t.get(SIGN_IN)).await;
        let token = form.authenticity_token();
        let pairs = [("authenticity_token", token.as_str()), ("user[login]", login), ("user[password]", password)];
        self.goes(t.post(SIGN_IN).form(&encoded(&pairs))).await
    }
}

/// Presses the button of a form.
fn pressed(t: &Town, form: &[(String, String)]) -> Ask {
    let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    t.post(AUTHORIZE).form(&encoded(&pairs))
}

async fn oauth_001_the_page_that_asks(t: Town) {
    let client = t.client("api read_user").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[]).await;
    let (allow, _) = consent(&page);
    assert_eq!(field(&allow, "scope"), Some("api"));
    assert!(lists(&page, "api") && !lists(&page, "read_user"));
    assert!(page.body.contains("Ferry board") && page.body.contains("ada"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors 'none'")));
    assert_eq!(allowed(&t).await, 0, "looking allows nothing");
}

async fn oauth_002_an_unknown_application_on_the_page(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let zeros = "0".repeat(64);
    let capitals = client.uid.to_ascii_uppercase();
    for uid in ["nobody", zeros.as_str(), capitals.as_str(), &client.uid[..63], "' OR 1=1 --"] {
        is_error_page(&client.page(&session, "api", &[("client_id", Some(uid))]).await, UNKNOWN_CLIENT);
    }
}

async fn oauth_003_no_redirect_uri_on_the_page(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("redirect_uri", Some("invalid"))]).await;
    is_error_page(&page, "The redirect URI included is not valid");
    for missing in [None, Some("")] {
        is_closed(&client.page(&session, "api", &[("redirect_uri", missing)]).await);
        let reply = client.allow(&session, "api", &[("redirect_uri", missing)]).await;
        assert_eq!(reply.has(400).header("location"), None, "even if only one is registered");
    }
}

async fn oauth_004_allowed(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[]).await;
    assert!(location(&reply).starts_with(&format!("{CALLBACK}?code=")));
    assert_eq!(sent_back(&reply, "state").as_deref(), Some("a state"));
    let code = sent_back(&reply, "code").expect("a code");
    assert!(code.len() == 64 && code.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{code}");
    assert!(reply.header("cache-control").is_some_and(|cache| cache.starts_with("no-store")));
    assert_eq!(allowed(&t).await, 1);
    let again = client.allow(&session, "api", &[("state", None)]).await;
    assert_eq!(sent_back(&again, "state"), None, "none was sent");
    assert_ne!(sent_back(&again, "code"), Some(code));
}

async fn oauth_005_an_unknown_application_by_post(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let changes = [("client_id", Some("nobody"))];
    for reply in [client.allow(&session, "api", &changes).await, client.deny(&session, "api", &changes).await] {
        assert_eq!(reply.header("location"), None);
        assert!(is_error(&reply, 401, "invalid_client").contains(UNKNOWN_CLIENT));
    }
}

async fn oauth_017_nothing_asked_for(t: Town) {
    let session = t.user("ada").await.session().await;
    is_error_page(&t.get(AUTHORIZE).session(&session).await, "Missing required parameter: client_id.");
    let csrf = session.csrf();
    let empty = encoded(&[("authenticity_token", csrf.as_str())]);
    let reply = t.post(AUTHORIZE).session(&session).form(&empty).await;
    assert_eq!(is_error(&reply, 400, "invalid_request"), "Missing required parameter: client_id.");
}

async fn oauth_018_a_trusted_application_is_sent_on(t: Town) {
    let client = t.trusted_client("api").await;
    let session = t.user("ada").await.session().await;
    let target = format!("{AUTHORIZE}?{}", form_of(&client, &[]));
    let mut browser = Browser::default();
    browser.goes(t.get(&target)).await.has(302);
    assert!(browser.knows_the_way_back());
    browser.keep("_gitlab_session", &session.cookie);
    let page = browser.goes(t.get(&target)).await;
    assert!(!browser.knows_the_way_back(), "they are back");
    let url = sent_on(&page);
    assert!(url.starts_with(&format!("{CALLBACK}?code=")), "{url}");
    assert_eq!(carried(&url, '?', "state").as_deref(), Some("a state"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "the page holds a code");
    let code = carried(&url, '?', "code").expect("a code");
    tokens(&client.redeem(&code).await);
    let public = t.client_with(Create { trusted: true, confidential: false, ..create("api") }).await;
    sent_on(&public.page(&session, "api", &[]).await);
}

async fn oauth_019_who_has_its_token_is_sent_on(t: Town) {
    let client = t.client("api read_user").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    consent(&client.page(&session, "api read_user", &[]).await);
    client.tokens(&ada, "api read_user").await;
    let url = sent_on(&client.page(&session, "api read_user", &[]).await);
    assert_eq!(carried(&url, '?', "state").as_deref(), Some("a state"));
    let code = carried(&url, '?', "code").expect("a code");
    tokens(&client.redeem(&code).await);
    sent_on(&client.page(&session, "read_user api", &[]).await);
    t.later(7_300);
    sent_on(&client.page(&session, "api read_user", &[]).await);
}

async fn oauth_020_who_has_its_token_may_allow_again(t: Town) {
    let client = t.client("api").await;
    let ada = t.user("ada").await;
    let first = client.tokens(&ada, "api").await;
    let reply = client.allow(&ada.session().await, "api", &[]).await;
    let code = sent_back(&reply, "code").expect("a code");
    assert_ne!(tokens(&client.redeem(&code).await), first);
}

async fn oauth_021_nobody_signs_in_first_and_comes_back(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let target = format!("{AUTHORIZE}?{}&more=%C3%BC+x%2Fy", form_of(&client, &[]));
    let mut browser = Browser::default();
    assert_eq!(location(&browser.goes(t.get(&target)).await), SIGN_IN);
    assert!(browser.knows_the_way_back());
    let wrong = browser.signs_in(&t, "ada", "wrong horse").await;
    wrong.has(200);
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), target);
    consent(&browser.goes(t.get(&target)).await);
    let stale = Session { cookie: "f".repeat(32) };
    assert_eq!(location(&client.page(&stale, "api", &[]).await), SIGN_IN);
    assert_eq!(location(&client.allow(&stale, "api", &[]).await), SIGN_IN);
    assert_eq!(allowed(&t).await, 0);
}

async fn oauth_022_an_unconfirmed_address(t: Town) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let ada = t.user("ada").await;
    let session = ada.session().await;
    t.does(&Confirm { user: ada.id, confirmed: false }).await;
    for client in [&client, &trusted] {
        let page = client.page(&session, "api", &[]).await;
        let (allow, deny) = (client.allow(&session, "api", &[]).await, client.deny(&session, "api", &[]).await);
        for reply in [page, allow, deny] {
            is_closed(&reply);
            assert!(reply.body.contains("mail"), "it says why: {}", reply.body);
        }
    }
    assert_eq!(allowed(&t).await, 0);
    t.does(&Confirm { user: ada.id, confirmed: true }).await;
    consent(&client.page(&session, "api", &[]).await);
}

async fn oauth_023_administrators_may_be_kept_from_it(t: Town) {
    let session = t.admin().await.session().await;
    for scope in ["api", "read_api", "sudo", "admin_mode", "read_service_ping", "read_repository", "write_registry"] {
        let scopes = format!("read_user {scope}");
        let client = t.client(&scopes).await;
        let page = client.page(&session, "read_user", &[]).await;
        is_closed(&page);
        is_closed(&client.allow(&session, "read_user", &[]).await);
        is_closed(&client.deny(&session, "read_user", &[]).await);
    }
    assert_eq!(allowed(&t).await, 0);
    let harmless = t.client("read_user openid profile email").await;
    consent(&harmless.page(&session, "openid", &[]).await);
    assert!(sent_back(&harmless.allow(&session, "openid", &[]).await, "code").is_some());
}

async fn oauth_024_but_not_from_trusted_ones(t: Town) {
    let client = t.trusted_client("api").await;
    let session = t.admin().await.session().await;
    let url = sent_on(&client.page(&session, "api", &[]).await);
    assert!(carried(&url, '?', "code").is_some(), "{url}");
}

async fn oauth_025_and_nobody_else_is(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    consent(&client.page(&session, "api", &[]).await);
    assert!(sent_back(&client.allow(&session, "api", &[]).await, "code").is_some());
}

async fn oauth_026_a_login_asks_for_read_user_alone(t: Town) {
    let client = t.client("api read_user").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("gl_auth_type", Some("login"))]).await;
    let (allow, deny) = consent(&page);
    assert_eq!((field(&allow, "scope"), field(&deny, "scope")), (Some("read_user"), Some("read_user")));
    assert!(lists(&page, "read_user") && !lists(&page, "api"));
    let other = client.page(&session, "api", &[("gl_auth_type", Some("other"))]).await;
    assert_eq!(field(&consent(&other).0, "scope"), Some("api"));
    let posted = client.allow(&session, "api", &[("gl_auth_type", Some("login"))]).await;
    let code = sent_back(&posted, "code").expect("a code");
    assert_eq!(client.redeem(&code).await.has(200).json()["scope"], "api", "it counts on the page alone");
}

async fn oauth_027_a_login_gives_the_application_read_user(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    is_error_page(&client.page(&session, "read_user", &[]).await, BAD_SCOPE);
    let page = client.page(&session, "api", &[("gl_auth_type", Some("login"))]).await;
    assert_eq!(field(&consent(&page).0, "scope"), Some("read_user"));
    consent(&client.page(&session, "read_user", &[]).await);
    consent(&client.page(&session, "api", &[]).await);
    is_error_page(&client.page(&session, "read_api", &[]).await, BAD_SCOPE);
}

async fn oauth_028_a_login_leaves_other_scopes(t: Town) {
    let client = t.client("profile").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "profile", &[("gl_auth_type", Some("login"))]).await;
    assert_eq!(field(&consent(&page).0, "scope"), Some("profile"));
    assert!(lists(&page, "profile") && !lists(&page, "read_user"));
}

async fn oauth_029_a_form_may_lead_to_a_custom_scheme(t: Town) {
    let client = t.client_with(with_uri("custom://cb")).await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("redirect_uri", Some("custom://cb"))]).await;
    consent(&page);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("form-action 'self' custom:"), "{policy}");
    assert_eq!(form_action(&page), ["'self'", "custom:"]);
}

async fn oauth_030_a_policy_without_form_action_gains_none(t: Town) {
    let client = t.client_with(with_uri("custom://cb")).await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("redirect_uri", Some("custom://cb"))]).await;
    assert!(location(&reply).starts_with("custom://cb?code="));
    assert!(!reply.header("content-security-policy").unwrap_or_default().contains("form-action"));
}

async fn oauth_031_the_page_of_a_public_application(t: Town) {
    let client = t.public_client("api").await;
    let session = t.user("ada").await.session().await;
    let (allow, deny) = consent(&client.page(&session, "api", &[]).await);
    for form in [allow, deny] {
        assert_eq!(field(&form, "code_challenge"), Some(CHALLENGE));
        assert_eq!(field(&form, "code_challenge_method"), Some("S256"));
    }
}

async fn oauth_094_openid_needs_no_nonce(t: Town) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "openid", &[]).await;
    assert!(sent_back(&reply, "code").is_some());
}

async fn oauth_115_any_port_on_a_loopback_address(t: Town) {
    let client = t.client_with(with_uri("http://127.0.0.1/cb")).await;
    let session = t.user("ada").await.session().await;
    is_accepted_at(&client, &session, "http://127.0.0.1:9999/cb").await;
}

async fn oauth_116_not_on_the_name_localhost(t: Town) {
    let client = t.client_with(with_uri("http://localhost/cb")).await;
    let session = t.user("ada").await.session().await;
    is_refused_at(&client, &session, "http://localhost:9999/cb").await;
    is_accepted_at(&client, &session, "http://localhost/cb").await;
}

async fn oauth_117_more_in_the_query_is_kept(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let uri = format!("{CALLBACK}?tenant=1&x=%C3%BC");
    is_accepted_at(&client, &session, &uri).await;
    let reply = client.allow(&session, "api", &[("redirect_uri", Some(uri.as_str()))]).await;
    assert_eq!(sent_back(&reply, "tenant").as_deref(), Some("1"));
    assert_eq!(sent_back(&reply, "state").as_deref(), Some("a state"));
    let denied = client.deny(&session, "api", &[("redirect_uri", Some(uri.as_str()))]).await;
    assert!(location(&denied).starts_with(&format!("{uri}&error=access_denied")));
}

async fn oauth_118_a_token_is_refused_in_the_fragment(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("response_type", Some("token"))]).await;
    let to = location(&reply);
    assert!(to.starts_with(&format!("{CALLBACK}#error=unsupported_response_type")), "{to}");
    assert_eq!(carried(to, '#', "error_description").as_deref(), Some(BAD_TYPE));
    assert_eq!(carried(to, '#', "state").as_deref(), Some("a state"));
    let page = client.page(&session, "api", &[("response_type", Some("token"))]).await;
    is_error_page(&page, BAD_TYPE);
}

async fn oauth_119_a_challenge_without_a_method(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("code_challenge", Some(CHALLENGE))]).await;
    is_told(&reply, "invalid_code_challenge_method", BAD_METHOD);
}

async fn oauth_120_denied(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.deny(&session, "api", &[]).await;
    is_told(&reply, "access_denied", DENIED);
    let to = "error=access_denied&error_description=The+resource+owner+or+authorization+server+denied+the+request.";
    assert_eq!(location(&reply), format!("{CALLBACK}?{to}&state=a+state"));
    assert_eq!(sent_back(&client.deny(&session, "api", &[("state", None)]).await, "state"), None);
    assert_eq!(allowed(&t).await, 0);
    consent(&client.page(&session, "api", &[]).await);
}

async fn oauth_129_a_blank_client_id(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("client_id", Some(""))]).await;
    is_error_page(&page, "Missing required parameter: client_id.");
}

async fn oauth_130_a_scope_that_the_application_lacks(t: Town) {
    let client = t.client("read_user").await;
    let session = t.user("ada").await.session().await;
    for scope in ["api", "read_user api", "sudo"] {
        is_told(&client.allow(&session, scope, &[]).await, "invalid_scope", BAD_SCOPE);
        is_error_page(&client.page(&session, scope, &[]).await, BAD_SCOPE);
    }
}

async fn oauth_131_no_scope_and_no_api(t: Town) {
    let session = t.user("ada").await.session().await;
    let client = t.client("read_user profile").await;
    is_error_page(&client.page(&session, "", &[("scope", None)]).await, BAD_SCOPE);
    is_told(&client.allow(&session, "", &[("scope", None)]).await, "invalid_scope", BAD_SCOPE);
    let with_api = t.client("read_user api").await;
    let page = with_api.page(&session, "", &[("scope", None)]).await;
    consent(&page);
    assert!(lists(&page, "api") && !lists(&page, "read_user"));
    let code = sent_back(&with_api.allow(&session, "", &[("scope", None)]).await, "code").expect("a code");
    assert_eq!(with_api.redeem(&code).await.has(200).json()["scope"], "api");
}

async fn redirect_uris_that_nobody_may_register(t: Town) {
    let token = t.admin().await.token([Scope::Api]).await;
    for uri in [
        "https://user@app.example.test/callback",
        "https://user:secret@app.example.test/callback",
        "https://app.example.test@evil.test/",
        "https://app.example.test\\@evil.test/",
        "https:\\\\app.example.test\\callback",
        "https://app.example.test/%5ccallback",
        "//app.example.test/callback",
        "/callback",
        "callback",
        "http://",
        "https:///callback",
        "https:/app.example.test/callback",
        "https://app.example.test//callback",
        "https://app.example.test/x/../callback",
        "https://app.example.test/x/%2e%2e/callback",
        "https://app.example.test/callback%00",
        "https://app.example.test/callback%0d%0aset-cookie:x=y",
        "https://app.example.test/callback#",
        "https://app.example.test/callback#fragment",
        "https://app.example.test:99999/callback",
        "https://app.example.test/call\u{1}back",
        "https://app.example.test/callback\u{7f}",
        "https://\u{ff41}pp.example.test/callback",
        "https://app.example.test/call back",
        "https://app.example.test/callback\njavascript:alert(1)",
        "javascript:alert(1)",
        "javascript://alert()",
        "JavaScript://app.example.test/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "localhost:1234/cb",
    ] {
        let refused = t.app.perform(&with_uri(uri), &By::system()).await;
        let Err(Error::Invalid(faults)) = refused else { panic!("{uri:?} was registered") };
        assert!(faults.iter().all(|fault| fault.0 == "redirect_uri"), "{uri:?}");
        let body = json!({ "name": "Ferry board", "redirect_uri": uri, "scopes": "api" });
        let reply = t.post("/api/v4/applications").token(&token).json(body).await;
        assert!(reply.has(400).json()["message"]["redirect_uri"].is_array(), "{uri:?}: {}", reply.body);
    }
    for blank in ["", " ", "\n"] {
        let refused = t.app.perform(&with_uri(blank), &By::system()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{blank:?}");
    }
    let nul = t.app.perform(&with_uri("https://app.example.test/\0"), &By::system()).await;
    assert!(matches!(nul, Err(Error::Invalid(_))));
    t.get("/api/v4/applications").token(&token).await.is(200, "[]");
}

async fn redirect_uris_that_may_be_registered(t: Town) {
    let token = t.admin().await.token([Scope::Api]).await;
    for uri in [
        CALLBACK,
        "http://app.example.test",
        "http://localhost:7171/auth/redirect",
        "http://127.0.0.1/cb",
        "http://[::1]:8080/cb",
        "https://app.example.test:8443/cb?tenant=1",
        "myapp://cb",
        "com.example.app:/oauth",
        "urn:ietf:wg:oauth:2.0:oob",
    ] {
        let body = json!({ "name": "Ferry board", "redirect_uri": uri, "scopes": "api" });
        let made = t.post("/api/v4/applications").token(&token).json(body).await.has(201).json();
        assert_eq!(made["callback_url"], uri);
    }
}

async fn redirect_uris_that_are_not_the_registered_one(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for uri in [
        "https://user@app.example.test/callback",
        "https://user:secret@app.example.test/callback",
        "https://app.example.test@evil.test/callback",
        "https://app.example.test:443@evil.test/callback",
        "https://evil.test\\@app.example.test/callback",
        "https://app.example.test\\callback",
        "https:\\\\app.example.test\\callback",
        "https://app.example.test/%5ccallback",
        "//app.example.test/callback",
        "/callback",
        "https:app.example.test/callback",
        "https:/app.example.test/callback",
        "https:///app.example.test/callback",
        "https://app.example.test//callback",
        "https://app.example.test/./callback",
        "https://app.example.test/x/../callback",
        "https://app.example.test/x/%2e%2e/callback",
        "https://app.example.test/callback/..",
        "https://app.example.test/callback%2f",
        "https://app.example.test%2fcallback",
        "https://app.example.test/%63allback",
        "https://app.example.test/callback%00",
        "https://app.example.test%00.evil.test/callback",
        "https://app.example.test/callback%0d%0a",
        "https://app.example.test/callback#",
        "https://app.example.test/callback#fragment",
        "https://app.example.test:8443/callback",
        "https://app.example.test:80/callback",
        "https://app.example.test/Callback",
        "https://app.example.test/callback/",
        "https://app.example.test/callback/deeper",
        "https://app.example.test/callbackx",
        "https://app.example.test/callbac",
        "https://app.example.test/callback;x",
        "https://app.example.test",
        "http://app.example.test/callback",
        "https://evil.test/callback",
        "https://app.example.test.evil.test/callback",
        "https://app.example.test./callback",
        "https://x.app.example.test/callback",
        "https://\u{ff41}pp.example.test/callback",
        "https://app.ex\u{ad}ample.test/callback",
        " https://app.example.test/callback",
        "https://app.example.test/callback ",
        "https://app.example.test/call back",
        "https://app.example.test/call\tback",
        "https://app.example.test/callback\n",
        "https://app.example.test/callback\r\nset-cookie: evil=1",
        "https://app.example.test/callback https://evil.test/",
        "https://app.example.test/call\u{1}back",
        "https://app.example.test/callback\u{7f}",
        "javascript:alert(1)",
        "javascript://app.example.test/callback%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "localhost:1234/callback",
        "urn:ietf:wg:oauth:2.0:oob",
        "*",
    ] {
        is_refused_at(&client, &session, uri).await;
    }
    assert_eq!(allowed(&t).await, 0);
    is_accepted_at(&client, &session, CALLBACK).await;
}

async fn a_redirect_uri_with_nul_is_no_text(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for uri in ["https://app.example.test/callback\0", "https://app.example.test\0.evil.test/callback"] {
        let changes = [("redirect_uri", Some(uri))];
        for ask in [client.page(&session, "api", &changes), client.allow(&session, "api", &changes)] {
            assert_eq!(ask.await.has(400).header("location"), None);
        }
    }
}

async fn a_second_redirect_uri_or_a_list_of_them(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let csrf = session.csrf();
    let once = form_of(&client, &[("authenticity_token", csrf.as_str())]);
    let evil = encoded(&[("redirect_uri", "https://evil.test/callback")]);
    let same = encoded(&[("redirect_uri", CALLBACK)]);
    let list = once.replace("redirect_uri=", "redirect_uri[]=");
    let object = once.replace("redirect_uri=", "redirect_uri[a]=");
    for form in [format!("{once}&{evil}"), format!("{evil}&{once}"), format!("{once}&{same}"), list, object] {
        is_closed(&t.get(&format!("{AUTHORIZE}?{form}")).session(&session).await);
        let reply = t.post(AUTHORIZE).session(&session).form(&form).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None), "{form}: {}", reply.body);
    }
    for name in ["state", "scope", "response_type", "client_id", "code_challenge"] {
        let form = format!("{once}&{name}=x&{name}=y");
        is_closed(&t.get(&format!("{AUTHORIZE}?{form}")).session(&session).await);
        let reply = t.post(AUTHORIZE).session(&session).form(&form).await;
        let to = reply.header("location").unwrap_or_default();
        assert!(!to.contains("code=") && reply.status.as_u16() != 200, "{name}: {to}");
    }
    let both = t.post(&format!("{AUTHORIZE}?{evil}")).session(&session).form(&once).await;
    assert!(!both.header("location").unwrap_or_default().contains("evil"), "one in the query, one in the form");
}

async fn scheme_and_host_have_no_case_and_paths_do(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for uri in ["HTTPS://app.example.test/callback", "https://APP.Example.test/callback"] {
        let changes = [("redirect_uri", Some(uri))];
        consent(&client.page(&session, "api", &changes).await);
        let reply = client.allow(&session, "api", &changes).await;
        let to = location(&reply).to_ascii_lowercase();
        assert!(to.starts_with(&format!("{CALLBACK}?code=")), "{to}");
    }
    is_refused_at(&client, &session, "https://app.example.test/CALLBACK").await;
}

async fn custom_schemes_lead_to_their_app(t: Town) {
    let session = t.user("ada").await.session().await;
    for (uri, scheme, others) in [
        ("myapp://cb", "myapp:", ["myapp://other", "myapp:/cb", "myapp://cb/deeper", "otherapp://cb"]),
        (
            "com.example.app:/oauth",
            "com.example.app:",
            ["com.example.app:/other", "com.example.app://oauth", "com.example.app:oauth", "com.example.app2:/oauth"],
        ),
    ] {
        let client = t.client_with(with_uri(uri)).await;
        is_accepted_at(&client, &session, uri).await;
        let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
        assert!(page.body.contains(scheme) && form_action(&page) == ["'self'", scheme], "{}", page.body);
        for other in others {
            is_refused_at(&client, &session, other).await;
        }
    }
}

async fn loopback_addresses_and_their_ports(t: Town) {
    let client = t.client_with(with_uri("http://127.0.0.1/cb\nhttp://[::1]:80/cb http://localhost:7171/cb")).await;
    let session = t.user("ada").await.session().await;
    for uri in [
        "http://127.0.0.1/cb",
        "http://127.0.0.1:1/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]:9999/cb",
        "http://localhost:7171/cb",
    ] {
        is_accepted_at(&client, &session, uri).await;
    }
    for uri in [
        "http://127.0.0.2:9999/cb",
        "https://127.0.0.1:9999/cb",
        "http://127.0.0.1:9999/other",
        "http://127.0.0.1.evil.test:9999/cb",
        "http://127.0.0.1:9999@evil.test/cb",
        "http://127.0.0.1:99999/cb",
        "http://[::2]:9999/cb",
        "http://localhost/cb",
        "http://localhost:7172/cb",
        "http://10.0.0.1:9999/cb",
    ] {
        is_refused_at(&client, &session, uri).await;
    }
}

async fn a_registered_query_in_any_order(t: Town) {
    let registered = format!("{CALLBACK}?a=1&b=2");
    let client = t.client_with(with_uri(&registered)).await;
    let session = t.user("ada").await.session().await;
    for query in ["a=1&b=2", "b=2&a=1"] {
        is_accepted_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
    }
    is_refused_at(&client, &session, CALLBACK).await;
    for query in ["", "a=1", "b=2", "a=1&b=3", "a=2&b=1", "A=1&b=2", "a=1%26b=2"] {
        is_refused_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
    }
}

async fn t20_a_query_must_not_forestall_the_answer(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for name in ["code", "state", "iss", "error", "error_description", "response"] {
        for query in [format!("{name}=x"), format!("x=1&{name}=y"), name.to_owned(), format!("{name}=")] {
            is_refused_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
        }
    }
    for query in ["%63ode=x", "st%61te=x"] {
        is_refused_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
    }
    is_accepted_at(&client, &session, &format!("{CALLBACK}?codec=x&my_state=y")).await;
}

/// What the forms of a page may lead to.
#[track_caller]
fn form_action(reply: &Reply) -> Vec<String> {
    let policy = reply.has(200).header("content-security-policy").expect("a policy");
    let mut directives = policy.split(';').map(str::trim).filter_map(|text| text.strip_prefix("form-action "));
    directives.next().expect("a directive").split(' ').map(str::to_owned).collect()
}

async fn t20_a_policy_names_an_origin_and_no_web_scheme(t: Town) {
    let session = t.user("ada").await.session().await;
    for (uri, origin) in [
        (CALLBACK, "https://app.example.test"),
        ("https://app.example.test:8443/cb?x=1", "https://app.example.test:8443"),
        ("http://127.0.0.1:9999/cb", "http://127.0.0.1:9999"),
        ("http://localhost:7171/auth/redirect", "http://localhost:7171"),
    ] {
        let client = t.client_with(with_uri(uri)).await;
        let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
        consent(&page);
        assert_eq!(form_action(&page), ["'self'", origin]);
    }
    // What is refused adds nothing to a policy.
    let client = t.client("api").await;
    for uri in ["https://evil.test/callback", "evil://cb", "https://evil.test/;script-src *"] {
        let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
        let policy = page.has(200).header("content-security-policy").expect("a policy");
        assert!(!policy.contains("evil"), "{policy}");
    }
}

async fn t20_public_applications_send_a_challenge(t: Town) {
    let client = t.public_client("api").await;
    let session = t.user("ada").await.session().await;
    for missing in [None, Some("")] {
        let changes = [("code_challenge", missing), ("code_challenge_method", None)];
        is_error_page(&client.page(&session, "api", &changes).await, NO_CHALLENGE);
        is_told(&client.allow(&session, "api", &changes).await, "invalid_request", NO_CHALLENGE);
    }
    let method_alone = [("code_challenge", None)];
    is_told(&client.allow(&session, "api", &method_alone).await, "invalid_request", NO_CHALLENGE);
    let trusted = t.client_with(Create { trusted: true, confidential: false, ..create("api") }).await;
    is_error_page(&trusted.page(&session, "api", &method_alone).await, NO_CHALLENGE);
    assert_eq!(allowed(&t).await, 0);
    assert!(sent_back(&client.allow(&session, "api", &[]).await, "code").is_some());
    let confidential = t.client("api").await;
    assert!(sent_back(&confidential.allow(&session, "api", &[]).await, "code").is_some());
}

async fn t20_as_the_original(t: Town) {
    let client = t.public_client("api").await;
    let session = t.user("ada").await.session().await;
    let changes = [("code_challenge", None), ("code_challenge_method", None)];
    consent(&client.page(&session, "api", &changes).await);
    assert!(sent_back(&client.allow(&session, "api", &changes).await, "code").is_some());
}

async fn t21_another_redirect_uri_is_asked_for(t: Town) {
    let other = "https://app.example.test/other";
    let more = format!("{CALLBACK}?tenant=1");
    let client = t.client_with(with_uri(&format!("{CALLBACK}\n{other}"))).await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    client.tokens(&ada, "api").await;
    sent_on(&client.page(&session, "api", &[]).await);
    for uri in [other, more.as_str()] {
        consent(&client.page(&session, "api", &[("redirect_uri", Some(uri))]).await);
    }
}

async fn t21_other_scopes_are_asked_for(t: Town) {
    let client = t.client("api read_user openid").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    client.tokens(&ada, "api read_user").await;
    for scope in ["api", "read_user", "openid", "api read_user openid"] {
        consent(&client.page(&session, scope, &[]).await);
    }
    consent(&client.page(&session, "", &[("scope", None)]).await);
    sent_on(&client.page(&session, "api read_user", &[]).await);
    let twin = t.client("api read_user").await;
    consent(&twin.page(&session, "api read_user", &[]).await);
}

async fn t21_scopes_of_administrators_are_asked_for(t: Town) {
    let warden = t.admin().await;
    for person in [warden, t.user("ada").await] {
        let session = person.session().await;
        for scope in ["sudo", "admin_mode", "read_service_ping"] {
            let both = format!("api {scope}");
            let trusted = t.trusted_client(&both).await;
            consent(&trusted.page(&session, scope, &[]).await);
            consent(&trusted.page(&session, &both, &[]).await);
            sent_on(&trusted.page(&session, "api", &[]).await);
            let client = t.client(&both).await;
            client.tokens(&person, &both).await;
            let page = client.page(&session, &both, &[]).await;
            consent(&page);
            assert!(lists(&page, scope));
        }
    }
}

async fn t21_as_the_original(t: Town) {
    let warden = t.admin().await;
    let session = warden.session().await;
    let trusted = t.trusted_client("api sudo").await;
    sent_on(&trusted.page(&session, "api sudo", &[]).await);
    let client = t.client("api sudo").await;
    client.tokens(&warden, "api sudo").await;
    sent_on(&client.page(&session, "api sudo", &[]).await);
}

async fn t21_only_administrators_register_their_scopes(t: Town) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let (hers, his) = (ada.token([Scope::Api]).await, warden.token([Scope::Api]).await);
    for scopes in ["sudo", "api admin_mode", "read_service_ping"] {
        let body = json!({ "name": "Ferry board", "redirect_uri": CALLBACK, "scopes": scopes });
        t.post("/api/v4/applications").token(&hers).json(&body).await.has(403);
        t.post("/api/v4/applications").token(&his).json(&body).await.has(201);
    }
}

async fn t21_the_page_says_where_it_leads_and_whose_it_is(t: Town) {
    let grace = t.user("grace").await;
    let uri = "https://ferry.example.test:8443/cb";
    let client = t.client_with(Create { owner: Some(grace.id), ..with_uri(uri) }).await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
    consent(&page);
    // What people read, not what the form holds.
    let text: String = page.body.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, text)| text).collect();
    for shown in ["ferry.example.test:8443", "grace", "ada", "Ferry board"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
}

async fn t21_names_that_deceive_are_refused(t: Town) {
    let token = t.admin().await.token([Scope::Api]).await;
    for name in [
        "Ferry\nboard",
        "Ferry\tboard",
        "Ferry\u{1b}[31m",
        "Ferry\u{85}",
        "Ferry \u{202e}draob",
        "Ferry\u{200f}",
        "\u{2066}Ferry\u{2069}",
        "Ferry\u{2028}board",
    ] {
        let refused = t.app.perform(&Create { name: name.to_owned(), ..create("api") }, &By::system()).await;
        let Err(Error::Invalid(faults)) = refused else { panic!("{name:?} was registered") };
        assert!(faults.iter().all(|fault| fault.0 == "name"), "{name:?}");
        let body = json!({ "name": name, "redirect_uri": CALLBACK, "scopes": "api" });
        let reply = t.post("/api/v4/applications").token(&token).json(body).await;
        assert!(reply.has(400).json()["message"]["name"].is_array(), "{name:?}: {}", reply.body);
    }
    t.get("/api/v4/applications").token(&token).await.is(200, "[]");
    t.client_with(Create { name: "F\u{e4}hre \u{6e21}\u{3057} \u{645}".to_owned(), ..create("api") }).await;
}

async fn t21_a_get_changes_no_application(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for _ in 0..2 {
        let page = client.page(&session, "api", &[("gl_auth_type", Some("login"))]).await;
        assert_eq!(field(&consent(&page).0, "scope"), Some("api"));
        assert!(lists(&page, "api") && !lists(&page, "read_user"));
        is_error_page(&client.page(&session, "read_user", &[]).await, BAD_SCOPE);
    }
}

async fn t10_a_forged_form_allows_nothing(t: Town) {
    let client = t.client("api").await;
    let ada = t.user("ada").await;
    let (session, other) = (ada.session().await, ada.session().await);
    let (own, foreign) = (session.csrf(), other.csrf());
    for deny in [false, true] {
        let method: &[(&str, &str)] = if deny { &[("_method", "delete")] } else { &[] };
        let without = form_of(&client, method);
        let with = |token: &str| format!("{without}&{}", encoded(&[("authenticity_token", token)]));
        let post = |form: &str| t.post(AUTHORIZE).session(&session).form(form);
        let mut asks = vec![
            post(&without),
            post(&with("")),
            post(&with("x")),
            post(&with(&foreign)),
            post(&with(&session.cookie)),
            t.post(AUTHORIZE).form(&with(&own)),
            post(&with(&own)).with("sec-fetch-site", "cross-site"),
        ];
        for origin in ["https://app.example.test", "http://evil.test", "null", "https://127.0.0.1:8080"] {
            asks.push(post(&with(&own)).with("origin", origin));
        }
        for ask in asks {
            assert_eq!(ask.await.has(422).header("location"), None);
        }
    }
    assert_eq!(allowed(&t).await, 0);
    let form = form_of(&client, &[("authenticity_token", own.as_str())]);
    let ours = t.post(AUTHORIZE).session(&session).form(&form).with("origin", "http://127.0.0.1:8080").await;
    assert!(sent_back(&ours, "code").is_some());
}

async fn t10_only_a_field_of_the_form_makes_it_a_denial(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let csrf = session.csrf();
    let form = form_of(&client, &[("authenticity_token", csrf.as_str())]);
    for ask in [
        t.post(&format!("{AUTHORIZE}?_method=delete")).session(&session).form(&form),
        t.post(AUTHORIZE).session(&session).form(&form).with("x-http-method-override", "DELETE"),
    ] {
        assert!(sent_back(&ask.await, "code").is_some());
    }
    for method in ["post", "delete"] {
        consent(&client.page(&session, "api", &[("_method", Some(method))]).await);
    }
    assert_eq!(allowed(&t).await, 2);
}

async fn t10_the_page_takes_no_token(t: Town) {
    let client = t.trusted_client("api").await;
    let ada = t.user("ada").await;
    let personal = ada.token([Scope::Api]).await;
    let oauth = client.tokens(&ada, "api").await.access;
    let before = allowed(&t).await;
    let target = format!("{AUTHORIZE}?{}", form_of(&client, &[]));
    for token in [&personal, &oauth] {
        for ask in [t.get(&target).token(token), t.get(&target).bearer(token)] {
            assert_eq!(location(&ask.await), SIGN_IN);
        }
        t.post(AUTHORIZE).bearer(token).form(&form_of(&client, &[])).await.has(422);
    }
    assert_eq!(allowed(&t).await, before);
}

async fn a_public_application_is_never_waved_through(t: Town) {
    let client = t.public_client("api").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for _ in 0..2 {
        client.tokens(&ada, "api").await;
        consent(&client.page(&session, "api", &[]).await);
    }
}

async fn consent_is_one_persons_and_ends_with_the_token(t: Town) {
    let client = t.client("api").await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let session = ada.session().await;
    let live = client.tokens(&ada, "api").await;
    sent_on(&client.page(&session, "api", &[]).await);
    consent(&client.page(&grace.session().await, "api", &[]).await);
    let token = encoded(&[("token", live.access.as_str())]);
    t.post("/oauth/revoke").with("authorization", &client.basic()).form(&token).await.has(200);
    consent(&client.page(&session, "api", &[]).await);
}

async fn the_pages_own_forms_do_what_they_say(t: Town) {
    let client = t.client("openid api").await;
    let session = t.user("ada").await.session().await;
    let changes = [
        ("state", Some("{\"to\": \"/a?b=1&c='2'\"} \u{fc}")),
        ("nonce", Some("n <once>")),
        ("response_mode", Some("query")),
        ("code_challenge", Some(CHALLENGE)),
        ("code_challenge_method", Some("S256")),
    ];
    let (allow, deny) = consent(&client.page(&session, "openid api", &changes).await);
    for form in [&allow, &deny] {
        for (name, value) in changes {
            assert_eq!(field(form, name), value, "{name}");
        }
        assert_eq!(field(form, "client_id"), Some(client.uid.as_str()));
        assert_eq!(field(form, "redirect_uri"), Some(CALLBACK));
        assert_eq!(field(form, "response_type"), Some("code"));
        assert_eq!(field(form, "scope"), Some("openid api"));
    }
    let denied = pressed(&t, &deny).session(&session).await;
    assert_eq!(sent_back(&denied, "error").as_deref(), Some("access_denied"));
    let reply = pressed(&t, &allow).session(&session).await;
    assert_eq!(sent_back(&reply, "state").as_deref(), changes[0].1);
    let code = sent_back(&reply, "code").expect("a code");
    client.redeem(&code).await.has(400);
    let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", crate::oauth::VERIFIER)];
    tokens(&client.token("authorization_code", &pairs).await);
    // What was not asked for is not sent back either.
    let (allow, deny) = consent(&client.page(&session, "api", &[("state", None)]).await);
    for form in [allow, deny] {
        assert_eq!(sent_back(&pressed(&t, &form).session(&session).await, "state"), None);
    }
}

async fn an_answer_in_the_fragment(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let fragment = [("response_mode", Some("fragment"))];
    consent(&client.page(&session, "api", &fragment).await);
    let reply = client.allow(&session, "api", &fragment).await;
    let to = location(&reply);
    assert!(to.starts_with(&format!("{CALLBACK}#code=")), "{to}");
    assert_eq!(carried(to, '#', "state").as_deref(), Some("a state"));
    let code = carried(to, '#', "code").expect("a code");
    tokens(&client.redeem(&code).await);
    let error = client.allow(&session, "read_user", &fragment).await;
    let to = location(&error);
    assert!(to.starts_with(&format!("{CALLBACK}#error=invalid_scope")), "{to}");
    assert_eq!(carried(to, '#', "state").as_deref(), Some("a state"));
    let trusted = t.trusted_client("api").await;
    let url = sent_on(&trusted.page(&session, "api", &fragment).await);
    assert!(url.starts_with(&format!("{CALLBACK}#code=")), "{url}");
    let query = client.allow(&session, "api", &[("response_mode", Some("query"))]).await;
    assert!(sent_back(&query, "code").is_some());
}

async fn response_modes_and_types_there_are_not(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for mode in ["web_message", "jwt", "Query", "query fragment"] {
        let changes = [("response_mode", Some(mode))];
        is_error_page(&client.page(&session, "api", &changes).await, BAD_MODE);
        is_told(&client.allow(&session, "api", &changes).await, "unsupported_response_mode", BAD_MODE);
    }
    for kind in ["id_token", "code token", "code id_token", "Code", "none"] {
        let changes = [("response_type", Some(kind))];
        is_error_page(&client.page(&session, "api", &changes).await, BAD_TYPE);
        is_told(&client.allow(&session, "api", &changes).await, "unsupported_response_type", BAD_TYPE);
    }
    let token = [("response_type", Some("token")), ("response_mode", Some("query"))];
    is_told(&client.allow(&session, "api", &token).await, "unsupported_response_type", BAD_TYPE);
    let missing = "Missing required parameter: response_type.";
    for kind in [None, Some("")] {
        let changes = [("response_type", kind)];
        is_error_page(&client.page(&session, "api", &changes).await, missing);
        is_told(&client.allow(&session, "api", &changes).await, "invalid_request", missing);
    }
    assert_eq!(allowed(&t).await, 0);
}

async fn scopes_that_cannot_be_read(t: Town) {
    let client = t.client("api read_user").await;
    let session = t.user("ada").await.session().await;
    for scope in ["api\tread_user", "api\nread_user", "api\r\n", "\tapi", "API", "api,read_user", "api nonsense", "*"] {
        is_error_page(&client.page(&session, scope, &[]).await, BAD_SCOPE);
        is_told(&client.allow(&session, scope, &[]).await, "invalid_scope", BAD_SCOPE);
    }
    assert!(sent_back(&client.allow(&session, "api read_user", &[]).await, "code").is_some());
}

async fn a_challenge_names_its_method(t: Town) {
    let session = t.user("ada").await.session().await;
    for client in [t.client("api").await, t.public_client("api").await] {
        for (method, good) in [
            (Some("S256"), true),
            (Some("plain"), true),
            (Some("s256"), false),
            (Some("PLAIN"), false),
            (Some("S512"), false),
            (Some("S256 "), false),
            (Some(""), false),
            (None, false),
        ] {
            let changes = [("code_challenge", Some(CHALLENGE)), ("code_challenge_method", method)];
            let page = client.page(&session, "api", &changes).await;
            let reply = client.allow(&session, "api", &changes).await;
            if good {
                consent(&page);
                assert!(sent_back(&reply, "code").is_some());
            } else {
                is_error_page(&page, BAD_METHOD);
                is_told(&reply, "invalid_code_challenge_method", BAD_METHOD);
            }
        }
    }
}

async fn the_first_fault_is_told(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    // From the last fault to the first: each one put before those that are there.
    let faults = [
        ("code_challenge_method", "x", BAD_METHOD),
        ("scope", "nonsense", BAD_SCOPE),
        ("response_mode", "x", BAD_MODE),
        ("response_type", "x", BAD_TYPE),
        ("response_type", "", "Missing required parameter: response_type."),
        ("redirect_uri", "https://evil.test/", BAD_REDIRECT),
        ("client_id", "nobody", UNKNOWN_CLIENT),
        ("client_id", "", "Missing required parameter: client_id."),
    ];
    let mut changes = vec![("code_challenge", Some(CHALLENGE))];
    for (name, value, told) in faults {
        changes.push((name, Some(value)));
        is_error_page(&client.page(&session, "api", &changes).await, told);
        let reply = client.allow(&session, "api", &changes).await;
        let description = match reply.header("location") {
            Some(to) => carried(to, '?', "error_description").expect("a description"),
            None => reply.json()["error_description"].as_str().expect("a description").to_owned(),
        };
        assert!(description.contains(told), "{name}={value}: {description}");
        let away = ["redirect_uri", "client_id"].contains(&name);
        assert_eq!(reply.header("location").is_none(), away, "{name}={value}");
    }
}

async fn a_fault_on_the_page_leads_nowhere(t: Town) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let known = t.client("api").await;
    known.tokens(&ada, "api").await;
    for client in [known, t.trusted_client("api").await] {
        sent_on(&client.page(&session, "api", &[]).await);
        for (name, value) in [
            ("response_type", Some("token")),
            ("response_type", None),
            ("response_mode", Some("x")),
            ("scope", Some("read_user")),
            ("code_challenge", Some("x")),
            ("redirect_uri", Some("https://evil.test/")),
        ] {
            is_closed(&client.page(&session, "api", &[(name, value)]).await);
        }
    }
}

async fn a_state_comes_back_untouched(t: Town) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let session = t.user("ada").await.session().await;
    for state in [
        "x",
        " x ",
        "a+b",
        "%41%zz",
        "a=b&code=c#d?e",
        "{\"k\":[1,\"\u{fc}\"]}",
        "'\"<>&amp;",
        "\u{1f6e5}\u{fe0f}\u{202e}",
        "line\r\nset-cookie: x=y",
        "https://evil.test/",
    ] {
        let changes = [("state", Some(state))];
        let kept = |url: &str, mark: char| assert_eq!(carried(url, mark, "state").as_deref(), Some(state), "{url}");
        kept(location(&client.allow(&session, "api", &changes).await), '?');
        kept(location(&client.deny(&session, "api", &changes).await), '?');
        kept(location(&client.allow(&session, "read_user", &changes).await), '?');
        let fragment = [("state", Some(state)), ("response_mode", Some("fragment"))];
        kept(location(&client.allow(&session, "api", &fragment).await), '#');
        kept(&sent_on(&trusted.page(&session, "api", &changes).await), '?');
        let (allow, _) = consent(&client.page(&session, "api", &changes).await);
        assert_eq!(field(&allow, "state"), Some(state));
    }
}

async fn a_state_of_five_thousand_characters_comes_all_the_way(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let state = format!("{} \u{fc}&=", "0123456789".repeat(500));
    let query = encoded(&crate::oauth::changed(&client.request("api"), &[("state", Some(state.as_str()))]));
    let target = format!("{AUTHORIZE}?{query}");
    let mut browser = Browser::default();
    assert_eq!(location(&browser.goes(t.get(&target)).await), SIGN_IN);
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), target);
    let page = browser.goes(t.get(&target)).await;
    let (allow, deny) = consent(&page);
    for form in [deny, allow] {
        let reply = browser.goes(pressed(&t, &form)).await;
        assert_eq!(sent_back(&reply, "state"), Some(state.clone()));
    }
    let trusted = t.trusted_client("api").await;
    let query = encoded(&crate::oauth::changed(&trusted.request("api"), &[("state", Some(state.as_str()))]));
    let url = sent_on(&browser.goes(t.get(&format!("{AUTHORIZE}?{query}"))).await);
    assert_eq!(carried(&url, '?', "state"), Some(state));
}

async fn an_earlier_way_back_is_no_part_of_a_later_one(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let to = |state: &str| {
        format!("{AUTHORIZE}?{}", encoded(&crate::oauth::changed(&client.request("api"), &[("state", Some(state))])))
    };
    let (long, short) = (to(&"l".repeat(4_000)), to("s"));
    for (first, then) in [(&long, &short), (&short, &long), (&long, &long)] {
        let mut browser = Browser::default();
        browser.goes(t.get(first)).await;
        browser.goes(t.get(then)).await;
        assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), then);
        assert!(!browser.knows_the_way_back());
    }
}

async fn what_is_too_long_to_be_remembered_is_not(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let state = "l".repeat(20_000);
    let query = encoded(&crate::oauth::changed(&client.request("api"), &[("state", Some(&state))]));
    let mut browser = Browser::default();
    let reply = browser.goes(t.get(&format!("{AUTHORIZE}?{query}"))).await;
    assert_eq!(location(&reply), SIGN_IN);
    // Cookies go along with every request to this host, and proxies bound all of them together.
    let kept: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(kept < 8_000, "{kept}");
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), "/");
}

async fn the_head_of_the_page_gives_no_code(t: Town) {
    let trusted = t.trusted_client("api").await;
    let session = t.user("ada").await.session().await;
    let before = allowed(&t).await;
    let query = encoded(&trusted.request("api"));
    t.ask(axum::http::Method::HEAD, &format!("{AUTHORIZE}?{query}")).session(&session).await.has(200);
    assert_eq!(allowed(&t).await, before);
    trusted.page(&session, "api", &[]).await.has(200);
    assert_eq!(allowed(&t).await, before + 1);
}

async fn a_sign_in_asks_for_no_more_whatever_was_asked(t: Town) {
    let client = t.client("read_user openid").await;
    let session = t.user("ada").await.session().await;
    for scope in [None, Some("api"), Some("openid")] {
        let changes = [("scope", scope), ("gl_auth_type", Some("login"))];
        let (allow, _) = consent(&client.page(&session, "openid", &changes).await);
        assert_eq!(field(&allow, "scope"), Some("read_user"));
    }
    let without = client.page(&session, "openid", &[("scope", None)]).await;
    is_error_page(&without, BAD_SCOPE);
}

async fn what_would_fill_the_disk_is_refused(t: Town) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    for (name, longest) in [("nonce", 255), ("code_challenge", 128)] {
        let (fits, long) = ("n".repeat(longest), "n".repeat(longest + 1));
        let with = |value| [(name, Some(value)), ("code_challenge_method", Some("plain"))];
        assert!(sent_back(&client.allow(&session, "openid", &with(&fits)).await, "code").is_some());
        let refused = client.allow(&session, "openid", &with(&long)).await;
        assert_eq!(sent_back(&refused, "error").as_deref(), Some("invalid_request"));
    }
}

async fn a_forged_way_back_leads_to_nobody_else(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let forged = [
        "https://evil.test/",
        "//evil.test/",
        "///evil.test/",
        "/\\evil.test/",
        "\\\\evil.test/",
        "/\t/evil.test/",
        " //evil.test/",
        "javascript:alert(1)",
        "@evil.test",
        "/oauth/authorize?\u{e9}",
        "/oauth/authorized",
        "",
    ];
    let mut cookies: Vec<String> = forged.iter().map(|way| format!("1.{way}")).collect();
    let way = "/oauth/authorize?x";
    cookies.extend([way, "//evil.test/", "1", ".", "-1.x", "x./"].map(str::to_owned));
    // So many pieces there are not.
    cookies.extend(["0", "2", "3", "99999999999999999999"].map(|count| format!("{count}.{way}")));
    for cookie in cookies {
        let mut browser = Browser::default();
        browser.keep("_tollhouse_return_0", &cookie);
        let reply = browser.signs_in(&t, "ada", "correct horse").await;
        let to = location(&reply);
        assert_eq!(to, "/", "{cookie}");
    }
}

async fn no_parameter_writes_a_header_or_a_line(t: Town) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let evil = "x\r\nset-cookie: evil=1\r\nlocation: https://evil.test/\r\n\r\nevil line \u{1b}[31m\u{202e}\nevil";
    let names = [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "gl_auth_type",
        "prompt",
        "max_age",
        "root_namespace_id",
        "_method",
        "something_else",
        "evil\r\nset-cookie: evil",
    ];
    let mut code = String::new();
    let lines = crate::town::logged(async {
        for name in names {
            let changes = [(name, Some(evil))];
            let nobody = t.get(&format!("{AUTHORIZE}?{}", form_of(&client, &[(name, evil)])));
            for ask in [
                client.page(&session, "openid", &changes),
                client.allow(&session, "openid", &changes),
                client.deny(&session, "openid", &changes),
                nobody,
            ] {
                let reply = ask.await;
                assert!(reply.status.as_u16() < 500, "{name}: {}", reply.body);
                for (header, value) in &reply.headers {
                    let value = value.as_bytes();
                    assert!(value.iter().all(|b| (b' '..=b'~').contains(b)), "{name} in {header}");
                    assert!(header != "set-cookie" || !value.starts_with(b"evil"), "{name} in {header}");
                }
                let to = reply.header("location").unwrap_or(SIGN_IN);
                assert!(to == SIGN_IN || to.starts_with(CALLBACK), "{name}: {to}");
            }
        }
        let reply = client.allow(&session, "openid", &[]).await;
        code.push_str(&sent_back(&reply, "code").expect("a code"));
    })
    .await;
    assert!(lines.contains(AUTHORIZE), "{lines}");
    assert!(!lines.contains('\u{1b}') && !lines.contains('\u{202e}') && !lines.contains("\nevil"), "{lines}");
    assert!(!lines.contains(&code) && !lines.contains(&session.cookie), "{lines}");
    let mut reader = t.app.db.read().await.expect("a reader");
    let trail = tollhouse_store::audit_events::newest(&mut reader, 200).await.expect("the trail");
    assert!(trail.iter().all(|line| !line.detail.chars().any(char::is_control) && !line.detail.contains(&code)));
}

async fn what_people_send_is_escaped_on_every_page(t: Town) {
    let script = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
    let eve = t.person(users::Create::person("eve", script)).await;
    let session = eve.session().await;
    for trusted in [false, true] {
        let client = t.client_with(Create { name: script.to_owned(), trusted, ..create("api") }).await;
        let mut pages = Vec::new();
        for name in [
            "state",
            "nonce",
            "scope",
            "client_id",
            "redirect_uri",
            "response_type",
            "response_mode",
            "code_challenge",
            "code_challenge_method",
            "gl_auth_type",
        ] {
            let page = client.page(&session, "api", &[(name, Some(script))]).await;
            page.has(200);
            pages.push(page);
        }
        for page in &pages {
            assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{}", page.body);
            assert!(!page.body.contains(r#""'>"#), "{}", page.body);
        }
        if trusted {
            assert_eq!(carried(&sent_on(&pages[0]), '?', "state").as_deref(), Some(script));
        } else {
            let (allow, _) = consent(&pages[0]);
            assert_eq!(field(&allow, "state"), Some(script));
            assert!(pages[0].body.contains("&#60;script&#62;alert(1)"), "the name: {}", pages[0].body);
        }
    }
    // As an error of JSON it is no page.
    let client = t.client("api").await;
    let reply = client.allow(&session, "api", &[("client_id", Some(script))]).await;
    assert_eq!(reply.has(401).header("content-type").map(|media| media.starts_with("application/json")), Some(true));
}

async fn who_may_not_come_in_allows_nothing(t: Town) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    type Change = fn(UserId) -> SetState;
    let ways: [(&str, Change, Change); 3] = [
        ("ada", SetState::block, SetState::unblock),
        ("grace", SetState::ban, SetState::unban),
        ("jean", SetState::deactivate, SetState::activate),
    ];
    for (name, out, back) in ways {
        let person = t.user(name).await;
        let before = person.session().await;
        person.set_state(out(person.id)).await;
        let after = person.session().await;
        for session in [&before, &after] {
            for client in [&client, &trusted] {
                for ask in [client.page(session, "api", &[]), client.allow(session, "api", &[])] {
                    let reply = ask.await;
                    let to = reply.header("location");
                    assert!(to.is_none_or(|to| to == SIGN_IN), "{name}: {to:?}");
                    assert!(!reply.body.contains("code=") && forms(&reply).is_empty(), "{name}: {}", reply.body);
                }
            }
        }
        assert_eq!(allowed(&t).await, 0, "{name}");
        person.set_state(back(person.id)).await;
        consent(&client.page(&after, "api", &[]).await);
    }
}

async fn an_expired_password_comes_first(t: Town) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let ada = t.user("ada").await;
    let expires_at = Some(t.now());
    t.does(&SetPassword { user: ada.id, seen: None, digest: "x".to_owned(), expires_at }).await;
    t.later(1);
    let session = ada.session().await;
    let (page, posted) = (client.page(&session, "api", &[]), client.allow(&session, "api", &[]));
    for ask in [page, posted, trusted.page(&session, "api", &[])] {
        assert_eq!(location(&ask.await), "/-/user_settings/password/edit");
    }
    assert_eq!(allowed(&t).await, 0);
}

async fn an_application_that_is_gone(t: Town) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let (allow, deny) = consent(&client.page(&session, "api", &[]).await);
    t.does(&Delete { id: client.id }).await;
    for form in [allow, deny] {
        let reply = pressed(&t, &form).session(&session).await;
        assert!(is_error(&reply, 401, "invalid_client").contains(UNKNOWN_CLIENT));
        assert_eq!(reply.header("location"), None);
    }
    is_error_page(&client.page(&session, "api", &[]).await, UNKNOWN_CLIENT);
}

async fn a_code_that_cannot_be_kept_is_not_given(t: Town) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let session = t.user("ada").await.session().await;
    t.app.db.faults.set(Fault::Writes);
    for ask in [client.allow(&session, "api", &[]), trusted.page(&session, "api", &[])] {
        let reply = ask.await;
        assert_eq!(reply.has(503).header("location"), None);
        assert!(!reply.body.contains("code="), "{}", reply.body);
    }
    t.app.db.faults.set(Fault::None);
    assert_eq!(allowed(&t).await, 0);
    assert!(sent_back(&client.allow(&session, "api", &[]).await, "code").is_some());
}
