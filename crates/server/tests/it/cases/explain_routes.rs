//! What `explain` says against what the server answers: every route of the table, and paths that no route has, with each
//! kind of credential in each state. A refusal must have the same status, reason code, body and challenge; what passes
//! must not be refused by anything that `explain` judges.

use std::collections::BTreeSet;

use axum::http::Method;
use tollhouse::endpoint::Endpoint;
use tollhouse::explain::{Verdict, explain};
use tollhouse::operations::users::SetState;
use tollhouse::params::ParamType;
use tollhouse::routes::table;
use tollhouse::surface::Surface;
use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;

use crate::oauth::Client;
use crate::test_server::{Ask, BeginSession, Person, Reply, Session, TestServer};

cases![
    explain_agrees_with_every_route_about_one_credential,
    explain_agrees_with_every_route_about_two_credentials,
    explain_agrees_with_every_route_about_sudo,
    explain_says_where_no_credential_of_the_api_counts,
    explain_agrees_about_paths_without_a_route,
];

/// Why an endpoint refuses somebody whom it has let in. `explain` runs no handler, so it says "passes" of these.
const OF_THE_HANDLER: [&str; 4] = ["not_found", "invalid", "no_keyset", "not_yours"];

/// The same at one endpoint, where elsewhere it is a refusal that `explain` foresees.
const OF_ONE_HANDLER: (&str, &str) = ("DELETE /api/v4/personal_access_tokens/{id}", "bad_request");

/// Routes that use up the token they are asked with.
const USES_UP: [&str; 2] =
    ["DELETE /api/v4/personal_access_tokens/self", "POST /api/v4/personal_access_tokens/self/rotate"];

/// Parameters with which a route that needs some is reached at all.
const FORMS: [(&str, &str); 11] = [
    ("POST /api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens", "name=x&scopes[]=api"),
    ("POST /api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens", "name=x&scopes[]=api"),
    ("POST /api/v4/projects/{id}/access_tokens", "name=x&scopes[]=api"),
    ("POST /api/v4/groups/{id}/access_tokens", "name=x&scopes[]=api"),
    ("POST /api/v4/user/personal_access_tokens", "name=x&scopes[]=k8s_proxy"),
    ("POST /api/v4/users/{user_id}/impersonation_tokens", "name=x&scopes[]=api"),
    ("POST /api/v4/projects", "name=x"),
    ("POST /api/v4/applications", "name=a&redirect_uri=https://a.test&scopes=api"),
    ("POST /api/v4/user/applications", "name=a&redirect_uri=https://a.test&scopes=api"),
    ("POST /api/v4/admin/revocations", "name_like=called+by+nobody"),
    ("POST /api/v4/users/{user_id}/personal_access_tokens", "name=x&scopes[]=api"),
];

/// Endpoints of OAuth that look at a token of the API, since it is their subject, or shows who the client is.
const SUBJECT: [&str; 6] = [
    "GET /oauth/token/info",
    "OPTIONS /oauth/token/info",
    "GET /oauth/userinfo",
    "POST /oauth/userinfo",
    "OPTIONS /oauth/userinfo",
    "POST /oauth/introspect",
];

/// Where a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Bearer,
    PrivateToken,
    Query(&'static str),
    /// `private_token` in the form of a write.
    Form,
    Cookie,
    /// With its CSRF token.
    CookieToWrite,
}

/// Where a token is shown in every state.
const PLACES: [Place; 3] = [Place::PrivateToken, Place::Bearer, Place::Query("private_token")];

/// Where it is shown in [`SOME`] of them: these are read as one of the others is.
const LIKE_OTHERS: [Place; 3] = [Place::Query("access_token"), Place::Query("bearer_token"), Place::Form];

const SOME: [&str; 5] = ["live", "expired", "revoked", "unknown", "scope read_user"];

/// A credential in a place, and the name of its state.
#[derive(Clone, Debug)]
struct Shown {
    place: Place,
    value: String,
    state: &'static str,
}

/// A request that can be asked more than once.
struct Question<'t> {
    t: &'t TestServer,
    method: Method,
    path: String,
    form: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
}

impl Question<'_> {
    fn showing(&self, all: &[&Shown]) -> Ask {
        let (mut query, mut form) = (Vec::new(), self.form.map(str::to_owned));
        let mut headers = self.headers.clone();
        for shown in all {
            let value = &shown.value;
            match shown.place {
                Place::Bearer => headers.push(("authorization", format!("Bearer {value}"))),
                Place::PrivateToken => headers.push(("private-token", value.clone())),
                Place::Query(name) => query.push(format!("{name}={value}")),
                Place::Form => form = Some(format!("{}&private_token={value}", form.unwrap_or_default())),
                Place::Cookie => headers.push(("cookie", format!("_gitlab_session={value}"))),
                Place::CookieToWrite => {
                    headers.push(("cookie", format!("_gitlab_session={value}")));
                    headers.push(("x-csrf-token", Session { cookie: value.clone() }.csrf()));
                }
            }
        }
        let target = if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) };
        let mut ask = self.t.ask(self.method.clone(), &target);
        for (name, value) in headers {
            ask = ask.with(name, &value);
        }
        match form {
            Some(form) => ask.form(&form),
            None => ask,
        }
    }
}

/// Both sides of each route of the API, with and without the parameters that it needs.
fn questions<'t>(t: &'t TestServer, ada: &Person) -> Vec<(String, Question<'t>)> {
    let mut all = Vec::new();
    for route in table().iter().filter(|route| route.access().is_some()) {
        let name = name(route);
        let path = route.example(|kind| match kind {
            // No application has this number, and no token: one that is removed would be missed later.
            ParamType::Integer
                if route.path.contains("/applications/") || route.path.contains("/personal_access_tokens/{id}") =>
            {
                "999".into()
            }
            ParamType::Integer => ada.id.to_string(),
            _ => "team%2Fapp".into(),
        });
        // Where the caller has to be something to the target: one that Ada owns, and one that she sees.
        let target = route.access().and_then(|access| access.target);
        let named = |group: &str| match target.map(|target| target.kind) {
            Some(TargetKind::Project) => path.replace("team%2Fapp", &format!("{group}%2Fapp")),
            _ => path.replace("team%2Fapp", group),
        };
        let others = [OWNED, SEEN].into_iter().filter(|_| target.is_some()).map(named);
        let paths: Vec<String> = others.chain([path.clone()]).collect();
        let form = FORMS.iter().find(|(route, _)| *route == name).map(|(_, form)| *form);
        for form in if form.is_some() { vec![None, form] } else { vec![None] } {
            for path in &paths {
                let (method, headers) = (route.method.clone(), Vec::new());
                all.push((name.clone(), Question { t, method, path: path.clone(), form, headers }));
            }
        }
    }
    all
}

/// Paths of groups, each with a project `app`.
const OWNED: &str = "owned-by-ada";
const SEEN: &str = "seen-by-all";

fn name(route: &Endpoint) -> String {
    format!("{} {}", route.method, route.path)
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    refused: usize,
    /// Reason codes of refusals that both sides gave.
    reasons: BTreeSet<&'static str>,
}

impl Tally {
    /// First told, then done.
    async fn compare(&mut self, t: &TestServer, name: &str, ask: Ask, what: &str) {
        let told = explain(&t.app, ask.request()).await.expect("a database");
        let done = ask.await;
        let context = format!("{name}, {what}:\n{told}\n{} {:?} {}", done.status, done.reason, done.body);
        match told.verdict {
            Verdict::Refused => {
                let answer = told.answer.as_ref().expect("an answer");
                assert_eq!((answer.status, told.reason), (done.status.as_u16(), done.reason), "{context}");
                assert_eq!(answer.body.as_deref(), Some(done.body.as_str()), "{context}");
                assert_eq!(answer.www_authenticate.as_deref(), done.header("www-authenticate"), "{context}");
                self.refused += 1;
                self.reasons.extend(told.reason);
            }
            Verdict::Passes => {
                match done.reason {
                    Some(reason) => {
                        let known = OF_THE_HANDLER.contains(&reason) || OF_ONE_HANDLER == (name, reason);
                        assert!(known, "{context}");
                    }
                    None => assert!(done.status.is_success(), "{context}"),
                }
                self.passed += 1;
            }
            Verdict::NotJudged => panic!("{context}"),
        }
    }
}

/// People, and the credentials that are dead for good.
struct Cast {
    ada: Person,
    warden: Person,
    client: Client,
    /// Personal access tokens.
    tokens: Vec<(&'static str, String)>,
    access: Vec<(&'static str, String)>,
    sessions: Vec<(&'static str, String)>,
}

impl Cast {
    async fn of(t: &TestServer) -> Self {
        let (ada, warden, blocked) = (t.user("ada").await, t.admin().await, t.user("bo").await);
        let owned = t.group(OWNED, Visibility::Private).await;
        t.member(MembershipSource::Group(owned), &ada, AccessLevel::Owner).await;
        let seen = t.group(SEEN, Visibility::Public).await;
        t.project(owned, "app", Visibility::Private).await;
        t.project(seen, "app", Visibility::Public).await;
        let client = t.client("api read_api read_user openid sudo").await;
        let (mut tokens, mut access, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
        // Before the day that `expired_token` waits.
        access.push(("expired", client.tokens(&ada, "api").await.access));
        let (user, session) = (ada.id, Plaintext::session());
        sessions.push(("expired", session.reveal().to_owned()));
        t.does(BeginSession { user, session, lifetime: std::time::Duration::from_secs(60) }).await;
        tokens.push(("expired", ada.expired_token([Scope::Api]).await));

        tokens.push(("revoked", ada.revoked_token([Scope::Api]).await));
        for used in [false, true] {
            let old = ada.token([Scope::Api]).await;
            let next = t.post("/api/v4/personal_access_tokens/self/rotate").token(&old).await.has(200).json();
            if used {
                t.get("/api/v4/user").token(next["token"].as_str().expect("a token")).await.has(200);
            }
            tokens.push((if used { "rotated away, successor used" } else { "rotated away" }, old));
        }
        tokens.push(("owner blocked", blocked.token([Scope::Api]).await));
        for unknown in ["glpat-unknown", "gloas-unknown", "unknown", "", "glcbt-1_x"] {
            tokens.push(("unknown", unknown.to_owned()));
        }

        let revoked = client.tokens(&ada, "api").await.access;
        client.revoke(&revoked).await.has(200);
        access.push(("revoked", revoked));
        let rotated = client.tokens(&ada, "api").await;
        let next = crate::oauth::tokens(&client.refresh(&rotated.refresh).await).access;
        t.get("/api/v4/user").bearer(&next).await.has(200);
        access.push(("rotated away", rotated.access));
        access.push(("owner blocked", client.tokens(&blocked, "api").await.access));
        let own = client.token("client_credentials", &[("scope", "api")]).await;
        access.push(("of nobody", crate::oauth::tokens(&own).access));
        for (state, person, scope) in [
            ("live", &ada, "api"),
            ("scope read_api", &ada, "read_api"),
            ("scope read_user", &ada, "read_user"),
            ("scope openid", &ada, "openid"),
            ("administrator", &warden, "api"),
            ("administrator, scope read_user", &warden, "read_user"),
        ] {
            access.push((state, client.tokens(person, scope).await.access));
        }

        let ended = ada.session().await;
        t.post("/users/sign_out").session(&ended).with("x-csrf-token", &ended.csrf()).await.has(302);
        sessions.push(("signed out", ended.cookie));
        sessions.push(("unknown", "0123456789abcdef0123456789abcdef".to_owned()));
        sessions.push(("no session at all", "x".to_owned()));
        sessions.push(("owner blocked", blocked.session().await.cookie));
        sessions.push(("live", ada.session().await.cookie));
        sessions.push(("administrator", warden.session().await.cookie));
        blocked.set_state(SetState::block(blocked.id)).await;
        Self { ada, warden, client, tokens, access, sessions }
    }

    /// Personal access tokens that are live, by state.
    async fn live(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        for (state, person, scope) in [
            ("live", &self.ada, Scope::Api),
            ("scope read_api", &self.ada, Scope::ReadApi),
            ("scope read_user", &self.ada, Scope::ReadUser),
            ("scope self_rotate", &self.ada, Scope::SelfRotate),
            ("scope sudo", &self.ada, Scope::Sudo),
            ("administrator", &self.warden, Scope::Api),
            ("administrator, scope read_user", &self.warden, Scope::ReadUser),
        ] {
            all.push((state, person.token_with_any([scope]).await));
        }
        all
    }
}

/// The routes of the API, with nothing and with each credential alone.
async fn explain_agrees_with_every_route_about_one_credential(t: TestServer) {
    let cast = Cast::of(&t).await;
    let lasting = cast.live().await;
    let of_another = cast.ada.session().await.csrf();
    let mut tally = Tally::default();
    for (name, question) in questions(&t, &cast.ada) {
        tally.compare(&t, &name, question.showing(&[]), "nothing").await;
        let uses_up = USES_UP.contains(&name.as_str());
        let places = PLACES.into_iter().chain(LIKE_OTHERS);
        for place in places.filter(|place| *place != Place::Form || question.method == Method::POST) {
            let live = if uses_up { cast.live().await } else { lasting.clone() };
            let all = cast.tokens.iter().chain(&live);
            for (state, value) in all.filter(|known| PLACES.contains(&place) || SOME.contains(&known.0)) {
                let shown = Shown { place, value: value.clone(), state };
                let what = format!("personal access token, {state}, {place:?}");
                tally.compare(&t, &name, question.showing(&[&shown]), &what).await;
            }
        }
        for place in [Place::Bearer, Place::Query("access_token"), Place::Query("bearer_token"), Place::PrivateToken] {
            for (state, value) in cast.access.iter().filter(|known| place == Place::Bearer || SOME.contains(&known.0)) {
                let shown = Shown { place, value: value.clone(), state };
                let what = format!("OAuth access token, {state}, {place:?}");
                tally.compare(&t, &name, question.showing(&[&shown]), &what).await;
            }
        }
        for (state, value) in &cast.sessions {
            for place in [Place::Cookie, Place::CookieToWrite] {
                let shown = Shown { place, value: value.clone(), state };
                let what = format!("session, {state}, {place:?}");
                tally.compare(&t, &name, question.showing(&[&shown]), &what).await;
            }
            let shown = Shown { place: Place::Cookie, value: value.clone(), state };
            let ask = question.showing(&[&shown]).with("x-csrf-token", &of_another);
            tally.compare(&t, &name, ask, &format!("session, {state}, another's CSRF token")).await;
        }
    }
    let expected = [
        "account_blocked",
        "bad_request",
        "expired",
        "forbidden",
        "insufficient_scope",
        "method_not_allowed",
        "missing",
        "not_administrator",
        "not_found",
        "not_yours",
        "parameters",
        "revoked",
        "unknown",
    ];
    assert_eq!(tally.reasons.iter().copied().collect::<Vec<_>>(), expected, "every state was met");
    assert!(tally.passed > 300 && tally.refused > 1000, "{tally:?}");
}

/// Two credentials in two places; which of them counts, and whether the other one hurts.
async fn explain_agrees_with_every_route_about_two_credentials(t: TestServer) {
    let cast = Cast::of(&t).await;
    let state = |all: &[(&'static str, String)], state: &'static str| {
        let (state, value) = all.iter().find(|known| known.0 == state).expect("a state");
        (*state, value.clone())
    };
    let mut tally = Tally::default();
    for (name, question) in questions(&t, &cast.ada) {
        let uses_up = USES_UP.contains(&name.as_str());
        let live = ("live", cast.ada.token([Scope::Api]).await);
        let mut shown = Vec::new();
        for place in [Place::PrivateToken, Place::Query("private_token")] {
            let dead = ["revoked", "unknown"].map(|name| state(&cast.tokens, name));
            for (state, value) in dead.into_iter().chain([live.clone()]) {
                shown.push(Shown { place, value, state });
            }
        }
        shown.push(Shown { place: Place::Query("access_token"), value: live.1, state: live.0 });
        for (state, value) in ["live", "expired", "owner blocked"].map(|name| state(&cast.access, name)) {
            shown.push(Shown { place: Place::Bearer, value, state });
        }
        for (state, value) in ["live", "signed out", "administrator"].map(|name| state(&cast.sessions, name)) {
            shown.push(Shown { place: Place::CookieToWrite, value, state });
        }
        for (i, first) in shown.iter().enumerate() {
            // Two cookies are two sessions, so they are a case of their own.
            let cookies = first.place == Place::CookieToWrite;
            for second in shown[i + 1..].iter().filter(|second| cookies || second.place != first.place) {
                let mut pair = [first.clone(), second.clone()];
                for shown in pair.iter_mut().filter(|shown| uses_up && shown.state == "live") {
                    if !matches!(shown.place, Place::Bearer | Place::CookieToWrite) {
                        shown.value = cast.ada.token_with_any([Scope::Api]).await;
                    }
                }
                let what = format!("{} {:?} and {} {:?}", first.state, first.place, second.state, second.place);
                tally.compare(&t, &name, question.showing(&[&pair[0], &pair[1]]), &what).await;
            }
        }
    }
    assert!(tally.reasons.contains("two_bearers") && tally.passed > 200 && tally.refused > 1000, "{tally:?}");
}

/// `sudo` with each kind of credential, to somebody, to nobody and to something that cannot be read.
async fn explain_agrees_with_every_route_about_sudo(t: TestServer) {
    let cast = Cast::of(&t).await;
    let mut tally = Tally::default();
    let access = cast.client.tokens(&cast.warden, "api sudo").await.access;
    for (name, mut question) in questions(&t, &cast.ada) {
        for to in [&["ada"][..], &["bo"], &["warden"], &["no-such-user"], &["ada", "warden"]] {
            question.headers = to.iter().map(|to| ("sudo", (*to).to_owned())).collect();
            let sudo = cast.warden.token([Scope::Api, Scope::Sudo]).await;
            let token = |value: &str, state| Shown { place: Place::PrivateToken, value: value.to_owned(), state };
            let find = |all: &[(&str, String)], name| all.iter().find(|known| known.0 == name).expect("it").1.clone();
            let all = [
                token(&sudo, "administrator with sudo"),
                token(&cast.warden.token([Scope::Api]).await, "administrator without sudo"),
                token(&cast.ada.token([Scope::Api]).await, "no administrator"),
                token(&find(&cast.tokens, "expired"), "expired"),
                token("glpat-unknown", "unknown"),
                Shown { place: Place::Bearer, value: access.clone(), state: "OAuth with sudo" },
                Shown { place: Place::CookieToWrite, value: find(&cast.sessions, "administrator"), state: "session" },
            ];
            tally.compare(&t, &name, question.showing(&[]), &format!("nothing, sudo {to:?}")).await;
            for shown in &all {
                let what = format!("{} {:?}, sudo {to:?}", shown.state, shown.place);
                tally.compare(&t, &name, question.showing(&[shown]), &what).await;
            }
        }
    }
    for reason in ["sudo_invalid", "sudo_not_administrator", "sudo_unknown", "sudo_without_token"] {
        assert!(tally.reasons.contains(reason), "{reason}: {tally:?}");
    }
    assert!(tally.passed > 50, "{tally:?}");
}

fn alike(one: &Reply, other: &Reply) -> bool {
    (one.status, one.reason) == (other.status, other.reason)
}

/// Pages, OAuth, assets and probes. `explain` runs none of them, so it gives no verdict: a page decides by its session
/// and its form, an endpoint of OAuth by its client. What it says, that no token of the API counts there, is held against
/// the server: whatever token is shown, the answer is the one that is given without.
async fn explain_says_where_no_credential_of_the_api_counts(t: TestServer) {
    let cast = Cast::of(&t).await;
    let live = cast.live().await;
    let (mut seen, mut counted) = ([0; Surface::ALL.len()], BTreeSet::new());
    for route in table().iter().filter(|route| route.access().is_none()) {
        let (method, path, name) = (route.method.clone(), route.path.replace("{name}", "style.css"), name(route));
        let question = Question { t: &t, method, path, form: None, headers: Vec::new() };
        let bare = question.showing(&[]).await;
        let tokens = cast.tokens.iter().chain(&live).chain(&cast.access);
        for (state, value) in tokens {
            for place in PLACES.into_iter().filter(|place| *place == Place::Bearer || SOME.contains(state)) {
                let shown = Shown { place, value: value.clone(), state };
                let ask = question.showing(&[&shown]);
                let told = explain(&t.app, ask.request()).await.expect("a database");
                let done = ask.await;
                let context = format!("{name}, {state}, {place:?}:\n{told}\n{done:?}\n{bare:?}");
                assert!(
                    told.verdict == Verdict::NotJudged && told.reason.is_none() && told.answer.is_none(),
                    "{context}"
                );
                assert!(told.credentials.iter().all(|seen| !seen.decided), "{context}");
                assert_eq!(told.surface, route.surface.as_str(), "{context}");
                seen[route.surface as usize] += 1;
                if !alike(&done, &bare) {
                    assert!(SUBJECT.contains(&name.as_str()), "{context}");
                    counted.insert(name.clone());
                }
            }
        }
        // A page looks at its session alone, whatever else is shown with it.
        for (state, value) in cast.sessions.iter().filter(|_| route.surface == Surface::Page) {
            let live = !["expired", "signed out", "unknown", "no session at all", "owner blocked"].contains(state);
            // Some of these pages end the session.
            let session = async || match live {
                true => cast.ada.session().await.cookie,
                false => value.clone(),
            };
            let alone = Shown { place: Place::Cookie, value: session().await, state };
            let alone = question.showing(&[&alone]).await;
            for (_, token) in [&cast.tokens[0], &cast.access[0]] {
                let both = [
                    Shown { place: Place::Cookie, value: session().await, state },
                    Shown { place: Place::Bearer, value: token.clone(), state },
                ];
                let ask = question.showing(&[&both[0], &both[1]]);
                let told = explain(&t.app, ask.request()).await.expect("a database");
                let done = ask.await;
                assert!(alike(&done, &alone), "{name}, {state}: {done:?}\n{alone:?}");
                let looks = if told.takes == "nothing" { "not checked" } else { "only the session cookie" };
                let all = told.credentials.iter().all(|seen| seen.outcome.contains(looks));
                assert!(told.verdict == Verdict::NotJudged && all, "{name}: {told}");
            }
        }
    }
    let nothing: Vec<_> = [Surface::Api, Surface::Gateway].map(|surface| seen[surface as usize]).into();
    assert!(nothing == [0, 0] && seen.iter().filter(|count| **count > 50).count() == 3, "{seen:?}");
    let named: BTreeSet<String> = SUBJECT.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(counted, named, "each of the list looks at a token");
}

/// Why there is no verdict about a path that no route has.
enum Says {
    /// The refusal has this code.
    Refused(&'static str),
    /// A page: who is signed in gets 404, everybody else is sent to sign in.
    Page,
    /// It is about another request, which is in headers that a proxy sends.
    Gateway,
}

async fn explain_agrees_about_paths_without_a_route(t: TestServer) {
    let cast = Cast::of(&t).await;
    let live = cast.live().await;
    let mut tally = Tally::default();
    for (method, path, says) in [
        (Method::GET, "/api/v4/nope", Says::Refused("no_route")),
        (Method::POST, "/api/v4/nope", Says::Refused("no_route")),
        (Method::PUT, "/api/v4/user", Says::Refused("no_route")),
        (Method::GET, "/api/v4/users/ada", Says::Refused("no_route")),
        (Method::GET, "/api/v4", Says::Refused("no_route")),
        (Method::GET, "/api/v5/user", Says::Refused("no_route")),
        (Method::GET, "/api/v3/users", Says::Refused("api_v3")),
        (Method::GET, "/api/v4x/user", Says::Refused("no_api_version")),
        (Method::GET, "/api", Says::Refused("no_route")),
        (Method::GET, "/oauth/nope", Says::Refused("no_route")),
        (Method::GET, "/oauth/authorize/nope", Says::Refused("no_route")),
        (Method::PUT, "/oauth/authorize", Says::Page),
        (Method::GET, "/oauth/token", Says::Refused("no_route")),
        (Method::DELETE, "/oauth/token/info", Says::Refused("no_route")),
        (Method::GET, "/.well-known/nope", Says::Refused("no_route")),
        (Method::POST, "/.well-known/openid-configuration", Says::Refused("no_route")),
        (Method::POST, "/-/health", Says::Refused("no_route")),
        (Method::GET, "/-/metrics", Says::Refused("no_route")),
        (Method::GET, "/-/auth", Says::Gateway),
        (Method::POST, "/-/auth", Says::Gateway),
        (Method::GET, "/-/nope", Says::Page),
        (Method::GET, "/nope", Says::Page),
        (Method::GET, "/users", Says::Page),
        (Method::GET, "/oauth", Says::Page),
        (Method::PUT, "/users/sign_in", Says::Page),
        (Method::POST, "/assets/style.css", Says::Page),
    ] {
        let name = format!("{method} {path}");
        let question = Question { t: &t, method, path: path.to_owned(), form: None, headers: Vec::new() };
        let tokens = [&cast.tokens[0], &cast.tokens[5], &live[0], &live[1], &cast.access[0]].into_iter().cloned();
        let mut all = vec![Vec::new()];
        for (state, value) in tokens {
            for place in [Place::PrivateToken, Place::Bearer, Place::Query("private_token")] {
                all.push(vec![Shown { place, value: value.clone(), state }]);
            }
        }
        for (state, value) in &cast.sessions {
            let session = Shown { place: Place::CookieToWrite, value: value.clone(), state };
            let token = Shown { place: Place::Bearer, value: live[0].1.clone(), state: "live" };
            all.extend([vec![session.clone()], vec![session, token]]);
        }
        for shown in &all {
            let ask = question.showing(&shown.iter().collect::<Vec<_>>());
            let context = format!("{shown:?}");
            if let Says::Refused(reason) = says {
                let before = tally.refused;
                tally.compare(&t, &name, ask, &context).await;
                assert!(tally.refused == before + 1 && tally.reasons.contains(reason), "{name}, {context}");
                continue;
            }
            let told = explain(&t.app, ask.request()).await.expect("a database");
            let done = ask.await;
            let context = format!("{name}, {context}:\n{told}\n{done:?}");
            assert!(told.verdict == Verdict::NotJudged && told.answer.is_none(), "{context}");
            if matches!(says, Says::Gateway) {
                assert!(told.why.contains("a proxy asking about another request"), "{context}");
                continue;
            }
            assert!(told.why.contains("sent to the sign-in page, signed-in users get 404"), "{context}");
            let state = shown.iter().find(|shown| shown.place == Place::CookieToWrite).map(|shown| shown.state);
            match state {
                Some("live" | "administrator") => {
                    assert_eq!((done.status.as_u16(), done.reason), (404, Some("no_route")), "{context}");
                }
                _ => {
                    let to = done.header("location").unwrap_or_default();
                    assert!(done.status == 302 && to.ends_with("/users/sign_in"), "{context}");
                }
            }
        }
    }
    assert_eq!(tally.passed, 0);
}
