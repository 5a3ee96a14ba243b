//! Whether what was answered may be answered (`docs/protocols/revocation.md` sections 1 and 9.2).
//!
//! The simulation knows when an operation became true. Here nobody does: it was at some moment after the operation
//! began, and before it was acknowledged or could happen no more. What is said of a check is what holds wherever those
//! moments were. Every moment is read by one process from one clock (CLOCK_MONOTONIC), so a check can be judged the
//! moment it ends: whatever was acknowledged before it began is written down by then.

use std::cell::RefCell;
use std::fmt::Write;
use std::time::Duration;

/// Since the run began, in nanoseconds.
pub type Moment = u64;

/// An operation that gives rights to a subject, or takes them.
#[derive(Clone, Debug)]
struct Effect {
    id: u64,
    what: String,
    gives: bool,
    started: Moment,
    /// From then on it cannot happen any more. `None`: somebody may still have it under way.
    over: Option<Moment>,
    /// Its caller was told, when it was over.
    acknowledged: bool,
    /// Nobody waits for it any more, and it cannot outlive one of its kind that began later.
    abandoned: bool,
}

/// What happened to a subject: a secret, all that grew from one token, or an account.
#[derive(Debug, Default)]
pub struct Story {
    effects: RefCell<Vec<Effect>>,
}

/// Everything that gives one right or takes it, as several stories tell it.
pub type Subject<'a> = &'a [&'a Story];

/// A credential that was shown.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was asked with, and where.
    pub what: String,
    pub started: Moment,
    pub ended: Moment,
    pub accepted: bool,
}

/// What there is to say of a check.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It had to be answered like this.
    Right,
    /// It was answered while something was happening, so either answer is right.
    Open,
    Wrong(String),
}

impl Story {
    /// Something begins that gives the right or takes it.
    pub fn begin(&self, what: impl Into<String>, gives: bool, now: Moment) -> u64 {
        let mut effects = self.effects.borrow_mut();
        let id = effects.last().map_or(0, |last| last.id + 1);
        let what = what.into();
        effects.push(Effect { id, what, gives, started: now, over: None, acknowledged: false, abandoned: false });
        id
    }

    pub fn acknowledge(&self, id: u64, now: Moment) {
        self.change(id, |effect| (effect.over, effect.acknowledged) = (Some(now), true));
        let mut effects = self.effects.borrow_mut();
        let Some(done) = effects.iter().find(|effect| effect.id == id).cloned() else { return };
        let older = effects.iter_mut().filter(|effect| effect.abandoned && effect.gives == done.gives);
        for effect in older.filter(|effect| effect.over.is_none() && effect.started < done.started) {
            effect.over = Some(now);
        }
    }

    /// Whoever asked for it in this process went away. What it had begun holds a lock, or is undone: so it is over, one
    /// way or the other, when the same has been done again.
    pub fn abandon(&self, id: u64) {
        self.change(id, |effect| effect.abandoned = true);
    }

    /// Whether nothing else that takes the right has begun so far.
    pub fn is_first(&self, id: u64) -> bool {
        !self.effects.borrow().iter().any(|effect| !effect.gives && effect.id != id)
    }

    /// Whether it happened is not known; that it will happen no more, is.
    pub fn fail(&self, id: u64, now: Moment) {
        self.change(id, |effect| effect.over = Some(now));
    }

    /// It was refused, so it did nothing.
    pub fn cancel(&self, id: u64) {
        self.effects.borrow_mut().retain(|effect| effect.id != id);
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Effect)) {
        if let Some(effect) = self.effects.borrow_mut().iter_mut().find(|effect| effect.id == id) {
            change(effect);
        }
    }

    /// When the right was last taken for certain, if nothing has given it back since.
    pub fn taken(&self) -> Option<Moment> {
        let effects = self.effects.borrow();
        let taken = effects.iter().filter(|effect| !effect.gives && effect.acknowledged);
        let last = taken.max_by_key(|effect| effect.over)?;
        let given = effects.iter().any(|effect| effect.gives && effect.over.is_none_or(|over| over > last.started));
        (!given).then_some(last.over?)
    }

    /// Forgets what no check that is still under way can depend on: what was over before something else began that was
    /// acknowledged before `then`.
    pub fn forget(&self, then: Moment) {
        let mut effects = self.effects.borrow_mut();
        let settled = effects.iter().filter(|effect| effect.acknowledged && effect.over.is_some_and(|at| at < then));
        let Some(began) = settled.map(|effect| effect.started).max() else { return };
        effects.retain(|effect| effect.over.is_none_or(|over| over >= began));
    }
}

/// Whether a right stood through the whole of a check; `None`: that is not certain.
fn certainly(subject: Subject<'_>, check: &Check) -> Option<bool> {
    let effects: Vec<Effect> = subject.iter().flat_map(|story| story.effects.borrow().clone()).collect();
    let undone = |by: &Effect| {
        let after = |other: &Effect| other.over.is_none_or(|over| over > by.started);
        effects.iter().any(|other| other.gives != by.gives && other.started < check.ended && after(other))
    };
    let settled =
        effects.iter().filter(|effect| effect.acknowledged && effect.over.is_some_and(|at| at < check.started));
    settled.filter(|effect| !undone(effect)).map(|effect| effect.gives).next()
}

/// A credential is accepted while all of these stand, and then alone.
pub fn judge(check: &Check, subjects: &[Subject<'_>]) -> Verdict {
    let rights: Vec<Option<bool>> = subjects.iter().map(|subject| certainly(subject, check)).collect();
    let gone = rights.contains(&Some(false));
    let stands = rights.iter().all(|right| *right == Some(true));
    match (check.accepted, gone, stands) {
        (true, true, _) => Verdict::Wrong(tell("accepted after an acknowledged revocation", check, subjects)),
        (false, _, true) => Verdict::Wrong(tell("refused though nothing had revoked it", check, subjects)),
        (true, _, true) | (false, true, _) => Verdict::Right,
        _ => Verdict::Open,
    }
}

fn tell(what: &str, check: &Check, subjects: &[Subject<'_>]) -> String {
    let at = |moment: Moment| format!("{:.3}", moment as f64 / 1e6);
    let mut text = format!("{what}: {} from {} to {} ms", check.what, at(check.started), at(check.ended));
    for effect in subjects.iter().copied().flatten().flat_map(|story| story.effects.borrow().clone()) {
        let over = effect.over.map_or_else(|| "?".to_owned(), at);
        let how = if effect.acknowledged { "acknowledged" } else { "not acknowledged" };
        let _ = write!(text, "\n    {} from {} to {over} ms, {how}", effect.what, at(effect.started));
    }
    text
}

/// Whoever is told of in an answer to a credential of this person, if that is somebody else.
pub fn stranger(owner: &str, told: &serde_json::Value) -> Option<String> {
    match told["username"].as_str() {
        Some(name) if name == owner => None,
        name => Some(format!("a credential of {owner} is taken for one of {name:?}")),
    }
}

/// A successor that somebody was given for a secret.
#[derive(Clone, Debug)]
pub struct Handed {
    pub started: Moment,
    pub ended: Moment,
    pub secret: String,
}

/// Two different successors of one secret within the time in which everybody gets the same one
/// (`docs/protocols/rotation.md` rule 3).
pub fn twins(handed: &[Handed], window: Duration) -> Option<(&Handed, &Handed)> {
    let near = |a: &Handed, b: &Handed| u128::from(a.ended.max(b.ended) - a.started.min(b.started)) < window.as_nanos();
    handed
        .iter()
        .enumerate()
        .find_map(|(n, a)| handed[..n].iter().find(|b| b.secret != a.secret && near(a, b)).map(|b| (b, a)))
}

/// The checker itself is checked with histories written by hand.
pub fn bad_histories() {
    let check = |started, ended, accepted| Check { what: "asked".to_owned(), started, ended, accepted };
    let (wrong, right) = (|v: Verdict| matches!(v, Verdict::Wrong(_)), |v: Verdict| v == Verdict::Right);
    // Whether it gives, from, to, and whether it was acknowledged then.
    let story = |effects: &[(bool, Moment, Option<Moment>, bool)]| {
        let story = Story::default();
        for (gives, started, over, acknowledged) in effects {
            let id = story.begin(if *gives { "given" } else { "taken" }, *gives, *started);
            match over {
                Some(over) if *acknowledged => story.acknowledge(id, *over),
                Some(over) => story.fail(id, *over),
                None => {}
            }
        }
        story
    };
    let made = (true, 1, Some(3), true);
    let taken = (false, 10, Some(20), true);
    let judged = |effects: &[_], check: Check| judge(&check, &[&[&story(effects)]]);
    let after = |effects: &[_], accepted| judged(effects, check(21, 22, accepted));

    assert!(wrong(after(&[made, taken], true)), "accepted after the acknowledgement");
    assert!(right(after(&[made, taken], false)));
    for accepted in [true, false] {
        assert_eq!(judged(&[made, taken], check(19, 40, accepted)), Verdict::Open, "begun before it");
        assert_eq!(judged(&[made, taken], check(5, 11, accepted)), Verdict::Open, "the revocation had begun");
        assert_eq!(after(&[made, (false, 10, None, false)], accepted), Verdict::Open, "never acknowledged");
        assert_eq!(after(&[made, (false, 10, Some(12), false)], accepted), Verdict::Open, "nor is it known of this");
        assert_eq!(after(&[(true, 1, None, false)], accepted), Verdict::Open, "nor was its creation");
        assert_eq!(after(&[made, taken, (true, 15, Some(17), true)], accepted), Verdict::Open, "which came last?");
        assert_eq!(after(&[made, taken, (true, 21, None, false)], accepted), Verdict::Open, "perhaps given back");
    }
    assert!(wrong(judged(&[made, taken], check(5, 6, false))), "refused though nobody had revoked it");
    assert!(right(judged(&[made, taken], check(5, 6, true))));
    assert!(wrong(after(&[made, taken, (true, 4, Some(9), true)], true)), "given back before it was taken");
    assert!(wrong(judged(&[made, taken, (true, 21, Some(30), true)], check(31, 32, false))), "given back");
    assert!(wrong(after(&[made, (false, 10, None, false), taken], true)), "the repeat was acknowledged");
    assert!(wrong(judged(&[made, taken, (true, 30, Some(31), true)], check(25, 29, true))), "between the two");

    let repeated = story(&[made]);
    let first = repeated.begin("taken", false, 10);
    repeated.abandon(first);
    let again = repeated.begin("taken", false, 12);
    assert!(!repeated.is_first(again) && story(&[made, taken]).is_first(1));
    repeated.acknowledge(again, 20);
    repeated.acknowledge(repeated.begin("given", true, 30), 31);
    assert!(wrong(judge(&check(40, 41, false), &[&[&repeated]])), "both are over when the second is");

    let (secret, family, owner) = (story(&[made]), story(&[made, taken]), story(&[(true, 0, Some(0), true)]));
    let all: &[Subject<'_>] = &[&[&secret], &[&family], &[&owner]];
    assert!(wrong(judge(&check(21, 22, true), all)), "what it grew from is gone");
    assert!(wrong(judge(&check(5, 6, false), all)), "all three stand");
    let blocked = story(&[(false, 10, Some(20), true)]);
    assert!(wrong(judge(&check(21, 22, true), &[&[&secret, &blocked], &[&owner]])), "two stories of one right");

    let long = story(&[made, taken, (true, 30, Some(31), true), (false, 40, Some(41), true)]);
    assert_eq!((long.taken(), secret.taken()), (Some(41), None));
    long.forget(42);
    assert_eq!(long.effects.borrow().len(), 1);
    assert!(wrong(judge(&check(50, 51, true), &[&[&long]])), "what counts is still known");

    assert!(stranger("ada", &serde_json::json!({ "username": "grace" })).is_some(), "read by another");
    assert!(stranger("ada", &serde_json::json!({ "id": 7 })).is_some(), "read by nobody knows whom");
    assert!(stranger("ada", &serde_json::json!({ "username": "ada" })).is_none());

    let handed = |started, ended, secret: &str| Handed { started, ended, secret: secret.to_owned() };
    let (a, b, window) = (handed(1, 5, "a"), handed(7, 9, "b"), Duration::from_nanos(100));
    assert!(twins(&[a.clone(), b], window).is_some(), "two successors");
    assert!(twins(&[a.clone(), handed(7, 9, "a")], window).is_none(), "the same one again");
    assert!(twins(&[a, handed(200, 201, "b")], window).is_none(), "nobody had used the first one for long");
}
