//! `sign_in_failures`: how many passwords of one source were refused, by the minute (T14, T15).

use tollhouse_domain::id::UserId;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;

/// How many refused passwords one source may have in some minutes, of which the present one is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// An address, a network, or a browser.
    pub source: String,
    /// How many are allowed.
    pub most: i64,
    /// In so many minutes, the present one included.
    pub minutes: i64,
}

/// The minute that a moment is in, since 1970.
pub fn minute(now: Timestamp) -> i64 {
    now.0.div_euclid(MINUTE)
}

/// The end of that minute.
pub fn end_of_minute(now: Timestamp) -> Timestamp {
    Timestamp((minute(now) + 1) * MINUTE)
}

/// How many count against this bound now.
pub async fn count(at: &mut impl Runs, bound: &Bound, now: Timestamp) -> Result<i64> {
    let last = minute(now);
    query(COUNT).bind(&bound.source).bind(last - bound.minutes).bind(last).one(at).await
}

/// Counts one more, and says how many there are with it. Holds the row until the transaction ends, so that of several at
/// once each has its own number.
pub async fn book(tx: &mut Tx, bound: &Bound, now: Timestamp) -> Result<i64> {
    let last = minute(now);
    let booked: i64 = query(BOOK).bind(&bound.source).bind(last).one(tx).await?;
    match bound.minutes {
        ..=1 => Ok(booked),
        minutes => {
            let one_before = Timestamp((last - 1) * MINUTE);
            let earlier = Bound { minutes: minutes - 1, ..bound.clone() };
            Ok(booked + count(tx, &earlier, one_before).await?)
        }
    }
}

/// What was booked at that moment does not count.
pub async fn take_back(tx: &mut Tx, bound: &Bound, booked: Timestamp) -> Result<()> {
    query(TAKE_BACK).bind(&bound.source).bind(minute(booked)).changed(tx).await.map(drop)
}

/// The source of a browser that has signed in to this account.
pub fn browser(user: UserId, name: &str) -> String {
    format!("browser {} {name}", user.0)
}

/// Forgets what counts against the browsers of an account. `false`: nothing did.
pub async fn clear_browsers(tx: &mut Tx, user: UserId) -> Result<bool> {
    Ok(query(CLEAR_BROWSERS).bind(browser(user, "%")).changed(tx).await? > 0)
}

/// Forgets all that counts against one source.
pub async fn clear(tx: &mut Tx, source: &str) -> Result<()> {
    query(CLEAR).bind(source).changed(tx).await.map(drop)
}

const MINUTE: i64 = 60_000;

statements! {
    COUNT = "
    SELECT CAST(COALESCE(sum(failures), 0) AS BIGINT) FROM sign_in_failures
     WHERE source = $1 AND minute > $2 AND minute <= $3";

    BOOK = "
    INSERT INTO sign_in_failures (source, minute, failures) VALUES ($1, $2, 1)
        ON CONFLICT (source, minute) DO UPDATE SET failures = sign_in_failures.failures + 1
    RETURNING failures";

    TAKE_BACK = "
    UPDATE sign_in_failures SET failures = failures - 1 WHERE source = $1 AND minute = $2 AND failures > 0";

    CLEAR_BROWSERS = "DELETE FROM sign_in_failures WHERE source LIKE $1";

    CLEAR = "DELETE FROM sign_in_failures WHERE source = $1";
}
