//! Where our side stores, and what backupctl is asked: the whole program in embedded mode, from its start to its end.
//!
//! Does not own: what is compared. On a disk, every object is synced before the program ends.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::Result;
use packhorse_testkit::CephGateway;

use crate::{
    bench::Bench,
    corpus::Storage,
    loops::JOBS,
    measure::{Prepared, Stored},
    meter::{Call, Script},
};

/// Where vaults are made.
pub enum Place {
    /// In the work folder.
    Disk,
    /// On a gateway, with so many buckets so far.
    Ceph(Rc<CephGateway>, Cell<u32>),
}

/// An empty vault, or one that earlier runs wrote to.
pub struct Vault {
    url: String,
    env: Vec<(String, String)>,
    room: Room,
}

enum Room {
    Folder(PathBuf),
    Bucket(Rc<CephGateway>, String),
}

impl Place {
    /// On the disk, or on a gateway that is started.
    pub fn open(ceph: bool) -> Self {
        if !ceph {
            return Self::Disk;
        }
        let (gateway, count) = (CephGateway::start(), Cell::new(0));
        // What a gateway does once is not measured.
        gateway.begin_upload(&Self::bucket(&gateway, &count), "first");
        Self::Ceph(Rc::new(gateway), count)
    }

    /// The gateway, where there is one.
    pub fn gateway(&self) -> Option<&Rc<CephGateway>> {
        match self {
            Self::Disk => None,
            Self::Ceph(gateway, _) => Some(gateway),
        }
    }

    /// A new bucket of a gateway.
    pub fn bucket(gateway: &CephGateway, count: &Cell<u32>) -> String {
        let name = format!("bench-{}", count.replace(count.get() + 1));
        gateway.create_bucket(&name);
        name
    }

    /// A new vault.
    pub fn vault(&self, bench: &Bench) -> Result<Vault> {
        match self {
            Self::Disk => {
                let folder = bench.fresh("vault")?;
                let url = format!("file://{}", folder.display());
                Ok(Vault { url, env: Vec::new(), room: Room::Folder(folder) })
            }
            Self::Ceph(gateway, count) => {
                let bucket = Self::bucket(gateway, count);
                let url = format!("s3://{bucket}");
                Ok(Vault { url, env: gateway.env(), room: Room::Bucket(Rc::clone(gateway), bucket) })
            }
        }
    }
}

impl Vault {
    /// backupctl with this vault.
    pub fn backupctl(&self, bench: &Bench) -> Call {
        let mut call = Call::new(&bench.programs.backupctl).watched();
        call.env.extend(self.env.iter().cloned());
        call.args(["--embedded", "--quiet", "--no-progress", "--git"])
            .path(&bench.programs.git.path)
            .args(["--vault", &self.url])
    }

    /// A backup of a storage, as many repositories at once as the peers.
    pub fn create(&self, bench: &Bench, storage: &Storage, flags: &[&str]) -> Script {
        let call = self.backupctl(bench).arg("--jobs").arg(JOBS.to_string());
        Script::one(call.args(["create", "--init"]).args(flags.iter().copied()).args(named(&storage.path)))
    }

    /// The same with the number of repositories at once that backupctl chooses, and only what changed.
    pub fn create_by_itself(&self, bench: &Bench, storage: &Storage) -> Script {
        Script::one(self.backupctl(bench).args(["create", "--init"]).args(named(&storage.path)))
    }

    /// A restore of all into an empty folder.
    pub fn restore(&self, bench: &Bench, target: &Path) -> Script {
        let call = self.backupctl(bench).arg("--jobs").arg(JOBS.to_string());
        Script::one(call.args(["restore", "latest"]).args(named(target)))
    }

    /// A run that has this vault for itself.
    pub fn filled_by(self, script: Script) -> Prepared {
        match self.room {
            Room::Folder(folder) => Prepared::filling(&folder, script),
            Room::Bucket(gateway, bucket) => Prepared::in_bucket(&gateway, bucket, script),
        }
    }

    /// One run among others in this vault.
    pub fn grown_by(&self, script: Script) -> Result<Prepared> {
        match &self.room {
            Room::Folder(folder) => Prepared::growing(folder, script),
            Room::Bucket(..) => Ok(Prepared::unseen(script)),
        }
    }
}

impl Prepared {
    /// A run that has a bucket for itself, which is removed after it.
    pub fn in_bucket(gateway: &Rc<CephGateway>, bucket: String, script: Script) -> Self {
        let gateway = Rc::clone(gateway);
        Self { script, stored: Stored::Elsewhere(Box::new(move || gateway.remove_bucket(&bucket))) }
    }
}

fn named(storage: &Path) -> [String; 2] {
    ["--storage".to_owned(), format!("default={}", storage.display())]
}
