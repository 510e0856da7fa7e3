//! The wire: the gRPC services `packhorse.v1.AgentService` and `packhorse.v1.CoordinatorService`, their messages, and
//! conversions between messages and the words of `model`.
//!
//! Does not own: serving or calling. Messages carry backup IDs and relative paths, never bytes of repositories;
//! everything that arrives is parsed into `model` types before it is used.

mod convert;
mod status;

pub use convert::{filter_from_wire, filter_to_wire};
pub use status::{problem_of_status, status_of_problem};

/// Generated messages, clients and servers of package `packhorse.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("packhorse.v1");
}

/// The compiled `.proto` files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The paths of the calls of one of our services, sorted: what a list of rights has to name.
pub fn methods_of(service: &str) -> Vec<String> {
    let files: prost_types::FileDescriptorSet =
        prost::Message::decode(DESCRIPTORS).expect("they were compiled with the crate");
    let services = files.file.iter().flat_map(|file| &file.service);
    let methods = services.filter(|found| found.name() == service).flat_map(|found| &found.method);
    let mut paths: Vec<_> =
        methods.map(|method| format!("/packhorse.v1.{service}/{}", method.name())).collect();
    paths.sort();
    paths
}

/// Response metadata of `Create` and `Restore` that carries the run's name for `Cancel`.
pub const RUN_METADATA: &str = "packhorse-run";

/// The operation that an agent says it could not do when it is busy with another job for the storage.
pub const START_JOB: &str = "start job";

/// Version of the wire between coordinator and agents. Raised with every change that an older peer would misread.
pub const PROTOCOL: u32 = 1;
