//! What real GitLab servers answered, and what GitLab declares of its API, as facts in files beside the repository. Where
//! they are not, the tests of this folder are left out.

use std::path::PathBuf;

use super::answers::Json;

pub mod declared;
pub mod recorded;

/// Their names begin with one of these. Each must fail where answers are garbled.
const PREFIXES: [&str; 2] = ["recorded_", "declared_"];

/// Whether a test compares with those files.
pub fn includes(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a test of this folder fails if the answers of its server are garbled: the others ask none.
pub fn asks_a_server(name: &str) -> bool {
    name.starts_with(PREFIXES[0])
}

/// Where the files are, or the reason why the tests are left out.
pub fn folder() -> Result<PathBuf, String> {
    let folder = match std::env::var_os("TOLLHOUSE_RECORDED") {
        Some(named) => PathBuf::from(named),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recorded"),
    };
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!("{} is not there (TOLLHOUSE_RECORDED names another folder)", folder.display())),
    }
}

/// One line each: how many lines and differences there are of each kind.
pub fn counts() -> String {
    match folder() {
        Ok(_) => format!("{}\n{}", recorded::counts(), declared::counts()),
        Err(reason) => format!("recorded and declared: left out, {reason}"),
    }
}

/// Every line of a file, as JSON that keeps the order of its keys.
fn lines(file: &str) -> Vec<Json> {
    let path = folder().expect("the files").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}: {error}"))).collect()
}

impl Json {
    fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    #[track_caller]
    fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Self::Text(text)) => text,
            other => panic!("{key} is {other:?}"),
        }
    }

    #[track_caller]
    fn list(&self, key: &str) -> &[Self] {
        match self.get(key) {
            Some(Self::List(values)) => values,
            other => panic!("{key} is {other:?}"),
        }
    }

    #[track_caller]
    fn texts(&self, key: &str) -> Vec<&str> {
        let mut texts = Vec::new();
        for value in self.list(key) {
            match value {
                Self::Text(text) => texts.push(text.as_str()),
                other => panic!("{key} has {other:?}"),
            }
        }
        texts
    }
}

/// A path with every name of a capture taken out: `/groups/:id` and `/groups/{id}` are the same route.
fn unnamed(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with([':', '{']) { "*".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
