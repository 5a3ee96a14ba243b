//! `/-/user_settings/password`: a person changes their own password. All their sessions end with the old one.

use askama::Template;
use axum::http::StatusCode;
use serde_json::Value;
use tollhouse_domain::audit::By;
use tollhouse_domain::password;
use tollhouse_domain::secret::Plaintext;

use crate::app::App;
use crate::error::Error;
use crate::operations::password_check::{Checked, Why, Wrong, check_own, not_counted};
use crate::operations::users::{NewPassword, holder, set_password};
use crate::refusal::Refusal;
use crate::web::{self, Html, Notice, Visitor, after_wrong_password};

/// `GET /-/user_settings/password/edit`
pub async fn form(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    page(&app, &visitor, None, None)
}

/// `POST /-/user_settings/password`: asks for the current password, and ends every session of the account.
pub async fn submit(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    let owner = visitor.owner.as_ref().ok_or(Error::Internal)?;
    let Some([current, new, again]) = filled_in(&visitor) else { return Err(Error::BadRequest(None)) };
    if !password::same(new, again) {
        return page(&app, &visitor, Some("The new password and its repetition differ."), None);
    }
    // Nothing here depends on the current password, so no attempt is counted.
    if let Some(fault) = password::fault(new, &holder(owner)) {
        return unfit(&app, &visitor, fault.text());
    }
    let by = By::password(Some(owner.id), visitor.address);
    let refuse = |wrong: Wrong| {
        let alert = Some("The current password is wrong.");
        Ok(page(&app, &visitor, alert, Some(&after_wrong_password(&app)))?.refuses(wrong))
    };
    let seen = match check_own(&app, owner, &Plaintext::new(current.to_owned()), visitor.origin()).await? {
        Checked::Right(right) => right.digest,
        Checked::Wrong(wrong) => return refuse(wrong),
    };
    let change = NewPassword { user: owner.id, seen: Some(seen), expires_at: None };
    match set_password(&app, change, &Plaintext::new(new.to_owned()), &by).await {
        Ok(changed) => match changed.into_inner() {
            true => {}
            false => return refuse(Wrong { why: Why::Password, account: Some(owner.id) }),
        },
        Err(error) => {
            // The current password was right.
            not_counted(&app, owner.id, &by).await;
            return match error {
                Error::Refused(Refusal::Invalid(faults)) if !faults.is_empty() => {
                    unfit(&app, &visitor, &faults[0].1.text())
                }
                error => Err(error),
            };
        }
    }
    Ok(Html::redirect("/users/sign_in").forget_session(&app).notice(&app, Notice::PasswordChanged))
}

/// `user[password]`, `user[new_password]` and `user[password_confirmation]`, all text.
fn filled_in(visitor: &Visitor) -> Option<[&str; 3]> {
    let Some(Value::Object(user)) = visitor.form.get("user") else { return None };
    let text = |name: &str| user.get(name).and_then(Value::as_str);
    Some([text("password")?, text("new_password")?, text("password_confirmation")?])
}

fn unfit(app: &App, visitor: &Visitor, fault: &str) -> Result<Html, Error> {
    page(app, visitor, Some(&format!("The new password {fault}.")), None)
}

fn page(app: &App, visitor: &Visitor, alert: Option<&str>, hint: Option<&str>) -> Result<Html, Error> {
    let page = PasswordPage {
        alert,
        hint,
        username: &visitor.owner.as_ref().ok_or(Error::Internal)?.username,
        expired: visitor.identity.is_none(),
        home: web::home(app),
        csrf_token: visitor.csrf_token(),
        demo: app.demo,
    };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor))
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage<'a> {
    alert: Option<&'a str>,
    hint: Option<&'a str>,
    username: &'a str,
    expired: bool,
    csrf_token: String,
    home: &'static str,
    demo: bool,
}
