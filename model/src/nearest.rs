//! "Did you mean": the name that is nearest to one that does not exist.
//!
//! Does not own: choosing it. A near name is only ever told, never taken for the one that was asked for.

use crate::Problem;

/// The nearest of the names, if any is near: a few letters apart, or the same below another folder.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wanted.chars().count() / 3).clamp(1, 4);
    let distances = names.into_iter().map(|name| (distance(wanted, name), name));
    let near = distances.filter(|(distance, name)| *distance <= most && *name != wanted);
    near.min().map(|(_, name)| name)
}

fn distance(wanted: &str, name: &str) -> usize {
    let last = |path: &str| path.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    if wanted.contains('/') || !name.contains('/') {
        return strsim::osa_distance(wanted, name);
    }
    // A path that was named by its end only.
    strsim::osa_distance(wanted, name).min(strsim::osa_distance(wanted, &last(name)))
}

impl Problem {
    /// Names the nearest of what there is before the next step.
    #[must_use]
    pub fn or_nearest<'a>(self, wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let Some(name) = nearest(wanted, names) else { return self };
        let next = match &self.next {
            Some(next) => format!("did you mean {name}? Otherwise {next}"),
            None => format!("did you mean {name}?"),
        };
        self.next(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Subject};

    #[test]
    fn the_nearest_name_is_told_and_a_far_one_is_not() {
        let names = ["default", "spare", "team/app.git", "team/tools.git"];
        for (wanted, expected) in [
            ("defualt", Some("default")),
            ("Spare", Some("spare")),
            ("team/app", None),
            ("team/apps.git", Some("team/app.git")),
            ("tols.git", Some("team/tools.git")),
            ("app.git", Some("team/app.git")),
            ("nothing-like-it", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, names), expected, "{wanted}");
        }
    }

    #[test]
    fn it_stands_before_the_next_step() {
        let problem = Problem::new(ErrorKind::NotFound, Subject::Backup, "find storage").next("correct it");
        let told = problem.clone().or_nearest("defualt", ["default"]);
        assert_eq!(told.next.as_deref(), Some("did you mean default? Otherwise correct it"));
        assert_eq!(problem.clone().or_nearest("zzz", ["default"]), problem);
    }
}
