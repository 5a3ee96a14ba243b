//! `tollhouse application`.

use clap::{Args, Subcommand};
use tollhouse_domain::application::Application;
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::redirect::RedirectUri;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::text::printable;
use tollhouse_store::oauth_applications;

use super::listing::{Listing, facts, list};
use super::operator::{Operator, absent};
use super::values;
use crate::api::entities::application::{self, ApplicationWithSecret, WithSecret};
use crate::cli::Failure;
use crate::json::Object;
use crate::operations::applications::{CreateApplication, Delete};
use crate::operations::named;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Register an application, and print its client id and secret; the secret is not shown again
    Create(NewApplication),
    /// List the applications of the instance
    List,
    /// Remove an application with all its codes and tokens
    Delete(One),
}

#[derive(Args)]
pub(crate) struct NewApplication {
    /// Its name, which users see on the consent page
    #[arg(long)]
    name: String,
    /// Redirect URI; may be repeated
    #[arg(long, value_name = "URI", required = true)]
    redirect_uri: Vec<String>,
    /// Scopes that it may request, separated by commas, such as openid,email (docs/oauth.md explains them)
    #[arg(long, value_parser = values::scopes)]
    scopes: Scopes,
    /// A public application, which cannot keep a secret: a program in a browser or on a phone
    #[arg(long)]
    public: bool,
    /// Users are not asked for consent
    #[arg(long)]
    trusted: bool,
}

#[derive(Args)]
pub(crate) struct One {
    /// Number or client id
    application: String,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => make(operator, new).await,
        Command::List => list(operator, &Applications).await,
        Command::Delete(one) => delete(operator, &one.application).await,
    }
}

async fn make(operator: &Operator, new: NewApplication) -> Result<(), Failure> {
    let operation = CreateApplication {
        name: new.name,
        redirect_uri: new.redirect_uri.join("\n"),
        scopes: new.scopes.to_string(),
        confidential: !new.public,
        trusted: new.trusted,
        owner: None,
        by: None,
        plain_http: operator.app.plain_redirects(),
    };
    let (name, redirect_uri) = (operation.name.clone(), operation.redirect_uri.clone());
    let given = [("name", &*name), ("redirect_uri", &*redirect_uri)];
    let made = operator.perform_given(operation, &given).await?;
    let text = facts(&[
        ("id", made.application.id.to_string()),
        ("name", printable(&made.application.name)),
        ("client id", made.application.uid.clone()),
        ("client secret", made.secret.reveal().to_owned()),
    ]);
    let what = format!("application {}", made.application.id);
    let shown = WithSecret { application: &made.application, secret: made.secret.reveal() };
    operator.hand_over(&what, &text, || operator.object::<ApplicationWithSecret, _>(&shown))
}

async fn delete(operator: &Operator, named: &str) -> Result<(), Failure> {
    let found = named::application(&mut operator.reader().await?, named).await?;
    let Some(Application { id, name, .. }) = found else {
        return Err(operator.gone(absent("application", named)).await);
    };
    operator.perform(Delete { id }).await?;
    operator.say(&format!("removed {} ({id}), with all its codes and tokens", printable(&name)))
}

struct Applications;

impl Listing for Applications {
    const WHAT: &'static str = "applications";
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "KIND", "CLIENT ID", "SCOPES", "REDIRECT URI"];
    type Row = Application;

    async fn after(&self, operator: &Operator, id: i64, limit: i64) -> Result<Vec<Application>, Failure> {
        Ok(oauth_applications::after(&mut operator.reader().await?, ApplicationId(id), limit).await?)
    }

    fn id(row: &Application) -> i64 {
        row.id.0
    }

    fn cells(&self, operator: &Operator, row: &Application) -> Vec<String> {
        let spelt = |uri: &RedirectUri| match is_marked(operator, uri) {
            true => format!("{} (plain http)", printable(uri.as_str())),
            false => printable(uri.as_str()),
        };
        let kind = if row.confidential { "confidential" } else { "public" };
        let trusted = if row.trusted { ", trusted" } else { "" };
        vec![
            row.id.to_string(),
            printable(&row.name),
            format!("{kind}{trusted}"),
            printable(&row.uid),
            row.scopes.to_string().replace(' ', ","),
            row.redirect_uris.iter().map(spelt).collect::<Vec<_>>().join(","),
        ]
    }

    fn object(&self, operator: &Operator, row: &Application) -> Object {
        let marked = row.redirect_uris.iter().any(|uri| is_marked(operator, uri));
        operator.object::<application::Application, _>(&row).when(marked, |object| object.field("plain_http", true))
    }
}

/// It was registered before this server was https, or by another rule. It still works, and could not be registered now.
fn is_marked(operator: &Operator, uri: &RedirectUri) -> bool {
    uri.is_plain_http() && !operator.app.plain_redirects()
}
