//! `POST /oauth/authorize/reauthenticate`: somebody who is signed in gives their password once more, because an application wants
//! to know that it is they (`prompt=login`, `max_age`; oauth.md 5.6). A new session takes the place of this browser's;
//! others go on.

use askama::Template;
use axum::http::StatusCode;
use serde_json::Value;
use tollhouse_domain::prompt::Done;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::user::User;

use crate::app::App;
use crate::error::Error;
use crate::operations::sign_in::{Attempt, SignIn, sign_in};
use crate::web::{Html, Notice, Visitor, after_wrong_password, returns};

/// The page that asks for the password. `target`: path and query of the request that goes on afterwards.
pub fn page(app: &App, visitor: &Visitor, user: &User, target: &str, refused: Option<&str>) -> Result<Html, Error> {
    let page = Reauthenticate {
        name: &user.name,
        username: &user.username,
        target,
        other: &after(target, Done::ChoseAnother),
        refused,
        csrf_token: visitor.csrf_token(),
        demo: app.demo,
    };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor))
}

/// `POST /oauth/authorize/reauthenticate`: a right password leads back to the request, a wrong one to the form.
pub async fn submit(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let password = text(visitor.form.get("user").and_then(|user| user.get("password")));
    let target = text(visitor.form.get("return_to")).and_then(|target| returns::spelt(&app, &target));
    let (Some(password), Some(target)) = (password, target) else { return Err(Error::BadRequest(None)) };
    // Somebody signed in or out in another tab meanwhile. The request is asked anew, with all that it asks for.
    let Some(identity) = visitor.identity.as_ref().filter(|_| visitor.has_token()) else {
        return Ok(Html::redirect(&target));
    };
    let attempt = Attempt {
        login: &identity.user.username,
        password: Plaintext::new(password),
        origin: visitor.origin(),
        user_agent: visitor.user_agent.as_deref(),
        session: Some(&visitor.session),
    };
    match sign_in(&app, attempt).await? {
        SignIn::In { session, reactivated, device } => {
            let page = Html::redirect(&after(&target, Done::Authenticated))
                .session(&app, session.reveal())
                .device(&app, &device);
            Ok(if reactivated { page.notice(&app, Notice::Reactivated) } else { page })
        }
        SignIn::Wrong(wrong) => {
            let hint = after_wrong_password(&app);
            Ok(page(&app, &visitor, &identity.user, &target, Some(&hint))?.refuses(wrong))
        }
        // The account has changed meanwhile; the request says how.
        SignIn::Refused(_) => Ok(Html::redirect(&target)),
    }
}

/// A request, path and query, without what has been done.
pub fn after(target: &str, done: Done) -> String {
    match target.split_once('?') {
        Some((path, query)) => match done.without(query) {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        },
        None => target.to_owned(),
    }
}

#[derive(Template)]
#[template(path = "reauthenticate.html")]
struct Reauthenticate<'a> {
    name: &'a str,
    username: &'a str,
    target: &'a str,
    /// The request for somebody who signs in with another account instead.
    other: &'a str,
    /// The password was wrong: what may help.
    refused: Option<&'a str>,
    csrf_token: String,
    demo: bool,
}
