//! `[[schedule]]`: backups that the coordinator starts by itself.
//!
//! Does not own: when that is. The expression, the time zone and the selection are checked by the coordinator, which
//! uses them.

use serde::Deserialize;

use super::Span;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// What logs call it.
    pub name: String,
    /// Cron expression: minute, hour, day of the month, month, day of the week; with six fields the first is seconds.
    pub cron: String,
    /// Time zone of the expression, such as `Europe/Berlin`; the host's when not given.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// A delay of up to this, other for each time, so that not everybody starts at once.
    #[serde(default = "none")]
    pub jitter: Span,
    /// How late a backup that was due while the coordinator was down is still made.
    #[serde(default = "catch_up")]
    pub catch_up: Span,
    /// What is made.
    #[serde(default)]
    pub mode: ScheduleMode,
    /// When it is proven that full steps hold everything that the refs reach.
    #[serde(default)]
    pub prove: Prove,
    /// Only these storages.
    #[serde(default)]
    pub storages: Vec<String>,
    /// Only repositories with these paths, below these folders, or matching these globs.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Not these repositories.
    #[serde(default)]
    pub skip_repositories: Vec<String>,
    /// Only these components.
    #[serde(default)]
    pub only: Vec<String>,
    /// Not these components.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Where it stands.
    #[serde(skip)]
    pub place: FileLine,
}

/// A file and a line. Where something stands makes no difference to what it is.
#[derive(Clone, Debug, Default, Eq)]
pub struct FileLine(pub String);

impl PartialEq for FileLine {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// The lines of the expressions of all `[[schedule]]` sections, from 1, in their order.
pub(super) fn lines_of_crons(text: &str) -> Vec<usize> {
    #[derive(Deserialize)]
    struct Sections {
        #[serde(default)]
        schedule: Vec<Section>,
    }
    #[derive(Deserialize)]
    struct Section {
        cron: toml::Spanned<String>,
    }
    let sections = toml::from_str::<Sections>(text).map(|all| all.schedule).unwrap_or_default();
    let before = |section: &Section| text.get(..section.cron.span().start).unwrap_or_default();
    sections.iter().map(|section| before(section).matches('\n').count() + 1).collect()
}

/// What kind of backup a schedule makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleMode {
    /// Incremental where there is something to build on.
    #[default]
    Auto,
    /// New chains for all repositories.
    Full,
    /// Refused when there is nothing to build on.
    Incremental,
}

/// When it is proven that a backup holds everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prove {
    /// While it is made.
    #[default]
    Now,
    /// It is left to `verify`.
    Later,
}

fn none() -> Span {
    Span::from_secs(0)
}

fn catch_up() -> Span {
    Span::from_secs(12 * 60 * 60)
}
