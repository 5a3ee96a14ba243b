//! Users (rest-api.md 3.1). Each set begins with the one before it.

use tollhouse_domain::access::{AccessLevel, Viewer};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{User, UserKind};

use crate::json::Object;
use crate::urls::Urls;

pub fn basic(urls: &Urls, user: &User, viewer: Viewer, now: Timestamp) -> Object {
    // Whether guessing has locked somebody's password is theirs and the administrators' to know.
    let locked = sees_all(user, viewer) && user.locked(now);
    Object::default()
        .field("id", user.id)
        .field("username", &user.username)
        .field("public_email", &user.public_email)
        .field("name", &user.name)
        .field("state", user.state.as_str())
        .field("locked", locked)
        .field("avatar_url", ())
        .field("web_url", format_args!("{}/{}", urls.base(), user.username))
}

pub fn public(urls: &Urls, user: &User, viewer: Viewer, now: Timestamp) -> Object {
    let profile = !user.private_profile || sees_all(user, viewer);
    basic(urls, user, viewer, now)
        .when(profile, |o| o.field("created_at", user.created_at.iso()))
        .field("bio", &user.bio)
        .field("location", &user.location)
        .field("linkedin", &user.linkedin)
        .field("twitter", &user.twitter)
        .field("discord", &user.discord)
        .field("website_url", &user.website_url)
        .field("github", &user.github)
        .field("organization", &user.organization)
        .field("job_title", &user.job_title)
        .field("pronouns", &user.pronouns)
        .field("bot", user.kind == UserKind::Bot)
        .field("work_information", work_information(user))
        .when(profile, |o| o.field("followers", 0).field("following", 0))
        .when(profile && viewer != Viewer::Anonymous, |o| o.field("is_followed", false))
        .field("local_time", ())
}

/// What somebody sees of themselves.
pub fn own(urls: &Urls, user: &User, now: Timestamp) -> Object {
    let iso = |at: Option<Timestamp>| at.map(Timestamp::iso);
    public(urls, user, Viewer::Administrator { id: user.id }, now)
        .field("last_sign_in_at", iso(user.last_sign_in_at))
        .field("confirmed_at", iso(user.confirmed_at))
        .field("last_activity_on", user.last_activity_on.map(|day| day.to_string()))
        .field("email", &user.email)
        .field("theme_id", 3)
        .field("color_scheme_id", 1)
        .field("projects_limit", user.projects_limit)
        .field("current_sign_in_at", iso(user.current_sign_in_at))
        .array("identities", [])
        .field("can_create_group", user.can_create_group)
        .field("can_create_project", user.projects_limit > 0)
        .field("two_factor_enabled", false)
        .field("external", user.external)
        .field("private_profile", user.private_profile)
        .field("commit_email", &user.commit_email)
        .field("preferred_language", "en")
}

pub fn for_administrator(urls: &Urls, user: &User, creator: Option<&User>, now: Timestamp) -> Object {
    let viewer = Viewer::Administrator { id: user.id };
    own(urls, user, now)
        .field("is_admin", user.administrator)
        .field("note", &user.note)
        .field("namespace_id", user.namespace_id)
        .optional("created_by", creator.map(|creator| basic(urls, creator, viewer, now)))
        .field("email_reset_offered_at", ())
}

pub fn single_for_administrator(
    urls: &Urls,
    user: &User,
    creator: Option<&User>,
    highest: Option<AccessLevel>,
    now: Timestamp,
) -> Object {
    for_administrator(urls, user, creator, now)
        .field("current_sign_in_ip", &user.current_sign_in_ip)
        .field("last_sign_in_ip", &user.last_sign_in_ip)
        .field("sign_in_count", user.sign_in_count)
        .field("highest_role", highest.map_or(0, |level| level as i64))
}

fn sees_all(user: &User, viewer: Viewer) -> bool {
    matches!(viewer, Viewer::Administrator { .. }) || viewer.user_id() == Some(user.id)
}

fn work_information(user: &User) -> Option<String> {
    match (user.job_title.as_str(), user.organization.as_str()) {
        ("", "") => None,
        (title, "") => Some(title.to_owned()),
        ("", organization) => Some(organization.to_owned()),
        (title, organization) => Some(format!("{title} at {organization}")),
    }
}
