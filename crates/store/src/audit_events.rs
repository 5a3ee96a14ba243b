//! `audit_events`: the audit log, append-only.

use std::sync::LazyLock;

use tollhouse_domain::audit::{Audit, By};
use tollhouse_domain::text::loggable;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::{Query, query};
use crate::engine::tx::Tx;
use crate::error::Result;

/// Writes the lines of a change with it. `now`: ms since 1970 in the column `at`. Details are escaped and cut.
pub(crate) async fn append(tx: &mut Tx, lines: &[Audit], by: &By, now: Timestamp) -> Result<()> {
    // Most changes have one line, and a few have thousands.
    let (many, few) = lines.as_chunks::<AT_ONCE>();
    for lines in many {
        written(&APPEND_MANY, lines, by, now).later(tx).await?;
    }
    for line in few {
        written(&APPEND_ONE, std::slice::from_ref(line), by, now).later(tx).await?;
    }
    Ok(())
}

fn written<'a>(text: &'static str, lines: &'a [Audit], by: &By, now: Timestamp) -> Query<'a> {
    let all = query(text)
        .bind(now.0)
        .bind(by.actor.map(|id| id.0))
        .bind(by.subject.map(|id| id.0))
        .bind(by.credential.to_string())
        .bind(by.address.map(|address| address.to_string()));
    lines.iter().fold(all, |all, line| {
        let Audit { event, target, detail } = line;
        all.bind(*event).bind(target.kind).bind(target.id).bind(loggable(detail))
    })
}

/// How many lines one statement writes.
const AT_ONCE: usize = 100;

static APPEND_ONE: LazyLock<String> = LazyLock::new(|| appending(1));
static APPEND_MANY: LazyLock<String> = LazyLock::new(|| appending(AT_ONCE));

/// The first five values are those of every line.
fn appending(lines: usize) -> String {
    let row = |line: usize| {
        let [event, kind, id, detail] = [6, 7, 8, 9].map(|first| first + 4 * line);
        format!("($1, $2, $3, $4, $5, ${event}, ${kind}, ${id}, ${detail})")
    };
    let rows: Vec<String> = (0..lines).map(row).collect();
    format!("{APPEND}{}", rows.join(", "))
}

macro_rules! columns {
    ($of:literal) => {
        concat!(
            $of,
            "id, ",
            $of,
            "at, ",
            $of,
            "event, ",
            $of,
            "actor_id, ",
            $of,
            "subject_id, ",
            $of,
            "credential, ",
            $of,
            "address, ",
            $of,
            "target_kind, ",
            $of,
            "target_id, ",
            $of,
            "detail"
        )
    };
}
use columns;

mod list;

pub use list::{Entity, Filter, INSTANCE, following, list, lists};

row! {
    /// One line of the audit log, as it was written.
    #[derive(Debug)]
    pub struct AuditEvent {
        /// The number of the row.
        pub id: i64,
        /// When it was written, in ms since 1970.
        pub at: i64,
        /// What happened, as `<resource>.<past participle>`: `project.created`.
        pub event: String,
        /// The account whose credential it was. `None`: the system, a command, an application or a client that did not
        /// authenticate.
        pub actor_id: Option<i64>,
        /// Whom the actor was (sudo). `None`: themselves.
        pub subject_id: Option<i64>,
        /// Which credential it was, such as `personal_access_token:7`: the text of a `CredentialName`, never a secret.
        pub credential: String,
        /// The client address in text. `None`: there was no request, or its address is not known.
        pub address: Option<String>,
        /// The resource in the singular, such as `group`.
        pub target_kind: String,
        /// The number of its row.
        pub target_id: i64,
        /// More of it for people, escaped and cut; empty if there is none.
        pub detail: String,
    }
}

/// From where the last change of something was made.
pub async fn last_address(at: &mut impl Runs, kind: &str, id: i64) -> Result<Option<String>> {
    let found: Option<Option<String>> = query(LAST_ADDRESS).bind(kind).bind(id).optional(at).await?;
    Ok(found.flatten())
}

/// By number.
pub async fn find(at: &mut impl Runs, id: i64) -> Result<Option<AuditEvent>> {
    query(FIND).bind(id).optional(at).await
}

/// The newest lines first.
pub async fn newest(at: &mut impl Runs, limit: i64) -> Result<Vec<AuditEvent>> {
    query(NEWEST).bind(limit).all(at).await
}

const APPEND: &str = "
    INSERT INTO audit_events (at, actor_id, subject_id, credential, address, event, target_kind, target_id, detail) VALUES ";

statements! {
    LAST_ADDRESS = "
    SELECT address FROM audit_events WHERE target_kind = $1 AND target_id = $2 ORDER BY at DESC, id DESC LIMIT 1";

    FIND = concat!("SELECT ", columns!(""), " FROM audit_events WHERE id = $1");

    NEWEST = concat!("SELECT ", columns!(""), " FROM audit_events ORDER BY id DESC LIMIT $1");
}
