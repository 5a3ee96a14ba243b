//! Instants and days, and the only place that asks the system what time it is.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z. That is what the database holds and the finest the wire shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads ISO 8601: `2026-01-31T10:20:30Z`, with a fraction, or with another offset. Without an offset it is UTC, and a
    /// day alone is its first instant.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Some(Self(at.as_millisecond()));
        }
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        Some(Self(jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?.as_millisecond()))
    }

    /// The UTC day this instant falls on.
    pub fn date(self) -> Date {
        Date(self.0.div_euclid(MILLIS_PER_DAY).clamp(i32::MIN.into(), i32::MAX.into()) as i32)
    }

    /// ISO 8601 in UTC with milliseconds, `2026-01-31T10:20:30.123Z` (rest-api.md 1.2). What no calendar reaches is told as
    /// the nearest day that it does.
    pub fn iso(self) -> String {
        let millis = self.0.rem_euclid(MILLIS_PER_DAY);
        let mut text = String::with_capacity(24);
        self.date().write(&mut text);
        text.push('T');
        digits(&mut text, millis / 3_600_000, 2);
        text.push(':');
        digits(&mut text, millis / 60_000 % 60, 2);
        text.push(':');
        digits(&mut text, millis / 1_000 % 60, 2);
        text.push('.');
        digits(&mut text, millis, 3);
        text.push('Z');
        text
    }

    /// Whole seconds since 1970, rounded down: times of OAuth and OpenID Connect.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// `2026-01-31T10:20:30.123456789+00:00`
const LONGEST: usize = 35;

/// However long: what is set to a million years must not be over at once.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

/// A day in UTC, counted from 1970-01-01. Tokens end on days (authentication.md 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

impl Date {
    /// Reads `2026-01-31`; also the day of a full ISO 8601 date-time, which clients send where a date is asked.
    pub fn parse(text: &str) -> Option<Self> {
        let day = match text.split_once(['T', ' ']) {
            Some((day, rest)) if rest.len() >= 4 => day,
            Some(_) => return None,
            None => text,
        };
        if day.len() != 10 {
            return None;
        }
        let civil: jiff::civil::Date = day.parse().ok()?;
        let since = civil.since(EPOCH).ok()?;
        Some(Self(since.get_days()))
    }

    /// The first instant of the day.
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * MILLIS_PER_DAY)
    }

    /// That many days later, or earlier if negative; saturates.
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl Date {
    fn write(self, text: &mut String) {
        let (first, last) = (jiff::civil::Date::ZERO, jiff::civil::Date::MAX);
        let since = jiff::Span::new().try_days(self.0).ok();
        let nearest = if self.0 < 0 { first } else { last };
        let civil = since.and_then(|span| EPOCH.checked_add(span).ok()).unwrap_or(nearest).clamp(first, last);
        digits(text, civil.year().into(), 4);
        text.push('-');
        digits(text, civil.month().into(), 2);
        text.push('-');
        digits(text, civil.day().into(), 2);
    }
}

/// The last digits of a number, one by one: every answer about a user holds half a dozen instants.
fn digits(text: &mut String, number: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        text.push(char::from(b'0' + digit.unsigned_abs() as u8));
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(10);
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// The only source of now. Everything else takes a [`Timestamp`].
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Hand(Arc<AtomicI64>),
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until somebody moves it, for tests.
    pub fn by_hand(start: Timestamp) -> Self {
        Self(Source::Hand(Arc::new(AtomicI64::new(start.0))))
    }

    /// The present instant. Call it once per request and pass it on.
    #[allow(clippy::disallowed_methods)] // the one place
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Timestamp(since.map_or(0, |span| span.as_millis() as i64))
            }
            Source::Hand(millis) => Timestamp(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a clock made by [`Clock::by_hand`]; the system's stays where it is.
    pub fn advance(&self, span: Duration) {
        if let Source::Hand(millis) = &self.0 {
            millis.fetch_add(span.as_millis() as i64, Ordering::SeqCst);
        }
    }
}

const MILLIS_PER_DAY: i64 = 86_400_000;
const EPOCH: jiff::civil::Date = jiff::civil::date(1970, 1, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_in_several_ways() {
        let noon = Some("2026-01-31T12:00:00.000Z".to_owned());
        for (text, read) in [
            ("2026-01-31T12:00:00Z", noon.clone()),
            ("2026-01-31T12:00:00.000Z", noon.clone()),
            ("2026-01-31T14:00:00+02:00", noon.clone()),
            ("2026-01-31T12:00:00", noon.clone()),
            ("2026-01-31 12:00:00", noon.clone()),
            ("2026-01-31T12:00", noon),
            ("2026-01-31", Some("2026-01-31T00:00:00.000Z".to_owned())),
            ("2028-02-29", Some("2028-02-29T00:00:00.000Z".to_owned())),
            ("2026-02-29", None),
            ("2026-01-31T25:00:00Z", None),
            ("10000-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
            ("1769860800", None),
        ] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::iso), read, "{text}");
        }
        assert_eq!(Timestamp::parse(&format!("2026-01-31T12:00:00.{}Z", "0".repeat(99))), None);
    }

    #[test]
    fn a_long_time_is_not_a_short_one() {
        let now = Timestamp(1_769_854_830_123);
        let ages = Duration::from_secs(u64::MAX);
        assert!(now + ages > now && now - ages < now);
    }

    #[test]
    fn instants_and_days_are_printed_as_on_the_wire() {
        let at = Timestamp(1_769_854_830_123);
        assert_eq!(at.iso(), "2026-01-31T10:20:30.123Z");
        assert_eq!(at.date().to_string(), "2026-01-31");
        assert_eq!(Timestamp(-1).iso(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(-1).date().to_string(), "1969-12-31");
        for day in ["0000-01-01", "0001-01-01", "1970-01-01", "2024-02-29", "9999-12-30", "9999-12-31"] {
            let date = Date::parse(day).unwrap_or_else(|| panic!("{day}"));
            assert_eq!(date.to_string(), day);
            assert_eq!(date.start().iso(), format!("{day}T00:00:00.000Z"));
        }
        assert_eq!(Timestamp(i64::MAX).date().to_string().len(), 10, "never nothing");
    }

    #[test]
    fn days_are_read_strictly() {
        assert_eq!(Date::parse("2026-01-31"), Some(Date(20484)));
        assert_eq!(Date::parse("2026-01-31T10:00:00Z"), Some(Date(20484)));
        for bad in ["", "2026-02-30", "31-01-2026", "2026-1-1", "x", "2026-01-31Tx", "2026-01-31 "] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_day_beyond_the_calendar_is_printed_as_the_nearest_one() {
        for (date, text) in [
            (Date(i32::MIN), "0000-01-01"),
            (Date::parse("0000-01-01").expect("a day").plus_days(-1), "0000-01-01"),
            (Date::parse("9999-12-31").expect("a day").plus_days(1), "9999-12-31"),
            (Date(i32::MAX), "9999-12-31"),
        ] {
            assert_eq!(date.to_string(), text);
        }
        assert_eq!(Timestamp(i64::MIN).date(), Date(i32::MIN));
        assert_eq!(Timestamp(i64::MAX).date(), Date(i32::MAX));
    }

    #[test]
    fn a_day_is_read_from_a_date_time_that_has_at_least_a_time() {
        for (text, day) in [
            ("2026-01-31T10:0", Some(Date(20484))),
            ("2026-01-31 10:00", Some(Date(20484))),
            ("2026-01-31T10:", None),
            ("2026-01-31T", None),
        ] {
            assert_eq!(Date::parse(text), day, "{text}");
        }
        assert_eq!(Date(20484).plus_days(1), Date(20485));
        assert_eq!(Date(20484).plus_days(-1), Date(20483));
        assert_eq!(Date(i32::MAX).plus_days(1), Date(i32::MAX));
    }

    #[test]
    fn seconds_are_whole_and_rounded_down() {
        for (millis, seconds) in [(0, 0), (999, 0), (1_000, 1), (1_999, 1), (-1, -1), (-1_000, -1), (-1_001, -2)] {
            assert_eq!(Timestamp(millis).seconds(), seconds, "{millis}");
        }
    }

    #[test]
    fn a_clock_by_hand_stands_still_and_its_copies_move_with_it() {
        let clock = Clock::by_hand(Timestamp(5));
        let copy = clock.clone();
        assert_eq!((clock.now(), clock.now()), (Timestamp(5), Timestamp(5)));
        clock.advance(Duration::from_secs(2));
        assert_eq!((clock.now(), copy.now()), (Timestamp(2_005), Timestamp(2_005)));
    }

    #[test]
    fn the_clock_of_the_machine_is_read_in_milliseconds() {
        let now = Clock::system().now();
        assert!(("2026-01-01".."2200-01-01").contains(&&*now.date().to_string()), "{}", now.iso());
    }
}
