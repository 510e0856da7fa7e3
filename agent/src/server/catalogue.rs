//! The catalogue that a job names, which comes from the network and says which object of the vault is read.
//!
//! Does not own: reading it. Nothing but a catalogue of the job's own storage is accepted, and its bytes must have the
//! digest that the job gives.

use packhorse_model::{InvalidInput, ObjectDigest, StorageName};
use packhorse_proto::v1;
use packhorse_vault::ObjectKey;

/// The digest of a catalogue of `storage`.
pub fn catalogue_of(wire: v1::ObjectDigest, storage: &StorageName) -> Result<ObjectDigest, InvalidInput> {
    if !ObjectKey::is_catalogue_of(&wire.path, storage) {
        return Err(InvalidInput::new(
            "catalogue",
            wire.path,
            "is not the key of a catalogue of this storage",
        ));
    }
    wire.try_into()
}
