//! What the authenticator asks (`tollhouse_domain::lookup`): one statement for a token or session and its owner.

use std::sync::Arc;

use tollhouse_domain::id::{FamilyId, PersonalAccessTokenId};
use tollhouse_domain::lookup::{
    Answer, Credential, Key, Lookup, Record, SessionRecord, TokenRecord, Unavailable, UserName,
};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::Standing;
use tollhouse_domain::user::User;

use crate::db::Db;
use crate::error::{Error, Result};
use crate::{token_families, users};

impl Lookup for Db {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let found = match key {
                Key::Token(digest) => self.token(digest).await,
                Key::Session(digest) => self.session(digest).await,
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

    fn first_use(&self, family: FamilyId, head: PersonalAccessTokenId, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move {
            let noted = async {
                let mut tx = self.begin().await?;
                let won = token_families::first_use(&mut tx, family, head, now).await?;
                tx.finish().await?;
                Ok(won)
            };
            noted.await.map_err(unavailable)
        })
    }
}

fn unavailable(error: Error) -> Unavailable {
    tracing::error!(%error, "a credential could not be looked up");
    Unavailable
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    token_id: i64,
    family_id: i64,
    scopes: String,
    impersonation: bool,
    expires_on: Option<i64>,
    last_used_at: Option<i64>,
    head_id: Option<i64>,
    head_used_at: Option<i64>,
    ended_at: Option<i64>,
    #[sqlx(flatten)]
    owner: users::Row,
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    extended_at: i64,
    expires_at: i64,
    #[sqlx(flatten)]
    owner: users::Row,
}

impl Db {
    async fn token(&self, digest: Digest) -> Result<Option<Record>> {
        let mut reader = self.read().await?;
        let row: Option<TokenRow> = on!(&mut reader, |c| sqlx::query_as(TOKEN).bind(&digest.0[..]).fetch_optional(c))?;
        let Some(row) = row else { return Ok(None) };
        let token = TokenRecord {
            id: PersonalAccessTokenId(row.token_id),
            family: FamilyId(row.family_id),
            digest,
            scopes: Scopes::from_words(&row.scopes),
            impersonation: row.impersonation,
            expires_at: row.expires_on.map(|day| Date(day as i32)),
            last_used_at: row.last_used_at.map(Timestamp),
            standing: match row.ended_at {
                Some(_) => Standing::Ended,
                None if row.head_id == Some(row.token_id) => Standing::Live { used: row.head_used_at.is_some() },
                None => Standing::Rotated,
            },
        };
        let credential = Credential::PersonalAccessToken(Arc::new(token));
        Ok(Some(Record { credential, owner: Arc::new(row.owner.user()?) }))
    }

    async fn session(&self, digest: Digest) -> Result<Option<Record>> {
        let mut reader = self.read().await?;
        let row: Option<SessionRow> =
            on!(&mut reader, |c| sqlx::query_as(SESSION).bind(&digest.0[..]).fetch_optional(c))?;
        let Some(row) = row else { return Ok(None) };
        let session =
            SessionRecord { digest, expires_at: Timestamp(row.expires_at), extended_at: Timestamp(row.extended_at) };
        Ok(Some(Record { credential: Credential::Session(Arc::new(session)), owner: Arc::new(row.owner.user()?) }))
    }
}

statements! {
    TOKEN = concat!(
        "SELECT t.id AS token_id, t.family_id, t.scopes, t.impersonation, t.expires_on, t.last_used_at,
                f.head_id, f.head_used_at, f.ended_at, ", users::columns!(),
        " FROM personal_access_tokens t
          JOIN token_families f ON f.id = t.family_id
          JOIN users u ON u.id = t.user_id
         WHERE t.digest = $1"
    );

    SESSION = concat!(
        "SELECT s.extended_at, s.expires_at, ", users::columns!(),
        " FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.digest = $1"
    );
}
