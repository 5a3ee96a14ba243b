//! What GitLab declares of its API (`openapi-19.5.jsonl`): the parameters of each endpoint that is served here, and the
//! order of the keys of its answers. Success codes and schemas of answers are not compared: where they contradict
//! recordings, the recordings are right.

use std::collections::{BTreeMap, BTreeSet};

use tollhouse::endpoint::Endpoint;
use tollhouse::endpoint::answer::BodySchema;
use tollhouse::entity::version::Version;
use tollhouse::params::{Param, ParamType, Presence};
use tollhouse::routes::table;

use super::super::answers::Json;
use super::{lines, unnamed};
use crate::test_server::TestServer;

mod differences;

use differences::{DIFFERENCES, KEYS, OURS};

cases![
    declared_parameters_are_served_or_listed,
    declared_parameters_that_differ_are_noticed,
    declared_keys_stand_in_their_order,
];

/// How a parameter of ours is not what is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Differs {
    /// Declared, and not ours.
    Missing,
    /// Ours, and not declared.
    Additional,
    Type,
    /// Its list of values.
    Values,
    Default,
    /// Whether it must be there.
    Required,
    /// It stands before one that is declared before it.
    Order,
}

/// An endpoint, a parameter, and how that differs.
type Difference = (String, String, Differs);

pub fn counts() -> String {
    let mut kinds = BTreeMap::new();
    for (_, differs, parameters, _) in DIFFERENCES {
        *kinds.entry(differs).or_insert(0) += parameters.len();
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(differs, count)| format!("{count} {differs:?}")).collect();
    let endpoints = ours().count();
    format!(
        "declared: {} endpoints compared, {} not declared; differences with a reason: {}",
        endpoints - OURS.len(),
        OURS.len(),
        kinds.join(", ").to_ascii_lowercase()
    )
}

/// The endpoints of the API, with what they are called.
fn ours() -> impl Iterator<Item = (String, Endpoint)> {
    let all = table().into_iter().filter(|endpoint| endpoint.answer().is_some());
    all.map(|endpoint| (name(&endpoint), endpoint))
}

/// `GET /users/{id}`
fn name(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method, endpoint.path.strip_prefix("/api/v4").unwrap_or(endpoint.path))
}

/// By method, and path without the names of its captures.
fn declared() -> BTreeMap<(String, String), Json> {
    let key = |line: &Json| (line.text("method").to_owned(), unnamed(line.text("path")));
    lines("openapi-19.5.jsonl").into_iter().map(|line| (key(&line), line)).collect()
}

/// A parameter, as either side describes it.
#[derive(Clone, Debug)]
struct Described {
    name: String,
    /// The names of its types; of lists the type of an element too.
    kind: String,
    values: BTreeSet<String>,
    default: Option<String>,
    required: bool,
}

impl Described {
    fn ours(param: &Param) -> Self {
        fn kind(of: ParamType) -> String {
            match of {
                ParamType::Integer => "integer".to_owned(),
                ParamType::Boolean => "boolean".to_owned(),
                ParamType::Text => "string".to_owned(),
                ParamType::Date => "string date".to_owned(),
                ParamType::DateTime => "string date-time".to_owned(),
                ParamType::List { of, .. } => format!("array of {}", kind(*of)),
            }
        }
        Self {
            name: param.name.to_owned(),
            kind: kind(param.kind),
            values: param.allowed.iter().map(|&value| value.to_owned()).collect(),
            default: param.default.map(str::to_owned),
            required: param.presence != Presence::Optional,
        }
    }

    fn theirs(declared: &Json) -> Self {
        let plain = |value: &Json| match value {
            Json::Text(text) => text.clone(),
            Json::Integer(number) => number.to_string(),
            Json::Boolean(truth) => truth.to_string(),
            other => panic!("{other:?}"),
        };
        let items = declared.get("items");
        let mut kind = match declared.get("type") {
            Some(Json::Text(kind)) => kind.clone(),
            Some(Json::List(kinds)) => kinds.iter().map(plain).collect::<Vec<_>>().join(" or "),
            other => panic!("a type {other:?}"),
        };
        if let Some(Json::Text(format)) = declared.get("format") {
            kind = format!("{kind} {format}");
        }
        if let Some(items) = items {
            let of = if let Json::Text(of) = items { of } else { items.text("type") };
            kind = format!("{kind} of {of}");
        }
        let values = declared.get("enum").or_else(|| items?.get("enum"));
        let values = match values {
            Some(Json::List(values)) => values.iter().map(plain).collect(),
            _ => BTreeSet::new(),
        };
        Self {
            name: declared.text("name").to_owned(),
            kind,
            values,
            default: declared.get("default").map(plain),
            required: matches!(declared.get("required"), Some(Json::Boolean(true))),
        }
    }
}

/// Of one endpoint.
fn differences(endpoint: &str, ours: &[Described], theirs: &[Described]) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    let mut differ = |name: &str, how| {
        found.insert((endpoint.to_owned(), name.to_owned(), how));
    };
    for their in theirs.iter().filter(|their| !ours.iter().any(|our| our.name == their.name)) {
        differ(&their.name, Differs::Missing);
    }
    let mut furthest = 0;
    for our in ours {
        let Some(place) = theirs.iter().position(|their| their.name == our.name) else {
            differ(&our.name, Differs::Additional);
            continue;
        };
        let their = &theirs[place];
        if place < furthest {
            differ(&our.name, Differs::Order);
        }
        furthest = furthest.max(place);
        for (how, differs) in [
            (Differs::Type, our.kind != their.kind),
            (Differs::Values, our.values != their.values),
            (Differs::Default, our.default != their.default),
            (Differs::Required, our.required != their.required),
        ] {
            if differs {
                differ(&our.name, how);
            }
        }
    }
    found
}

/// The parameters of each endpoint that both have, ours and theirs.
fn both() -> Vec<(String, Vec<Described>, Vec<Described>)> {
    let declared = declared();
    let mut both = Vec::new();
    for (name, endpoint) in ours() {
        let known = declared.get(&(endpoint.method.to_string(), unnamed(endpoint.path)));
        let listed = OURS.iter().any(|(ours, _)| *ours == name);
        assert_eq!(known.is_none(), listed, "{name}: whether GitLab declares it");
        if let Some(known) = known {
            let ours = endpoint.params.iter().map(Described::ours).collect();
            both.push((name, ours, known.list("parameters").iter().map(Described::theirs).collect()));
        }
    }
    both
}

async fn declared_parameters_are_served_or_listed(_: TestServer) {
    let found: BTreeSet<Difference> =
        both().iter().flat_map(|(name, ours, theirs)| differences(name, ours, theirs)).collect();
    let listed: Vec<Difference> = DIFFERENCES
        .iter()
        .flat_map(|(endpoint, differs, parameters, _)| {
            parameters.iter().map(move |parameter| ((*endpoint).to_owned(), (*parameter).to_owned(), *differs))
        })
        .collect();
    let known: BTreeSet<Difference> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), known.len(), "a difference is listed twice");
    let new: Vec<&Difference> = found.difference(&known).collect();
    let mended: Vec<&Difference> = known.difference(&found).collect();
    assert!(new.is_empty() && mended.is_empty(), "not listed: {new:#?}\nlisted, and there is none: {mended:#?}");
    let reasons = DIFFERENCES.iter().map(|(.., reason)| reason).chain(OURS.iter().map(|(_, reason)| reason));
    assert!(reasons.into_iter().all(|reason| !reason.is_empty()));
}

async fn declared_parameters_that_differ_are_noticed(_: TestServer) {
    let mut noticed = 0;
    for (name, ours, theirs) in both() {
        let known = differences(&name, &ours, &theirs);
        for at in (0..ours.len()).filter(|at| theirs.iter().any(|their| their.name == ours[*at].name)) {
            let changes: [fn(&mut Described); 5] = [
                |param| param.name.push('x'),
                |param| param.kind.push('x'),
                |param| param.values.extend(["x".to_owned()]),
                |param| param.default = Some("x".to_owned()),
                |param| param.required = !param.required,
            ];
            for (number, change) in changes.into_iter().enumerate() {
                let mut changed = ours.clone();
                change(&mut changed[at]);
                let told = differences(&name, &changed, &theirs);
                // What differs anyhow may do so in the same way.
                let anyhow = known.iter().any(|(_, parameter, _)| *parameter == ours[at].name);
                assert!(told != known || anyhow, "{name}: change {number} of {}", ours[at].name);
                noticed += 1;
            }
        }
        let mut reversed = ours.clone();
        reversed.reverse();
        let shared = ours.iter().filter(|our| theirs.iter().any(|their| their.name == our.name)).count();
        assert!(shared < 2 || differences(&name, &reversed, &theirs) != known, "{name}: the order");
    }
    assert!(noticed > 100, "{noticed}");
}

/// Keys of ours stand in the order of the schema that is declared; those that no schema has are listed.
async fn declared_keys_stand_in_their_order(_: TestServer) {
    let schemas = lines("openapi-19.5-schemas.jsonl");
    let mut compared = 0;
    let mut unlisted: BTreeSet<&str> = KEYS.iter().map(|(endpoint, ..)| *endpoint).collect();
    for (name, endpoint) in ours().filter(|(name, _)| OURS.iter().all(|(ours, _)| ours != name)) {
        let schema = match endpoint.answer().expect("an answer").body {
            BodySchema::Nothing | BodySchema::Document => continue,
            BodySchema::One(schema) | BodySchema::All(schema) | BodySchema::Page(schema) => schema,
        };
        let row = KEYS.iter().find(|(known, ..)| *known == name);
        let (_, declared, away) = row.unwrap_or_else(|| panic!("{name}: by which schema?"));
        unlisted.remove(name.as_str());
        let declared = schemas.iter().find(|schema| schema.text("name") == *declared);
        let declared = declared.unwrap_or_else(|| panic!("{name}: no such schema")).list("properties");
        let theirs: Vec<&str> = declared
            .iter()
            .map(|property| match property {
                Json::List(row) => match row.first() {
                    Some(Json::Text(key)) => key.as_str(),
                    other => panic!("{other:?}"),
                },
                other => other.text("key"),
            })
            .filter(|key| !away.contains(key))
            .collect();
        for version in Version::ALL {
            let keys: Vec<&str> = schema.fields(version).iter().map(|field| field.key).collect();
            let undeclared: Vec<&str> = keys.iter().copied().filter(|key| !theirs.contains(key)).collect();
            assert_eq!(undeclared, *away, "{name}: keys that the schema does not declare");
            let places: Vec<usize> =
                keys.iter().filter_map(|key| theirs.iter().position(|their| their == key)).collect();
            let wrong =
                places.windows(2).find(|pair| pair[0] >= pair[1]).map(|pair| (theirs[pair[0]], theirs[pair[1]]));
            assert_eq!(wrong, None, "{name}: in the wrong order");
            compared += places.len();
        }
    }
    assert!(unlisted.is_empty(), "{unlisted:?}");
    assert!(compared > 200, "{compared}");
}
