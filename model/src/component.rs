//! The parts of a backup, and which of them an operator selected.
//!
//! Does not own: what a component's archive looks like. A directory cannot take the name of another component, so a
//! name always means one thing.

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
                let rule = "must be repositories, db or a directory's name (A-Z a-z 0-9 . _ -)";
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

    /// The named directories, which must exist in the configuration or the backup.
    pub fn named_directories(&self) -> impl Iterator<Item = &str> {
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
        assert_eq!(selection.named_directories().collect::<Vec<_>>(), ["uploads"]);
    }
}
