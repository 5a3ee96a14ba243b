//! `/-/user_settings/password`: a person changes their own password. All their sessions end with the old one.

use askama::Template;
use axum::http::StatusCode;
use serde_json::Value;
use tollhouse_domain::audit::By;
use tollhouse_domain::password;
use tollhouse_domain::secret::Plaintext;

use crate::app::App;
use crate::error::Error;
use crate::operations::sign_in::knows_password;
use crate::operations::users::{NewPassword, set_password};
use crate::web::{self, Html, Notice, Visitor};

pub async fn form(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    page(&app, &visitor, None)
}

pub async fn submit(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    let owner = visitor.owner.as_ref().ok_or(Error::Internal)?;
    let Some([current, new, again]) = filled_in(&visitor) else { return Err(Error::BadRequest(None)) };
    if !password::same(new, again) {
        return page(&app, &visitor, Some("The new password and its repetition differ."));
    }
    if password::fault(new).is_some() {
        return page(&app, &visitor, Some("The new password must have at least 8 characters, and at most 1024 bytes."));
    }
    let by = By::password(Some(owner.id), visitor.address);
    let wrong = || page(&app, &visitor, Some("The current password is wrong."));
    let Some(seen) = knows_password(&app, owner, Plaintext::new(current.to_owned()), &by).await? else {
        return wrong();
    };
    let change = NewPassword { user: owner.id, seen: Some(seen), expires_at: None };
    if !set_password(&app, change, &Plaintext::new(new.to_owned()), &by).await?.into_inner() {
        return wrong();
    }
    Ok(Html::redirect("/users/sign_in").forget_session(&app).notice(&app, Notice::PasswordChanged))
}

/// `user[password]`, `user[new_password]` and `user[password_confirmation]`, all text.
fn filled_in(visitor: &Visitor) -> Option<[&str; 3]> {
    let Some(Value::Object(user)) = visitor.form.get("user") else { return None };
    let text = |name: &str| user.get(name).and_then(Value::as_str);
    Some([text("password")?, text("new_password")?, text("password_confirmation")?])
}

fn page(app: &App, visitor: &Visitor, alert: Option<&'static str>) -> Result<Html, Error> {
    let expired = visitor.identity.is_none();
    let page = PasswordPage { alert, expired, csrf_token: visitor.csrf_token(), home: web::home(app), demo: app.demo };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor))
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    alert: Option<&'static str>,
    expired: bool,
    csrf_token: String,
    home: &'static str,
    demo: bool,
}
