//! `deploy_tokens`.

use tollhouse_domain::deploy_token::{DeployScopes, DeployToken};
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{DeployTokenId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::DeployTokenRecord;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
use crate::list::{List, Order, Piece, Source, Span, Statement};
use crate::members::{self, source};

macro_rules! columns {
    () => {
        "t.id, t.source_kind, t.source_id, t.name, t.username, t.scopes, t.expires_at, t.revoked_at"
    };
}

row! {
    struct Row {
        id: i64,
        source_kind: String,
        source_id: i64,
        name: String,
        username: String,
        scopes: String,
        expires_at: Option<i64>,
        revoked_at: Option<i64>,
    }
}

impl Row {
    fn token(self) -> Result<DeployToken> {
        Ok(DeployToken {
            id: DeployTokenId(self.id),
            of: members::source_of(&self.source_kind, self.source_id)?,
            name: self.name,
            username: self.username,
            scopes: DeployScopes::from_words(&self.scopes),
            expires_at: self.expires_at.map(Timestamp),
            revoked: self.revoked_at.is_some(),
        })
    }
}

/// By number, whatever its state.
pub async fn find(at: &mut impl Runs, id: DeployTokenId) -> Result<Option<DeployToken>> {
    let row: Option<Row> = query(FIND).bind(id.0).optional(at).await?;
    row.map(Row::token).transpose()
}

/// By the digest of its secret, whatever its state.
pub async fn by_digest(at: &mut impl Runs, digest: Digest) -> Result<Option<DeployToken>> {
    let row: Option<Row> = query(BY_DIGEST).bind(&digest.0[..]).optional(at).await?;
    row.map(Row::token).transpose()
}

/// The same as what decides about it.
pub(crate) async fn record(at: &mut impl Runs, digest: Digest) -> Result<Option<DeployTokenRecord>> {
    Ok(by_digest(at, digest).await?.map(|token| DeployTokenRecord {
        id: token.id,
        digest,
        of: token.of,
        username: token.username.into(),
        scopes: token.scopes,
        dead_from: token.expires_at,
        revoked: token.revoked,
    }))
}

/// What a list of deploy tokens is made of.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of this very project or group. `None`: of the whole instance.
    pub of: Option<MembershipSource>,
    /// Only those that open something now, or only those that do not. `None`: both.
    pub active: Option<bool>,
}

/// One page, oldest first, and how many there are in all.
pub async fn list(at: &mut impl Runs, filter: &Filter, span: &Span, now: Timestamp) -> Result<(Vec<DeployToken>, i64)> {
    let list = of(filter, now);
    let total = list.total(at).await?;
    let rows: Vec<Row> = list.rows(at, span).await?;
    Ok((rows.into_iter().map(Row::token).collect::<Result<_>>()?, total))
}

/// The statements of such lists.
pub fn lists() -> Vec<Statement> {
    let sources = [None, Some(MembershipSource::Project(tollhouse_domain::id::ProjectId(1)))];
    let all = sources.into_iter().flat_map(|of| [None, Some(true), Some(false)].map(|active| Filter { of, active }));
    all.map(|filter| of(&filter, Timestamp(0)).page(&Span::offset(20, 0))).collect()
}

fn of(filter: &Filter, now: Timestamp) -> List {
    let all = match filter.of {
        Some(of) => {
            let (kind, id) = source(of);
            Source::ordered("deploy_tokens t", Piece::new("t.source_kind = ? AND t.source_id = ?").bind(kind).bind(id))
        }
        None => Source::ordered("deploy_tokens t", "t.id > 0"),
    };
    let active = filter.active.map(|active| match active {
        true => Piece::new("(t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?))").bind(now.0),
        false => Piece::new("(t.revoked_at IS NOT NULL OR t.expires_at <= ?)").bind(now.0),
    });
    List {
        alias: "t",
        with: Vec::new(),
        sources: vec![all],
        filters: active.into_iter().collect(),
        order: Order { key: None, descending: false },
        columns: columns!().into(),
        joined: " CROSS JOIN deploy_tokens t WHERE t.id = page.id",
    }
}

/// A deploy token that is about to exist.
#[derive(Debug)]
pub struct NewDeployToken<'a> {
    /// Digest of the secret.
    pub digest: Digest,
    /// The project or group that it belongs to.
    pub of: MembershipSource,
    /// As people see it.
    pub name: &'a str,
    /// `None`: [`DeployToken::default_username`].
    pub username: Option<&'a str>,
    /// What it opens.
    pub scopes: &'a DeployScopes,
    /// Who makes it. `None`: the operator.
    pub by: Option<UserId>,
    /// The first instant at which it is expired. `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
}

/// Inserts a token.
pub async fn insert(tx: &mut Tx, new: &NewDeployToken<'_>, now: Timestamp) -> Result<DeployTokenId> {
    tx.creates(new.digest);
    let (kind, id) = source(new.of);
    let id: i64 = query(INSERT)
        .bind(&new.digest.0[..])
        .bind(kind)
        .bind(id)
        .bind(new.name)
        .bind(new.username.unwrap_or_default())
        .bind(new.scopes.to_string())
        .bind(new.by.map(|id| id.0))
        .bind(now.0)
        .bind(new.expires_at.map(|at| at.0))
        .one(tx)
        .await?;
    let id = DeployTokenId(id);
    if new.username.is_none() {
        query(NAME).bind(id.0).bind(DeployToken::default_username(id)).changed(tx).await?;
    }
    Ok(id)
}

/// Revokes a token for good. `false`: it was revoked already, or there is none.
pub async fn revoke(tx: &mut Tx, id: DeployTokenId, now: Timestamp) -> Result<bool> {
    let digest: Option<Vec<u8>> = query(REVOKE).bind(id.0).bind(now.0).optional(tx).await?;
    let Some(digest) = digest.as_deref().and_then(Digest::from_slice) else { return Ok(false) };
    tx.invalidate(Invalidation::Token(digest));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::DeployTokenUnmarked);
    Ok(true)
}

statements! {
    FIND = concat!("SELECT ", columns!(), " FROM deploy_tokens t WHERE t.id = $1");

    BY_DIGEST = concat!("SELECT ", columns!(), " FROM deploy_tokens t WHERE t.digest = $1");

    INSERT = "
    INSERT INTO deploy_tokens (digest, source_kind, source_id, name, username, scopes, created_by_id, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";

    NAME = "UPDATE deploy_tokens SET username = $2 WHERE id = $1";

    REVOKE = "UPDATE deploy_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING digest";
}
