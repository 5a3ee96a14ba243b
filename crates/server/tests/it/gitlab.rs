//! The cases of the finished steps under `compat.all = "gitlab"`: for clients, a server with this setting is GitLab.

use crate::conformance;

/// Comes before the lines of settings that a test has of its own.
pub const SETTING: &str = "compat.all = 'gitlab'\n";

/// Tests that do not hold under the setting, with the reason. They run too and must fail, so the list stays true.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Whether the test also runs under the setting.
pub fn includes(name: &str) -> bool {
    conformance::named_by_an_id(name)
}

/// Why the test must fail under the setting.
pub fn exception(name: &str) -> Option<&'static str> {
    EXCEPTIONS.iter().find(|(test, _)| *test == name).map(|(_, reason)| *reason)
}

/// Fails if an exception names no test.
pub fn check(names: &[&str]) -> Result<(), String> {
    let unknown = EXCEPTIONS.iter().find(|(test, _)| !names.contains(test));
    unknown.map_or(Ok(()), |(test, _)| Err(format!("gitlab.rs: there is no test {test}")))
}
