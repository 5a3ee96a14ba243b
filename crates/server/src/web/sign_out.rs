//! `POST /users/sign_out` (authentication.md 6.6).

use axum::http::header;
use tollhouse_domain::audit::By;
use tollhouse_domain::secret::Digest;

use crate::app::App;
use crate::error::Error;
use crate::operations::sign_in::SignOut;
use crate::web::{Html, Notice, Visitor};

pub async fn submit(app: App, visitor: Visitor, (): ()) -> Result<Html, Error> {
    if let Some(owner) = &visitor.owner {
        let by = match &visitor.identity {
            Some(who) => app.by(who),
            None => By::password(Some(owner.id), visitor.address),
        };
        let session = Digest::of(visitor.session.as_bytes());
        app.perform(&SignOut { session }, &by).await?.into_inner();
    } else if !visitor.fresh {
        // It may be the repeat of one whose answer was lost (revocation.md W4); anybody may say so (T14).
        let _pass = app.auth.pass(visitor.address).await;
        app.settled().await;
    }
    Ok(Html::redirect("/users/sign_in")
        .header(header::HeaderName::from_static("clear-site-data"), CLEARED)
        .forget_session(&app)
        .notice(&app, Notice::SignedOut))
}

const CLEARED: &str = r#""cache", "storage", "executionContexts", "clientHints""#;
