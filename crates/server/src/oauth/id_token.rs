//! `id_token` (OpenID Connect Core section 2; oauth.md 9.1).

use serde::Deserialize;
use tollhouse_domain::application::Application;
use tollhouse_domain::claims::{IdToken, Person};
use tollhouse_domain::grant::OauthAccessToken;
use tollhouse_domain::id::UserId;
use tollhouse_domain::prompt::Hint;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::{members, users};

use crate::app::App;
use crate::error::Error;

/// For the client that a token of this user was issued to.
pub(super) async fn made(
    app: &App,
    user: UserId,
    client: &Application,
    token: &OauthAccessToken,
    nonce: Option<&str>,
) -> Result<String, Error> {
    let now = app.now();
    let mut reader = app.db.read().await?;
    let user = users::find(&mut reader, user).await?.ok_or(Error::Internal)?;
    let memberships = members::of_user(&mut reader, user.id, now).await?;
    drop(reader);
    let claims = IdToken {
        iss: app.urls.base(),
        aud: &client.uid,
        exp: (now + app.settings.oauth.id_token_lifetime.0).seconds(),
        iat: now.seconds(),
        nonce,
        auth_time: token.authenticated_at.map(Timestamp::seconds),
        person: person(app, &user, &token.scopes).await?,
        groups_direct: memberships
            .groups(now)
            .iter()
            .filter(|group| group.direct)
            .map(|group| group.full_path)
            .collect(),
    };
    app.keys().await?.sign(TYP, &claims).await
}

/// Whom `id_token_hint` names: an `id_token` of this server for this application, however old (OpenID Connect Core section
/// 3.1.2.1).
pub(super) async fn hinted(app: &App, client: &Application, hint: Option<&str>) -> Result<Hint, Error> {
    #[derive(Deserialize)]
    struct Claims {
        iss: String,
        aud: String,
        sub: String,
    }
    let Some(hint) = hint else { return Ok(Hint::Absent) };
    let claims = app.keys().await?.verified(TYP, hint);
    // A hint may be older than the spelling of `external_url` that is used now.
    let ours = |iss: &str| iss == app.urls.base() || Some(iss) == app.urls.former_base();
    let claims = claims.filter(|claims: &Claims| ours(&claims.iss) && claims.aud == client.uid);
    let user = claims.and_then(|claims| claims.sub.parse().ok());
    Ok(user.map_or(Hint::Invalid, |id| Hint::User(UserId(id))))
}

/// As on the wire, where it is the only thing that is signed.
const TYP: &str = "JWT";

/// The claims about a person that these scopes open. [`Error::Unavailable`] if the keys of the instance cannot be read.
pub(super) async fn person(app: &App, user: &User, scopes: &Scopes) -> Result<Person, Error> {
    Ok(Person::new(user, scopes, app.urls.base(), app.keys().await?.salt()))
}
