//! The people and the credentials of the matrix. They are inserted past the rules that say who may hold what, so that
//! every state of a credential meets every state of its owner.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollhouse::operations::rotate::RotateSelf;
use tollhouse::operations::rotation::{Rotated, Rules};
use tollhouse::operations::users::CreateUser;
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::{ApplicationId, GenerationId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Holder, Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::PERSONAL_ACCESS_TOKEN;
use tollhouse_domain::user::{AccountState, UserKind};
use tollhouse_store::token_families::{EndReason, FamilyKind};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{faults, members, oauth_access_tokens, personal_access_tokens, sessions, token_families};

use crate::oauth::Client;
use crate::test_server::TestServer;

macro_rules! every {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}

every! {
    /// The state of the account that a credential belongs to.
    Owner {
        Active,
        Administrator,
        External,
        Bot,
        Locked,
        Internal,
        PendingApproval,
        Deactivated,
        Unconfirmed,
        Blocked,
        LdapBlocked,
        Banned,
        PasswordExpired,
        BlockedAdministrator,
    }
}

every! {
    /// Tokens that somebody owns.
    Kind { Personal, Impersonation, Oauth }
}

every! {
    /// The state of a token.
    State {
        Active,
        Expired,
        Revoked,
        // A moment ago, and nobody has used the successor.
        Rotated,
        // An hour ago, and the successor is in use.
        RotatedLongAgo,
    }
}

every! {
    /// The state of a session.
    SessionState { Active, Expired, Ended }
}

/// A credential of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    Token {
        kind: Kind,
        state: State,
        owner: Owner,
        scope: Scope,
    },
    /// A token that an application got for itself.
    Own {
        state: State,
        scope: Scope,
    },
    Session {
        state: SessionState,
        owner: Owner,
    },
}

impl Credential {
    /// Whether no request can use it up any more.
    pub fn is_dead(self) -> bool {
        match self {
            Self::Token { state, .. } | Self::Own { state, .. } => matches!(state, State::Expired | State::Revoked),
            Self::Session { state, .. } => state != SessionState::Active,
        }
    }
}

pub struct Cast {
    pub client: Client,
    owners: Vec<UserId>,
    names: HashMap<&'static str, String>,
    made: Mutex<HashMap<Credential, String>>,
    count: AtomicUsize,
}

impl Cast {
    /// `groups`: where everybody is an owner, besides the group of the requests.
    pub async fn new(t: &TestServer, groups: &[MembershipSource]) -> Self {
        // The first application: `Flip::Application` names it.
        let client = t.client("api read_user openid").await;
        let other = t.client("api").await;
        let crew = t.group("crew", Visibility::Public).await;
        let open = t.project(crew, "open", Visibility::Public).await;
        let mut owners = Vec::new();
        for owner in Owner::ALL {
            owners.push(t.does(account(*owner)).await);
        }
        let of = |owner: Owner| owners[owner as usize].0;
        let (expired, locked) = (of(Owner::PasswordExpired), of(Owner::Locked));
        let (now, later) = (t.now().0, (t.now() + Duration::from_secs(3600)).0);
        let by_hand = format!(
            "UPDATE users SET password_expires_at = {now} WHERE id = {expired};
             UPDATE users SET locked_until = {later} WHERE id = {locked};"
        );
        faults::by_hand(&t.url(), &by_hand).await.expect("it is done");
        for group in groups.iter().chain([&MembershipSource::Group(crew)]) {
            t.does(Join { group: *group, users: owners.clone() }).await;
        }
        let (group_token, project_token) = (
            t.resource_token(MembershipSource::Group(crew), AccessLevel::Guest).await.token.id,
            t.resource_token(MembershipSource::Project(open), AccessLevel::Guest).await.token.id,
        );
        let (group_account, project_account) = (
            t.service_account(Some(MembershipSource::Group(crew))).await.id,
            t.service_account(Some(MembershipSource::Project(open))).await.id,
        );
        let names = HashMap::from([
            ("group_account", group_account.to_string()),
            ("project_account", project_account.to_string()),
            ("group_token", group_token.to_string()),
            ("project_token", project_token.to_string()),
            ("person", of(Owner::External).to_string()),
            ("project", "crew%2Fopen".to_owned()),
            ("group", "crew".to_owned()),
            ("application", other.id.to_string()),
            ("absent", "999999".to_owned()),
            ("others_token", t.user("outsider").await.made_token([Scope::Api]).await.token.id.to_string()),
        ]);
        let (made, count) = (Mutex::default(), AtomicUsize::default());
        let mut cast = Self { client, owners, names, made, count };
        for name in ["token", "revoked"] {
            let (kind, state, owner, scope) = (Kind::Oauth, State::Active, Owner::Active, Scope::Api);
            let secret = cast.fresh(t, Credential::Token { kind, state, owner, scope }).await;
            cast.names.insert(name, secret);
        }
        cast
    }

    /// What a value of a request stands for.
    pub fn value(&self, text: &str) -> String {
        match text.strip_prefix(':') {
            Some("new") => format!("new-{}", self.count.fetch_add(1, Ordering::Relaxed)),
            Some(name) => self.names[name].clone(),
            None => text.to_owned(),
        }
    }

    /// Makes all of these at once, so that [`Cast::secret`] has them.
    pub async fn make(&self, t: &TestServer, wanted: impl IntoIterator<Item = Credential>) {
        let mut wanted: Vec<Credential> = wanted.into_iter().collect();
        wanted.retain({
            let made = self.made.lock().expect("no panic");
            let mut seen = std::collections::HashSet::new();
            move |credential| !made.contains_key(credential) && seen.insert(*credential)
        });
        let secrets = t.does(self.insert(t, wanted.clone())).await;
        self.made.lock().expect("no panic").extend(wanted.into_iter().zip(secrets));
    }

    /// One that was made before.
    pub fn secret(&self, credential: Credential) -> String {
        self.made.lock().expect("no panic")[&credential].clone()
    }

    /// One of this kind that nobody has used.
    pub async fn fresh(&self, t: &TestServer, credential: Credential) -> String {
        t.does(self.insert(t, vec![credential])).await.swap_remove(0)
    }

    fn insert(&self, t: &TestServer, wanted: Vec<Credential>) -> Insert {
        Insert { wanted, owners: self.owners.clone(), application: self.client.id, rules: t.app.rotation() }
    }
}

fn account(owner: Owner) -> CreateUser {
    let plain = CreateUser::person(&format!("{owner:?}").to_ascii_lowercase(), "Somebody");
    let state = |state| CreateUser { state, ..plain.clone() };
    match owner {
        Owner::Active | Owner::PasswordExpired | Owner::Locked => plain,
        Owner::Administrator => CreateUser { administrator: true, ..plain },
        Owner::External => CreateUser { external: true, ..plain },
        Owner::Bot => CreateUser { kind: UserKind::Bot, ..plain },
        Owner::Internal => CreateUser { kind: UserKind::Internal, ..plain },
        Owner::PendingApproval => state(AccountState::BlockedPendingApproval),
        Owner::Deactivated => state(AccountState::Deactivated),
        Owner::Unconfirmed => CreateUser { confirmed: false, ..plain },
        Owner::Blocked => state(AccountState::Blocked),
        Owner::LdapBlocked => state(AccountState::LdapBlocked),
        Owner::Banned => state(AccountState::Banned),
        Owner::BlockedAdministrator => CreateUser { administrator: true, ..state(AccountState::Blocked) },
    }
}

/// They become owners of the group.
struct Join {
    group: MembershipSource,
    users: Vec<UserId>,
}

impl Operation for Join {
    type Output = ();
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        for user in &self.users {
            members::insert(tx, self.group, *user, AccessLevel::Owner, None, None, now).await?;
        }
        Ok(Change::nothing(()))
    }
}

/// Makes credentials in one transaction.
struct Insert {
    wanted: Vec<Credential>,
    owners: Vec<UserId>,
    application: ApplicationId,
    rules: Rules,
}

impl Operation for Insert {
    /// Their secrets, in the same order.
    type Output = Vec<String>;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Vec<String>>, Failed> {
        let mut secrets = Vec::new();
        for credential in &self.wanted {
            let secret = match *credential {
                Credential::Token { kind: Kind::Oauth, state, owner, scope } => {
                    self.oauth(tx, Some(self.of(owner)), (state, scope), now).await?
                }
                Credential::Own { state, scope } => self.oauth(tx, None, (state, scope), now).await?,
                Credential::Token { kind, state, owner, scope } => {
                    self.personal(tx, (self.of(owner), kind), (state, scope), now).await?
                }
                Credential::Session { state, owner } => self.session(tx, self.of(owner), state, now).await?,
            };
            secrets.push(secret.reveal().to_owned());
        }
        Ok(Change::nothing(secrets))
    }
}

impl Insert {
    fn of(&self, owner: Owner) -> UserId {
        self.owners[owner as usize]
    }

    async fn personal(
        &self,
        tx: &mut Tx,
        (user, kind): (UserId, Kind),
        (state, scope): (State, Scope),
        now: Timestamp,
    ) -> Result<Plaintext, Failed> {
        let made = made(state, now);
        let family = token_families::insert(tx).await?;
        let secret = Plaintext::personal_access_token(PERSONAL_ACCESS_TOKEN.prefix, user);
        let days = if state == State::Expired { 0 } else { 30 };
        let new = personal_access_tokens::NewToken {
            family,
            previous: None,
            digest: secret.digest(),
            user,
            name: "matrix",
            description: None,
            scopes: &Scopes::from([scope]),
            impersonation: kind == Kind::Impersonation,
            expires_at: Some(now.date().plus_days(days)),
        };
        let id = personal_access_tokens::insert(tx, &new, made).await?;
        token_families::begin(tx, family, id, made).await?;
        match state {
            State::Active | State::Expired => {}
            State::Revoked => drop(token_families::end(tx, family, EndReason::Revoked, now).await?),
            // Nobody may rotate a token with a scope that its owner may not hold.
            State::Rotated | State::RotatedLongAgo if scope.holder() != Holder::Anyone => {
                let next = Plaintext::personal_access_token(PERSONAL_ACCESS_TOKEN.prefix, user);
                let next = personal_access_tokens::NewToken { previous: Some(id), digest: next.digest(), ..new };
                let next = personal_access_tokens::insert(tx, &next, made).await?;
                let old = personal_access_tokens::find(tx, id).await?.ok_or(Failed::Inconsistent)?;
                let heads: (GenerationId, GenerationId) = (id.into(), next.into());
                let kind = FamilyKind::PersonalAccessToken;
                assert!(token_families::rotate(tx, kind, &old.generation, heads, false, None, made).await?);
                if state == State::RotatedLongAgo {
                    token_families::first_use(tx, family, next.into(), made).await?;
                }
            }
            State::Rotated | State::RotatedLongAgo => {
                let (presented, rules) = (secret.clone(), self.rules);
                let rotation = RotateSelf { presented, expires_at: None, require_expiry: true, rules };
                let Rotated::Successor(next) = rotation.run(tx, made).await?.into_value() else {
                    panic!("it has a successor")
                };
                if state == State::RotatedLongAgo {
                    token_families::first_use(tx, family, next.token.id.into(), made).await?;
                }
            }
        }
        Ok(secret)
    }

    async fn oauth(
        &self,
        tx: &mut Tx,
        user: Option<UserId>,
        (state, scope): (State, Scope),
        now: Timestamp,
    ) -> Result<Plaintext, Failed> {
        let made = made(state, now);
        let family = token_families::insert(tx).await?;
        let secret = Plaintext::hex();
        let scopes = Scopes::from([scope]);
        let new = |secret: &Plaintext, previous| oauth_access_tokens::NewOauthToken {
            family,
            previous,
            digest: secret.digest(),
            refresh: user.map(|_| Plaintext::hex().digest()),
            application: Some(self.application),
            user,
            scopes: &scopes,
            redirect_uri: None,
            authenticated_at: None,
            expires_at: if state == State::Expired { now - MINUTE } else { now + Duration::from_secs(7200) },
        };
        let id = oauth_access_tokens::insert(tx, &new(&secret, None), made).await?;
        token_families::begin(tx, family, id, made).await?;
        match state {
            State::Active | State::Expired => {}
            State::Revoked => drop(token_families::end(tx, family, EndReason::Revoked, now).await?),
            State::Rotated | State::RotatedLongAgo => {
                let next = oauth_access_tokens::insert(tx, &new(&Plaintext::hex(), Some(id)), made).await?;
                let old = oauth_access_tokens::by_digest(tx, secret.digest()).await?.ok_or(Failed::Inconsistent)?;
                let heads: (GenerationId, GenerationId) = (id.into(), next.into());
                let kind = FamilyKind::OauthAccessToken;
                assert!(token_families::rotate(tx, kind, &old.generation, heads, false, None, made).await?);
                if state == State::RotatedLongAgo {
                    token_families::first_use(tx, family, next.into(), made).await?;
                }
            }
        }
        Ok(secret)
    }

    async fn session(
        &self,
        tx: &mut Tx,
        user: UserId,
        state: SessionState,
        now: Timestamp,
    ) -> Result<Plaintext, Failed> {
        let secret = Plaintext::session();
        let lifetime = Duration::from_secs(if state == SessionState::Expired { 0 } else { 86_400 });
        let (digest, expires_at) = (secret.digest(), now + lifetime);
        let new = sessions::NewSession { digest, user, expires_at, address: None, user_agent: None };
        sessions::insert(tx, &new, now).await?;
        if state == SessionState::Ended {
            sessions::remove(tx, digest).await?;
        }
        Ok(secret)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// When a token in that state was made.
fn made(state: State, now: Timestamp) -> Timestamp {
    if state == State::RotatedLongAgo { now - Duration::from_secs(3600) } else { now }
}
