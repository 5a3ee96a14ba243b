//! What a statement answers, on either database.

use rusqlite::types::{FromSql, ValueRef};
use tokio_postgres::types::FromSql as FromPostgres;

use crate::error::{Error, Result};

/// One row, read from its first column to its last. SQLite has no booleans: 0 and 1 are read as such where one is asked
/// for.
pub struct Row<'r> {
    columns: Columns<'r>,
    next: usize,
}

#[derive(Clone, Copy)]
enum Columns<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

/// What can be read from the next column, or the next columns, of a row.
pub trait FromRow: Sized {
    /// Whether it is one column, whose name can be compared with that of a field.
    const IS_COLUMN: bool = false;

    /// Reads its columns and moves past them. [`Error::Broken`] or [`Error::Damaged`] if they are not what is expected.
    fn from_row(row: &mut Row<'_>) -> Result<Self>;
}

impl<'r> Row<'r> {
    /// A row of SQLite, before its first column.
    pub(crate) fn sqlite(row: &'r rusqlite::Row<'r>) -> Self {
        Self { columns: Columns::Sqlite(row), next: 0 }
    }

    /// A row of PostgreSQL, before its first column.
    pub(crate) fn postgres(row: &'r tokio_postgres::Row) -> Self {
        Self { columns: Columns::Postgres(row), next: 0 }
    }

    /// The next value, whatever its column is called.
    pub fn read<T: FromRow>(&mut self) -> Result<T> {
        T::from_row(self)
    }

    /// The same for a field of a struct. A debug build compares the name of the column with that of the field, so that a
    /// test notices two columns that changed places.
    pub fn field<T: FromRow>(&mut self, name: &str) -> Result<T> {
        if cfg!(debug_assertions) && T::IS_COLUMN {
            assert_eq!(self.name(), name, "columns stand in the order of the fields");
        }
        T::from_row(self)
    }

    /// Whether there is nothing in the next column.
    pub(crate) fn is_next_null(&self) -> Result<bool> {
        match self.columns {
            Columns::Sqlite(row) => Ok(matches!(row.get_ref(self.next)?, ValueRef::Null)),
            Columns::Postgres(row) => Ok(row.try_get::<_, Option<i64>>(self.next)?.is_none()),
        }
    }

    fn name(&self) -> String {
        match self.columns {
            Columns::Sqlite(row) => row.as_ref().column_name(self.next).unwrap_or("none").to_owned(),
            Columns::Postgres(row) => row.columns().get(self.next).map_or("none", |column| column.name()).to_owned(),
        }
    }

    fn column<T: FromSql + for<'p> FromPostgres<'p>>(&mut self) -> Result<T> {
        let number = self.next;
        self.next += 1;
        match self.columns {
            Columns::Sqlite(row) => row.get(number).map_err(Error::from),
            Columns::Postgres(row) => row.try_get(number).map_err(Error::from),
        }
    }
}

macro_rules! columns {
    ($($of:ty),+) => {$(
        impl FromRow for $of {
            const IS_COLUMN: bool = true;

            fn from_row(row: &mut Row<'_>) -> Result<Self> {
                row.column()
            }
        }

        impl FromRow for Option<$of> {
            const IS_COLUMN: bool = true;

            fn from_row(row: &mut Row<'_>) -> Result<Self> {
                row.column()
            }
        }
    )+};
}
columns!(i64, bool, String, Vec<u8>);

macro_rules! tuples {
    ($(($($of:ident),+))+) => {$(
        impl<$($of: FromRow),+> FromRow for ($($of,)+) {
            fn from_row(row: &mut Row<'_>) -> Result<Self> {
                Ok(($(row.read::<$of>()?,)+))
            }
        }
    )+};
}
tuples! { (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

/// A struct whose fields are the columns of a statement, in their order and with their names. A field may be such a struct
/// itself.
macro_rules! row {
    ($(#[$about:meta])* $seen:vis struct $name:ident {
        $($(#[$of:meta])* $field_seen:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$about])*
        $seen struct $name {
            $($(#[$of])* $field_seen $field: $type),+
        }

        impl $crate::engine::row::FromRow for $name {
            fn from_row(row: &mut $crate::engine::row::Row<'_>) -> $crate::error::Result<Self> {
                Ok(Self { $($field: row.field(stringify!($field))?),+ })
            }
        }
    };
}
