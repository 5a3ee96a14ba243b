//! A secret is presented for rotation, and its holder is given a successor (`docs/protocols/rotation.md`).
//!
//! [`tollhouse_domain::rotation::decide`] says what is to happen; here it happens, by compare and set. Whoever loses
//! a race decides again. Personal access tokens and OAuth refresh tokens differ in what a successor is, and in
//! nothing else.

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::GenerationId;
use tollhouse_domain::rotation::{Outcome, Settings, decide};
use tollhouse_domain::secret::random;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::audit_events;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::token_families::{self, EndReason, FamilyKind, Generation};
use tollhouse_store::tx::{Change, Tx};

use crate::operations::Failed;

/// What a successor is.
pub trait RotationKind: Sync {
    /// Which table its generations stand in.
    const KIND: FamilyKind;
    /// What the presenter gets.
    type Successor: Send + 'static;

    /// Makes one. Without a salt its secret is random, and cannot be derived again.
    fn succeed(
        &self,
        tx: &mut Tx,
        salt: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(GenerationId, Self::Successor), Failed>> + Send;

    /// The one there is, told again; `None`: what was derived is not the head.
    fn repeat(
        &self,
        tx: &mut Tx,
        head: GenerationId,
        salt: &[u8; 32],
    ) -> impl Future<Output = Result<Option<Self::Successor>, Failed>> + Send;
}

/// The settings of rotation.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a lost answer is repaired.
    pub settings: Settings,
    /// `compat.rotation = "gitlab"`: no salts, so no repeats.
    pub gitlab: bool,
}

/// What the presenter is told.
pub enum Rotated<S> {
    /// A new one, or the same again after a lost answer.
    Successor(S),
    /// Not now (rule 4).
    Wait {
        /// The first instant at which it is decided: `Retry-After`.
        until: Timestamp,
    },
    /// The family has ended, before or by this very attempt.
    Dead,
}

/// Decides about a presented generation, and does what was decided (rotation.md section 3). The caller has checked all
/// that comes before it (rule 1).
pub async fn rotate<L: RotationKind>(
    line: &L,
    tx: &mut Tx,
    presented: &Generation,
    rules: Rules,
    now: Timestamp,
) -> Result<Change<Rotated<L::Successor>>, Failed> {
    #[cfg(feature = "faults")]
    let rules = broken(rules, tx.bug());
    match decide(presented.presented, rules.settings, now) {
        Outcome::New => succeed(line, tx, presented, rules, false, now).await,
        // Without repeats everything but the head is refused.
        _ if rules.gitlab => Ok(Change::already(Rotated::Dead)),
        Outcome::Replace => succeed(line, tx, presented, rules, true, now).await,
        Outcome::Same => repeat(line, tx, presented, now).await,
        Outcome::Wait { until } => Ok(Change::nothing(Rotated::Wait { until })),
        // Somebody else's theft may have ended it a moment ago: no refusal says so before everybody knows (W5).
        Outcome::Refuse => Ok(Change::already(Rotated::Dead)),
        Outcome::Theft => {
            if !token_families::end(tx, presented.family, EndReason::Theft, now).await? {
                return Err(StoreError::Clash.into());
            }
            let before = audit_events::last_address(tx, "token_family", presented.family.0).await?;
            let before = before.unwrap_or_else(|| "unknown".to_owned());
            let detail = format!("generation {}; its family was last rotated from {before}", presented.id);
            Ok(Change::new(Rotated::Dead, [audit("token.reuse_detected", presented).with(detail)]))
        }
    }
}

/// Rules 2 and 5.
async fn succeed<L: RotationKind>(
    line: &L,
    tx: &mut Tx,
    old: &Generation,
    rules: Rules,
    replace: bool,
    now: Timestamp,
) -> Result<Change<Rotated<L::Successor>>, Failed> {
    tx.room_to_grow()?;
    let salt: Option<[u8; 32]> = (!rules.gitlab).then(random);
    let (id, successor) = line.succeed(tx, salt.as_ref(), now).await?;
    let head = old.head.unwrap_or(old.id);
    if !token_families::rotate(tx, L::KIND, old, (head, id), replace, salt.as_ref(), now).await? {
        return Err(StoreError::Clash.into());
    }
    if replace {
        token_families::set_replaced(tx, L::KIND, head, now).await?;
    }
    let event = if replace { "token.successor_replaced" } else { "token.rotated" };
    let audit = audit(event, old).with(format!("generation {} to {id}", old.id));
    Ok(Change::new(Rotated::Successor(successor), [audit]))
}

/// Rules 3 and 10: the same successor again, whether it was used or not.
async fn repeat<L: RotationKind>(
    line: &L,
    tx: &mut Tx,
    old: &Generation,
    now: Timestamp,
) -> Result<Change<Rotated<L::Successor>>, Failed> {
    let (Some(head), Some(salt)) = (old.head, old.salt) else {
        return Err(Failed::Undecided);
    };
    let Some(successor) = line.repeat(tx, head, &salt).await? else { return Err(StoreError::Clash.into()) };
    if !token_families::set_handed(tx, L::KIND, old.id, &salt, now).await? {
        return Err(StoreError::Clash.into());
    }
    let audit = audit("token.rotation_repeated", old).with(format!("generation {}", old.id));
    // Whoever is given it takes the old one for dead, and the first one's wait may have ended with its caller.
    Ok(Change::again(Rotated::Successor(successor), [audit]))
}

fn audit(event: &'static str, generation: &Generation) -> Audit {
    Audit::new(event, Target::new("token_family", generation.family.0))
}

/// The rules with one of them left out, for the model that must notice it.
#[cfg(feature = "faults")]
fn broken(mut rules: Rules, bug: Option<tollhouse_store::faults::Bug>) -> Rules {
    use std::time::Duration;
    use tollhouse_store::faults::Bug;
    match bug {
        Some(Bug::NoWindow) => rules.settings.window = Duration::ZERO,
        Some(Bug::NoSettle) => rules.settings.settle = Duration::ZERO,
        Some(Bug::BlindUpdate | Bug::None) | None => {}
    }
    rules
}
