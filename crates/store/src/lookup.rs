//! What the authenticator asks (`tollhouse_domain::lookup`): one statement for a token or session and its owner.

use std::sync::Arc;

use tollhouse_domain::application::Application;
use tollhouse_domain::grant::dead_from;
use tollhouse_domain::id::{ApplicationId, FamilyId, GenerationId, JobTokenId, ProjectId, UserId};
use tollhouse_domain::lookup::{
    Answer, Credential, JobTokenRecord, Key, Label, LastAddresses, Lookup, Record, SessionRecord, TokenRecord,
    Unavailable, UserName,
};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::user::User;

use crate::engine::db::Db;
use crate::engine::query::query;
use crate::engine::row::{FromRow, Row};
use crate::error::{Error, Result};
use crate::{deploy_tokens, members, oauth_applications, token_families, users};

impl Lookup for Db {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let found = match key {
                Key::Token(digest) => self.token(digest, TOKEN).await,
                Key::Refresh(digest) => self.token(digest, REFRESH).await,
                Key::Session(digest) => self.session(digest).await,
                Key::Deploy(digest) => self.deploy_token(digest).await,
                Key::Job(digest) => self.job_token(digest).await,
            };
            found.map_err(unavailable)
        })
    }

    fn user<'a>(&'a self, name: UserName<'a>) -> Answer<'a, Option<User>> {
        Box::pin(async move {
            let found = async { users::named(&mut self.read().await?, name).await };
            found.await.map_err(unavailable)
        })
    }

    fn memberships(&self, user: UserId, of: MembershipSource, now: Timestamp) -> Answer<'_, Memberships> {
        Box::pin(async move {
            let found = async { members::memberships(&mut self.read().await?, user, of, now).await };
            found.await.map_err(unavailable)
        })
    }

    fn user_memberships(&self, user: UserId, now: Timestamp) -> Answer<'_, UserMemberships> {
        Box::pin(async move {
            // Somebody may be in very many groups.
            let found = self.list(move |reader| Box::pin(members::of_user(reader, user, now)));
            found.await.map_err(unavailable)
        })
    }

    fn application<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Application>> {
        Box::pin(async move {
            let found = async { oauth_applications::by_uid(&mut self.read().await?, client_id).await };
            found.await.map_err(unavailable)
        })
    }

    fn first_use(&self, family: FamilyId, head: GenerationId, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move {
            let noted = self.chore(move |tx| Box::pin(token_families::first_use(tx, family, head, now)));
            noted.await.map_err(unavailable)
        })
    }
}

fn unavailable(error: Error) -> Unavailable {
    tracing::error!(%error, reason = "unavailable", "a credential could not be looked up");
    Unavailable
}

struct TokenRow {
    token: Token,
    /// `None`: it is nobody's but its application's.
    owner: Option<users::Row>,
}

row! {
    struct Token {
        oauth: bool,
        token_id: i64,
        family_id: i64,
        scopes: String,
        impersonation: bool,
        application_id: Option<i64>,
        client_id: Option<String>,
        token_name: Option<String>,
        token_description: Option<String>,
        token_created_at: i64,
        expires_on: Option<i64>,
        expires_at: Option<i64>,
        last_used_at: Option<i64>,
        last_used_ips: String,
        head_id: Option<i64>,
        head_used_at: Option<i64>,
        ended_at: Option<i64>,
    }
}

impl FromRow for TokenRow {
    fn from_row(row: &mut Row<'_>) -> Result<Self> {
        let token = row.read()?;
        // A token that is an application's alone has no user beside it.
        let owner = row.is_next_null()?;
        Ok(Self { token, owner: if owner { None } else { Some(row.read()?) } })
    }
}

row! {
    struct SessionRow {
        authenticated_at: i64,
        extended_at: i64,
        expires_at: i64,
        owner: users::Row,
    }
}

row! {
    struct JobRow {
        job_id: i64,
        project_id: i64,
        created_at: i64,
        expires_at: i64,
        revoked_at: Option<i64>,
        owner: users::Row,
    }
}

impl Db {
    async fn token(&self, digest: Digest, text: &'static str) -> Result<Option<Record>> {
        let mut reader = self.read().await?;
        let row: Option<TokenRow> = query(text).bind(&digest.0[..]).optional(&mut reader).await?;
        let Some(TokenRow { token, owner }) = row else { return Ok(None) };
        let dead_from = match (token.expires_on, token.expires_at) {
            (Some(day), _) => Some(Date(day as i32).start()),
            (None, at) => at.map(|at| dead_from(Timestamp(at))),
        };
        let record = Arc::new(TokenRecord {
            id: GenerationId(token.token_id),
            family: FamilyId(token.family_id),
            digest,
            scopes: Scopes::from_words(&token.scopes),
            impersonation: token.impersonation,
            application: token.application_id.map(ApplicationId),
            client_id: token.client_id.map(Into::into),
            label: token.token_name.map(|name| {
                let description = token.token_description.map(Into::into);
                Box::new(Label { name: name.into(), description })
            }),
            created_at: Timestamp(token.token_created_at),
            dead_from,
            last_used_at: token.last_used_at.map(Timestamp).into(),
            last_used_ips: LastAddresses::from_words(&token.last_used_ips),
            status: token_families::status(token.token_id, token.head_id, token.head_used_at, token.ended_at),
        });
        let credential = match token.oauth {
            true => Credential::OauthAccessToken(record),
            false => Credential::PersonalAccessToken(record),
        };
        Ok(Some(Record { credential, owner: owner.map(users::Row::user).transpose()?.map(Arc::new) }))
    }

    async fn deploy_token(&self, digest: Digest) -> Result<Option<Record>> {
        let found = deploy_tokens::record(&mut self.read().await?, digest).await?;
        Ok(found.map(|token| Record { credential: Credential::DeployToken(Arc::new(token)), owner: None }))
    }

    async fn job_token(&self, digest: Digest) -> Result<Option<Record>> {
        let mut reader = self.read().await?;
        let row: Option<JobRow> = query(JOB).bind(&digest.0[..]).optional(&mut reader).await?;
        let Some(row) = row else { return Ok(None) };
        let job = JobTokenRecord {
            id: JobTokenId(row.job_id),
            digest,
            project: ProjectId(row.project_id),
            created_at: Timestamp(row.created_at),
            dead_from: Timestamp(row.expires_at),
            revoked: row.revoked_at.is_some(),
        };
        let owner = Some(Arc::new(row.owner.user()?));
        Ok(Some(Record { credential: Credential::JobToken(Arc::new(job)), owner }))
    }

    async fn session(&self, digest: Digest) -> Result<Option<Record>> {
        let mut reader = self.read().await?;
        let row: Option<SessionRow> = query(SESSION).bind(&digest.0[..]).optional(&mut reader).await?;
        let Some(row) = row else { return Ok(None) };
        let session = SessionRecord {
            digest,
            authenticated_at: Timestamp(row.authenticated_at),
            expires_at: Timestamp(row.expires_at),
            extended_at: Some(Timestamp(row.extended_at)).into(),
        };
        let owner = Some(Arc::new(row.owner.user()?));
        Ok(Some(Record { credential: Credential::Session(Arc::new(session)), owner }))
    }
}

macro_rules! oauth {
    () => {
        concat!(
            "SELECT TRUE AS oauth, t.id AS token_id, t.family_id, t.scopes, FALSE AS impersonation, t.application_id, a.uid AS client_id,
                    CAST(NULL AS TEXT) AS token_name, CAST(NULL AS TEXT) AS token_description, t.created_at AS token_created_at,
                    CAST(NULL AS BIGINT) AS expires_on, t.expires_at, CAST(NULL AS BIGINT) AS last_used_at, '' AS last_used_ips,
                    f.head_id, f.head_used_at, f.ended_at, ", users::columns!(),
            " FROM oauth_access_tokens t
              JOIN token_families f ON f.id = t.family_id
              LEFT JOIN oauth_applications a ON a.id = t.application_id
              LEFT JOIN users u ON u.id = t.user_id "
        )
    };
}

statements! {
    // Both kinds share one space of digests (docs/decisions/0001).
    TOKEN = concat!(
        "SELECT FALSE AS oauth, t.id AS token_id, t.family_id, t.scopes, t.impersonation, CAST(NULL AS BIGINT) AS application_id,
                CAST(NULL AS TEXT) AS client_id, t.name AS token_name, t.description AS token_description, t.created_at AS token_created_at,
                t.expires_on, CAST(NULL AS BIGINT) AS expires_at, t.last_used_at, t.last_used_ips,
                f.head_id, f.head_used_at, f.ended_at, ", users::columns!(),
        " FROM personal_access_tokens t
          JOIN token_families f ON f.id = t.family_id
          JOIN users u ON u.id = t.user_id
         WHERE t.digest = $1
        UNION ALL ", oauth!(), "WHERE t.digest = $1"
    );

    REFRESH = concat!(oauth!(), "WHERE t.refresh_digest = $1");

    JOB = concat!(
        "SELECT j.id AS job_id, j.project_id, j.created_at, j.expires_at, j.revoked_at, ", users::columns!(),
        " FROM job_tokens j JOIN users u ON u.id = j.user_id WHERE j.digest = $1"
    );

    SESSION = concat!(
        "SELECT s.created_at AS authenticated_at, s.extended_at, s.expires_at, ", users::columns!(),
        " FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.digest = $1"
    );
}
