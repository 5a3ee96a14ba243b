//! `oauth_applications`.

use tollhouse_domain::application::Application;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{ApplicationId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::redirect::RedirectUris;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::{Conn, Runs};
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};
use crate::list::{List, Order, Source, Span, Statement};
use crate::token_families::EndReason;

macro_rules! columns {
    () => {
        "a.id, a.uid, a.secret_digest, a.name, a.redirect_uri, a.scopes, a.confidential, a.trusted, a.owner_id, a.created_at"
    };
}

macro_rules! find {
    () => {
        concat!("SELECT ", columns!(), " FROM oauth_applications a WHERE a.id = $1")
    };
}

row! {
    struct Row {
        id: i64,
        uid: String,
        secret_digest: Vec<u8>,
        name: String,
        redirect_uri: String,
        scopes: String,
        confidential: bool,
        trusted: bool,
        owner_id: Option<i64>,
        created_at: i64,
    }
}

impl Row {
    fn application(self) -> Result<Application> {
        let damaged = |what: &str| Error::Damaged(format!("application {}: {what}", self.id));
        Ok(Application {
            id: ApplicationId(self.id),
            secret_digest: Digest::from_slice(&self.secret_digest).ok_or_else(|| damaged("secret"))?,
            redirect_uris: RedirectUris::parse(&self.redirect_uri).map_err(|_| damaged("redirect URI"))?,
            uid: self.uid,
            name: self.name,
            scopes: Scopes::from_words(&self.scopes),
            confidential: self.confidential,
            trusted: self.trusted,
            owner: self.owner_id.map(UserId),
            created_at: Timestamp(self.created_at),
        })
    }
}

/// By number. `None`: there is no such application.
pub async fn find(at: &mut impl Runs, id: ApplicationId) -> Result<Option<Application>> {
    let row: Option<Row> = query(FIND).bind(id.0).optional(at).await?;
    row.map(Row::application).transpose()
}

/// The same for whoever gives it a code or a token: what it says holds until the commit. Without the lock, fewer scopes or
/// a deletion could come between this and the insert, and miss what was given.
pub async fn find_to_give(tx: &mut Tx, id: ApplicationId) -> Result<Option<Application>> {
    locked(tx, id, concat!(find!(), " FOR KEY SHARE")).await
}

/// The same for whoever changes it: nobody gives it anything before the commit.
pub async fn find_to_change(tx: &mut Tx, id: ApplicationId) -> Result<Option<Application>> {
    locked(tx, id, concat!(find!(), " FOR UPDATE")).await
}

/// SQLite has one writer at a time, and needs no lock.
async fn locked(tx: &mut Tx, id: ApplicationId, on_postgres: &'static str) -> Result<Option<Application>> {
    let text = if matches!(tx.conn(), Conn::Postgres(_)) { on_postgres } else { FIND };
    let row: Option<Row> = query(text).bind(id.0).optional(tx).await?;
    row.map(Row::application).transpose()
}

/// By `client_id`.
pub async fn by_uid(at: &mut impl Runs, uid: &str) -> Result<Option<Application>> {
    let row: Option<Row> = query(BY_UID).bind(uid).optional(at).await?;
    row.map(Row::application).transpose()
}

/// By its secret, for whoever found one: nobody authenticates so.
pub async fn by_secret(at: &mut impl Runs, secret: Digest) -> Result<Option<Application>> {
    let row: Option<Row> = query(BY_SECRET).bind(&secret.0[..]).optional(at).await?;
    row.map(Row::application).transpose()
}

/// Those that belong to the instance, oldest first.
pub async fn list(at: &mut impl Runs) -> Result<Vec<Application>> {
    let rows: Vec<Row> = query(LIST).all(at).await?;
    rows.into_iter().map(Row::application).collect()
}

/// Those of one user, oldest first.
pub async fn of_user(at: &mut impl Runs, owner: UserId) -> Result<Vec<Application>> {
    let rows: Vec<Row> = query(OF_USER).bind(owner.0).all(at).await?;
    rows.into_iter().map(Row::application).collect()
}

/// The next so many of those that belong to the instance after this number, oldest first.
pub async fn after(at: &mut impl Runs, id: ApplicationId, limit: i64) -> Result<Vec<Application>> {
    let rows: Vec<Row> = of_the_instance().rows(at, &Span::after(id.0, limit)).await?;
    rows.into_iter().map(Row::application).collect()
}

/// The statements of such lists.
pub fn lists() -> Vec<Statement> {
    vec![of_the_instance().page(&Span::after(1, 500))]
}

fn of_the_instance() -> List {
    List {
        alias: "a",
        with: Vec::new(),
        sources: vec![Source::ordered("oauth_applications a", "a.owner_id IS NULL")],
        filters: Vec::new(),
        order: Order { key: None, descending: false },
        columns: columns!().into(),
        joined: " CROSS JOIN oauth_applications a WHERE a.id = page.id",
    }
}

/// An application that is about to exist.
#[derive(Debug)]
pub struct NewApplication<'a> {
    /// The `client_id`.
    pub uid: &'a str,
    /// Digest of the client secret.
    pub secret: Digest,
    /// As people see it on the page that asks for consent.
    pub name: &'a str,
    /// Where codes may be sent.
    pub redirect_uris: &'a RedirectUris,
    /// Empty: any scope of the server.
    pub scopes: &'a Scopes,
    /// Whether it can keep a secret, so that it must show it.
    pub confidential: bool,
    /// Whether nobody is asked for consent.
    pub trusted: bool,
    /// `None`: it belongs to the instance.
    pub owner: Option<UserId>,
}

/// Inserts an application. Nodes may remember its `client_id` as unknown, so it is invalidated.
pub async fn insert(tx: &mut Tx, new: &NewApplication<'_>, now: Timestamp) -> Result<ApplicationId> {
    // Somebody may have asked for it before it existed.
    tx.invalidate(Invalidation::Unknown(Digest::of(new.uid.as_bytes())));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::ApplicationCreatedUnmarked);
    let id: i64 = query(INSERT)
        .bind(new.uid)
        .bind(&new.secret.0[..])
        .bind(new.name)
        .bind(new.redirect_uris.to_string())
        .bind(new.scopes.to_string())
        .bind(new.confidential)
        .bind(new.trusted)
        .bind(new.owner.map(|id| id.0))
        .bind(now.0)
        .one(tx)
        .await?;
    Ok(ApplicationId(id))
}

/// The old secret stops at once. `false`: there is no such application.
pub async fn set_secret(tx: &mut Tx, id: ApplicationId, secret: Digest, now: Timestamp) -> Result<bool> {
    tx.invalidate(Invalidation::Application(id));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::SecretRenewedUnmarked);
    Ok(query(SET_SECRET).bind(id.0).bind(&secret.0[..]).bind(now.0).changed(tx).await? == 1)
}

/// Replaces the scopes it may ask for; tokens that it has keep theirs.
pub async fn set_scopes(tx: &mut Tx, id: ApplicationId, scopes: &Scopes, now: Timestamp) -> Result<()> {
    tx.invalidate(Invalidation::Application(id));
    query(SET_SCOPES).bind(id.0).bind(scopes.to_string()).bind(now.0).changed(tx).await.map(drop)
}

/// Gives it this name and these scopes. If it loses a scope, its codes and token families that have one it may no longer ask
/// for end. `old` comes from [`find_to_change`] in the same transaction. Returns how many families ended.
pub async fn change(tx: &mut Tx, old: &Application, name: &str, scopes: &Scopes, now: Timestamp) -> Result<u64> {
    tx.invalidate(Invalidation::Application(old.id));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::ApplicationNarrowedUnmarked);
    query(CHANGE).bind(old.id.0).bind(name).bind(scopes.to_string()).bind(now.0).changed(tx).await?;
    let beyond = |text: &String| !Scopes::from_words(text).is_within(scopes);
    let codes: Vec<String> = query(SCOPES_OF_CODES).bind(old.id.0).all(tx).await?;
    for text in codes.iter().filter(|text| beyond(text)) {
        query(REMOVE_CODES).bind(old.id.0).bind(text).changed(tx).await?;
    }
    // Codes first: whoever redeemed one before that has a family now.
    let tokens: Vec<String> = query(SCOPES_OF_TOKENS).bind(old.id.0).all(tx).await?;
    let mut ended = 0;
    for text in tokens.iter().filter(|text| beyond(text)) {
        let end = query(END_FAMILIES).bind(old.id.0).bind(text).bind(now.0).bind(EndReason::Revoked.as_str());
        ended += end.changed(tx).await?;
    }
    Ok(ended)
}

/// With its codes and every token that it was given. `false`: there is no such application.
pub async fn remove(tx: &mut Tx, id: ApplicationId) -> Result<bool> {
    // A key that changes waits for whoever is giving this application a token now, and whoever would do so later waits
    // for us and finds no application. So no family is missed.
    if query(HOLD).bind(id.0).changed(tx).await? == 0 {
        return Ok(false);
    }
    query(REMOVE_FAMILIES).bind(id.0).changed(tx).await?;
    query(REMOVE).bind(id.0).changed(tx).await?;
    tx.invalidate(Invalidation::Application(id));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::ApplicationDeletedUnmarked);
    Ok(true)
}

statements! {
    FIND = find!();

    BY_SECRET = concat!("SELECT ", columns!(), " FROM oauth_applications a WHERE a.secret_digest = $1");

    BY_UID = concat!("SELECT ", columns!(), " FROM oauth_applications a WHERE a.uid = $1");

    LIST = concat!("SELECT ", columns!(), " FROM oauth_applications a WHERE a.owner_id IS NULL ORDER BY a.id");

    OF_USER = concat!("SELECT ", columns!(), " FROM oauth_applications a WHERE a.owner_id = $1 ORDER BY a.id");

    INSERT = "
    INSERT INTO oauth_applications (uid, secret_digest, name, redirect_uri, scopes, confidential, trusted, owner_id,
                                    created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING id";

    SET_SECRET = "UPDATE oauth_applications SET secret_digest = $2, updated_at = $3 WHERE id = $1";

    SET_SCOPES = "UPDATE oauth_applications SET scopes = $2, updated_at = $3 WHERE id = $1";

    CHANGE = "UPDATE oauth_applications SET name = $2, scopes = $3, updated_at = $4 WHERE id = $1";

    SCOPES_OF_CODES = "
    SELECT DISTINCT scopes FROM oauth_access_grants WHERE application_id = $1 AND redeemed_at IS NULL";

    REMOVE_CODES = "
    DELETE FROM oauth_access_grants WHERE application_id = $1 AND redeemed_at IS NULL AND scopes = $2";

    SCOPES_OF_TOKENS = "SELECT DISTINCT scopes FROM oauth_access_tokens WHERE application_id = $1";

    END_FAMILIES = "
    UPDATE token_families SET ended_at = $3, end_reason = $4
     WHERE ended_at IS NULL
       AND id IN (SELECT family_id FROM oauth_access_tokens WHERE application_id = $1 AND scopes = $2)";

    HOLD = "UPDATE oauth_applications SET uid = uid || '-' WHERE id = $1";

    REMOVE = "DELETE FROM oauth_applications WHERE id = $1";

    REMOVE_FAMILIES = "
    DELETE FROM token_families WHERE id IN (SELECT family_id FROM oauth_access_tokens WHERE application_id = $1)";
}
