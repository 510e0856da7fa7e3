//! The catalogue: one storage's list of repositories in one backup, as zstd-compressed JSON lines sorted by path.
//!
//! Does not own: which line a repository gets. Written and read as a stream; the reader refuses lines out of order, so
//! that it can be walked beside a storage, and lines that are longer than any that is written, whatever they unpack to.

use std::io::{self, BufRead as _, BufReader, Cursor, Read as _, Write};

use bytes::Bytes;
use packhorse_model::{ObjectDigest, Outcome, Problem, RepoPath, Sha256Hex, StorageName};
use serde::{Deserialize, Serialize};

use crate::{Damage, Fingerprint, LastGood, ObjectKey, ObjectWriter, Vault, VaultError};

/// One repository in one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueEntry {
    /// Path relative to the storage.
    pub path: RepoPath,
    /// What became of it in this run.
    pub outcome: Outcome,
    /// Key of its newest good manifest; none when there has never been one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Digest of that manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<Sha256Hex>,
    /// Fingerprint of the state that the manifest restores to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Steps of the manifest.
    #[serde(default)]
    pub steps: u32,
    /// Refs in the last step, HEAD not counted.
    #[serde(default)]
    pub refs: u64,
    /// Bytes that this run wrote for it.
    #[serde(default)]
    pub bytes_new: u64,
    /// Bytes of everything that the manifest names.
    #[serde(default)]
    pub bytes_total: u64,
    /// Whether it was left to `verify` to prove that the manifest's bundles hold everything that the refs reach.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unproven: bool,
    /// HEAD, as a ref name with unusual bytes as `%XX`, or an object id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Whether objects were found missing or damaged, and the repository was not backed up as a whole since: then its refs do
    /// not tell that it is whole.
    #[serde(default, skip_serializing_if = "is_false")]
    pub found_damaged: bool,
    /// What the manifest leaves out; none when that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// Why it failed, or what is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

impl CatalogueEntry {
    /// The newest state of which nothing was left out.
    pub fn last_good(&self) -> Option<LastGood> {
        match &self.damage {
            Some(damage) => damage.last_good.clone(),
            None => {
                let manifest = self.manifest.clone()?;
                Some(LastGood { manifest, sha256: self.manifest_sha256.clone() })
            }
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Most bytes of a line. The longest that is written names a hundred refs that are left out.
pub const LONGEST_LINE: u64 = 16 << 20;
/// Most bytes, as a power of two, that a reader must look back in what it unpacks; the writer needs a quarter of it.
const WINDOW_LOG: u32 = 23;

/// Writes a catalogue as a stream of lines.
pub struct CatalogueWriter {
    lines: zstd::Encoder<'static, ObjectWriter>,
    key: ObjectKey,
    last: Option<RepoPath>,
}

impl CatalogueWriter {
    /// Starts the catalogue of one storage. Blocking, as all of this type.
    pub fn create(vault: &Vault, key: ObjectKey) -> Result<Self, VaultError> {
        let writer = vault.slow_writer(key.clone());
        let lines = zstd::Encoder::new(writer, 3)
            .map_err(|e| VaultError::new(packhorse_model::ErrorKind::Internal, "write catalogue", &key, e))?;
        Ok(Self { lines, key, last: None })
    }

    /// Appends a line; paths must ascend.
    pub fn push(&mut self, entry: &CatalogueEntry) -> Result<(), VaultError> {
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            let finding = format!("{} comes after {:?}", entry.path, self.last);
            return Err(VaultError::new(
                packhorse_model::ErrorKind::Internal,
                "write catalogue",
                &self.key,
                finding,
            ));
        }
        let written = serde_json::to_writer(&mut self.lines, entry).map_err(io::Error::from);
        written.and_then(|()| self.lines.write_all(b"\n")).map_err(|e| self.error(&e))?;
        self.last = Some(entry.path.clone());
        Ok(())
    }

    /// Completes the catalogue and says where it lies.
    pub fn finish(self) -> Result<ObjectDigest, VaultError> {
        let key = self.key;
        let writer = self.lines.finish().map_err(|e| error_of(&key, &e))?;
        writer.finish()
    }

    fn error(&self, error: &io::Error) -> VaultError {
        error_of(&self.key, error)
    }
}

fn error_of(key: &ObjectKey, error: &io::Error) -> VaultError {
    VaultError::of_io(error).cloned().unwrap_or_else(|| {
        VaultError::new(packhorse_model::ErrorKind::Internal, "write catalogue", key, error)
    })
}

/// Reads a catalogue, line by line, from its compressed bytes.
pub struct CatalogueReader {
    lines: BufReader<zstd::Decoder<'static, BufReader<Cursor<Bytes>>>>,
    key: String,
    last: Option<RepoPath>,
}

impl CatalogueReader {
    /// Fetches the catalogue of `storage` and checks it against its digest.
    pub async fn open(
        vault: &Vault,
        digest: &ObjectDigest,
        storage: &StorageName,
    ) -> Result<Self, VaultError> {
        let bytes = vault.get_checked(digest).await?;
        Self::from_bytes(bytes, &digest.path).map_err(|e| {
            VaultError::corrupt("read catalogue", format!("{} of storage {storage}", digest.path), e)
        })
    }

    /// A reader of compressed bytes; `key` names them in errors.
    pub fn from_bytes(bytes: Bytes, key: &str) -> io::Result<Self> {
        let mut lines = zstd::Decoder::new(Cursor::new(bytes))?;
        lines.window_log_max(WINDOW_LOG)?;
        Ok(Self { lines: BufReader::new(lines), key: key.to_owned(), last: None })
    }

    fn next_entry(&mut self) -> Result<Option<CatalogueEntry>, VaultError> {
        let corrupt = |finding: String| VaultError::corrupt("read catalogue", &self.key, finding);
        let mut line = String::new();
        let mut limited = self.lines.by_ref().take(LONGEST_LINE);
        if limited.read_line(&mut line).map_err(|e| corrupt(e.to_string()))? == 0 {
            return Ok(None);
        }
        if limited.limit() == 0 {
            return Err(corrupt(format!("a line is longer than {LONGEST_LINE} bytes")));
        }
        let entry: CatalogueEntry = serde_json::from_str(&line).map_err(|e| corrupt(e.to_string()))?;
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(corrupt(format!("{} is out of order", entry.path)));
        }
        self.last = Some(entry.path.clone());
        Ok(Some(entry))
    }
}

impl Iterator for CatalogueReader {
    type Item = Result<CatalogueEntry, VaultError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}
