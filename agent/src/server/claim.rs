//! One job per storage at a time.
//!
//! Does not own: the jobs. A claim ends when it is dropped, also when its job ends by a panic.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};

/// The storages that are busy, and with what.
#[derive(Clone, Default)]
pub struct Claims {
    busy: Arc<Mutex<HashMap<StorageName, String>>>,
}

/// A storage that belongs to one job.
pub struct Claim {
    claims: Claims,
    storage: StorageName,
}

impl Claims {
    /// Claims a storage for `what`; refused while another job has it.
    pub fn claim(&self, storage: &StorageName, what: String) -> Result<Claim, Problem> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = busy.get(storage) {
            return Err(Problem::new(ErrorKind::Unavailable, Subject::Agent, "start job")
                .on(storage)
                .answered(format!("the storage is busy with {other}"))
                .next("wait for it, or cancel it"));
        }
        busy.insert(storage.clone(), what);
        Ok(Claim { claims: self.clone(), storage: storage.clone() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut busy = self.claims.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.storage);
    }
}
