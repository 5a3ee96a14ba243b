//! The keys of the instance (T23): made at the first start, sealed again under a new secret.

use tollhouse_domain::audit::{Audit, By, Target};
use tollhouse_domain::secret::random;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::sealed_keys::{self, SealedKey};
use tollhouse_store::tx::{Change, Tx};
use zeroize::Zeroizing;

use crate::app::App;
use crate::error::Error;
use crate::keys::{Keys, SIGNING, SUBJECTS, kid, make_signing_key, pair};
use crate::operations::{Failed, Operation};

/// Reads them, makes those that are missing, and seals again what stands under an old secret.
pub async fn open(app: &App) -> Result<Keys, Error> {
    let mut known = sealed_keys::all(&mut app.db.read().await?).await?;
    if !known.iter().any(|key| key.purpose == SIGNING) {
        let pkcs8 = tokio::task::spawn_blocking(make_signing_key).await.map_err(|_| Error::Internal)??;
        make(app, SIGNING, &kid(&*pair(pkcs8.as_ref())?), pkcs8.as_ref()).await?;
    }
    if !known.iter().any(|key| key.purpose == SUBJECTS) {
        make(app, SUBJECTS, SUBJECTS, &random::<32>()).await?;
    }
    for key in known.iter().filter(|key| !app.seal.is_current(key)) {
        let plain = app.seal.unseal(key).map_err(|_| Error::Internal)?;
        let sealed = app.seal.seal(&key.purpose, &key.kid, &plain)?;
        // It opens as it is; the next start tries again.
        if let Err(error) = app.perform(Reseal { key: key.clone(), sealed }, &By::system()).await {
            tracing::warn!(kid = key.kid, ?error, "a key could not be encrypted again");
        }
    }
    // Somebody else may have been first.
    known = sealed_keys::all(&mut app.db.read().await?).await?;
    Keys::of(&known, &app.seal)
}

/// A secret of 32 bytes that all servers share. It is made if there is none.
pub async fn secret(app: &App, purpose: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let find = async || -> Result<Option<SealedKey>, Error> {
        let known = sealed_keys::all(&mut app.db.read().await?).await?;
        Ok(known.into_iter().find(|key| key.purpose == purpose))
    };
    let mut found = find().await?;
    if found.is_none() {
        make(app, purpose, purpose, &random::<32>()).await?;
        // Somebody else may have been first.
        found = find().await?;
    }
    app.seal.unseal(&found.ok_or(Error::Internal)?).map_err(|_| Error::Internal)
}

async fn make(app: &App, purpose: &'static str, kid: &str, plain: &[u8]) -> Result<(), Error> {
    let sealed = app.seal.seal(purpose, kid, plain)?;
    let key = SealedKey { kid: kid.to_owned(), purpose: purpose.to_owned(), slot: 1, sealed };
    app.perform(Make(key), &By::system()).await?.into_inner();
    Ok(())
}

struct Make(SealedKey);

impl Operation for Make {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        if !sealed_keys::insert(tx, &self.0, now).await? {
            return Ok(Change::nothing(()));
        }
        Ok(Change::new((), [audit("key.made", &self.0)]))
    }
}

struct Reseal {
    key: SealedKey,
    sealed: Vec<u8>,
}

impl Operation for Reseal {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        if !sealed_keys::reseal(tx, &self.key, &self.sealed).await? {
            return Ok(Change::nothing(()));
        }
        Ok(Change::new((), [audit("key.sealed_again", &self.key)]))
    }
}

fn audit(event: &'static str, key: &SealedKey) -> Audit {
    Audit::new(event, Target::new("key", key.slot)).with(format!("{} {}", key.purpose, key.kid))
}
