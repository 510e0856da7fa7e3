//! The parts of a backup, and which of them an operator selected.
//!
//! Does not own: what a component's archive looks like. A directory cannot take the name of another component. A selection
//! may name a single database or directory: a name that both have selects both.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{InvalidInput, StorageName};

/// `repositories`, `db`, or a named directory such as `uploads`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Component {
    /// All repository storages.
    Repositories,
    /// All databases.
    Databases,
    /// One directory archive.
    Directory(String),
}

impl FromStr for Component {
    type Err = InvalidInput;
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        match text {
            "repositories" => Ok(Self::Repositories),
            "db" => Ok(Self::Databases),
            _ => {
                let rule =
                    "must be repositories, db, or the name of a database or directory (A-Z a-z 0-9 . _ -)";
                text.parse::<StorageName>()
                    .map_err(|_| InvalidInput::new("component", text, rule))
                    .map(|name| Self::Directory(name.into()))
            }
        }
    }
}

impl TryFrom<String> for Component {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<Component> for String {
    fn from(component: Component) -> Self {
        component.to_string()
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repositories => "repositories",
            Self::Databases => "db",
            Self::Directory(name) => name,
        })
    }
}

/// What `--only` and `--skip` leave of the components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentSelection {
    /// When not empty, nothing else is selected.
    pub only: BTreeSet<Component>,
    /// Never selected.
    pub skip: BTreeSet<Component>,
}

impl ComponentSelection {
    /// Whether the component is selected.
    pub fn selects(&self, component: &Component) -> bool {
        (self.only.is_empty() || self.only.contains(component)) && !self.skip.contains(component)
    }

    /// Whether the database is selected: all of them are, or it is by its name.
    pub fn selects_database(&self, name: &str) -> bool {
        let named = |set: &BTreeSet<Component>| {
            set.contains(&Component::Databases) || set.contains(&Component::Directory(name.to_owned()))
        };
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }

    /// The named directories and databases, which must exist in the configuration or the backup.
    pub fn named_parts(&self) -> impl Iterator<Item = &str> {
        self.only.iter().chain(&self.skip).filter_map(|component| match component {
            Component::Directory(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_and_skip_combine() {
        let mut selection = ComponentSelection::default();
        assert!(selection.selects(&Component::Databases));
        selection.skip.insert(Component::Databases);
        assert!(!selection.selects(&Component::Databases));
        selection.only.insert("uploads".parse().expect("valid"));
        assert!(!selection.selects(&Component::Repositories));
        assert!(selection.selects(&Component::Directory("uploads".into())));
        assert_eq!(selection.named_parts().collect::<Vec<_>>(), ["uploads"]);
    }

    #[test]
    fn one_database_is_selected_or_left_out_by_its_name() {
        let set = |names: &[&str]| names.iter().map(|name| name.parse().expect("valid")).collect();
        let selects = |only: &[&str], skip: &[&str], name| {
            ComponentSelection { only: set(only), skip: set(skip) }.selects_database(name)
        };
        assert!(
            selects(&[], &[], "main") && selects(&["main"], &[], "main") && selects(&["db"], &[], "main")
        );
        assert!(!selects(&["main"], &[], "ci") && !selects(&["uploads"], &[], "main"));
        assert!(!selects(&["db"], &["main"], "main") && selects(&["db"], &["main"], "ci"));
        assert!(!selects(&[], &["db"], "main"));
    }
}
