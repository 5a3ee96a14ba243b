//! Random faults.

use super::{Event, MILLI, SECOND, SimulatedNetwork};
use crate::simulation::database::Database;
use crate::simulation::randomness::Randomness;

/// How rough it is, in thousandths: most of it each tenth of a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) theme: Theme,
    /// A node stands still.
    stops: u64,
    crashes: u64,
    pub(super) cuts: u64,
    restores: u64,
    /// A message takes its time.
    pub(super) slow: u64,
    pub(super) lost_wakes: u64,
    /// One revocation follows the other.
    pub(super) bursts: u64,
}

/// What goes wrong more often than the rest. From [`Theme::LateAnswers`] on it goes wrong by plan, again and again, since
/// at random it hardly ever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Theme {
    Calm,
    Mixed,
    Stops,
    Crashes,
    Cuts,
    /// Answers to look-ups come late.
    LateAnswers,
    /// Two revocations begin together, and the first is slow to commit.
    Pairs,
    /// A node reads just before a revocation, hears of it long after, and then stands still.
    LateReply,
    /// Nodes come and go.
    Joins,
    /// One node stands still for about as long as others wait for it, and its messages take their time.
    Laggard,
    /// One that was given up comes back just before the next one gives it up.
    Comeback,
    /// The database comes back as it was a moment ago, and numbers are used again at once.
    Restore,
    /// The same, while an answer of the old history is on its way, and the very token goes under the very number.
    Rewind,
    /// The same, while nodes still say how far they came in the old history.
    LateWord,
}

impl Theme {
    const ALL: [Self; 14] = [
        Self::Calm,
        Self::Mixed,
        Self::Stops,
        Self::Crashes,
        Self::Cuts,
        Self::LateAnswers,
        Self::Pairs,
        Self::LateReply,
        Self::Joins,
        Self::Laggard,
        Self::Comeback,
        Self::Restore,
        Self::Rewind,
        Self::LateWord,
    ];

    /// A real database is not restored here.
    fn possible(database: &Database) -> &'static [Self] {
        match database {
            Database::Memory(_) => &Self::ALL,
            Database::Store(_) => &Self::ALL[..11],
        }
    }

    /// The theme that a seed begins with; others follow.
    pub fn first(seed: u64, database: &Database) -> Self {
        let possible = Self::possible(database);
        possible[(seed % possible.len() as u64) as usize]
    }

    pub(super) fn is_drill(self) -> bool {
        self >= Self::LateAnswers
    }
}

impl Weather {
    pub(super) fn of(theme: Theme, randomness: &mut Randomness) -> Self {
        let mut some = |most: u64| randomness.below(most);
        let still = Self { theme, stops: 0, crashes: 0, cuts: 0, restores: 0, slow: 0, lost_wakes: 0, bursts: 0 };
        let mild = Self {
            stops: some(25),
            crashes: some(20),
            cuts: some(30),
            slow: some(100),
            lost_wakes: some(1_000),
            bursts: some(500),
            ..still
        };
        match theme {
            Theme::Calm => still,
            Theme::Mixed => Self { restores: some(6), ..mild },
            Theme::Stops => Self { stops: 20 + some(40), slow: some(40), ..mild },
            Theme::Crashes => Self { crashes: 30 + some(40), ..mild },
            Theme::Cuts => Self { cuts: 30 + some(60), ..mild },
            Theme::LateAnswers => Self { slow: some(50), bursts: 500, ..still },
            Theme::Pairs | Theme::LateReply | Theme::Joins | Theme::Rewind => Self { slow: some(20), ..still },
            Theme::Laggard | Theme::Comeback => Self { lost_wakes: 700, ..still },
            Theme::Restore => Self { slow: some(200), lost_wakes: 900, ..still },
            Theme::LateWord => Self { lost_wakes: some(500), ..still },
        }
    }
}

impl SimulatedNetwork {
    /// The next season.
    pub(super) fn turn(&mut self) {
        let theme = self.randomness.pick(Theme::possible(&self.database)).unwrap_or(Theme::Mixed);
        self.weather = Weather::of(theme, &mut self.randomness);
        self.season += 1;
        self.after(100 * MILLI, Event::Drill(self.season));
    }

    /// Nothing has ever gone wrong.
    pub(super) fn all_was_well(&self) -> bool {
        self.season == 0 && self.weather.theme == Theme::Calm
    }

    pub(super) fn storm(&mut self) {
        self.after(if self.weather.theme.is_drill() { SECOND } else { 100 * MILLI }, Event::Weather);
        self.copy();
        if self.randomness.often(30) {
            let keep = self.randomness.between(1, 40) as usize;
            if let Some(memory) = self.database.as_memory() {
                memory.truth.trim(keep);
            }
        }
        let Some(n) = self.somewhere() else { return self.start() };
        if self.randomness.often(self.weather.stops) {
            let most = if self.randomness.often(500) { 6 * SECOND } else { 2 * SECOND };
            let stop = self.randomness.between(20 * MILLI, most);
            self.nodes[n].stopped_until = self.now + stop;
        }
        if self.randomness.often(self.weather.cuts) {
            let cut = self.randomness.between(20 * MILLI, 4 * SECOND);
            self.cut(n, cut);
        }
        if self.randomness.often(self.weather.crashes) {
            self.die(n);
        } else if self.randomness.often(self.weather.crashes) && self.alive().len() > 1 && !self.nodes[n].is_leaving() {
            self.leave(n);
        }
        let status = self.alive().iter().filter(|n| !self.nodes[**n].is_leaving()).count();
        if status < 3 && self.randomness.often(60) {
            self.start();
        }
        if self.randomness.often(self.weather.restores) {
            self.restore(None);
        }
    }

    pub(super) fn copy(&mut self) {
        let now = self.now;
        let Some(memory) = self.database.as_memory() else { return };
        memory.copies.push((now, memory.truth.clone()));
        if memory.copies.len() > 20 {
            memory.copies.remove(0);
        }
    }
}
