//! What happens to a token that is presented for rotation: the rule of `docs/protocols/rotation.md` section 2, as
//! one pure function. A lost answer must not lock an honest client out, and a thief must not stay unseen.

use std::time::Duration;

use crate::time::Timestamp;

/// The presented token, as its row and its family's say.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// Where in its family it is.
    pub place: FamilyPosition,
    /// Whether the family was revoked, or ended by theft.
    pub family_ended: bool,
    /// Whether the family's head has been used.
    pub head_used: bool,
    /// When it got its present successor.
    pub rotated_at: Option<Timestamp>,
    /// When that successor was last handed out.
    pub handed_at: Option<Timestamp>,
    /// When the family's head was made. `None`: of a kind that does not end by lying idle.
    pub head_made_at: Option<Timestamp>,
}

/// What the presented secret is in its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyPosition {
    /// The newest generation, which is live.
    Head,
    /// The head succeeded it.
    PredecessorOfHead,
    /// Anything else in the family: a still older one, or a successor that was replaced.
    Other,
}

/// What happens to it. The numbers are those of rotation.md section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Rule 2: a successor is made.
    New,
    /// Rule 3: the same successor again.
    Same,
    /// Rule 5: nobody has shown to hold the successor, so it dies and the presenter gets a fresh one.
    Replace,
    /// Rule 4: nothing is replaced and nothing dies before then.
    Wait {
        /// The first instant at which it is decided anew.
        until: Timestamp,
    },
    /// The family has ended: refused, and nothing changes.
    Refuse,
    /// Rule 6: the family ends.
    Theft,
}

/// How long a lost answer is repaired (rotation.md section 7).
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For this long after a rotation its predecessor gets the same successor again.
    pub window: Duration,
    /// For this long after a successor was handed out nothing is replaced and nothing dies.
    pub settle: Duration,
    /// How long a head may wait for its own rotation (rule 15). `None`: no limit.
    pub idle: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window: Duration::from_secs(120), settle: Duration::from_secs(120), idle: None }
    }
}

impl Presented {
    /// When the whole family is dead because nobody rotated its head (rule 15).
    pub fn idle_from(&self, settings: Settings) -> Option<Timestamp> {
        Some(self.head_made_at? + settings.idle?)
    }

    /// Whether the head was left unrotated for too long (rule 15).
    pub fn is_idle(&self, settings: Settings, now: Timestamp) -> bool {
        self.idle_from(settings).is_some_and(|from| from <= now)
    }
}

/// The rule. It changes nothing; the caller carries the outcome out by compare and set.
pub fn decide(presented: Presented, settings: Settings, now: Timestamp) -> Outcome {
    if presented.family_ended || presented.is_idle(settings, now) {
        return Outcome::Refuse;
    }
    let (rotated_at, handed_at) = match (presented.place, presented.rotated_at, presented.handed_at) {
        (FamilyPosition::Head, ..) => return Outcome::New,
        // A successor that was replaced has never been rotated itself.
        (_, Some(rotated_at), Some(handed_at)) => (rotated_at, handed_at),
        _ => return Outcome::Theft,
    };
    let window_ends = rotated_at + settings.window;
    let settled = handed_at + settings.settle;
    let within_window = now < window_ends;
    match presented.place {
        FamilyPosition::PredecessorOfHead if within_window => Outcome::Same,
        FamilyPosition::Other if within_window => Outcome::Wait { until: window_ends.max(settled) },
        _ if now < settled => Outcome::Wait { until: settled },
        FamilyPosition::PredecessorOfHead if !presented.head_used => Outcome::Replace,
        _ => Outcome::Theft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(T + seconds * 1000)
    }

    /// At 0, and nobody has used the successor.
    fn rotated(place: FamilyPosition) -> Presented {
        let (rotated_at, handed_at) = (Some(at(0)), Some(at(0)));
        Presented { place, family_ended: false, head_used: false, rotated_at, handed_at, head_made_at: Some(at(0)) }
    }

    fn outcome(place: FamilyPosition, handed: i64, head_used: bool, now: i64) -> Outcome {
        let presented = Presented { head_used, handed_at: Some(at(handed)), ..rotated(place) };
        decide(presented, Settings::default(), at(now))
    }

    #[test]
    fn every_row_of_the_table_at_each_bound_and_a_second_either_side() {
        use FamilyPosition::{Head, Other, PredecessorOfHead};
        use Outcome::{New, Refuse, Replace, Same, Theft, Wait};
        for used in [false, true] {
            assert_eq!(outcome(Head, 0, used, 10_000), New);
            for now in [0, 1, 119] {
                assert_eq!(outcome(PredecessorOfHead, 0, used, now), Same, "used or not");
                assert_eq!(outcome(Other, 0, used, now), Wait { until: at(120) });
            }
            let late = if used { Theft } else { Replace };
            assert_eq!(outcome(PredecessorOfHead, 0, used, 120), late);
            assert_eq!(outcome(PredecessorOfHead, 0, used, 121), late);
            // A repeat at 119 s lengthens the settling, not the window.
            assert_eq!(outcome(PredecessorOfHead, 119, used, 120), Wait { until: at(239) });
            assert_eq!(outcome(PredecessorOfHead, 119, used, 238), Wait { until: at(239) });
            assert_eq!(outcome(PredecessorOfHead, 119, used, 239), late);
            assert_eq!(outcome(PredecessorOfHead, 119, used, 240), late);
            assert_eq!(outcome(Other, 0, used, 120), Theft);
            assert_eq!(outcome(Other, 119, used, 200), Wait { until: at(239) });
            assert_eq!(outcome(Other, 119, used, 239), Theft);
        }
        let replaced = Presented { rotated_at: None, handed_at: None, ..rotated(Other) };
        assert_eq!(decide(replaced, Settings::default(), at(0)), Theft);
        for place in [Head, PredecessorOfHead, Other] {
            let ended = Presented { place, family_ended: true, ..replaced };
            assert_eq!(decide(ended, Settings::default(), at(0)), Refuse);
        }
    }

    #[test]
    fn without_a_window_nothing_is_repeated_and_nobody_is_locked_out() {
        let settings = Settings { window: Duration::ZERO, ..Settings::default() };
        let presented = rotated(FamilyPosition::PredecessorOfHead);
        assert_eq!(decide(presented, settings, at(0)), Outcome::Wait { until: at(120) });
        assert_eq!(decide(presented, settings, at(120)), Outcome::Replace);
    }

    #[test]
    fn a_family_whose_head_lay_idle_is_dead_and_that_is_no_theft() {
        let settings = Settings { idle: Some(Duration::from_secs(1_000)), ..Settings::default() };
        let used = |place| Presented { head_used: true, ..rotated(place) };
        for (place, before) in [
            (FamilyPosition::Head, Outcome::New),
            (FamilyPosition::PredecessorOfHead, Outcome::Theft),
            (FamilyPosition::Other, Outcome::Theft),
        ] {
            assert_eq!(decide(used(place), settings, at(999)), before);
            assert_eq!(decide(used(place), settings, at(1_000)), Outcome::Refuse, "{place:?}");
            let other_kind = Presented { head_made_at: None, ..used(place) };
            assert_eq!(decide(other_kind, settings, at(1_000)), before, "{place:?}");
        }
        assert_eq!(decide(rotated(FamilyPosition::PredecessorOfHead), settings, at(119)), Outcome::Same);
        assert_eq!(decide(rotated(FamilyPosition::PredecessorOfHead), settings, at(999)), Outcome::Replace);
    }

    #[test]
    fn with_a_long_window_an_older_secret_waits_for_its_end() {
        use FamilyPosition::{Other, PredecessorOfHead};
        let settings = Settings { window: Duration::from_secs(300), ..Settings::default() };
        for (place, now, outcome) in [
            (PredecessorOfHead, 200, Outcome::Same),
            (PredecessorOfHead, 300, Outcome::Replace),
            (Other, 100, Outcome::Wait { until: at(300) }),
            (Other, 200, Outcome::Wait { until: at(300) }),
            (Other, 299, Outcome::Wait { until: at(300) }),
            (Other, 300, Outcome::Theft),
        ] {
            assert_eq!(decide(rotated(place), settings, at(now)), outcome, "{place:?} at {now}");
        }
    }
}
