//! Records as a database would give them, for the tests of this crate.

use tollhouse_domain::application::Application;
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::id::{ApplicationId, DeployTokenId, FamilyId, GenerationId, JobTokenId, ProjectId, UserId};
use tollhouse_domain::lookup::{DeployTokenRecord, JobTokenRecord, LastAddresses, SessionRecord, TokenRecord};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::redirect::RedirectUris;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;
use tollhouse_domain::user::{AccountState, User, UserKind};

/// A token with the scope `api`, in use and without an end. `id` is also the number of its family.
pub(crate) fn token(id: i64, digest: Digest) -> TokenRecord {
    TokenRecord {
        id: GenerationId(id),
        family: FamilyId(id),
        digest,
        scopes: Scopes::from([Scope::Api]),
        impersonation: false,
        application: None,
        client_id: None,
        label: None,
        created_at: Timestamp(0),
        dead_from: None,
        last_used_at: None.into(),
        last_used_ips: LastAddresses::from_words(""),
        status: TokenStatus::Live { used: true },
    }
}

/// A deploy token of project 1 with the scope `read_registry`.
pub(crate) fn deploy_token(digest: Digest, dead_from: Option<Timestamp>) -> DeployTokenRecord {
    DeployTokenRecord {
        id: DeployTokenId(1),
        digest,
        of: MembershipSource::Project(ProjectId(1)),
        username: "deployer".into(),
        scopes: [DeployScope::ReadRegistry].into_iter().collect(),
        dead_from,
        revoked: false,
    }
}

/// The token of a job in project 1, which began at 0.
pub(crate) fn job_token(digest: Digest, dead_from: Timestamp) -> JobTokenRecord {
    JobTokenRecord {
        id: JobTokenId(1),
        digest,
        project: ProjectId(1),
        created_at: Timestamp(0),
        dead_from,
        revoked: false,
    }
}

/// A session that began at 0 and was not extended.
pub(crate) fn session(digest: Digest, expires_at: Timestamp) -> SessionRecord {
    SessionRecord { digest, authenticated_at: Timestamp(0), expires_at, extended_at: Some(Timestamp(0)).into() }
}

/// A confidential application; its `client_id` is `client` and the number.
pub(crate) fn application(id: i64) -> Application {
    Application {
        id: ApplicationId(id),
        uid: format!("client{id}"),
        secret_digest: Digest::of(b"secret"),
        name: String::new(),
        redirect_uris: RedirectUris::parse("https://a.test/").expect("a URI"),
        scopes: Scopes::from([]),
        confidential: true,
        trusted: false,
        owner: None,
        created_at: Timestamp(0),
    }
}

/// An active person with the user name `user` and the number.
pub(crate) fn user(id: i64) -> User {
    User {
        id: UserId(id),
        username: format!("user{id}"),
        name: String::new(),
        email: String::new(),
        public_email: String::new(),
        commit_email: String::new(),
        state: AccountState::Active,
        kind: UserKind::Human,
        administrator: false,
        external: false,
        private_profile: false,
        can_create_group: true,
        projects_limit: 0,
        bio: String::new(),
        location: None,
        linkedin: String::new(),
        twitter: String::new(),
        discord: String::new(),
        github: String::new(),
        website_url: String::new(),
        organization: String::new(),
        job_title: String::new(),
        pronouns: None,
        note: None,
        namespace_id: None,
        created_by_id: None,
        created_at: Timestamp(0),
        confirmed_at: Some(Timestamp(0)),
        password_expires_at: None,
        locked_until: None,
        last_activity_on: None,
        current_sign_in_at: None,
        last_sign_in_at: None,
        current_sign_in_ip: None,
        last_sign_in_ip: None,
        sign_in_count: 0,
    }
}
