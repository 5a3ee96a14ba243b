//! One connection, with the statements that are prepared on it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::standby;
use crate::conn::{Conn, Runs};
use crate::error::{Error, Result};
use crate::value::Value;

pub struct Session {
    client: Client,
    known: HashMap<Cow<'static, str>, Statement>,
    /// An answer is missing, or the state of its transaction is unknown: nobody else gets it.
    broken: bool,
}

impl Session {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, known: HashMap::new(), broken: false }
    }

    pub(crate) async fn primary(&mut self) -> Result<()> {
        self.batch(PLANS, Duration::from_secs(5)).await?;
        let rows = self.rows("SELECT pg_is_in_recovery()".into(), &[], Duration::from_secs(5)).await?;
        let standing_by = rows.first().map(|row| row.try_get(0)).transpose()?;
        if standing_by == Some(false) { Ok(()) } else { Err(standby()) }
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.broken && !self.client.is_closed()
    }

    pub(crate) async fn rows(
        &mut self,
        sql: Cow<'static, str>,
        values: &[Value<'_>],
        patience: Duration,
    ) -> Result<Vec<Row>> {
        self.within(patience, async |session| {
            let statement = session.prepared(sql).await?;
            Ok(session.client.query(&statement, &parameters(values)).await?)
        })
        .await
    }

    pub(crate) async fn changed(
        &mut self,
        sql: Cow<'static, str>,
        values: &[Value<'_>],
        patience: Duration,
    ) -> Result<u64> {
        self.within(patience, async |session| {
            let statement = session.prepared(sql).await?;
            Ok(session.client.execute(&statement, &parameters(values)).await?)
        })
        .await
    }

    /// Several statements at once, without parameters.
    pub(crate) async fn batch(&mut self, sql: &str, patience: Duration) -> Result<()> {
        self.within(patience, async |session| Ok(session.client.batch_execute(sql).await?)).await
    }

    pub(crate) async fn prepared(&mut self, sql: Cow<'static, str>) -> Result<Statement> {
        if let Some(statement) = self.known.get(&sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&sql).await?;
        if self.known.len() >= STATEMENTS {
            self.known.clear();
        }
        self.known.insert(sql, statement.clone());
        Ok(statement)
    }

    /// A server that is asked over a network may never answer.
    async fn within<T>(&mut self, patience: Duration, work: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T> {
        match tokio::time::timeout(patience, work(self)).await {
            Ok(done) => done,
            Err(_) => {
                self.broken = true;
                Err(Error::late())
            }
        }
    }
}

impl Runs for Session {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Postgres(self)
    }
}

fn parameters<'p>(values: &'p [Value<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Every statement has an index for what it looks for and names its tables in the order in which they are to be read, for
/// SQLite too. What the planner may do instead, from an estimate of how many rows there will be, is to read the whole of a
/// table (docs/decisions/0033). Bitmaps read all that an index has before a limit ends it; so do workers. `jit`: a plan that
/// cannot avoid what is off here looks expensive enough to be compiled.
const PLANS: &str = "
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET enable_material = off; SET max_parallel_workers_per_gather = 0; SET jit = off";

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;
