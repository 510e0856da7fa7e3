//! One repository of a history, and the changes that may come over it in a round.
//!
//! Does not own: when. A round first decides on the model of the refs, then writes new objects, then brings the refs in
//! line in two transactions (removals first, as names may stand in each other's way), then HEAD, hooks and maintenance.

use std::{fmt::Write, fs};

use packhorse_testkit::GitRepo;

use super::stream::Stream;
use crate::histories::{
    names::{BRANCHES, Names, Target, branches, drop_dangling, set},
    random::Random,
};

/// A repository and what the model knows of it.
pub struct Subject {
    pub path: String,
    repo: GitRepo,
    names: Names,
    tags: usize,
}

impl Subject {
    pub fn new(repo: GitRepo, path: String) -> Self {
        Self { path, repo, names: Names::new(), tags: 0 }
    }

    /// One round.
    pub fn change(&mut self, random: &mut Random, told: &mut Vec<String>) {
        let alive = self.repo.run(&["rev-list", "--all", "--max-count=60"]);
        let alive: Vec<&str> = alive.lines().collect();
        let (mut stream, mut names, mut notes) = (Stream::default(), self.names.clone(), Vec::new());
        for _ in 0..1 + random.below(7) {
            notes.push(self.change_ref(random, &alive, &mut stream, &mut names));
        }
        drop_dangling(&mut names);
        let head = random.percent(20).then(|| {
            if alive.is_empty() || random.percent(60) {
                Target::Ref(format!("refs/heads/{}", random.one(&BRANCHES)))
            } else if random.percent(30) {
                let parent = Target::Oid(random.one(&alive).to_owned());
                stream.commit(random, &[parent])
            } else {
                Target::Oid(random.one(&alive).to_owned())
            }
        });
        let head = head.filter(|head| !matches!(head, Target::Ref(to) if is_symbolic(&names, to)));
        let written = stream.write(&self.repo);
        self.names
            .extend(written.made.into_iter().map(|name| (name, Target::Ref("made by the stream".into()))));
        let resolve = |target: &Target| match target {
            Target::Mark(mark) => Target::Oid(written.marks[mark].clone()),
            known => known.clone(),
        };
        let names = names.iter().map(|(name, target)| (name.clone(), resolve(target))).collect();
        self.write_refs(names);
        match head.as_ref().map(resolve) {
            Some(Target::Ref(target)) => self.repo.set_head(&target),
            Some(Target::Oid(oid)) => self.repo.detach_head(&oid),
            _ => {}
        }
        notes.extend(head.map(|head| format!("HEAD {head:?}")));
        notes.extend(self.change_hooks(random));
        notes.extend(self.maintain(random).map(str::to_owned));
        told.push(format!("{}: {}", self.path, notes.join("; ")));
    }

    fn change_ref(
        &mut self,
        random: &mut Random,
        alive: &[&str],
        stream: &mut Stream,
        names: &mut Names,
    ) -> String {
        let own: Vec<String> = branches(names).into_iter().map(str::to_owned).collect();
        let tips: Vec<&str> = own.iter().map(String::as_str).collect();
        let branch = format!("refs/heads/{}", random.one(&BRANCHES));
        let old = |random: &mut Random| Target::Oid(random.one(alive).to_owned());
        let known = |name: &&str| match &names[*name] {
            Target::Oid(oid) => Some(((*name).to_owned(), oid.clone())),
            _ => None,
        };
        let there = tips.iter().find_map(known);
        match random.below(100) {
            // What the last backup has goes away and comes back.
            0..9 if let Some((name, tip)) = &there
                && !alive.is_empty() =>
            {
                let other = random.one(alive);
                let commit = |tree: &str, parent: &str| {
                    self.repo.run(&["commit-tree", &format!("{tree}^{{tree}}"), "-p", parent, "-m", "tree"])
                };
                let back = commit(tip, &commit(other, tip));
                set(names, name, Target::Oid(back));
                format!("{name} to the files of {other} and back")
            }
            // Another history under a name: rewritten from an old commit, or unrelated.
            35..50 => {
                let parents = if alive.is_empty() || random.percent(30) { vec![] } else { vec![old(random)] };
                let commit = stream.commit(random, &parents);
                set(names, &branch, commit);
                format!("force {branch} from {parents:?}")
            }
            50..58 if tips.len() > 1 => {
                let (into, from) = (random.one(&tips).to_owned(), random.one(&tips));
                let merged = stream.commit(random, &[names[&into].clone(), names[from].clone()]);
                set(names, &into, merged);
                format!("merge {from} into {into}")
            }
            58..70 if !names.is_empty() => {
                let all: Vec<String> = names.keys().cloned().collect();
                let name = all[random.below(all.len())].clone();
                names.remove(&name);
                format!("delete {name}")
            }
            // A new name on an old commit: branch, lightweight tag, or a ref of the instance's own.
            70..82 if !alive.is_empty() => {
                let target = old(random);
                let light = format!("refs/tags/light-{}", random.below(6));
                let keep = format!("refs/keep-around/{}", random.below(9));
                let name = [branch, light, keep][random.below(3)].clone();
                set(names, &name, target);
                format!("{name} on an old commit")
            }
            82..90 if !alive.is_empty() => {
                self.tags += 1;
                let name = format!("tag-{}", self.tags);
                let target = old(random);
                let tag = stream.tag(&name, &target);
                set(names, &format!("refs/tags/{name}"), tag);
                format!("annotated {name}")
            }
            90..95 if !tips.is_empty() => {
                let (name, to) = (format!("refs/heads/sym-{}", random.below(2)), random.one(&tips));
                set(names, &name, Target::Ref(to.to_owned()));
                format!("{name} leads to {to}")
            }
            // A rename, also of a branch into a folder of its own name.
            95.. if !tips.is_empty() => {
                let from = random.one(&tips).to_owned();
                let target = names.remove(&from).expect("it is there");
                let to = if random.percent(50) { format!("{from}/renamed") } else { branch };
                set(names, &to, target);
                format!("rename {from} to {to}")
            }
            // A commit on an existing branch, or a first one.
            _ => {
                let name = if tips.is_empty() { branch } else { random.one(&tips).to_owned() };
                let parent = names.get(&name).filter(|parent| !matches!(parent, Target::Ref(_)));
                let commit = stream.commit(random, &parent.cloned().into_iter().collect::<Vec<_>>());
                set(names, &name, commit);
                format!("commit on {name}")
            }
        }
    }

    /// Brings the repository's refs in line with the model.
    fn write_refs(&mut self, wanted: Names) {
        let removed = self.names.keys().filter(|name| !wanted.contains_key(*name));
        let removals: String = removed.map(|name| format!("option no-deref\ndelete {name}\n")).collect();
        let mut updates = String::new();
        let mut symbolic = Vec::new();
        for (name, target) in wanted.iter().filter(|(name, target)| self.names.get(*name) != Some(target)) {
            match target {
                Target::Oid(oid) => {
                    writeln!(updates, "option no-deref\nupdate {name} {oid}").expect("writing to a string");
                }
                Target::Ref(to) => symbolic.push((name, to)),
                Target::Mark(mark) => panic!("{name} still points to mark {mark}"),
            }
        }
        for commands in [removals, updates].into_iter().filter(|commands| !commands.is_empty()) {
            self.repo.run_with_input(&["update-ref", "--stdin"], commands.as_bytes());
        }
        for (name, to) in symbolic {
            self.repo.symbolic_ref(name, to);
        }
        self.names = wanted;
    }

    fn change_hooks(&self, random: &mut Random) -> Option<String> {
        if !random.percent(12) {
            return None;
        }
        let hooks = self.repo.path().join("custom_hooks");
        if hooks.exists() && random.percent(30) {
            fs::remove_dir_all(&hooks).expect("remove hooks");
            return Some("no hooks".into());
        }
        let mode = [0o755, 0o700, 0o644][random.below(3)];
        let name = ["update", "pre-receive.d/a", "pre-receive.d/b"][random.below(3)];
        self.repo.set_hook(name, format!("#!/bin/sh\n# {}\n", random.below(3)), mode);
        Some(format!("hook {name} {mode:o}"))
    }

    fn maintain(&self, random: &mut Random) -> Option<&'static str> {
        let (what, how): (_, fn(&GitRepo)) = match random.below(100) {
            0..10 => ("gc", GitRepo::gc),
            10..18 => ("repack", GitRepo::repack),
            18..30 => ("pack-refs", GitRepo::pack_refs),
            _ => return None,
        };
        how(&self.repo);
        Some(what)
    }
}

fn is_symbolic(names: &Names, name: &str) -> bool {
    matches!(names.get(name), Some(Target::Ref(_)))
}
