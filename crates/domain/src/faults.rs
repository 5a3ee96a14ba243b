//! Mistakes in the protocol of revocation that its simulation, or the run with real processes, must find
//! (`docs/protocols/revocation.md` 9.5). Not in any default build (T32).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// A mistake that can be switched on; what each of them breaks is in `docs/protocols/revocation.md` 9.5.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])* $name),+ }

        impl Mutant {
            /// Every mistake, in the order of the rules that they break.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word by which a test or the environment names it, such as `no_wait`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }
        }
    };
}

mutants! {
    // Answering
    NoLeaseCheck = "no_lease_check",
    CachedClock = "cached_clock",
    NoFillGuard = "no_fill_guard",
    GuardByPosition = "guard_by_position",
    UnguardedJoin = "unguarded_join",
    ReplicaLookup = "replica_lookup",
    // Writing
    Sequence = "sequence",
    EntryBefore = "entry_before",
    EntryAfter = "entry_after",
    NoEntry = "no_entry",
    ApplicationCreatedUnmarked = "application_created_unmarked",
    ApplicationDeletedUnmarked = "application_deleted_unmarked",
    ApplicationNarrowedUnmarked = "application_narrowed_unmarked",
    SecretRenewedUnmarked = "secret_renewed_unmarked",
    SelectedRevokedUnmarked = "selected_revoked_unmarked",
    GroupLeftUnmarked = "group_left_unmarked",
    GroupMovedUnmarked = "group_moved_unmarked",
    DeployTokenUnmarked = "deploy_token_unmarked",
    JobTokenUnmarked = "job_token_unmarked",
    // Waiting
    NoWait = "no_wait",
    TimerBeforeCommit = "timer_before_commit",
    RepeatWithoutWait = "repeat_without_wait",
    RowRemovedAtOnce = "row_removed_at_once",
    RowRemovedBySomebodyLate = "row_removed_by_somebody_late",
    ConnectionKept = "connection_kept",
    // Following
    LeaseFromReply = "lease_from_reply",
    SeenBeforeApply = "seen_before_apply",
    LeaseBeforeRegistration = "lease_before_registration",
    OwnRowNotChecked = "own_row_not_checked",
    MarkCleared = "mark_cleared",
    RowRemovedBeforeLease = "row_removed_before_lease",
    MarkOfEntryIgnored = "mark_of_entry_ignored",
    UnconditionalSeen = "unconditional_seen",
}

/// Which one is switched on, for all parts of one node.
#[derive(Clone, Debug, Default)]
pub struct Mutants(Arc<AtomicU8>);

impl Mutants {
    /// Switches this one on, and any other off. `None`: all off.
    pub fn set(&self, mutant: Option<Mutant>) {
        self.0.store(mutant.map_or(0, |mutant| mutant as u8 + 1), Ordering::SeqCst);
    }

    /// Whether exactly this one is switched on.
    pub fn is(&self, mutant: Mutant) -> bool {
        self.0.load(Ordering::Relaxed) == mutant as u8 + 1
    }

    /// By its code; for a process that is told by its environment.
    pub fn named(code: &str) -> Option<Mutant> {
        Mutant::ALL.iter().copied().find(|mutant| mutant.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_at_a_time_is_switched_on_by_its_code() {
        let mutants = Mutants::default();
        let on = || Mutant::ALL.iter().copied().filter(|mutant| mutants.is(*mutant)).collect::<Vec<_>>();
        assert_eq!(on(), []);
        for mutant in Mutant::ALL.iter().copied() {
            mutants.clone().set(Mutants::named(mutant.code()));
            assert_eq!(on(), [mutant]);
        }
        mutants.set(None);
        assert_eq!((on(), Mutants::named("nonsense")), (vec![], None));
        assert_eq!(Mutants::named("no_wait"), Some(Mutant::NoWait));
    }
}
