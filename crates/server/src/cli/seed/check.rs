//! What a seed may say, and that it fits together. Rules that hold for every face are asked of `operations/`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::text::printable;

use super::Seed;
use super::fields::Fields;
use super::file::{Mistakes, Source};
use crate::config::Unusable;

mod credentials;
mod places;

pub(super) fn check(source: &Source) -> Result<Seed, Unusable> {
    let (mistakes, table) = Mistakes::in_file(source);
    let file = Fields::of_file(&table, &mistakes);
    let mut known = Known::default();
    // Each kind speaks only of those before it.
    let seed = Seed {
        name: source.name.clone(),
        users: places::users_of(&file, &mut known),
        groups: places::groups_of(&file, &mut known),
        projects: places::projects_of(&file, &mut known),
        tokens: credentials::tokens_of(&file, &mut known),
        applications: credentials::applications_of(&file, &mut known),
        oauth_tokens: credentials::oauth_tokens_of(&file, &mut known),
    };
    file.end();
    drop(file);
    mistakes.told().map_or(Ok(seed), Err)
}

/// What stands in the file so far, by name in lower case. What is wrong with something else stands there too, so that
/// one mistake does not make others.
#[derive(Default)]
struct Known<'f> {
    users: HashMap<String, usize>,
    administrators: Vec<bool>,
    groups: HashMap<String, (usize, Visibility)>,
    applications: HashMap<&'f str, usize>,
    scopes_of_applications: Vec<Scopes>,
    /// Where what must not come twice stands first.
    paths: HashMap<String, usize>,
    emails: HashMap<String, usize>,
    project_names: HashMap<(String, &'f str), usize>,
    client_ids: HashMap<&'f str, usize>,
    secrets: HashMap<&'f str, usize>,
}

/// A user of this file, by name.
fn user<'f>(fields: &Fields<'f>, key: &'static str, known: &Known<'f>) -> Option<usize> {
    let name = fields.text(key)?;
    let found = known.users.get(&name.value.to_ascii_lowercase()).copied();
    if found.is_none() {
        fields.wrong(name.at, &format!("there is no user `{}` in this file", printable(name.value)));
    }
    found
}

/// Whether it is the first of its kind in the file; if not, that is a mistake.
fn once<K: Hash + Eq>(fields: &Fields<'_>, seen: &mut HashMap<K, usize>, at: usize, what: K, key: &str) -> bool {
    match seen.entry(what) {
        Entry::Vacant(free) => {
            free.insert(at);
            true
        }
        Entry::Occupied(first) => {
            fields.wrong(at, &format!("`{key}` is taken on line {}", fields.line(*first.get())));
            false
        }
    }
}
