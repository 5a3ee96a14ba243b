//! What was asked and answered, and whether that may be (`docs/protocols/revocation.md` section 1 and 9.2).

use std::collections::BTreeMap;

/// A credential, the account that credentials belong to, the secret of a client, or an account as a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Token(u64),
    /// A deploy token or a job token.
    Narrow(u64),
    Owner(u64),
    Secret(u64, u64),
    /// The scope that a client loses when it is narrowed.
    Scope(u64),
    Member(u64),
    /// The path of the group, which leads to it or to nothing.
    GroupPath,
}

/// Something that gives rights to subjects, or takes them.
#[derive(Clone, Debug)]
pub struct Operation {
    pub started: u64,
    /// When it became true, if it did.
    pub committed: Option<u64>,
    /// When its caller was told so.
    pub acknowledged: Option<u64>,
    /// A restore has undone it; it may have been seen by somebody.
    pub undone: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// All of these must have their rights.
    pub subjects: [Option<Subject>; 2],
    /// For whoever reads what was found.
    #[expect(dead_code)]
    pub node: usize,
    pub started: u64,
    pub ended: u64,
    pub accepted: bool,
}

#[derive(Debug, Default)]
pub struct History {
    operations: BTreeMap<u64, Operation>,
    /// Whether it gives.
    of: BTreeMap<Subject, Vec<(u64, bool)>>,
    pub accepted: u64,
    pub refused: u64,
    pub acknowledged: u64,
}

impl History {
    pub fn begin(&mut self, id: u64, subject: Subject, gives: bool, now: u64) {
        let operation = Operation { started: now, committed: None, acknowledged: None, undone: false };
        self.operations.entry(id).or_insert(operation);
        self.of.entry(subject).or_default().push((id, gives));
    }

    pub fn commit(&mut self, id: u64, now: u64) {
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.committed = Some(now);
        }
    }

    pub fn acknowledge(&mut self, id: u64, now: u64) {
        if let Some(operation) = self.operations.get_mut(&id) {
            // A repeat that found the work done counts from now.
            operation.committed.get_or_insert(now);
            operation.acknowledged = Some(now);
            self.acknowledged += 1;
        }
    }

    /// The database is as it was then; what happened in that very moment may be in the copy or not.
    pub fn restored(&mut self, to: u64) {
        for operation in self.operations.values_mut() {
            operation.undone |= operation.committed.is_none_or(|at| at >= to);
        }
    }

    /// Whether an answer is one that may be given. What is wrong with it, if not.
    pub fn judge(&mut self, check: Check) -> Result<(), String> {
        *(if check.accepted { &mut self.accepted } else { &mut self.refused }) += 1;
        let rights: Vec<_> = check.subjects.into_iter().flatten().map(|of| self.certainly(of, &check)).collect();
        if check.accepted && rights.contains(&Some(false)) {
            return Err(format!("accepted after an acknowledged revocation: {check:?}\n{}", self.tell(&check)));
        }
        if !check.accepted && rights.iter().all(|right| *right == Some(true)) {
            return Err(format!("refused after an acknowledged creation: {check:?}\n{}", self.tell(&check)));
        }
        Ok(())
    }

    /// Whether the subject has its rights throughout the check; `None`: it is not certain.
    fn certainly(&self, subject: Subject, check: &Check) -> Option<bool> {
        let ids = self.of.get(&subject)?;
        let known: Vec<_> = ids.iter().filter_map(|(id, gives)| Some((self.operations.get(id)?, *gives))).collect();
        let (last, gives) = known
            .iter()
            .filter(|(op, _)| !op.undone && op.acknowledged.is_some_and(|at| at < check.started))
            .max_by_key(|(op, _)| op.committed)?;
        // Whatever else may have happened since makes it uncertain.
        let contested = known.iter().any(|(op, other)| {
            let later = op.committed.is_none_or(|at| Some(at) > last.committed);
            other != gives && op.started < check.ended && (later || op.undone)
        });
        (!contested).then_some(*gives)
    }

    fn tell(&self, check: &Check) -> String {
        let ids = check.subjects.iter().flatten().filter_map(|subject| self.of.get(subject)).flatten();
        let told = |(id, gives): &(u64, bool)| {
            let what = if *gives { "gives" } else { "takes" };
            Some(format!("  {id} {what}: {:?}", self.operations.get(id)?))
        };
        ids.filter_map(told).collect::<Vec<_>>().join("\n")
    }
}

/// The checker itself is checked with histories written by hand.
pub fn bad_histories() {
    let history = |operations: &[(bool, u64, Option<u64>, Option<u64>)]| {
        let mut history = History::default();
        history.begin(1000, Subject::Owner(1), true, 0);
        history.acknowledge(1000, 1);
        for (id, (gives, started, committed, acknowledged)) in (0..).zip(operations) {
            history.begin(id, Subject::Token(7), *gives, *started);
            committed.iter().for_each(|at| history.commit(id, *at));
            acknowledged.iter().for_each(|at| history.acknowledge(id, *at));
        }
        history
    };
    let subjects = [Some(Subject::Token(7)), Some(Subject::Owner(1))];
    let check = |started, ended, accepted| Check { subjects, node: 0, started, ended, accepted };
    let made = (true, 1, Some(2), Some(3));
    let revoked = (false, 10, Some(12), Some(20));
    let both = || history(&[made, revoked]);
    assert!(both().judge(check(21, 22, true)).is_err(), "accepted after the acknowledgement");
    assert!(both().judge(check(19, 40, true)).is_ok(), "begun before it");
    assert!(both().judge(check(21, 22, false)).is_ok());
    assert!(both().judge(check(5, 6, false)).is_err(), "refused though nobody had revoked it");
    assert!(both().judge(check(5, 11, false)).is_ok(), "the revocation had begun");
    assert!(history(&[made, (false, 10, Some(12), None)]).judge(check(50, 51, true)).is_ok(), "never acknowledged");
    assert!(history(&[made, (false, 10, Some(12), None)]).judge(check(50, 51, false)).is_ok());
    assert!(history(&[(true, 1, Some(2), None)]).judge(check(50, 51, false)).is_ok(), "nor was its creation");
    let mut undone = both();
    undone.restored(11);
    assert!(undone.judge(check(21, 22, true)).is_ok(), "the revocation is lost in the truth itself");
    let again = || history(&[made, revoked, (false, 30, Some(31), Some(35))]);
    assert!(again().judge(check(36, 37, true)).is_err());
}
