//! What is to be said of a token that somebody has in hand.

use tollhouse_domain::application::Application;
use tollhouse_domain::grant::OauthAccessToken;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::{PersonalAccessToken, TokenStatus, expired};
use tollhouse_domain::user::User;
use tollhouse_store::{oauth_applications, users};

use super::listing::facts;
use super::operator::{Operator, called};
use crate::api::entities::token;
use crate::cli::Failure;
use crate::json::Object;
use crate::oauth::token_info;
use crate::operations::named::Token;

/// A token with those it belongs to.
pub(super) struct Described {
    token: Token,
    user: Option<User>,
    application: Option<Application>,
    /// When its family is dead because nobody refreshes it, where that ends one.
    idle_from: Option<Timestamp>,
}

impl Described {
    /// Looks up whom the token belongs to.
    pub(super) async fn of(operator: &Operator, token: Token) -> Result<Self, Failure> {
        let mut reader = operator.reader().await?;
        let (user, application) = match &token {
            Token::Personal(found) => (Some(found.token.user_id), None),
            Token::Oauth { found, .. } => (found.token.user, found.token.application),
        };
        let user = match user {
            Some(id) => users::find(&mut reader, id).await?,
            None => None,
        };
        let application = match application {
            Some(id) => oauth_applications::find(&mut reader, id).await?,
            None => None,
        };
        let idle_from = match &token {
            Token::Personal(_) => None,
            Token::Oauth { found, .. } => found.generation.presented.idle_from(operator.app.rotation().settings),
        };
        Ok(Self { token, user, application, idle_from })
    }

    /// What people call such a token, and its secret that was shown.
    pub(super) fn kind(&self) -> &'static str {
        match &self.token {
            Token::Personal(_) => "personal access token",
            Token::Oauth { refresh: false, .. } => "OAuth access token",
            Token::Oauth { refresh: true, .. } => "OAuth refresh token",
        }
    }

    /// The number of its row.
    pub(super) fn id(&self) -> i64 {
        match &self.token {
            Token::Personal(found) => found.token.id.0,
            Token::Oauth { found, .. } => found.token.id.0,
        }
    }

    /// The user, or the application that holds it for itself.
    pub(super) fn owner(&self) -> String {
        match (&self.user, &self.application) {
            (Some(user), _) => called(user),
            (None, Some(application)) => format!("the application {}", printable(&application.name)),
            (None, None) => "nobody".to_owned(),
        }
    }

    /// A line for each fact, for people. Never a secret.
    pub(super) fn facts(&self, now: Timestamp) -> String {
        let mut lines = vec![("kind", self.kind().to_owned()), ("id", self.id().to_string())];
        if let Token::Personal(found) = &self.token {
            lines.push(("name", printable(&found.token.name)));
        }
        if let Some(user) = &self.user {
            lines.push(("user", format!("{}, {}", called(user), user.state.as_str())));
        }
        if let Some(application) = &self.application {
            lines.push(("application", format!("{} ({})", printable(&application.name), application.id)));
        }
        let (scopes, created, last_used, expires) = match &self.token {
            Token::Personal(found) => {
                let PersonalAccessToken { scopes, created_at, last_used_at, expires_at, .. } = &found.token;
                let never = || "never".to_owned();
                let last_used = Some(last_used_at.map_or_else(never, Timestamp::iso));
                (scopes, created_at, last_used, expires_at.map_or_else(never, |day| day.to_string()))
            }
            // The row has the end of its access token alone.
            Token::Oauth { found, refresh } => {
                let OauthAccessToken { scopes, created_at, expires_at, .. } = &found.token;
                let end = if *refresh { self.idle_from } else { Some(*expires_at) };
                (scopes, created_at, None, end.map_or_else(|| "never".to_owned(), Timestamp::iso))
            }
        };
        lines.push(("scopes", scopes.to_string()));
        lines.push(("created", created.iso()));
        lines.extend(last_used.map(|at| ("last used", at)));
        lines.push(("expires", expires));
        lines.push(("state", self.state(now).to_owned()));
        facts(&lines)
    }

    /// The first reason for which it would be refused, whatever its account.
    fn state(&self, now: Timestamp) -> &'static str {
        let idle = self.idle_from.is_some_and(|from| from <= now);
        match &self.token {
            Token::Oauth { found, refresh: true } if idle && found.status != TokenStatus::Ended => {
                "not used for too long"
            }
            Token::Oauth { found, refresh } => state(found.status, !refresh && found.token.expired(now)),
            Token::Personal(found) => state(found.token.status, expired(found.token.expires_at, now)),
        }
    }

    /// Of OAuth what `GET /oauth/token/info` says, and whether it still counts.
    pub(super) fn object(&self, operator: &Operator) -> Object {
        let now = operator.now();
        match &self.token {
            Token::Personal(found) => operator.object::<token::Token, _>(&token::Shown::new(&found.token, now)),
            Token::Oauth { found, .. } => {
                let state = self.state(now);
                let OauthAccessToken { user, scopes, created_at, expires_at, .. } = &found.token;
                let info = token_info::Info {
                    user: *user,
                    scopes,
                    client_id: self.application.as_ref().map(|application| application.uid.as_str()),
                    created_at: *created_at,
                    expires_at: *expires_at,
                };
                info.object(now)
                    .field("revoked", !matches!(found.status, TokenStatus::Live { .. }))
                    .field("active", state == LIVE)
            }
        }
    }
}

const LIVE: &str = "live";

/// `over`: it has expired.
pub(super) fn state(status: TokenStatus, over: bool) -> &'static str {
    match status {
        _ if over => "expired",
        TokenStatus::Ended => "revoked",
        TokenStatus::Rotated => "rotated",
        TokenStatus::Live { .. } => LIVE,
    }
}
