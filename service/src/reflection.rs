//! The standard reflection service of gRPC, by which tools find out what a daemon can be asked.
//!
//! Does not own: the descriptors. It tells of one service and of health, because those are what is served.

use packhorse_model::{ErrorKind, Problem, Subject};
use tonic::server::NamedService;
use tonic_health::pb::{FILE_DESCRIPTOR_SET, health_server::HealthServer};
use tonic_reflection::server::{
    Builder,
    v1::{ServerReflection, ServerReflectionServer},
};

/// Reflection of the service `S`, which is in `descriptors` (a compiled `FileDescriptorSet`), and of health.
pub fn reflection<S: NamedService>(
    descriptors: &'static [u8],
    subject: Subject,
) -> Result<ServerReflectionServer<impl ServerReflection>, Problem> {
    Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .with_service_name(S::NAME)
        .with_service_name(<HealthServer<()> as NamedService>::NAME)
        .build_v1()
        .map_err(|e| Problem::new(ErrorKind::Internal, subject, "serve reflection").answered(e))
}
