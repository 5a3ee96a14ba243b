//! Users, groups and projects.

use std::collections::HashSet;

use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::namespace::reserved;
use tollhouse_domain::password;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::text::printable;
use tollhouse_domain::user::AccountState;

use super::{Known, once, user};
use crate::cli::seed::fields::{At, Fields};
use crate::cli::seed::{Group, Member, Project, User, Within};
use crate::hasher;
use crate::operations::{groups, projects, users};
use crate::refusal::FieldFault;

pub(super) fn users_of<'f>(file: &Fields<'f>, known: &mut Known<'f>) -> Vec<User> {
    let mut all = Vec::new();
    let (mut first_administrator, mut one_can_act) = (None, false);
    for fields in file.list("user", "user", "username") {
        let username = fields.required("username");
        let text = username.map_or("", |username| username.value);
        let name = fields.text("name");
        let email = fields.text("email");
        let person = users::CreateUser::person(text, text);
        let create = users::CreateUser {
            name: name.map_or(person.name, |name| name.value.to_owned()),
            email: email.map_or(person.email, |email| email.value.to_owned()),
            administrator: fields.flag("admin", false),
            external: fields.flag("external", false),
            confirmed: fields.flag("confirmed", true),
            state: fields.word("state", AccountState::ALL, AccountState::as_str).unwrap_or(AccountState::Active),
            password_digest: digest(&fields),
            ..person
        };
        // Of what the file says; the rest follows from the user name.
        let said = [("username", username), ("name", name), ("email", email)];
        for (field, fault) in create.faults() {
            if let Some((_, Some(said))) = said.iter().find(|(key, said)| *key == field && said.is_some()) {
                fields.wrong(said.at, &format!("`{field}` {fault}"));
            }
        }
        let password = password(&fields);
        if let Some(username) = username {
            let lower = username.value.to_ascii_lowercase();
            let first = once(&fields, &mut known.paths, username.at, lower.clone(), "username");
            if first && !create.email.is_empty() {
                once(&fields, &mut known.emails, fields.place("email"), create.email.to_ascii_lowercase(), "email");
            }
            known.users.entry(lower).or_insert(all.len());
        }
        known.administrators.push(create.administrator);
        if create.administrator {
            first_administrator.get_or_insert(fields.place("admin"));
            one_can_act |= create.state == AccountState::Active && create.confirmed;
        }
        fields.end();
        all.push(User { create, password });
    }
    if let Some(at) = first_administrator.filter(|_| !one_can_act) {
        file.wrong(at, "one administrator must be active and confirmed: the last one can't be blocked");
    }
    all
}

fn password(fields: &Fields<'_>) -> Option<Plaintext> {
    let password = fields.text("password")?;
    if fields.has("password_hash") {
        fields.wrong(password.at, "`password` and `password_hash` can't be used together");
    }
    if password.value.starts_with("$argon2") {
        fields.wrong(password.at, "`password` is a clear-text password; put a hash into `password_hash`");
    } else if let Some(fault) = password::seed_fault(password.value) {
        fields.wrong(password.at, &format!("`password` {fault}"));
    }
    Some(Plaintext::new(password.value.to_owned()))
}

fn digest(fields: &Fields<'_>) -> Option<String> {
    let digest = fields.text("password_hash")?;
    if !hasher::verifies(digest.value) {
        let must = "`password_hash` must be a PHC string of Argon2, with at most 1 GiB of memory and 100 passes";
        fields.wrong(digest.at, must);
    }
    Some(digest.value.to_owned())
}

pub(super) fn groups_of<'f>(file: &Fields<'f>, known: &mut Known<'f>) -> Vec<Group> {
    let mut tables: Vec<_> = file.list("group", "group", "path").into_iter().map(|f| (f.required("path"), f)).collect();
    // Each after the one around it, and else in the order of the file.
    tables.sort_by_key(|(path, _)| path.map_or(0, |path| path.value.matches('/').count()));
    let mut all = Vec::new();
    for (path, fields) in tables {
        let full_path = path.map_or("", |path| path.value);
        let (above, own) = full_path.rsplit_once('/').map_or((None, full_path), |(above, own)| (Some(above), own));
        let parent = above.and_then(|above| {
            let found = known.groups.get(&above.to_ascii_lowercase()).copied();
            if found.is_none() {
                fields.wrong(fields.place("path"), &format!("there is no group `{}` in this file", printable(above)));
            }
            found
        });
        let create = groups::CreateGroup {
            name: fields.text("name").map_or(own, |name| name.value).to_owned(),
            path: own.to_owned(),
            parent: None,
            visibility: visibility(&fields),
            owner: None,
        };
        if path.is_some() {
            // A group around it that is not there limits nothing, and is told already.
            let around = above.map(|_| parent.map_or(Visibility::Public, |(_, visibility)| visibility));
            if above.is_none() && reserved(own) {
                fields.wrong(fields.place("path"), "`path` is a reserved name");
            } else if let Some(fault) = create.fault(around) {
                wrong_with(&fields, fault);
            }
        }
        if let Some(path) = path {
            long_path(&fields, path);
            let lower = path.value.to_ascii_lowercase();
            once(&fields, &mut known.paths, path.at, lower.clone(), "path");
            known.groups.entry(lower).or_insert((all.len(), create.visibility));
        }
        let members = members(&fields, known, None);
        fields.end();
        let parent = parent.map(|(place, _)| place);
        all.push(Group { full_path: full_path.to_owned(), parent, create, members });
    }
    all
}

pub(super) fn projects_of<'f>(file: &Fields<'f>, known: &mut Known<'f>) -> Vec<Project> {
    let mut all = Vec::new();
    for fields in file.list("project", "project", "path") {
        let path = fields.required("path");
        let full_path = path.map_or("", |path| path.value);
        let (around, own) = full_path.rsplit_once('/').unwrap_or(("", full_path));
        let lower = around.to_ascii_lowercase();
        let group = known.groups.get(&lower).copied();
        let owner = known.users.get(&lower).copied();
        match (path, group, owner) {
            (Some(path), ..) if around.is_empty() => {
                fields
                    .wrong(path.at, "`path` must name the group or user that the project is in, as in `harbour/boats`");
            }
            (Some(path), None, None) => {
                fields.wrong(path.at, &format!("there is no group or user `{}` in this file", printable(around)));
            }
            _ => {}
        }
        let creator = user(&fields, "creator", known);
        if let (None, Some(owner), Some(creator)) = (group, owner, creator)
            && owner != creator
        {
            fields.wrong(fields.place("creator"), "`creator` must be the user whose namespace it is in");
        }
        let title = fields.text("name");
        let plan = projects::Plan {
            name: title.map_or(own, |title| title.value.trim()).to_owned(),
            path: own.to_owned(),
            description: fields.text("description").map(|text| text.value.to_owned()),
            visibility: visibility(&fields),
        };
        if path.is_some() {
            for fault in plan.faults(group.map(|(_, visibility)| visibility)) {
                wrong_with(&fields, fault);
            }
        }
        if let Some(path) = path {
            long_path(&fields, path);
            if once(&fields, &mut known.paths, path.at, path.value.to_ascii_lowercase(), "path") {
                let title = title.unwrap_or(At { value: own, at: path.at });
                once(&fields, &mut known.project_names, title.at, (lower, title.value.trim()), "name");
            }
        }
        let members = members(&fields, known, owner.filter(|_| group.is_none()));
        fields.end();
        let within = group.map_or(Within::User(owner.unwrap_or_default()), |(place, _)| Within::Group(place));
        let creator = creator.or(owner.filter(|_| group.is_none()));
        all.push(Project { full_path: full_path.to_owned(), within, creator, plan, members });
    }
    all
}

fn members<'f>(fields: &Fields<'f>, known: &Known<'f>, owner: Option<usize>) -> Vec<Member> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for fields in fields.list("members", "member", "user") {
        fields.must_have("user");
        fields.must_have("level");
        let user = user(&fields, "user", known);
        let level = fields.word("level", &AccessLevel::ALL, AccessLevel::as_str);
        let expires_at = fields.day("expires_at");
        fields.end();
        let Some(user) = user else { continue };
        if owner == Some(user) {
            fields.wrong(fields.at, "is already its owner");
        } else if !seen.insert(user) {
            fields.wrong(fields.at, "is a member already");
        }
        all.push(Member { user, level: level.unwrap_or(AccessLevel::Guest), expires_at });
    }
    all
}

fn visibility(fields: &Fields<'_>) -> Visibility {
    fields.word("visibility", &Visibility::ALL, Visibility::as_str).unwrap_or(Visibility::Private)
}

/// A fault as an operation names it, with the key that it has here.
fn wrong_with(fields: &Fields<'_>, (field, fault): (&str, FieldFault)) {
    let key = if field == "visibility_level" { "visibility" } else { field };
    fields.wrong(fields.place(key), &format!("`{key}` {fault}"));
}

/// The index of a database ends somewhere.
fn long_path(fields: &Fields<'_>, path: At<&str>) {
    if path.value.len() > LONGEST_PATH {
        fields.wrong(path.at, &format!("`path` is too long (maximum is {LONGEST_PATH} bytes)"));
    }
}

const LONGEST_PATH: usize = 1_024;
