//! OAuth applications: registered, changed, given a new secret, removed.

use tollhouse_domain::application::Application;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::grantor::Grantor;
use tollhouse_domain::id::{ApplicationId, UserId};
use tollhouse_domain::redirect::{Fault, RedirectUri, RedirectUris};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::text::name_fault;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::AccountState;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{oauth_applications, users};

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
    /// Who registers it: the owner, or for the instance an administrator. `None`: the operator.
    pub by: Option<Grantor>,
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
        let grants = grants(tx, self.by.as_ref(), self.owner).await?;
        let mut faults = Vec::new();
        faults.extend(name_fault(&self.name).map(|fault| ("name", FieldFault::from(fault))));
        let redirect_uris = RedirectUris::parse(&self.redirect_uri).and_then(|uris| {
            let plain = !self.plain_http && uris.iter().any(RedirectUri::is_plain_http);
            if plain { Err(Fault::PlainHttp) } else { Ok(uris) }
        });
        if let Err(fault) = &redirect_uris {
            faults.push(("redirect_uri", FieldFault::RedirectUri(*fault)));
        }
        let scopes = words(&self.scopes);
        faults.extend(scopes_fault(scopes.as_ref(), &grants).map(|fault| ("scopes", fault)));
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

/// The scopes of a text, separated by white space. `None`: one of them is unknown.
fn words(text: &str) -> Option<Scopes> {
    text.split_whitespace().map(Scope::parse).collect()
}

fn scopes_fault(scopes: Option<&Scopes>, grants: &impl Fn(Scope) -> bool) -> Option<FieldFault> {
    match scopes {
        None => Some(FieldFault::ScopesUnknown),
        Some(scopes) if scopes.iter().all(grants) => None,
        Some(_) => Some(FieldFault::ScopesNotAvailable),
    }
}

/// Which scopes may be given. Refuses who may not register applications at all: the account may have changed since the
/// request was authenticated.
async fn grants(
    tx: &mut Tx,
    by: Option<&Grantor>,
    owner: Option<UserId>,
) -> Result<impl Fn(Scope) -> bool + use<>, Failed> {
    let administrator = match by {
        None => true,
        Some(by) => {
            let actor = users::find(tx, by.actor).await?;
            if actor.is_none_or(|actor| actor.state != AccountState::Active) {
                return Err(Refusal::NotAllowed.into());
            }
            // Somebody who is blocked may be acted for by sudo.
            let account = users::find(tx, by.user).await?.ok_or(Refusal::NotAllowed)?;
            if owner.is_some_and(|owner| owner != by.user) || (owner.is_none() && !account.administrator) {
                return Err(Refusal::NotAllowed.into());
            }
            account.administrator
        }
    };
    let by = by.cloned();
    Ok(move |scope| by.as_ref().is_none_or(|by| by.may_grant(scope, administrator)))
}

/// Changes a user's own application. Fewer scopes are a revocation: codes and token families that have a scope it may no
/// longer ask for end.
#[derive(Clone, Debug)]
pub struct ChangeOwn {
    /// [`ResourceKind::Application`] is told if there is none, and for somebody else's.
    pub id: ApplicationId,
    /// Its owner.
    pub by: Grantor,
    /// `None`: as it is.
    pub name: Option<String>,
    /// Separated by white space. `None`: as they are. No scope would mean any scope, so there must be one.
    pub scopes: Option<String>,
}

impl Operation for ChangeOwn {
    type Output = Application;
    /// It may take scopes away, which no full disk prevents. It adds no row but its audit row.
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Application>, Failed> {
        let old = own(tx, self.id, self.by.user).await?;
        let grants = grants(tx, Some(&self.by), old.owner).await?;
        let name = self.name.as_deref().unwrap_or(&old.name);
        let scopes = match &self.scopes {
            Some(text) => words(text),
            None => Some(old.scopes.clone()),
        };
        let mut faults = Vec::new();
        if name != old.name {
            faults.extend(name_fault(name).map(|fault| ("name", FieldFault::from(fault))));
        }
        // What it has already is not given again.
        let kept = |scope| old.scopes.contains(scope) || grants(scope);
        match &scopes {
            Some(scopes) if scopes.is_empty() && self.scopes.is_some() => faults.push(("scopes", FieldFault::Blank)),
            scopes => faults.extend(scopes_fault(scopes.as_ref(), &kept).map(|fault| ("scopes", fault))),
        }
        let (Some(scopes), true) = (scopes, faults.is_empty()) else { return Err(Refusal::Invalid(faults).into()) };
        if name == old.name && scopes == old.scopes {
            // A repeat after a lost answer is acknowledged as the change itself (revocation.md W4).
            return Ok(Change::already(old));
        }
        let ended = oauth_applications::change(tx, &old, name, &scopes, now).await?;
        let audit =
            Audit::new("application.updated", target(self.id)).with(format!("{scopes}; {ended} families ended"));
        Ok(Change::new(Application { name: name.to_owned(), scopes, ..old }, [audit]))
    }
}

/// Removes a user's own application, with all its codes and tokens.
#[derive(Clone, Copy, Debug)]
pub struct DeleteOwn {
    /// [`ResourceKind::Application`] is told if there is none, and for somebody else's.
    pub id: ApplicationId,
    /// Its owner.
    pub owner: UserId,
}

impl Operation for DeleteOwn {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        own(tx, self.id, self.owner).await?;
        Delete { id: self.id }.run(tx, now).await
    }
}

/// Locked, so that it stays as it is until the commit.
async fn own(tx: &mut Tx, id: ApplicationId, owner: UserId) -> Result<Application, Failed> {
    let found = oauth_applications::find_to_change(tx, id).await?.filter(|found| found.owner == Some(owner));
    Ok(found.ok_or(Refusal::NotFound(ResourceKind::Application))?)
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
