//! "Did you mean": the name that is nearest to one that does not exist.
//!
//! Does not own: choosing it. A near name is only ever told, never taken for the one that was asked for.

use crate::Problem;

/// The nearest of the names, if any is near: a few letters apart, measured by its length, or the same below another folder.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.into_iter().filter(|name| *name != wanted);
    let near = near.filter_map(|name| Some((distance(wanted, name)?, name)));
    near.min().map(|(_, name)| name)
}

/// How many letters two names are apart; none when they are no more than names. What every repository's name ends with
/// says nothing about that, and each part of a path has to be near by itself.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let stem_of = |name: &'_ str| name.strip_suffix(".git").map_or(name.len(), str::len);
    let (stem, other) = (&wanted[..stem_of(wanted)], &name[..stem_of(name)]);
    let (parts, others): (Vec<&str>, Vec<&str>) = (stem.split('/').collect(), other.split('/').collect());
    // A path may be named by its end only.
    let by_its_end =
        if parts.len() == 1 { others.last().and_then(|last| near_part(stem, last)) } else { None };
    let by_parts = match parts.len() == others.len() {
        true => parts.iter().zip(&others).map(|(part, other)| near_part(part, other)).sum::<Option<usize>>(),
        false => near_part(stem, other),
    };
    [by_its_end, by_parts].into_iter().flatten().min()
}

fn near_part(wanted: &str, name: &str) -> Option<usize> {
    let most = match wanted.chars().count() {
        0 | 1 => 0,
        letters => (letters / 3).clamp(1, 4),
    };
    Some(strsim::osa_distance(wanted, name)).filter(|distance| *distance <= most)
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
        let names = ["default", "spare", "team/app.git", "team/tools.git", "lib/core.git"];
        for (wanted, expected) in [
            ("defualt", Some("default")),
            ("Spare", Some("spare")),
            ("team/app", Some("team/app.git")),
            ("tema/app.git", Some("team/app.git")),
            ("nope.git", None),
            ("lib/nope.git", None),
            ("lib/core", Some("lib/core.git")),
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
