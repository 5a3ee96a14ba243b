//! `GET /oauth/token/info` (oauth.md 8.3), and what is known of an OAuth token.

use axum::http::StatusCode;
use axum::response::Response;
use tollhouse_domain::application::Application;
use tollhouse_domain::claims::seconds;
use tollhouse_domain::grant::OauthAccessToken;
use tollhouse_domain::lookup::Lookup;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::Standing;
use tollhouse_store::{applications, oauth_access_tokens, users};

use crate::app::App;
use crate::error::Error;
use crate::json::Object;
use crate::oauth::Call;
use crate::oauth::error::{OauthError, TokenFault, answer};

pub async fn show(app: App, call: Call) -> Result<Response, Error> {
    let shown = call.shown();
    let known = match shown.bearer().and_then(|secret| secret.digest()) {
        Some(digest) => recognise(&app, &call, digest, Secret::Access).await?,
        None => None,
    };
    let token = known.filter(|known| known.active).ok_or(OauthError::InvalidToken(TokenFault::Unknown))?.token;
    let application = match token.application {
        Some(id) => applications::find(&mut app.db.read().await?, id).await?,
        None => None,
    };
    Ok(answer(StatusCode::OK, object(&token, application.as_ref(), app.now())))
}

pub(crate) fn object(token: &OauthAccessToken, application: Option<&Application>, now: Timestamp) -> Object {
    let left = token.expires_in(now);
    Object::default()
        .field("resource_owner_id", token.user)
        .field("scope", &token.scopes)
        .field("expires_in", left)
        .object("application", Object::default().field("uid", application.map(|application| &application.uid)))
        .field("created_at", seconds(token.created_at))
        .field("scopes", &token.scopes)
        .field("expires_in_seconds", left)
}

/// An OAuth token that somebody showed or asked about.
pub(super) struct Known {
    pub token: OauthAccessToken,
    /// By its access token, not by its refresh token.
    pub by_access: bool,
    /// It would be let in: live, not expired, and of an account that may come in.
    pub active: bool,
}

/// Which of its secrets somebody may have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    Access,
    Either,
}

/// It counts as used, whatever becomes of the request (rotation.md rule 7).
pub(super) async fn recognise(app: &App, call: &Call, digest: Digest, secret: Secret) -> Result<Option<Known>, Error> {
    let _pass = app.auth.pass(call.address()).await;
    for _ in 0..ROUNDS {
        let mut reader = app.db.read().await?;
        let mut found = oauth_access_tokens::by_digest(&mut reader, digest).await?;
        let by_access = found.is_some();
        if found.is_none() && secret == Secret::Either {
            found = oauth_access_tokens::by_refresh_digest(&mut reader, digest).await?;
        }
        let Some(found) = found else { return Ok(None) };
        let owner = match found.token.user {
            Some(user) => users::find(&mut reader, user).await?,
            None => None,
        };
        drop(reader);
        let now = app.now();
        if found.standing == (Standing::Live { used: false }) && !app.rotation().gitlab {
            let (family, head) = (found.token.family_id, found.token.id.into());
            app.db.first_use(family, head, now).await.map_err(|_| Error::Unavailable)?;
            // Whoever was first: what was read before that is out of date.
            continue;
        }
        let live = matches!(found.standing, Standing::Live { .. }) && !found.token.expired(now);
        let welcome = match (found.token.user, owner) {
            (None, _) => true,
            (Some(_), Some(owner)) => owner.may_use_api(now, app.accounts()).is_ok(),
            (Some(_), None) => false,
        };
        return Ok(Some(Known { token: found.token, by_access, active: live && welcome }));
    }
    Err(Error::Unavailable)
}

const ROUNDS: usize = 4;
