//! Which repositories of a storage a run is about: path, prefix or glob, included or left out.
//!
//! Does not own: finding repositories. A filter that names an exact path also tells when that path was never seen.

use std::{fmt, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};

use crate::{InvalidInput, RepoPath};

/// One pattern: a repository's path, a folder above it (`group` or `group/`), or a glob (`group/*.git`, `**/x.git`).
#[derive(Clone, Debug)]
pub struct RepoPattern {
    text: String,
    glob: Option<GlobMatcher>,
}

impl RepoPattern {
    /// Whether the pattern covers the repository.
    pub fn matches(&self, path: &RepoPath) -> bool {
        if let Some(glob) = &self.glob {
            return glob.is_match(path.as_str());
        }
        is_below(path.as_str(), self.folder())
    }

    fn folder(&self) -> &str {
        self.text.trim_end_matches('/')
    }

    /// The pattern as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether a path is a folder, or lies below it.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl FromStr for RepoPattern {
    type Err = InvalidInput;
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        const WHAT: &str = "repository pattern";
        if !text.contains(['*', '?', '[', '{']) {
            text.trim_end_matches('/').parse::<RepoPath>()?;
            return Ok(Self { text: text.to_owned(), glob: None });
        }
        let leads_out = text.starts_with('/') || text.split('/').any(|part| part == "." || part == "..");
        if leads_out || text.len() > 900 || text.chars().any(char::is_control) {
            let rule = "must have at most 900 bytes and be relative, without . or .. components";
            return Err(InvalidInput::new(WHAT, text, rule));
        }
        // `*` stays within one folder, `**` crosses folders, as in a shell.
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|_| InvalidInput::new(WHAT, text, "is not a valid glob"))?.compile_matcher();
        Ok(Self { text: text.to_owned(), glob: Some(glob) })
    }
}

impl fmt::Display for RepoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The included and the left-out patterns of one job.
#[derive(Clone, Debug, Default)]
pub struct RepoFilter {
    include: Vec<RepoPattern>,
    exclude: Vec<RepoPattern>,
}

impl RepoFilter {
    /// A filter from two lists; an empty `include` means every repository.
    pub fn new(include: Vec<RepoPattern>, exclude: Vec<RepoPattern>) -> Self {
        Self { include, exclude }
    }

    /// Whether it lets every repository through.
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether the repository is selected.
    pub fn selects(&self, path: &RepoPath) -> bool {
        (self.include.is_empty() || self.include.iter().any(|p| p.matches(path)))
            && !self.exclude.iter().any(|p| p.matches(path))
    }

    /// Whether it may select a repository below this folder; a glob may select anything.
    pub fn may_select_below(&self, folder: &str) -> bool {
        let above = |pattern: &RepoPattern| pattern.glob.is_none() && is_below(folder, pattern.folder());
        let may = |pattern: &RepoPattern| {
            pattern.glob.is_some() || above(pattern) || is_below(pattern.folder(), folder)
        };
        (self.include.is_empty() || self.include.iter().any(may)) && !self.exclude.iter().any(above)
    }

    /// The included patterns, in the operator's order.
    pub fn included(&self) -> &[RepoPattern] {
        &self.include
    }

    /// The left-out patterns, in the operator's order.
    pub fn excluded(&self) -> &[RepoPattern] {
        &self.exclude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> RepoFilter {
        let parse = |list: &[&str]| list.iter().map(|p| p.parse().expect("valid pattern")).collect();
        RepoFilter::new(parse(include), parse(exclude))
    }

    fn selects(filter: &RepoFilter, path: &str) -> bool {
        filter.selects(&path.parse().expect("valid path"))
    }

    #[test]
    fn path_prefix_and_glob() {
        let f = filter(&["group/a.git", "team/", "x/*.git"], &["team/old"]);
        assert!(selects(&f, "group/a.git"));
        assert!(!selects(&f, "group/a.gitx"));
        assert!(selects(&f, "team/b.git"));
        assert!(!selects(&f, "team/old/b.git"));
        assert!(selects(&f, "x/c.git"));
        assert!(!selects(&f, "x/y/c.git"));
        assert!(selects(&filter(&["**/c.git"], &[]), "x/y/c.git"));
        assert!(filter(&[], &[]).is_all());
    }

    #[test]
    fn a_folder_that_cannot_be_read_matters_when_something_below_it_may_be_selected() {
        let f = filter(&["a/b/c.git", "team"], &["team/old"]);
        for folder in ["a", "a/b", "team", "team/new"] {
            assert!(f.may_select_below(folder), "{folder}");
        }
        for folder in ["a/bc", "other", "team/old", "team/old/x"] {
            assert!(!f.may_select_below(folder), "{folder}");
        }
        assert!(filter(&["*/x.git"], &[]).may_select_below("any"));
        assert!(filter(&[], &["a"]).may_select_below("b"));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "/abs", "../up", "a[", "{x", "../*", "a/../*", "/etc/*", "*\n", &"*".repeat(901)] {
            assert!(bad.parse::<RepoPattern>().is_err(), "{bad:?}");
        }
    }
}
