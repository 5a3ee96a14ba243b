//! Numbers for rows that are about to exist, drawn ahead from the sequences of the database.
//!
//! If the number of a row is known before the insert, the statements that refer to it can be sent together with it.
//! Numbers come from the sequence of the table, so servers that let the database number the rows can run beside this
//! one. A number is used once or never (T26).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Row;

macro_rules! drawn {
    ($table:literal) => {
        concat!(
            "SELECT nextval(pg_get_serial_sequence('",
            $table,
            "', 'id')) FROM generate_series(CAST(1 AS BIGINT), $1)"
        )
    };
}

/// Of which table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// `token_families`
    TokenFamilies,
    /// `personal_access_tokens`
    PersonalAccessTokens,
    /// `oauth_access_tokens`
    OauthAccessTokens,
}

impl Sequence {
    const ALL: [Self; 3] = [Self::TokenFamilies, Self::PersonalAccessTokens, Self::OauthAccessTokens];

    /// The statement that draws `$1` numbers.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::TokenFamilies => drawn!("token_families"),
            Self::PersonalAccessTokens => drawn!("personal_access_tokens"),
            Self::OauthAccessTokens => drawn!("oauth_access_tokens"),
        }
    }
}

/// Numbers in stock, for all connections of one database.
#[derive(Default)]
pub(crate) struct Numbers([Mutex<Stock>; 3]);

#[derive(Default)]
struct Stock {
    numbers: VecDeque<i64>,
    /// So many were drawn the last time.
    drawn: i64,
    /// Somebody has asked for more.
    asked: bool,
}

/// What came of asking for a number.
pub(crate) struct Taken {
    /// `None`: the stock is empty; ask again after [`Numbers::fill`].
    pub(crate) number: Option<i64>,
    /// So many should be drawn with the next statement.
    pub(crate) more: Option<i64>,
}

impl Numbers {
    /// Takes one, and says how many to draw if few are left.
    pub(crate) fn take(&self, of: Sequence) -> Taken {
        let mut stock = self.stock(of);
        let number = stock.numbers.pop_front();
        let left = stock.numbers.len() as i64;
        if number.is_some() && (stock.asked || left >= stock.drawn / 4) {
            return Taken { number, more: None };
        }
        // A command that makes one row must not leave a gap behind it; a server need not ask every time.
        stock.drawn = (stock.drawn * 2).clamp(1, MOST);
        stock.asked = true;
        Taken { number, more: Some(stock.drawn) }
    }

    /// Puts what was drawn into the stock.
    pub(crate) fn fill(&self, of: Sequence, rows: &[Row]) {
        let mut stock = self.stock(of);
        stock.asked = false;
        stock.numbers.extend(rows.iter().filter_map(|row| row.try_get::<_, i64>(0).ok()));
    }

    /// Another server may have taken the place of the one that they were drawn from, and may not know of them.
    pub(crate) fn forget(&self) {
        for of in Sequence::ALL {
            *self.stock(of) = Stock::default();
        }
    }

    fn stock(&self, of: Sequence) -> MutexGuard<'_, Stock> {
        self.0[of as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server loses when it ends.
const MOST: i64 = 32;
