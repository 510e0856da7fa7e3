//! The manifest: the TOML file that lists one repository's steps. Gitaly's keys in Gitaly's order and byte style, then
//! a table of ours, which Gitaly ignores.
//!
//! Does not own: writing it at the right moment (`agent::backup::commit`). A manifest without our table (Gitaly's own)
//! reads fine; its objects are then unverified.

use packhorse_model::{ObjectDigest, decode_ref_name, encode_ref_name};
use serde::Deserialize;

use crate::{Damage, FORMAT, Fingerprint, ObjectKey, Oid, VaultError};

/// The steps of one repository in one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// No refs and no HEAD: restores to an empty repository.
    pub empty: bool,
    /// The repository did not exist; nothing to restore.
    pub non_existent: bool,
    /// Git's name of the hash; empty for a repository that did not exist.
    pub object_format: String,
    /// The ref that HEAD points to; none when detached.
    pub head_reference: Option<Vec<u8>>,
    /// Full first, then increments.
    pub steps: Vec<Step>,
    /// Our table; none in a manifest that Gitaly wrote.
    pub packhorse: Option<Packhorse>,
}

/// One bundle with its refs list and hooks archive, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The bundle; absent as an object when the repository was empty.
    pub bundle_path: String,
    /// The refs list.
    pub ref_path: String,
    /// The refs list of the step before; empty in a full step.
    pub previous_ref_path: String,
    /// The hooks archive; Gitaly names it even when there is none.
    pub custom_hooks_path: String,
}

/// What Packhorse adds to a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packhorse {
    /// Fingerprint of the state that the last step leads to.
    pub fingerprint: Fingerprint,
    /// How the repository stored its refs.
    pub ref_storage: RefStorage,
    /// Symbolic refs under `refs/`, which a refs list cannot express.
    pub symrefs: Vec<Symref>,
    /// Names that an earlier step of this chain lists and the last one does not.
    pub removed: Vec<Vec<u8>>,
    /// Whether it was left to `verify` to prove that the bundles hold everything that the refs reach.
    pub unproven: bool,
    /// Packs of the repository of which is proven that everything that their objects name is in them.
    pub closed_packs: Vec<ClosedPack>,
    /// What is left out because the repository is damaged; none when that is nothing.
    pub damage: Option<Damage>,
    /// Every object that the steps name, and indices of their packs.
    pub objects: Vec<ObjectDigest>,
}

/// A pack in a repository whose objects name nothing that is neither in it nor in the packs that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPack {
    /// The hash of its bytes, as its trailer has it.
    pub pack: Oid,
    /// The same of others.
    pub needs: Vec<Oid>,
}

/// How a repository stores its refs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefStorage {
    /// Loose files and `packed-refs`.
    Files,
    /// Git's binary table format.
    Reftable,
}

impl RefStorage {
    /// Git's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Reftable => "reftable",
        }
    }
}

/// A symbolic ref under `refs/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symref {
    /// Full name.
    pub name: Vec<u8>,
    /// Full name of what it points to.
    pub target: Vec<u8>,
}

impl Manifest {
    /// The digest that our table holds for a key.
    pub fn digest(&self, key: &str) -> Option<&ObjectDigest> {
        self.packhorse.as_ref()?.objects.iter().find(|object| object.path == key)
    }

    /// The first key that a step names and our table, which comes last, holds no digest for; an empty repository has no
    /// bundle to name.
    pub fn first_without_digest(&self) -> Option<&str> {
        let named = self.steps.iter().flat_map(|step| {
            let bundle = (!self.empty).then_some(step.bundle_path.as_str());
            bundle.into_iter().chain([step.ref_path.as_str(), step.custom_hooks_path.as_str()])
        });
        named.filter(|key| !key.is_empty()).find(|key| self.digest(key).is_none())
    }

    /// Bytes of everything the steps name, as far as known.
    pub fn bytes_total(&self) -> u64 {
        self.packhorse.iter().flat_map(|table| &table.objects).map(|object| object.size).sum()
    }

    /// The manifest as stored.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        out.push_str(&format!("empty = {}\nnon_existent = {}\n", self.empty, self.non_existent));
        push_key(&mut out, "object_format", &self.object_format);
        if let Some(head) = &self.head_reference {
            push_key(&mut out, "head_reference", &String::from_utf8_lossy(head));
        }
        for step in &self.steps {
            out.push_str("\n[[steps]]\n");
            for (key, value) in [
                ("bundle_path", &step.bundle_path),
                ("ref_path", &step.ref_path),
                ("previous_ref_path", &step.previous_ref_path),
                ("custom_hooks_path", &step.custom_hooks_path),
            ] {
                if !value.is_empty() {
                    push_key(&mut out, key, value);
                }
            }
        }
        if let Some(table) = &self.packhorse {
            self.push_table(&mut out, table);
        }
        out
    }

    fn push_table(&self, out: &mut String, table: &Packhorse) {
        out.push_str(&format!("\n[packhorse]\nformat = {FORMAT}\n"));
        push_key(out, "fingerprint", &table.fingerprint.to_string());
        push_key(out, "ref_storage", table.ref_storage.as_str());
        // Gitaly's key is text; the exact bytes of another HEAD target stand here.
        if let Some(head) = self.head_reference.as_ref().filter(|head| std::str::from_utf8(head).is_err()) {
            push_key(out, "head_reference", &encode_ref_name(head));
        }
        if table.unproven {
            out.push_str("unproven = true\n");
        }
        if !table.removed.is_empty() {
            out.push_str("removed = [\n");
            for name in &table.removed {
                out.push_str(&format!("    {},\n", quote(&encode_ref_name(name))));
            }
            out.push_str("]\n");
        }
        for symref in &table.symrefs {
            out.push_str("\n[[packhorse.symrefs]]\n");
            push_key(out, "name", &encode_ref_name(&symref.name));
            push_key(out, "target", &encode_ref_name(&symref.target));
        }
        for closed in &table.closed_packs {
            out.push_str("\n[[packhorse.closed_packs]]\n");
            push_key(out, "pack", &closed.pack.to_string());
            let needs: Vec<String> = closed.needs.iter().map(|need| quote(&need.to_string())).collect();
            out.push_str(&format!("needs = [{}]\n", needs.join(", ")));
        }
        if let Some(damage) = &table.damage {
            push_damage(out, damage);
        }
        for object in &table.objects {
            out.push_str("\n[[packhorse.objects]]\n");
            push_key(out, "path", &object.path);
            out.push_str(&format!("size = {}\n", object.size));
            push_key(out, "sha256", object.sha256.as_str());
        }
    }

    /// The manifest stored at `key`; unknown keys are ignored, damage is an error.
    pub fn parse(bytes: &[u8], key: &ObjectKey) -> Result<Self, VaultError> {
        let corrupt = |finding: String| VaultError::corrupt("read manifest", key, finding);
        let text = std::str::from_utf8(bytes).map_err(|e| corrupt(e.to_string()))?;
        let raw: Raw = toml::from_str(text).map_err(|e| corrupt(e.message().to_owned()))?;
        if raw.steps.is_empty() {
            return Err(corrupt("lists no steps".into()));
        }
        let mut head_reference = raw.head_reference.filter(|head| !head.is_empty()).map(String::into_bytes);
        let packhorse = match raw.packhorse {
            None => None,
            Some(table) if table.format != FORMAT => {
                let finding = format!("has format {}, this version reads {FORMAT}", table.format);
                return Err(VaultError::new(
                    packhorse_model::ErrorKind::Invalid,
                    "read manifest",
                    key,
                    finding,
                ));
            }
            Some(table) => {
                let decode = |name: &String| decode_ref_name(name).map_err(|e| corrupt(e.to_string()));
                if let Some(head) = &table.head_reference {
                    head_reference = Some(decode(head)?);
                }
                let symrefs = table
                    .symrefs
                    .iter()
                    .map(|raw| Ok(Symref { name: decode(&raw.name)?, target: decode(&raw.target)? }))
                    .collect::<Result<_, VaultError>>()?;
                let ref_storage = match table.ref_storage.as_str() {
                    "files" => RefStorage::Files,
                    "reftable" => RefStorage::Reftable,
                    other => return Err(corrupt(format!("has unknown ref storage {other:?}"))),
                };
                let removed = table.removed.iter().map(decode).collect::<Result<_, _>>()?;
                let oid = |hex: &String| {
                    let oid = Oid::from_hex(hex.as_bytes());
                    oid.ok_or_else(|| corrupt(format!("has a pack named {hex:?}")))
                };
                let closed_pack = |raw: &RawClosedPack| {
                    let needs = raw.needs.iter().map(oid).collect::<Result<_, VaultError>>()?;
                    Ok(ClosedPack { pack: oid(&raw.pack)?, needs })
                };
                let closed_packs =
                    table.closed_packs.iter().map(closed_pack).collect::<Result<_, VaultError>>()?;
                let Table { fingerprint, unproven, damage, objects, .. } = table;
                Some(Packhorse {
                    fingerprint,
                    ref_storage,
                    symrefs,
                    removed,
                    unproven,
                    closed_packs,
                    damage,
                    objects,
                })
            }
        };
        let Raw { empty, non_existent, object_format, steps, .. } = raw;
        Ok(Self { empty, non_existent, object_format, head_reference, steps, packhorse })
    }
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Raw {
    empty: bool,
    non_existent: bool,
    object_format: String,
    head_reference: Option<String>,
    steps: Vec<Step>,
    packhorse: Option<Table>,
}

#[derive(Deserialize)]
struct Table {
    format: u32,
    fingerprint: Fingerprint,
    ref_storage: String,
    #[serde(default)]
    head_reference: Option<String>,
    #[serde(default)]
    removed: Vec<String>,
    #[serde(default)]
    unproven: bool,
    #[serde(default)]
    closed_packs: Vec<RawClosedPack>,
    #[serde(default)]
    damage: Option<Damage>,
    #[serde(default)]
    symrefs: Vec<RawSymref>,
    #[serde(default)]
    objects: Vec<ObjectDigest>,
}

#[derive(Deserialize)]
struct RawClosedPack {
    pack: String,
    #[serde(default)]
    needs: Vec<String>,
}

#[derive(Deserialize)]
struct RawSymref {
    name: String,
    target: String,
}

fn push_damage(out: &mut String, damage: &Damage) {
    out.push_str("\n[packhorse.damage]\n");
    push_key(out, "seen", &damage.seen.to_string());
    if let Some(files) = &damage.object_files {
        push_key(out, "object_files", files.as_str());
    }
    out.push_str(&format!("total = {}\n", damage.total));
    for left_out in &damage.left_out {
        out.push_str("\n[[packhorse.damage.left_out]]\n");
        push_key(out, "name", &left_out.name);
        push_key(out, "finding", &left_out.finding);
        if let Some(object) = &left_out.object {
            push_key(out, "object", object);
        }
    }
    if let Some(last_good) = &damage.last_good {
        out.push_str("\n[packhorse.damage.last_good]\n");
        push_key(out, "manifest", &last_good.manifest);
        if let Some(sha256) = &last_good.sha256 {
            push_key(out, "sha256", sha256.as_str());
        }
    }
}

fn push_key(out: &mut String, key: &str, value: &str) {
    out.push_str(&format!("{key} = {}\n", quote(value)));
}

/// A literal string where TOML allows one, else a basic string: what go-toml, Gitaly's writer, chooses.
fn quote(value: &str) -> String {
    if !value.contains('\'') && !value.chars().any(char::is_control) {
        return format!("'{value}'");
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use packhorse_model::Sha256Hex;

    use super::*;
    use crate::{LastGood, LeftOut};

    fn key() -> ObjectKey {
        ObjectKey::from_stored("manifests/default/a.git/A.toml").expect("plain key")
    }

    fn oid(byte: u8) -> Oid {
        Oid::from_bytes(&[byte; 20]).expect("20 bytes")
    }

    fn manifest() -> Manifest {
        Manifest {
            empty: false,
            non_existent: false,
            object_format: "sha1".into(),
            head_reference: Some(b"refs/heads/main".to_vec()),
            steps: vec![
                Step {
                    bundle_path: "default/a.git/A/001.bundle".into(),
                    ref_path: "default/a.git/A/001.refs".into(),
                    ..Step::default()
                },
                Step {
                    bundle_path: "default/a.git/B/002.bundle".into(),
                    ref_path: "default/a.git/B/002.refs".into(),
                    previous_ref_path: "default/a.git/A/001.refs".into(),
                    custom_hooks_path: "default/a.git/B/002.custom_hooks.tar".into(),
                },
            ],
            packhorse: None,
        }
    }

    fn damage() -> Damage {
        let (sha256, manifest) = (Sha256Hex::from_bytes([9; 32]), "manifests/default/a'b.git/A.toml".into());
        Damage {
            seen: format!("sha256:{}", "0e".repeat(32)).parse().expect("valid"),
            object_files: Some(sha256.clone()),
            total: 3,
            left_out: vec![
                LeftOut::new(b"refs/heads/\xff", "commit is \"missing\"\n".into(), Some(oid(4))),
                LeftOut::new(b"HEAD", "the file is empty".into(), None),
            ],
            last_good: Some(LastGood { manifest, sha256: Some(sha256) }),
        }
    }

    #[test]
    fn gitaly_keys_come_out_byte_for_byte() {
        let expected = "empty = false\nnon_existent = false\nobject_format = 'sha1'\n\
            head_reference = 'refs/heads/main'\n\n[[steps]]\nbundle_path = 'default/a.git/A/001.bundle'\n\
            ref_path = 'default/a.git/A/001.refs'\n\n[[steps]]\nbundle_path = 'default/a.git/B/002.bundle'\n\
            ref_path = 'default/a.git/B/002.refs'\nprevious_ref_path = 'default/a.git/A/001.refs'\n\
            custom_hooks_path = 'default/a.git/B/002.custom_hooks.tar'\n";
        assert_eq!(manifest().to_toml(), expected);
        assert_eq!(Manifest::parse(expected.as_bytes(), &key()).expect("valid"), manifest());
    }

    #[test]
    fn our_table_round_trips_with_any_bytes_in_names() {
        let mut manifest = manifest();
        manifest.head_reference = Some(b"refs/heads/\xff'".to_vec());
        manifest.packhorse = Some(Packhorse {
            fingerprint: format!("sha256:{}", "0f".repeat(32)).parse().expect("valid"),
            ref_storage: RefStorage::Reftable,
            symrefs: vec![Symref { name: b"refs/x\xfe".to_vec(), target: b"refs/y%".to_vec() }],
            removed: vec![b"refs/heads/it's".to_vec(), b"refs/heads/\x80".to_vec()],
            unproven: true,
            closed_packs: vec![
                ClosedPack { pack: oid(1), needs: vec![] },
                ClosedPack { pack: oid(2), needs: vec![oid(1), oid(3)] },
            ],
            damage: Some(damage()),
            objects: vec![ObjectDigest {
                path: "default/a'b.git/A/001.bundle".into(),
                size: 7,
                sha256: Sha256Hex::from_bytes([7; 32]),
            }],
        });
        let text = manifest.to_toml();
        assert_eq!(Manifest::parse(text.as_bytes(), &key()).expect("own text"), manifest);
    }

    #[test]
    fn lenient_where_gitaly_is_and_strict_where_it_matters() {
        let minimal = "[[steps]]\n  bundle_path = \"b\"\n  ref_path = 'r'\n  misspelled = 1\n";
        let read = Manifest::parse(minimal.as_bytes(), &key()).expect("minimal manifest");
        assert!(!read.empty && read.head_reference.is_none() && read.steps.len() == 1);
        for bad in ["", "empty = false\n", "steps = 1", "\u{0}", "[[steps]]\n[packhorse]\nformat = 2\n"] {
            assert!(Manifest::parse(bad.as_bytes(), &key()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_truncation_is_survived() {
        let text = manifest().to_toml();
        for end in 0..text.len() {
            let _ = Manifest::parse(&text.as_bytes()[..end], &key());
        }
    }
    #[test]
    fn a_manifest_of_which_only_the_beginning_is_there_is_found_out() {
        let mut whole = manifest();
        let steps = whole.steps.iter();
        let named = steps.flat_map(|step| [&step.bundle_path, &step.ref_path, &step.custom_hooks_path]);
        let digest = |key: &String| ObjectDigest {
            path: key.clone(),
            size: 7,
            sha256: Sha256Hex::from_bytes([7; 32]),
        };
        whole.packhorse = Some(Packhorse {
            fingerprint: format!("sha256:{}", "0f".repeat(32)).parse().expect("valid"),
            ref_storage: RefStorage::Files,
            symrefs: Vec::new(),
            removed: Vec::new(),
            unproven: false,
            closed_packs: Vec::new(),
            damage: Some(damage()),
            objects: named.filter(|key| !key.is_empty()).map(digest).collect(),
        });
        let text = whole.to_toml();
        assert_eq!(whole.first_without_digest(), None);
        // Without its last newline it says the same.
        for end in 0..text.len() - 1 {
            let read = Manifest::parse(&text.as_bytes()[..end], &key());
            let has_table = |read: &Manifest| read.packhorse.is_some();
            let believed = read.is_ok_and(|read| has_table(&read) && read.first_without_digest().is_none());
            assert!(!believed, "the first {end} bytes of\n{text}");
        }
    }
}
