//! Names and marks of the databases of one restore: how a later restore knows them, and knows that they are ours.
//!
//! Does not own: removing any. A database counts as ours only when its name has the shape that a restore gives and its
//! comment is, to the letter, the one that a restore writes for that name and target. A database that is kept has no such
//! comment, so it is never taken for a leftover.

use super::swap::Old;

/// Bytes that PostgreSQL keeps of a name.
const LONGEST: usize = 63;
const INFIX: &str = "_packhorse_";
const SUFFIX: &str = "_old";
const ID: usize = 8;

/// The names of one restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// What applications use.
    pub(super) target: String,
    /// What is being filled.
    pub(super) new: String,
    /// What is aside.
    pub(super) old: String,
}

/// What is left of a restore that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// Nobody needs it.
    Useless,
    /// Nobody needs it if it holds nothing.
    UselessIfEmpty,
}

impl Names {
    /// Names that no other restore has.
    pub(super) fn new(target: &str) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self::with_id(target, &id[..ID])
    }

    fn with_id(target: &str, id: &str) -> Self {
        let room = LONGEST - INFIX.len() - ID - SUFFIX.len();
        let mut end = target.len().min(room);
        while !target.is_char_boundary(end) {
            end -= 1;
        }
        let new = format!("{}{INFIX}{id}", &target[..end]);
        Self { target: target.to_owned(), old: format!("{new}{SUFFIX}"), new }
    }

    /// The comment on what is being filled.
    pub(super) fn mark_of_new(&self) -> String {
        format!(
            "packhorse: unfinished restore {} of {:?}; the next restore of it drops this",
            self.new, self.target
        )
    }

    /// The comment on what is aside; none when it stays.
    pub(super) fn mark_of_old(&self, old: Old) -> Option<String> {
        let condition = match old {
            Old::Kept => return None,
            Old::Dropped => "",
            Old::DroppedIfEmpty => ", if it is empty",
        };
        let Self { target, new, .. } = self;
        Some(format!(
            "packhorse: replaced by restore {new} of {target:?}; the next restore of it drops this{condition}"
        ))
    }

    /// What the server repeats once all is done.
    pub(super) fn receipt(&self) -> String {
        format!("{} is in place", self.new)
    }

    /// What a database of this name and comment is to a restore of `target`; none when it is not proven to be ours.
    pub(super) fn leftover(target: &str, name: &str, comment: &str) -> Option<Leftover> {
        let new = name.strip_suffix(SUFFIX).unwrap_or(name);
        let id = new.get(new.len().checked_sub(ID)?..)?;
        let names = Self::with_id(target, id);
        if name == names.new && comment == names.mark_of_new() {
            return Some(Leftover::Useless);
        }
        let is = |old| name == names.old && names.mark_of_old(old).as_deref() == Some(comment);
        if is(Old::Dropped) {
            return Some(Leftover::Useless);
        }
        is(Old::DroppedIfEmpty).then_some(Leftover::UselessIfEmpty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_restore_of_this_database_made_is_a_leftover() {
        for target in ["shop", "ä\"'", &"ü".repeat(31)] {
            let names = Names::new(target);
            assert!(names.old.len() <= LONGEST && names.new != *target, "{names:?}");
            let of = |name: &str, comment: &str| Names::leftover(target, name, comment);
            let dropped = names.mark_of_old(Old::Dropped).expect("a mark");
            let if_empty = names.mark_of_old(Old::DroppedIfEmpty).expect("a mark");
            assert_eq!(of(&names.new, &names.mark_of_new()), Some(Leftover::Useless));
            assert_eq!(of(&names.old, &dropped), Some(Leftover::Useless));
            assert_eq!(of(&names.old, &if_empty), Some(Leftover::UselessIfEmpty));
            assert_eq!(of(&names.new, ""), None);
            assert_eq!(of(&names.old, "the shop"), None);
            assert_eq!(of(&names.new, &dropped), None);
            assert_eq!(of(target, &names.mark_of_new()), None);
            assert_eq!(Names::leftover("other", &names.new, &names.mark_of_new()), None);
            assert_eq!(of(&names.new, &Names::new(target).mark_of_new()), None);
        }
        assert_eq!(Names::new("a").mark_of_old(Old::Kept), None);
        assert_eq!(Names::leftover("a", "", ""), None);
    }
}
