//! OAuth applications: registered, given a new secret, removed.

use tollhouse_domain::application::Application;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{ApplicationId, UserId};
use tollhouse_domain::redirect::{Fault, RedirectUri, RedirectUris};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::text::name_fault;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::oauth_applications;
use tollhouse_store::tx::{Change, Tx};

use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Registers an application. [`Refusal::Invalid`] says which fields break a rule.
#[derive(Clone, Debug)]
pub struct CreateApplication {
    /// As people see it on the page that asks for consent.
    pub name: String,
    /// One or more, separated by white space.
    pub redirect_uri: String,
    /// Separated by white space; none: any scope of the server.
    pub scopes: String,
    /// Whether it can keep a secret, so that it must show it.
    pub confidential: bool,
    /// Whether nobody is asked for consent.
    pub trusted: bool,
    /// `None`: it belongs to the instance.
    pub owner: Option<UserId>,
    /// Whether a redirect URI may be plain http beyond this machine (`App::plain_redirects`).
    pub plain_http: bool,
}

/// An application with the secret that is shown once.
#[derive(Clone, Debug)]
pub struct Created {
    /// The application.
    pub application: Application,
    /// The client secret in clear.
    pub secret: Plaintext,
}

impl CreateApplication {
    /// With a client id and a secret that were chosen outside, or made just now.
    pub(crate) async fn register(
        &self,
        tx: &mut Tx,
        uid: &str,
        secret: Plaintext,
        now: Timestamp,
    ) -> Result<Change<Created>, Failed> {
        let mut faults = Vec::new();
        faults.extend(name_fault(&self.name).map(|fault| ("name", FieldFault::from(fault))));
        let redirect_uris = RedirectUris::parse(&self.redirect_uri).and_then(|uris| {
            let plain = !self.plain_http && uris.iter().any(RedirectUri::is_plain_http);
            if plain { Err(Fault::PlainHttp) } else { Ok(uris) }
        });
        if let Err(fault) = &redirect_uris {
            faults.push(("redirect_uri", FieldFault::RedirectUri(*fault)));
        }
        let scopes: Option<Scopes> = self.scopes.split_whitespace().map(Scope::parse).collect();
        if scopes.is_none() {
            faults.push(("scopes", FieldFault::ScopesUnknown));
        }
        let (Ok(redirect_uris), Some(scopes), true) = (redirect_uris, scopes, faults.is_empty()) else {
            return Err(Refusal::Invalid(faults).into());
        };
        let new = oauth_applications::NewApplication {
            uid,
            secret: secret.digest(),
            name: &self.name,
            redirect_uris: &redirect_uris,
            scopes: &scopes,
            confidential: self.confidential,
            trusted: self.trusted,
            owner: self.owner,
        };
        let id = oauth_applications::insert(tx, &new, now).await?;
        let application = oauth_applications::find(tx, id).await?.ok_or(Failed::Inconsistent)?;
        let kind = if self.confidential { "confidential" } else { "public" };
        let audit = Audit::new("application.created", target(id)).with(format!("{kind}, {}", application.scopes));
        Ok(Change::new(Created { application, secret }, [audit]))
    }
}

impl Operation for CreateApplication {
    type Output = Created;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        self.register(tx, Plaintext::hex().reveal(), Plaintext::application_secret(), now).await
    }
}

/// Removes an application, with all its codes and tokens.
#[derive(Clone, Copy, Debug)]
pub struct Delete {
    /// [`ResourceKind::Application`] is told if there is none.
    pub id: ApplicationId,
}

impl Operation for Delete {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        if !oauth_applications::remove(tx, self.id).await? {
            return Err(Refusal::NotFound(ResourceKind::Application).into());
        }
        Ok(Change::new((), [Audit::new("application.deleted", target(self.id))]))
    }
}

/// A new secret; the old one stops at once, tokens go on.
#[derive(Clone, Copy, Debug)]
pub struct RenewSecret {
    /// [`ResourceKind::Application`] is told if there is none.
    pub id: ApplicationId,
}

impl Operation for RenewSecret {
    type Output = Created;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        let secret = Plaintext::application_secret();
        if !oauth_applications::set_secret(tx, self.id, secret.digest(), now).await? {
            return Err(Refusal::NotFound(ResourceKind::Application).into());
        }
        let application =
            oauth_applications::find(tx, self.id).await?.ok_or(Refusal::NotFound(ResourceKind::Application))?;
        let audit = Audit::new("application.secret_renewed", target(self.id));
        Ok(Change::new(Created { application, secret }, [audit]))
    }
}

/// `compat.gl_auth_type = "gitlab"`: a sign-in asks for `read_user`, and an application that may do more is given it
/// for that (oauth.md 5.1).
#[derive(Clone, Copy, Debug)]
pub struct AddReadUser {
    /// [`ResourceKind::Application`] is told if there is none.
    pub id: ApplicationId,
}

impl Operation for AddReadUser {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        let application =
            oauth_applications::find(tx, self.id).await?.ok_or(Refusal::NotFound(ResourceKind::Application))?;
        let scopes: Scopes = application.scopes.iter().chain([Scope::ReadUser]).collect();
        oauth_applications::set_scopes(tx, self.id, &scopes, now).await?;
        Ok(Change::new((), [Audit::new("application.scopes_added", target(self.id)).with("read_user")]))
    }
}

fn target(id: ApplicationId) -> Target {
    Target::new("application", id.0)
}
