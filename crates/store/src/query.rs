//! One statement with its parameters: `query(SQL).bind(id.0).optional(reader).await`.

use std::borrow::Cow;

use crate::conn::{Conn, Runs};
use crate::error::{Error, Result};
use crate::row::{FromRow, Row};
use crate::sqlite;
use crate::value::Value;

pub struct Query<'v> {
    sql: Cow<'static, str>,
    values: Vec<Value<'v>>,
}

/// A text that runs on both databases, with `$1`, `$2` for what is bound to it, in this order.
pub fn query<'v>(sql: impl Into<Cow<'static, str>>) -> Query<'v> {
    Query { sql: sql.into(), values: Vec::with_capacity(8) }
}

impl<'v> Query<'v> {
    pub fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Every row.
    pub async fn all<T: FromRow>(self, at: &mut impl Runs) -> Result<Vec<T>> {
        let patience = at.patience();
        match at.conn() {
            // Nothing is waited for here: the future is ready when it is polled for the first time.
            Conn::Sqlite(connection) => {
                let mut found = Vec::new();
                sqlite::rows(connection, &self.sql, &self.values, |row| {
                    found.push(T::from_row(&mut Row::sqlite(row))?);
                    Ok(true)
                })?;
                Ok(found)
            }
            Conn::Postgres(session) => {
                let rows = session.rows(self.sql, &self.values, patience).await?;
                rows.iter().map(|row| T::from_row(&mut Row::postgres(row))).collect()
            }
            Conn::Closed => Err(Error::closed()),
        }
    }

    /// The first row, if there is one.
    pub async fn optional<T: FromRow>(self, at: &mut impl Runs) -> Result<Option<T>> {
        let patience = at.patience();
        match at.conn() {
            Conn::Sqlite(connection) => {
                let mut found = None;
                sqlite::rows(connection, &self.sql, &self.values, |row| {
                    found = Some(T::from_row(&mut Row::sqlite(row))?);
                    Ok(false)
                })?;
                Ok(found)
            }
            Conn::Postgres(session) => {
                let rows = session.rows(self.sql, &self.values, patience).await?;
                rows.first().map(|row| T::from_row(&mut Row::postgres(row))).transpose()
            }
            Conn::Closed => Err(Error::closed()),
        }
    }

    /// The one row that such a statement always has.
    pub async fn one<T: FromRow>(self, at: &mut impl Runs) -> Result<T> {
        self.optional(at).await?.ok_or_else(|| Error::Damaged("a row is missing".into()))
    }

    /// Runs it, and says how many rows it changed. Compare and set: one row means you won.
    pub async fn changed(self, at: &mut impl Runs) -> Result<u64> {
        let patience = at.patience();
        match at.conn() {
            Conn::Sqlite(connection) => sqlite::changed(connection, &self.sql, &self.values),
            Conn::Postgres(session) => session.changed(self.sql, &self.values, patience).await,
            Conn::Closed => Err(Error::closed()),
        }
    }
}
