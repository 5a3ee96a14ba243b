//! `GET /`, and `GET /-/user_settings/projects`: my projects. The page asks the API for them itself, with nothing but the session cookie.

use askama::Template;
use axum::http::StatusCode;

use crate::app::App;
use crate::error::Error;
use crate::web::{self, Html, Visitor};

/// The page of somebody who is signed in.
pub async fn show(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    let identity = visitor.identity.as_ref().ok_or(Error::Internal)?;
    let page = Home {
        name: &identity.user.name,
        username: &identity.user.username,
        notice: visitor.notice.map(|notice| notice.sentence()),
        csrf_token: visitor.csrf_token(),
        home: web::home(&app),
        demo: app.demo,
    };
    Ok(Html::page(&app, StatusCode::OK, &page)?.to(&app, &visitor))
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    name: &'a str,
    username: &'a str,
    notice: Option<&'static str>,
    csrf_token: String,
    home: &'static str,
    demo: bool,
}
