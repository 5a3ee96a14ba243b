//! Why an operation is refused: facts about what it was asked to change. The REST API (`error/refused.rs`), the OAuth
//! endpoints (`oauth/error.rs`), the pages and the command line (`cli/admin/words.rs`) each say them in their own way.

use std::borrow::Cow;
use std::fmt::{Display, Formatter};

use tollhouse_domain::access::Visibility;
use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::UserId;
use tollhouse_domain::text::NameFault;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::{password, redirect};

/// Why an operation is refused. Each surface spells it in its own way; tests compare it with `==`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none, or the caller may not see it.
    NotFound(ResourceKind),
    /// Every field that breaks a rule, in the order of the rules.
    Invalid(Vec<(&'static str, FieldFault)>),
    /// The day on which a token is to end is not allowed.
    Expiry(ExpiryFault),
    /// The owner has as many projects as the account may have.
    ProjectLimit(i64),
    /// The caller sees the subject, and may not do this to it.
    NotAllowed,
    /// It is not the caller's, or there is none: the caller is not told which.
    NotYours,
    /// The caller may not create access tokens of the group or project (rest-api.md 2.10).
    NoAccessTokens(TargetKind),
    /// An access token would have a higher level than its creator.
    LevelTooHigh,
    /// The caller may not revoke the access token of this bot. The display names of both.
    CannotDelete {
        /// Who asked.
        user: String,
        /// The bot.
        bot: String,
    },
    /// Nobody else could administer the server (T31).
    LastAdministrator,
    /// A rotation was repeated with another expiry than the first time (rotation.md rule 10).
    AlreadyRotated,
    /// The token is dead already (rest-api.md 2.6).
    AlreadyRevoked,
    /// The token has a scope that its owner may not hold any more, or that the caller may not hand on (rest-api.md 2.6).
    NotEligible,
    /// The credential that the operation is about is not accepted.
    Denied(Denial),
    /// An OAuth grant cannot be redeemed.
    Grant(GrantFault),
    /// Too many refused passwords of one address (T14).
    TooManyFailures(Exceeded),
    /// Another `demo` that started at the same time fills the database.
    AlreadyClaimed,
}

/// What a 404 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// `404 Project Not Found`
    Project,
    /// `404 Group Not Found`
    Group,
    /// `404 User Not Found`
    User,
    /// `404 Application Not Found`
    Application,
    /// `404 project Access Token Not Found`, with the kind of what the token is of.
    AccessToken(TargetKind),
    /// `404 Job Not Found`
    Job,
    /// `404 Not found`: a look-up of a record that GitLab does not name.
    Record,
    /// `404 Impersonation Token Not Found`
    ImpersonationToken,
    /// `404 Not Found`: an endpoint that says so itself, without a name.
    Unnamed,
}

/// What is wrong with one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFault {
    /// Nothing, or white space alone.
    Blank,
    /// More characters than this.
    TooLong(usize),
    /// Control characters, or characters that turn text around or hide it (T21).
    ControlCharacters,
    /// Another record has it.
    Taken,
    /// A path or user name holds other characters than letters, digits, `_`, `-` and `.`.
    PathCharacters,
    /// A word that stands first in paths of ours (T26).
    Reserved,
    /// Not an address of e-mail ([`is_email`](tollhouse_domain::user::is_email)).
    NotAnEmail,
    /// A group would be more visible than the group around it.
    ExceedsParentGroup,
    /// A group would be less visible than a group, or a project, inside it. How visible it would be.
    SubgroupsMoreVisible(Visibility),
    /// The same where it is a project inside. How visible the group would be.
    ProjectsMoreVisible(Visibility),
    /// A project would be more visible than its group.
    ExceedsGroup,
    /// The namespace does not exist, or the caller may not create anything in it.
    NotAllowedHere,
    /// The user has a membership there, which still counts.
    AlreadyMember,
    /// A user name of a deploy token holds other characters than letters, digits, `.`, `+`, `_` and `-`.
    UsernameCharacters,
    /// No time at all, or longer than a job may run.
    JobLifetime,
    /// The user is below Developer in the project of the job, or not active.
    MayNotRunJobs,
    /// The group would be without an owner.
    LastOwner,
    /// The owner of the token may not hold one of the scopes.
    ScopesNotAvailable,
    /// The server has no such scope.
    ScopesUnknown,
    /// The day on which a token is to end is not allowed.
    Expiry(ExpiryFault),
    /// A redirect URI that cannot be registered.
    RedirectUri(redirect::Fault),
    /// A new password breaks a rule.
    Password(password::Fault),
}

/// Why a token may not end on this day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryFault {
    /// Today, or before.
    NotAfterToday,
    /// The last day that is allowed.
    After(Date),
}

/// Why an OAuth grant is refused inside its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantFault {
    /// The application was deleted meanwhile.
    NoApplication,
    /// More scopes than were granted, or none that exist.
    Scope,
}

/// An address has had more refused passwords in a minute than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// How many are allowed in a minute, `limits.sign_in_failures`.
    pub most: i64,
    /// With the one that was refused now.
    pub observed: i64,
    /// When the one that is refused came.
    pub now: Timestamp,
    /// The end of the minute.
    pub resets: Timestamp,
    /// Whose password it would have been; `None`: nobody has this name.
    pub account: Option<UserId>,
}

impl Exceeded {
    /// Until the minute is over.
    pub fn seconds(self) -> u64 {
        u64::try_from(self.resets.0 - self.now.0).unwrap_or(0).div_ceil(1000).max(1)
    }
}

impl Refusal {
    /// One field breaks one rule. `name`: as the wire has it.
    pub fn field(name: &'static str, fault: FieldFault) -> Self {
        Self::Invalid(vec![(name, fault)])
    }

    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Invalid(_) => "invalid",
            Self::Expiry(_) | Self::AlreadyRotated | Self::AlreadyRevoked | Self::NotEligible => "bad_request",
            Self::NoAccessTokens(_) | Self::LevelTooHigh | Self::CannotDelete { .. } => "bad_request",
            Self::ProjectLimit(_) => "limit",
            Self::NotAllowed | Self::LastAdministrator => "forbidden",
            Self::NotYours => "not_yours",
            Self::Denied(denial) => denial.code(),
            Self::Grant(GrantFault::NoApplication) => "invalid_client",
            Self::Grant(GrantFault::Scope) => "invalid_scope",
            Self::TooManyFailures(_) => "sign_in_failures",
            Self::AlreadyClaimed => "limit",
        }
    }
}

impl FieldFault {
    /// After the name of the field: `can't be blank`. GitLab's words where it has them (rest-api.md 1.3).
    pub fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::TooLong(most) => return Cow::Owned(format!("is too long (maximum is {most} characters)")),
            Self::SubgroupsMoreVisible(to) => {
                let to = to.as_str();
                return Cow::Owned(format!("{to} is not allowed since there are sub-groups with higher visibility."));
            }
            Self::ProjectsMoreVisible(to) => {
                let to = to.as_str();
                let sentence = "is not allowed since this group contains projects with higher visibility.";
                return Cow::Owned(format!("{to} {sentence}"));
            }
            Self::Expiry(fault) => return Cow::Owned(fault.text()),
            Self::Blank => "can't be blank",
            Self::ControlCharacters => "can't hold control characters",
            Self::Taken => "has already been taken",
            Self::PathCharacters => "can contain only letters, digits, '_', '-' and '.'",
            Self::Reserved => "is a reserved name",
            Self::NotAnEmail => "is invalid",
            Self::ExceedsParentGroup => "is not allowed in this parent group",
            Self::ExceedsGroup => "is not allowed in this group",
            Self::NotAllowedHere => "is not valid",
            Self::AlreadyMember => "is a member already",
            Self::UsernameCharacters => "can contain only letters, digits, '_', '-', '+', and '.'",
            Self::JobLifetime => "must be between a second and 30 days",
            Self::MayNotRunJobs => "may not run jobs in this project: Developer or above is required",
            Self::LastOwner => "is the last owner of the group",
            Self::ScopesNotAvailable => "can only contain available scopes",
            Self::ScopesUnknown => "doesn't match configured on the server.",
            Self::RedirectUri(fault) => fault.sentence(),
            Self::Password(fault) => fault.text(),
        })
    }
}

impl Display for FieldFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl From<NameFault> for FieldFault {
    fn from(fault: NameFault) -> Self {
        match fault {
            NameFault::Blank => Self::Blank,
            NameFault::TooLong(most) => Self::TooLong(most),
            NameFault::ControlCharacters => Self::ControlCharacters,
        }
    }
}

impl ExpiryFault {
    /// As the wire tells it (rest-api.md 2.5); others put it into their own answers.
    pub fn sentence(self) -> String {
        format!("Expires at {}", self.text())
    }

    /// After the name of the field.
    fn text(self) -> String {
        match self {
            Self::NotAfterToday => "must be after today".to_owned(),
            Self::After(last) => format!("must be before {last}"),
        }
    }
}
