//! The repositories of the soak, and how they change from one run to the next.
//!
//! Does not own: the database (`forge`). One repository of each storage is larger than a part of an upload, and is made
//! anew now and then, so that uploads take part but no history grows for ever.

use std::fs;

use packhorse_testkit::GitRepo;

use super::estate::{Estate, STORAGES};
use crate::{histories::random::Random, system::site::noise};

impl Estate {
    /// Makes three repositories in each storage.
    pub fn found(&self) {
        for (seed, storage) in (1..).zip(STORAGES) {
            for name in ["small", "other"] {
                self.site.repo(&format!("{storage}/{name}.git")).fill("main", 3);
            }
            self.renew(storage, seed);
        }
    }

    /// Makes the large repository of a storage anew, so that the next run has something to upload in parts.
    pub fn renew(&self, storage: &str, seed: u64) {
        let path = format!("{storage}/large.git");
        // It is not there at first.
        let _ = fs::remove_dir_all(self.site.path(&path));
        self.site.repo(&path).commit("main", &[("noise", noise(seed, 9 << 20))]);
    }

    /// The paths of all repositories, with their storage.
    pub fn repositories(&self) -> Vec<String> {
        let names = |storage: &str| {
            let entries = fs::read_dir(self.site.path(storage)).expect("the storage can be read");
            let names =
                entries.map(|entry| entry.expect("readable").file_name().into_string().expect("a name"));
            names
                .filter(|name| name.ends_with(".git"))
                .map(|name| format!("{storage}/{name}"))
                .collect::<Vec<_>>()
        };
        let mut all = STORAGES.map(names).concat();
        all.sort();
        all
    }

    /// A night of work: most repositories get commits, and now and then one is made, removed or made anew.
    pub fn live(&mut self, random: &mut Random) {
        self.forge.live(random);
        for path in self.repositories() {
            if random.percent(70) {
                GitRepo::open(self.site.path(&path)).fill("main", 1 + random.below(100));
            }
        }
        let storage = *random.one(&[&STORAGES[0], &STORAGES[1]]);
        if random.percent(15) {
            self.renew(storage, random.next());
        }
        if random.percent(20) {
            self.made += 1;
            self.site.repo(&format!("{storage}/new-{}.git", self.made)).fill("main", 2);
        }
        let new: Vec<String> =
            self.repositories().into_iter().filter(|path| path.contains("/new-")).collect();
        if new.len() > 4 {
            fs::remove_dir_all(self.site.path(&new[random.below(new.len())])).expect("remove a repository");
        }
    }
}
