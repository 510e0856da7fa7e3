//! Open uploads, and whose they are.
//!
//! Does not own: removing them, which a bucket's lifecycle rule for incomplete uploads does, because there is no prune
//! yet. Only who was killed, or could not reach the store, may leave one: it could not give it up. After any other run
//! all uploads are completed or given up.

use std::{collections::BTreeMap, time::Duration};

use packhorse_testkit::wait_until;

use super::{estate::Estate, trouble::Trouble, weather::Told};

const SOON: Duration = Duration::from_secs(60);

/// How many uploads are open of each key.
type Open = BTreeMap<String, usize>;

#[derive(Default)]
pub struct Leftovers {
    known: Open,
    by_kills: usize,
    by_the_store: usize,
}

impl Leftovers {
    /// Asks whose the uploads are that were not open before a run.
    pub fn settle(&mut self, told: &Told, estate: &Estate) {
        let new = |open: &Open| -> usize {
            open.iter().map(|(key, count)| count.saturating_sub(*self.known.get(key).unwrap_or(&0))).sum()
        };
        let is_killed = told.troubles.iter().any(|trouble| matches!(trouble, Trouble::Kill(..)));
        let is_cut_off =
            told.troubles.iter().any(|trouble| matches!(trouble, Trouble::Resets | Trouble::Outage(_)));
        if !is_killed && !is_cut_off {
            // Who gives an upload up may still be about it.
            wait_until("all uploads to be given up", SOON, || match new(&open(estate)) {
                0 => Ok(()),
                _ => Err(format!("left by a run that nobody kept from it: {told}\n{:#?}", open(estate))),
            });
        }
        let open = open(estate);
        let count = new(&open);
        *(if is_killed { &mut self.by_kills } else { &mut self.by_the_store }) += count;
        self.known = open;
    }

    /// Removes all, as the bucket's rule does, and tells whose they were.
    pub fn remove(&self, estate: &Estate) -> String {
        let left = estate.store.open_uploads().len();
        assert!(
            left <= self.by_kills + self.by_the_store,
            "{left} uploads are open, more than were left by runs"
        );
        estate.store.abort_open_uploads();
        assert_eq!(estate.store.open_uploads(), [""; 0]);
        format!(
            "{left} uploads were open, {} of them left by runs with a killed daemon, {} by runs that lost the store; the \
             bucket's rule removed them",
            self.by_kills, self.by_the_store
        )
    }
}

fn open(estate: &Estate) -> Open {
    let mut open = Open::new();
    estate.store.open_uploads().into_iter().for_each(|key| *open.entry(key).or_default() += 1);
    open
}
