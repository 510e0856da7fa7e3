//! Asking the platform for credentials, where the environment has none.
//!
//! Does not own: which platforms there are, or the answers. The metadata service of a machine in a cloud is at an address
//! of the machine's own link. Elsewhere nobody is there, and a store's client would look for it as long as for a store;
//! so who cannot be reached in a few tries is not there, and it is said what is missing.

use std::{pin::Pin, time::Duration};

use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};

/// Tries to reach the service.
const TRIES: u32 = 3;
/// Time for one of them.
const TIME: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
#[error("no credentials: the environment has none, and the platform's service at {0} does not answer")]
struct NoCredentials(String);

/// A client that asks the platform.
#[derive(Debug)]
pub struct Platform(pub HttpClient);

/// The trait's method is an `async fn`, spelled out.
impl HttpService for Platform {
    fn call<'line, 'call>(
        &'line self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'line: 'call,
        Self: 'call,
    {
        Box::pin(self.ask(request))
    }
}

impl Platform {
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        for _ in 0..TRIES {
            if let Ok(Ok(answer)) = tokio::time::timeout(TIME, self.0.execute(request.clone())).await {
                return Ok(answer);
            }
        }
        Err(HttpError::new(HttpErrorKind::Unknown, NoCredentials(host)))
    }
}
