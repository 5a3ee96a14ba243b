//! Users (rest-api.md 3.1).

use tollhouse_domain::access::{AccessLevel, Viewer};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, User, UserKind};

use crate::entity::entity;
use crate::entity::types::{Boolean, Date, DateTime, Empty, Integer, Null, Nullable, OneOf, Text, Url};
use crate::urls::Urls;

/// A user, and who looks at them.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub urls: &'a Urls,
    pub user: &'a User,
    pub viewer: Viewer,
    pub now: Timestamp,
    /// Who made them, as far as that is known. Only administrators are told.
    pub creator: Option<&'a User>,
    /// Their highest level in any group or project.
    pub highest: Option<AccessLevel>,
}

impl<'a> Shown<'a> {
    pub fn new(urls: &'a Urls, user: &'a User, viewer: Viewer, now: Timestamp) -> Self {
        Self { urls, user, viewer, now, creator: None, highest: None }
    }

    /// The viewer is an administrator.
    fn administrator(&self) -> bool {
        matches!(self.viewer, Viewer::Administrator { .. })
    }

    /// The viewer is the user, or an administrator.
    fn sees_all(&self) -> bool {
        self.administrator() || self.viewer.user_id() == Some(self.user.id)
    }

    /// The profile is not private, or the viewer sees all.
    fn profile_visible(&self) -> bool {
        !self.user.private_profile || self.sees_all()
    }

    /// The same, and the viewer could follow them: somebody who is signed in, and who is not the user.
    fn may_follow(&self) -> bool {
        self.profile_visible() && self.viewer.user_id().is_some_and(|viewer| viewer != self.user.id)
    }

    /// `None`: they show no address.
    fn public_email(&self) -> Option<&'a str> {
        Some(self.user.public_email.as_str()).filter(|email| !email.is_empty())
    }

    fn work_information(&self) -> Option<String> {
        match (self.user.job_title.as_str(), self.user.organization.as_str()) {
            ("", "") => None,
            (title, "") => Some(title.to_owned()),
            ("", organization) => Some(organization.to_owned()),
            (title, organization) => Some(format!("{title} at {organization}")),
        }
    }

    fn creator(&self) -> Option<Self> {
        self.creator.map(|creator| Shown { user: creator, creator: None, ..*self })
    }
}

entity! {
    /// What a user is shown as inside other answers.
    pub UserBasic(it: Shown<'_>) {
        id: Integer = it.user.id,
        username: Text = &it.user.username,
        public_email: Nullable<Text> = it.public_email(),
        name: Text = &it.user.name,
        state: OneOf<AccountState> = it.user.state,
        // Whether guessing has locked somebody's password is theirs and the administrators' to know.
        locked: Boolean = it.sees_all() && it.user.locked(it.now),
        avatar_url: Nullable<Url> = (),
        web_url: Url = format_args!("{}/{}", it.urls.base(), it.user.username),
    }
}

entity! {
    /// `GET /users`
    pub ListedUser(it: Shown<'_>) {
        ..UserBasic,
        ..UserProfile when administrator,
        ..UserAccount when administrator,
        ..UserAdministration when administrator,
    }
}

entity! {
    /// `GET /users/:id`
    pub UserDetails(it: Shown<'_>) {
        ..UserBasic,
        ..UserProfile,
        ..UserAccount when administrator,
        ..UserAdministration when administrator,
        ..UserSignIns when administrator,
    }
}

entity! {
    /// `GET /user`: what somebody sees of themselves.
    pub CurrentUser(it: Shown<'_>) {
        ..UserBasic,
        created_at: DateTime = it.user.created_at,
        ..UserAbout,
        local_time: Null = (),
        ..UserAccount,
        ..UserAdministration when administrator,
    }
}

entity! {
    UserProfile(it: Shown<'_>) {
        created_at when profile_visible: DateTime = it.user.created_at,
        ..UserAbout,
        followers when may_follow: Integer = 0,
        following when may_follow: Integer = 0,
        is_followed when may_follow: Boolean = false,
        local_time: Null = (),
    }
}

entity! {
    UserAbout(it: Shown<'_>) {
        bio: Text = &it.user.bio,
        location: Text = it.user.location.as_deref().unwrap_or_default(),
        linkedin: Text = &it.user.linkedin,
        twitter: Text = &it.user.twitter,
        discord: Text = &it.user.discord,
        website_url: Text = &it.user.website_url,
        github: Text = &it.user.github,
        job_title: Text = &it.user.job_title,
        pronouns: Nullable<Text> = it.user.pronouns.as_deref(),
        organization: Text = &it.user.organization,
        bot: Boolean = it.user.kind == UserKind::Bot,
        work_information: Nullable<Text> = it.work_information(),
    }
}

entity! {
    UserAccount(it: Shown<'_>) {
        last_sign_in_at: Nullable<DateTime> = it.user.last_sign_in_at,
        confirmed_at: Nullable<DateTime> = it.user.confirmed_at,
        last_activity_on: Nullable<Date> = it.user.last_activity_on,
        email: Text = &it.user.email,
        theme_id: Integer = 3,
        color_scheme_id: Integer = 1,
        projects_limit: Integer = it.user.projects_limit,
        current_sign_in_at: Nullable<DateTime> = it.user.current_sign_in_at,
        identities: Empty = (),
        can_create_group: Boolean = it.user.can_create_group,
        can_create_project: Boolean = it.user.projects_limit > 0,
        two_factor_enabled: Boolean = false,
        external: Boolean = it.user.external,
        private_profile: Boolean = it.user.private_profile,
        commit_email: Text = &it.user.commit_email,
        preferred_language: Text = "en",
    }
}

entity! {
    UserAdministration(it: Shown<'_>) {
        is_admin: Boolean = it.user.administrator,
        note: Nullable<Text> = it.user.note.as_deref(),
        namespace_id: Nullable<Integer> = it.user.namespace_id,
        created_by: Nullable<UserBasic> = it.creator(),
    }
}

entity! {
    UserSignIns(it: Shown<'_>) {
        highest_role: Integer = it.highest.map_or(0, |level| level as i64),
        current_sign_in_ip: Nullable<Text> = it.user.current_sign_in_ip.as_deref(),
        last_sign_in_ip: Nullable<Text> = it.user.last_sign_in_ip.as_deref(),
        sign_in_count: Integer = it.user.sign_in_count,
    }
}
