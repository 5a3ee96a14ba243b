//! `POST /users/sign_out` (authentication.md 6.6).

use axum::http::header;
use serde_json::Value;
use tollhouse_domain::audit::By;
use tollhouse_domain::secret::Digest;
use tollhouse_store::sessions;

use crate::app::App;
use crate::error::Error;
use crate::operations::sign_in::{EndSessions, SignOut};
use crate::web::{Html, Notice, Visitor, returns, several_sessions};

/// `POST /users/sign_out`: ends the session and leads to the sign-in page. It is the same where there was none.
pub async fn submit(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    let page = Html::redirect("/users/sign_in")
        .header(header::HeaderName::from_static("clear-site-data"), CLEARED)
        .notice(&app, Notice::SignedOut);
    let page = returns::note_led(&app, page, None, &visitor.headers);
    if let Some(cookies) = &visitor.several {
        // None of them says who asks. But the holder of a session's cookie may end it, and asked to be signed out.
        let by = By::password(None, visitor.address);
        let sessions: Vec<Digest> = cookies.iter().map(|cookie| Digest::of(cookie.as_bytes())).collect();
        // Anybody may send this (T14), and more cookies than are looked up count as several whatever they are.
        let _pass = app.auth.permit(visitor.address).await;
        let known = sessions::any_of(&mut app.db.read().await?, &sessions).await?;
        match known {
            true => app.perform(EndSessions { sessions }, &by).await?.into_inner(),
            // As below: they may have been ended a moment ago.
            false => app.settled().await,
        }
        return Ok(several_sessions::forget(&app, page, &visitor.headers, "/users/sign_out"));
    }
    if let Some(owner) = &visitor.owner {
        let by = match &visitor.identity {
            Some(who) => app.by(who),
            None => By::password(Some(owner.id), visitor.address),
        };
        let session = Digest::of(visitor.session.as_bytes());
        app.perform(SignOut { session }, &by).await?.into_inner();
    } else if !visitor.fresh {
        // It may be the repeat of one whose answer was lost (revocation.md W4); anybody may say so (T14).
        let _pass = app.auth.permit(visitor.address).await;
        app.settled().await;
    }
    let page = page.forget_session(&app);
    // Whoever goes on with another account comes back to what they were asked.
    Ok(match visitor.form.get("return_to").and_then(Value::as_str) {
        Some(target) => returns::remember(&app, page, target, &visitor.headers),
        None => page,
    })
}

const CLEARED: &str = r#""cache", "storage", "executionContexts", "clientHints""#;
