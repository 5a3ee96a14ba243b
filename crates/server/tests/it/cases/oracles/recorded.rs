//! Answers of GitLab 18.11.5 and 19.1.1 (`gitlab.jsonl`), asked again of this server in the version that it is set to:
//! status, keys, their order, the kinds of values, the bytes of refusals, and the headers that clients read.

use std::fmt::Write as _;

use tollhouse::entity::version::Version;
use tollhouse::routes::table;
use tollhouse_domain::time::Date;

use super::super::answers::{Json, is_date_time};
use super::{lines, unnamed};
use crate::test_server::{Reply, TestServer};

mod scene;
mod verdicts;

use scene::Scene;
use verdicts::{VERDICTS, Verdict};

cases![
    recorded_answers_of_18_11,
    recorded_answers_of_19_1 with "api.version = '19.1'\n",
    recorded_answers_that_are_changed_are_noticed,
];

/// Keys that only a licence of the Enterprise edition, or the code host, brings: with `*` at the end whatever begins so.
const NOT_OURS: &[&str] = &[
    "ldap_cn",
    "ldap_access",
    "ldap_group_links",
    "saml_*",
    "scim_identities",
    "using_license_seat",
    "is_auditor",
    "plan",
    "trial",
    "provisioned_by_group_id",
    "enterprise_group_id",
    "enterprise_group_associated_at",
    "shared_runners_minutes_limit",
    "extra_shared_runners_minutes_limit",
    "requirements_*",
    "security_and_compliance_*",
    "external_authorization_*",
];

/// Null here, where the recorded server had a text, with the reason.
const NULLS: &[(&str, &str)] = &[
    ("avatar_url", "what GitLab says where Gravatar is off and no image was uploaded; there are no images here"),
    ("runners_token", "what GitLab says where runners may not be registered by a token; there are no runners here"),
    ("kas.externalUrl", "what GitLab says without an agent server"),
    ("kas.externalK8sProxyUrl", "what GitLab says without an agent server"),
    ("kas.version", "what GitLab says without an agent server"),
];

/// What the front server of the recorded ones adds to `Vary` where it compresses an answer. We compress none, and a proxy
/// that does so says it itself.
const COMPRESSED: &str = "accept-encoding";

/// Headers that must be the same, or away from both.
const HEADERS: &[&str] = &[
    "Content-Type",
    "Cache-Control",
    "Www-Authenticate",
    "X-Total",
    "X-Total-Pages",
    "X-Page",
    "X-Per-Page",
    "X-Next-Page",
    "X-Prev-Page",
];

pub fn counts() -> String {
    let count = |is: fn(&Verdict) -> bool| VERDICTS.iter().filter(|(.., verdict)| is(verdict)).count();
    format!(
        "recorded: {} held, {} later, {} history, {} not ours, of {} answers",
        count(|verdict| matches!(verdict, Verdict::Held(..))),
        count(|verdict| matches!(verdict, Verdict::Later(_))),
        count(|verdict| matches!(verdict, Verdict::History)),
        count(|verdict| matches!(verdict, Verdict::NotOurs(_))),
        VERDICTS.len()
    )
}

/// A line of the file.
pub struct Recorded {
    pub method: String,
    /// Below `/api/v4`.
    pub route: String,
    /// Names, and the kind of each value: what was sent in the body.
    pub sent: Vec<(String, Json)>,
    status: i64,
    answer: Json,
    headers: Vec<(String, String)>,
    versions: Vec<String>,
}

impl Recorded {
    fn of(line: Json) -> Self {
        let Some(&Json::Integer(status)) = line.get("status") else { panic!("a line without a status") };
        let versions = line.texts("versions").into_iter().map(str::to_owned).collect();
        let (method, route) = (line.text("method").to_owned(), line.text("route").to_owned());
        let route = route.strip_prefix("/api/v4").expect("a route of the API").to_owned();
        let Json::Object(members) = line else { panic!("no object") };
        let (mut answer, mut headers, mut sent) = (Json::Null, Vec::new(), Vec::new());
        for (key, value) in members {
            match (key.as_str(), value) {
                ("answer", value) => answer = value,
                ("headers", Json::Object(all)) => {
                    headers.extend(all.into_iter().filter_map(|(name, value)| match value {
                        Json::Text(text) => Some((name, text)),
                        _ => None,
                    }));
                }
                ("sent", Json::List(pairs)) => sent.extend(pairs.into_iter().filter_map(|pair| match pair {
                    Json::List(pair) => match <[Json; 2]>::try_from(pair) {
                        Ok([Json::Text(name), kind]) => Some((name, kind)),
                        _ => None,
                    },
                    _ => None,
                })),
                _ => {}
            }
        }
        Self { method, route, sent, status, answer, headers, versions }
    }

    /// `GET /users 200`
    fn title(&self) -> String {
        format!("{} {} {}", self.method, self.route, self.status)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The file beside the table, line by line.
fn sorted() -> Vec<(Recorded, &'static Verdict)> {
    let recorded: Vec<Recorded> = lines("gitlab.jsonl").into_iter().map(Recorded::of).collect();
    assert_eq!(recorded.len(), VERDICTS.len(), "lines of the file, and rows of the table");
    let served = |line: &Recorded| {
        let path = unnamed(&format!("/api/v4{}", line.route));
        table().iter().any(|endpoint| endpoint.method.as_str() == line.method && unnamed(endpoint.path) == path)
    };
    let both = recorded.into_iter().zip(VERDICTS).enumerate();
    both.map(|(at, (line, (number, title, verdict)))| {
        assert_eq!((at + 1, line.title()), (*number, (*title).to_owned()), "the table is not in step with the file");
        let ours = Version::ALL.iter().any(|version| line.versions.iter().any(|seen| seen == version.number()));
        match verdict {
            Verdict::Held(..) => assert!(ours && served(&line), "line {number}"),
            Verdict::Later(step) => {
                assert!(ours, "line {number} was seen in none of our versions: it is history");
                assert!(!served(&line), "line {number}, {title}: served now, though it was to come in step {step}");
            }
            Verdict::History => assert!(!ours, "line {number} was seen in one of our versions"),
            Verdict::NotOurs(why) => assert!(!served(&line), "line {number}, {title}: served now, though {why}"),
        }
        (line, verdict)
    })
    .collect()
}

async fn recorded_answers_of_18_11(t: TestServer) {
    hold(t, Version::V18_11).await;
}

async fn recorded_answers_of_19_1(t: TestServer) {
    hold(t, Version::V19_1).await;
}

/// Every answer that was seen in this version. All that differ are told.
async fn hold(t: TestServer, version: Version) {
    assert_eq!(t.app.settings.api.version, version);
    let scene = Scene::new(t).await;
    let (mut asked, mut wrong) = (0, String::new());
    for (number, (line, verdict)) in sorted().into_iter().enumerate() {
        let Verdict::Held(caller, target, state) = verdict else { continue };
        if !line.versions.iter().any(|seen| seen == version.number()) {
            continue;
        }
        asked += 1;
        let reply = scene.ask(&line, *caller, target).await;
        if let Err(why) = compare(&line, &reply) {
            let _ = writeln!(wrong, "line {}, {}, {caller:?} asks {target} ({state}): {why}", number + 1, line.title());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(asked > 20, "{asked}");
}

async fn recorded_answers_that_are_changed_are_noticed(t: TestServer) {
    let scene = Scene::new(t).await;
    let mut noticed = 0;
    for (line, verdict) in sorted() {
        let Verdict::Held(caller, target, _) = verdict else { continue };
        if !line.versions.iter().any(|seen| seen == Version::V18_11.number()) {
            continue;
        }
        let reply = scene.ask(&line, *caller, target).await;
        compare(&line, &reply).unwrap_or_else(|why| panic!("{}: {why}", line.title()));
        let with = |change: &dyn Fn(&mut Reply)| {
            let mut other = reply.clone();
            change(&mut other);
            other
        };
        let mut changed = vec![
            with(&|other| other.status = axum::http::StatusCode::ACCEPTED),
            with(&|other| drop(other.headers.remove("cache-control"))),
            with(&|other| other.body.push('1')),
        ];
        if line.header("Vary") == Some("Origin") {
            changed.push(with(&|other| drop(other.headers.remove("vary"))));
        }
        // A key of another name, a key that comes twice, kinds, and two keys that stand together.
        for (what, by) in [
            ("\"", "\"x"),
            (r#"{"id":"#, r#"{"id":null,"id":"#),
            (r#""revoked":false"#, r#""revoked":0"#),
            (r#""visibility":"public""#, r#""visibility":null"#),
            (r#""job_title":"","pronouns":null"#, r#""pronouns":null,"job_title":"""#),
        ] {
            if reply.body.contains(what) {
                changed.push(with(&|other| other.body = other.body.replacen(what, by, 1)));
            }
        }
        for other in changed {
            assert!(compare(&line, &other).is_err(), "{}: not noticed: {} {}", line.title(), other.status, other.body);
            noticed += 1;
        }
    }
    assert!(noticed > 100, "{noticed}");
}

/// Why an answer is not the recorded one.
fn compare(line: &Recorded, reply: &Reply) -> Result<(), String> {
    if i64::from(reply.status.as_u16()) != line.status {
        return Err(format!("{} {}", reply.status, reply.body));
    }
    for name in HEADERS {
        let (theirs, ours) = (line.header(name), reply.header(&name.to_ascii_lowercase()));
        if theirs != ours {
            return Err(format!("{name} is {ours:?} in place of {theirs:?}"));
        }
    }
    if line.header("Link").is_some() != reply.header("link").is_some() {
        return Err(format!("Link is {:?}", reply.header("link")));
    }
    let varies: Vec<&str> = reply.headers.get_all("vary").iter().flat_map(|value| value.to_str()).collect();
    let varies = varies.join(",").to_ascii_lowercase();
    let varies: Vec<&str> = varies.split(',').map(str::trim).collect();
    let theirs = line.header("Vary").into_iter().flat_map(|all| all.split(','));
    let missing = theirs.map(|name| name.trim().to_ascii_lowercase()).filter(|name| name != COMPRESSED);
    if let Some(name) = missing.into_iter().find(|name| !varies.contains(&&**name)) {
        return Err(format!("Vary does not name {name}: {varies:?}"));
    }
    match &line.answer {
        Json::Text(nothing) if nothing.is_empty() => match reply.body.as_str() {
            "" => Ok(()),
            body => Err(format!("a body: {body}")),
        },
        refusal if line.status >= 400 => {
            let bytes = literal(refusal);
            if bytes == reply.body { Ok(()) } else { Err(format!("{} in place of {bytes}", reply.body)) }
        }
        answer => {
            let ours: Json = serde_json::from_str(&reply.body).map_err(|error| format!("{error}: {}", reply.body))?;
            is_like(answer, &ours, "")
        }
    }
}

/// The bytes of a refusal.
fn literal(value: &Json) -> String {
    match value {
        Json::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Json::Object(members) => {
            let member = |(key, value): &(String, Json)| format!("\"{key}\":{}", literal(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        other => panic!("no refusal: {other:?}"),
    }
}

fn is_ours(key: &str) -> bool {
    !NOT_OURS.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => key == *known,
    })
}

/// `recorded` has the name of a kind in the place of each value.
fn is_like(recorded: &Json, ours: &Json, at: &str) -> Result<(), String> {
    let same = match (recorded, ours) {
        (Json::Object(recorded), Json::Object(ours)) => {
            let keys = |members: &[(String, Json)]| {
                members.iter().map(|(key, _)| key.clone()).filter(|key| is_ours(key)).collect::<Vec<_>>()
            };
            let (theirs, mine) = (keys(recorded), keys(ours));
            if theirs != mine {
                let differ = theirs.iter().zip(&mine).position(|(one, other)| one != other);
                let differ = differ.unwrap_or(theirs.len().min(mine.len()));
                let (theirs, mine) = (theirs.get(differ), mine.get(differ));
                return Err(format!("{at}: the key {mine:?} in place of {theirs:?}"));
            }
            let of_both = |(key, recorded): &(String, Json)| {
                let (_, ours) = ours.iter().find(|(known, _)| known == key)?;
                is_like(recorded, ours, &format!("{at}.{key}")).err()
            };
            return recorded.iter().filter(|(key, _)| is_ours(key)).find_map(of_both).map_or(Ok(()), Err);
        }
        (Json::List(recorded), Json::List(ours)) => match recorded.as_slice() {
            [] => ours.is_empty(),
            [recorded, ..] => {
                let each = || ours.iter().find_map(|ours| is_like(recorded, ours, &format!("{at}[]")).err());
                return if ours.is_empty() { Err(format!("{at} is empty")) } else { each().map_or(Ok(()), Err) };
            }
        },
        (Json::Text(kind), ours) => match (kind.as_str(), ours) {
            ("string", Json::Text(_)) | ("integer", Json::Integer(_)) | ("boolean", Json::Boolean(_)) => true,
            ("date", Json::Text(text)) => Date::parse(text).is_some(),
            ("date-time", Json::Text(text)) => is_date_time(text),
            ("string", Json::Null) => NULLS.iter().any(|(key, _)| at.ends_with(&format!(".{key}"))),
            _ => false,
        },
        (Json::Null, Json::Null) => true,
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("{at} is {ours:?} in place of {recorded:?}")) }
}
