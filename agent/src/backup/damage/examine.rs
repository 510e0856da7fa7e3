//! Which refs of a damaged repository are whole: everything that they lead to is there and undamaged.
//!
//! Does not own: reading objects (`git::ObjectReader`), or packing what was found (`salvage`). Every object is met once. What
//! the chain of an increment holds is whole whatever became of it in the repository: all that tips of its base lead to, as
//! far as the repository still tells. Blobs are read only where they could be damaged: in a repository whose packs all have
//! their checksums, those that are not loose are just looked up, as in any other full step.
//!
//! Memory: some 80 bytes for each object, for one repository at a time in this process, unless one takes very long.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use gix::{
    object::Kind,
    objs::{CommitRefIter, TagRefIter, TreeRefIter, commit::ref_iter::Token},
};
use packhorse_vault::{ObjectFormat, Oid, RefList, RefSnapshot};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};

use crate::{
    backup::{
        pack_proof::{self, object_folders},
        watch::Watch,
    },
    git::{Answer, Git, ObjectReader, ObjectsOnly, hash_kind},
};

/// Objects above which a repository is not examined.
const MOST_OBJECTS: usize = 3_500_000;
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);
/// How long the one before is waited for: it may hang on a dead disk, and would not give its turn back.
const PATIENCE: Duration = Duration::from_secs(600);

/// What an examination found.
pub struct Examined {
    /// What is wrong with the first object that a tip lacks, for each tip that is not whole.
    pub broken: HashMap<Oid, Finding>,
    /// Objects that tips lead to and that no chain holds, newest first.
    pub objects: Vec<Oid>,
    /// Commits of the chain that these are built on.
    pub prerequisites: BTreeSet<Oid>,
}

/// An object that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object.
    pub object: Oid,
    /// What is wrong, in words.
    pub said: String,
}

/// Examines the repository at `dir`, all of which the chain holds that `base` leads to. An error says why that is not
/// possible. Blocking.
pub fn examine(
    dir: &Path,
    refs: &RefSnapshot,
    base: Option<&RefList>,
    (git, objects): (&Git, &ObjectsOnly),
    watch: &Watch,
) -> Result<Examined, String> {
    let _turn = watch.waiting(|| Handle::current().block_on(turn(watch)));
    let format = refs.object_format;
    let packs = pack_proof::prove(dir, format, &watch.cancel);
    let mut examination = Examination {
        reader: ObjectReader::new(git, objects, format, &watch.cancel),
        format,
        folders: object_folders(dir),
        packs_are_whole: packs.is_ok(),
        is_partial: is_partial(dir),
        states: HashMap::new(),
        findings: Vec::new(),
        objects: Vec::new(),
        prerequisites: BTreeSet::new(),
        watch,
        data: Vec::new(),
    };
    for (_, tip) in base.iter().flat_map(|base| base.iter()) {
        examination.hold(tip)?;
    }
    let mut broken = HashMap::new();
    let before: BTreeSet<Oid> = base.iter().flat_map(|base| base.iter()).map(|(_, oid)| oid).collect();
    for tip in refs.refs.iter().map(|(_, oid)| oid).chain(refs.head_oid()) {
        match examination.settle(tip)? {
            State::Broken(number) => {
                broken.insert(tip, examination.findings[number as usize].clone());
            }
            State::Held if !before.contains(&tip) => examination.build_on(tip)?,
            State::Held | State::Whole | State::Open => {}
        }
    }
    let Examination { mut objects, prerequisites, .. } = examination;
    objects.reverse();
    Ok(Examined { broken, objects, prerequisites })
}

/// Whether the repository leaves objects to the server that it was cloned from.
fn is_partial(dir: &Path) -> bool {
    let packs = fs::read_dir(dir.join("objects/pack")).into_iter().flatten().flatten();
    packs
        .map(|file| file.path())
        .any(|path| path.extension().is_some_and(|extension| extension == "promisor"))
}

/// The turn of this examination, or none after waiting long for it.
async fn turn(watch: &Watch) -> Option<SemaphorePermit<'static>> {
    tokio::select! {
        turn = ONE_AT_A_TIME.acquire() => turn.ok(),
        () = tokio::time::sleep(PATIENCE) => None,
        () = watch.cancel.cancelled() => None,
    }
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The chain holds it, with everything that it leads to.
    Held,
    /// It is whole.
    Whole,
    /// It is being looked into.
    Open,
    /// It lacks the object of this finding.
    Broken(u32),
}

/// What an object is, as far as the one that names it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Target,
    Is(Kind),
}

/// An object's kind, and what it leads to.
type Opened = (Kind, Vec<(Oid, Role)>);

/// An object whose children are not all settled.
struct Frame {
    oid: Oid,
    is_history: bool,
    left: Vec<(Oid, Role)>,
}

struct Examination<'a> {
    reader: ObjectReader<'a>,
    format: ObjectFormat,
    folders: Vec<PathBuf>,
    packs_are_whole: bool,
    is_partial: bool,
    states: HashMap<Oid, State>,
    findings: Vec<Finding>,
    objects: Vec<Oid>,
    prerequisites: BTreeSet<Oid>,
    watch: &'a Watch,
    data: Vec<u8>,
}

impl Examination<'_> {
    /// Notes that the chain holds an object, and what that leads to as far as it can be read.
    fn hold(&mut self, tip: Oid) -> Result<(), String> {
        let mut waiting = vec![(tip, Role::Target)];
        while let Some((oid, role)) = waiting.pop() {
            if self.states.insert(oid, State::Held).is_some() || role == Role::Is(Kind::Blob) {
                continue;
            }
            self.has_room()?;
            if let Ok((_, children)) = self.children(oid, role)? {
                waiting.extend(children);
            }
        }
        Ok(())
    }

    /// Finds out whether an object is whole.
    fn settle(&mut self, tip: Oid) -> Result<State, String> {
        let mut open = Vec::new();
        let mut last = self.enter(tip, Role::Target, &mut open)?;
        while let Some(mut frame) = open.pop() {
            match last {
                // What it leads to besides is of no use without it.
                Some(State::Broken(number)) => {
                    self.states.insert(frame.oid, State::Broken(number));
                    continue;
                }
                Some(State::Whole | State::Held | State::Open) | None => {}
            }
            let Some((child, role)) = frame.left.pop() else {
                self.states.insert(frame.oid, State::Whole);
                self.objects.push(frame.oid);
                last = Some(State::Whole);
                continue;
            };
            if frame.left.is_empty() {
                // Histories are deep: what is not needed any more is given back.
                frame.left = Vec::new();
            }
            let is_history = frame.is_history;
            open.push(frame);
            last = self.enter(child, role, &mut open)?;
            match role {
                _ if !is_history || last != Some(State::Held) => {}
                // The chain holds it even where the repository has lost it.
                Role::Is(Kind::Commit) => drop(self.prerequisites.insert(child)),
                Role::Target => self.build_on(child)?,
                Role::Is(_) => {}
            }
        }
        Ok(self.states.get(&tip).copied().unwrap_or(State::Open))
    }

    /// The state of an object, or none when it was opened and has to be settled first.
    fn enter(&mut self, oid: Oid, role: Role, open: &mut Vec<Frame>) -> Result<Option<State>, String> {
        if let Some(state) = self.states.get(&oid) {
            // An object leads to itself only if somebody broke its hash.
            return Ok(Some(*state));
        }
        self.has_room()?;
        let state = match self.children(oid, role)? {
            Ok((Kind::Blob, _)) => {
                self.objects.push(oid);
                State::Whole
            }
            Ok((kind, left)) => {
                self.states.insert(oid, State::Open);
                open.push(Frame { oid, is_history: kind != Kind::Tree, left });
                return Ok(None);
            }
            Err(said) => {
                let number = u32::try_from(self.findings.len()).map_err(|_| "has too much damage")?;
                self.findings.push(Finding { object: oid, said });
                State::Broken(number)
            }
        };
        self.states.insert(oid, state);
        Ok(Some(state))
    }

    fn has_room(&self) -> Result<(), String> {
        self.watch.moved(1);
        match self.states.len() {
            0..MOST_OBJECTS => Ok(()),
            _ => Err(format!(
                "has more than {MOST_OBJECTS} objects, too many to look for those that are whole"
            )),
        }
    }

    /// What an object is and leads to, in reverse, or what is wrong with it.
    fn children(&mut self, oid: Oid, role: Role) -> Result<Result<Opened, String>, String> {
        let named = match role {
            Role::Target => "object",
            Role::Is(Kind::Commit) => "commit",
            Role::Is(Kind::Tree) => "tree",
            Role::Is(Kind::Tag) => "tag",
            Role::Is(Kind::Blob) => "blob",
        };
        let is_blob = role == Role::Is(Kind::Blob);
        let just_look = is_blob && self.packs_are_whole && !self.is_loose(oid);
        let mut data = std::mem::take(&mut self.data);
        let answer = if just_look { self.reader.look(oid) } else { self.reader.read(oid, &mut data) };
        let found = match answer? {
            Answer::There(kind) if matches!(role, Role::Is(wanted) if wanted != kind) => {
                Err(format!("{named} {oid} is a {kind}"))
            }
            Answer::There(kind) => match children_of(kind, &data, self.format) {
                Some(children) => Ok((kind, children)),
                None => Err(format!("{kind} {oid} cannot be read")),
            },
            Answer::Missing if self.is_partial && !self.is_loose(oid) => {
                let advice = "git fetch --refetch gets it";
                Err(format!("{named} {oid} was left to another server by this partial clone ({advice})"))
            }
            Answer::Missing if self.is_loose(oid) => Err(format!("{named} {oid} is damaged")),
            Answer::Missing => Err(format!("{named} {oid} is missing")),
            Answer::Damaged(said) => Err(format!("{named} {oid} is damaged: {said}")),
        };
        self.data = data;
        Ok(found)
    }

    fn is_loose(&self, oid: Oid) -> bool {
        let name = oid.to_string();
        self.folders.iter().any(|objects| objects.join(&name[..2]).join(&name[2..]).exists())
    }

    /// Notes the commit of the chain that an object is or, as a tag, leads to.
    fn build_on(&mut self, mut oid: Oid) -> Result<(), String> {
        loop {
            let mut data = std::mem::take(&mut self.data);
            let answer = self.reader.read(oid, &mut data)?;
            let tag =
                (answer == Answer::There(Kind::Tag)).then(|| children_of(Kind::Tag, &data, self.format));
            self.data = data;
            match tag.flatten().and_then(|children| children.first().copied()) {
                Some((target, _)) => oid = target,
                None => {
                    if answer == Answer::There(Kind::Commit) {
                        self.prerequisites.insert(oid);
                    }
                    return Ok(());
                }
            }
        }
    }
}

fn children_of(kind: Kind, data: &[u8], format: ObjectFormat) -> Option<Vec<(Oid, Role)>> {
    let hash = hash_kind(format);
    let child = |id: &gix::oid, role| Some((Oid::from_bytes(id.as_bytes())?, role));
    let mut children = Vec::new();
    match kind {
        Kind::Blob => {}
        Kind::Tag => {
            let target = TagRefIter::from_bytes(data, hash).target_id().ok()?;
            children.push(child(&target, Role::Target)?);
        }
        Kind::Commit => {
            for token in CommitRefIter::from_bytes(data, hash) {
                match token.ok()? {
                    Token::Tree { id } => children.push(child(&id, Role::Is(Kind::Tree))?),
                    Token::Parent { id } => children.push(child(&id, Role::Is(Kind::Commit))?),
                    _ => break,
                }
            }
            // Without a tree it is no commit.
            children.first().filter(|(_, role)| *role == Role::Is(Kind::Tree))?;
            // The last one is looked into first: without its tree, a commit's history is of no use.
            children.reverse();
        }
        Kind::Tree => {
            for entry in TreeRefIter::from_bytes(data, hash) {
                let entry = entry.ok()?;
                if !entry.mode.is_commit() {
                    let kind = if entry.mode.is_tree() { Kind::Tree } else { Kind::Blob };
                    children.push(child(entry.oid, Role::Is(kind))?);
                }
            }
        }
    }
    Some(children)
}
