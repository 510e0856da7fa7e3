//! What a backup records of a database beside its dump: what belongs to the database itself, and what it held.
//!
//! Does not own: how it is read from a server or brought back (the coordinator). A dump of one database holds neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What belongs to a database and not to an object in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseAttributes {
    /// The role that owns it.
    pub owner: String,
    /// Character encoding, by PostgreSQL's name.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`; absent from servers that know only `libc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The locale of a provider other than `libc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Additional rules of an ICU locale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// Where it lies.
    pub tablespace: String,
    /// Connections at once; -1 means no limit.
    pub connection_limit: i32,
    /// `COMMENT ON DATABASE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who may do what; absent when it was never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<DatabaseGrant>>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<DatabaseSetting>,
}

/// One right to a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseGrant {
    /// The role; absent for `PUBLIC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `CONNECT`, `CREATE` or `TEMPORARY`.
    pub privilege: String,
    /// Whether the role may pass it on.
    #[serde(default)]
    pub grantable: bool,
}

/// One setting of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSetting {
    /// The role that it is for; absent when for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The parameter.
    pub name: String,
    /// Its value as the server stores it.
    pub value: String,
}

/// What a database held at the moment of its dump; a restore compares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseContents {
    /// Relations by kind, without those of extensions.
    pub relations: BTreeMap<String, u64>,
    /// Rows of the largest tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<TableRows>,
}

impl DatabaseContents {
    /// Whether there is nothing in the database.
    pub fn is_empty(&self) -> bool {
        self.relations.values().all(|number| *number == 0)
    }
}

/// How many rows a table had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// Schema and name, with a dot between them.
    pub table: String,
    /// Rows of the table itself; counted up to [`TableRows::MOST`].
    pub rows: u64,
}

impl TableRows {
    /// Where counting ends.
    pub const MOST: u64 = 100_000;
}
