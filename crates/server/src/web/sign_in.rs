//! `GET|POST /users/sign_in` (authentication.md 6.5).

use askama::Template;
use axum::http::StatusCode;
use serde_json::Value;
use tollhouse_domain::secret::Plaintext;

use crate::app::App;
use crate::error::Error;
use crate::operations::sign_in::{Attempt, Refusal, SignIn, sign_in};
use crate::params::{Param, Params};
use crate::request::ParsedRequest;
use crate::web::{Html, Notice, Visitor, after_wrong_password, home, returns};

/// `GET /users/sign_in`. Somebody who is signed in is led on.
pub async fn form(app: App, visitor: Visitor, Return(target): Return) -> Result<Html, Error> {
    let target = target.and_then(|target| returns::spelt(&app, &target));
    if visitor.identity.is_some() {
        return Ok(Html::redirect(target.as_deref().unwrap_or("/")));
    }
    let notice = visitor.notice.map(|notice| notice.sentence());
    let page = page(&app, &visitor, "", Said { notice, ..Said::default() })?;
    Ok(match target {
        Some(target) => returns::remember(&app, page, &target, &visitor.headers),
        None => page,
    })
}

/// `return_to`: where somebody was going. What is no such place is not heard of, whatever it is.
pub struct Return(Option<String>);

impl Params for Return {
    const DECLARED: &'static [Param] = &[];

    fn parse(parsed: &ParsedRequest) -> Result<Self, Error> {
        let query = parsed.parts.uri.query().unwrap_or_default();
        let mut given = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "return_to");
        Ok(Self(match (given.next(), given.next()) {
            (Some((_, target)), None) => Some(target.into_owned()),
            _ => None,
        }))
    }
}

/// The wire quotes the sentence before it (authentication.md 6.5); this one is ours.
macro_rules! ask_us {
    () => {
        "If you think this is an error, please ask an administrator of this server."
    };
}

/// `POST /users/sign_in`: 302 with a session, or 200 with the form and what is wrong (authentication.md 6.5).
pub async fn submit(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    let (login, password) = filled_in(&visitor).ok_or(Error::BadRequest(None))?;
    if visitor.outdated || visitor.identity.is_some() {
        return signed_in_already(&app, &visitor, login.trim());
    }
    let attempt = Attempt {
        login: login.trim(),
        password: Plaintext::new(password.to_owned()),
        origin: visitor.origin(),
        user_agent: visitor.user_agent.as_deref(),
        session: Some(&visitor.session),
    };
    let alert = match sign_in(&app, attempt).await? {
        SignIn::In { session, reactivated, device } => {
            let target = returns::recall(&app, &visitor.headers);
            let page =
                Html::redirect(target.as_deref().unwrap_or("/")).session(&app, session.reveal()).device(&app, &device);
            let page = returns::forget(&app, page, &visitor.headers);
            let page = returns::note_led(&app, page, target.as_deref(), &visitor.headers);
            return Ok(if reactivated { page.notice(&app, Notice::Reactivated) } else { page });
        }
        SignIn::Wrong(wrong) => {
            let hint = after_wrong_password(&app);
            let said = Said { alert: Some("Invalid login or password."), hint: Some(&hint), ..Said::default() };
            return Ok(page(&app, &visitor, login, said)?.refuses(wrong));
        }
        SignIn::Refused(Refusal::Blocked) => {
            concat!("Your account has been blocked. ", ask_us!())
        }
        SignIn::Refused(Refusal::PendingApproval) => {
            concat!("Your account is pending approval from your GitLab administrator and hence blocked. ", ask_us!())
        }
        SignIn::Refused(Refusal::Internal) => {
            concat!("Your account does not have the required permission to login. ", ask_us!())
        }
        SignIn::Refused(Refusal::Unconfirmed) => "You have to confirm your account before continuing.",
    };
    page(&app, &visitor, login, Said { alert: Some(alert), ..Said::default() })
}

/// The form of a second tab, sent after somebody signed in with the first. Nothing is done with it, so its password is not
/// looked at, and the answer tells nothing about any other account.
fn signed_in_already(app: &App, visitor: &Visitor, login: &str) -> Result<Html, Error> {
    let owner = visitor.owner.as_ref().ok_or(Error::Internal)?;
    let is_theirs = |name: &str| !name.is_empty() && login.eq_ignore_ascii_case(name);
    if is_theirs(&owner.username) || is_theirs(&owner.email) {
        return Ok(Html::see_other(returns::led(app, &visitor.headers).as_deref().unwrap_or("/")));
    }
    let page = SignedInAlready {
        username: &owner.username,
        home: home(app),
        csrf_token: visitor.csrf_token(),
        request_id: app.request_id(),
        demo: app.demo,
    };
    Ok(Html::page(app, StatusCode::CONFLICT, &page)?.because("signed_in_already").to(app, visitor))
}

/// `user[login]` and `user[password]`, both text.
fn filled_in(visitor: &Visitor) -> Option<(&str, &str)> {
    let Some(Value::Object(user)) = visitor.form.get("user") else { return None };
    match (user.get("login"), user.get("password")) {
        (Some(Value::String(login)), Some(Value::String(password))) => Some((login, password)),
        _ => None,
    }
}

/// What stands above the form.
#[derive(Clone, Copy, Debug, Default)]
struct Said<'a> {
    notice: Option<&'static str>,
    alert: Option<&'static str>,
    hint: Option<&'a str>,
}

fn page(app: &App, visitor: &Visitor, login: &str, said: Said<'_>) -> Result<Html, Error> {
    let page = SignInPage { login, said, csrf_token: visitor.csrf_token(), demo: app.demo };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    login: &'a str,
    said: Said<'a>,
    csrf_token: String,
    demo: bool,
}

#[derive(Template)]
#[template(path = "signed_in_already.html")]
struct SignedInAlready<'a> {
    username: &'a str,
    home: &'static str,
    csrf_token: String,
    request_id: Option<&'a str>,
    demo: bool,
}
