//! The HTTP client that a store's client is given.
//!
//! Does not own: watching (`moving`, `answer`). Requests for credentials of the platform, which have other timeouts, are
//! left to the store's own client.

use std::{pin::Pin, time::Duration};

use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService, ReqwestConnector,
    },
};
use reqwest::{Body, Certificate, Client, Request};

use super::{answer::Answer, error, moving::Moving};

/// Time for a connection to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Makes clients that wait `patience` for a byte to move.
#[derive(Debug)]
pub struct Connector {
    line: Line,
    own: Option<String>,
}

#[derive(Clone, Debug)]
struct Line {
    client: Client,
    patience: Duration,
}

impl Connector {
    /// A connector that trusts these authorities beside the system's, and sends in the clear only where that is wanted.
    pub fn new(
        patience: Duration,
        authorities: Vec<Certificate>,
        in_the_clear: bool,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("packhorse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME)
            .tls_certs_merge(authorities)
            .https_only(!in_the_clear)
            .build()?;
        let own = Self::options().get_config_value(&ClientConfigKey::ConnectTimeout);
        Ok(Self { line: Line { client, patience }, own })
    }

    /// The options of a store that uses this connector.
    pub fn options() -> ClientOptions {
        ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIME)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        if options.get_config_value(&ClientConfigKey::ConnectTimeout) == self.own {
            return Ok(HttpClient::new(self.line.clone()));
        }
        ReqwestConnector::default().connect(options)
    }
}

/// The trait's method is an `async fn`, spelled out.
impl HttpService for Line {
    fn call<'line, 'call>(
        &'line self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'line: 'call,
        Self: 'call,
    {
        Box::pin(self.send(request))
    }
}

impl Line {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse::<reqwest::Url>();
        let url = url.map_err(|why| HttpError::new(HttpErrorKind::Unknown, why))?;
        let mut request = Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        let (body, moved) = Moving::new(body);
        *request.body_mut() = Some(Body::wrap(body));
        let answer = tokio::select! {
            answer = self.client.execute(request) => answer.map_err(error::of_reqwest)?,
            () = moved.stops_for(self.patience) => return Err(error::stalled(self.patience)),
        };
        let (parts, body) = http::Response::<Body>::from(answer).into_parts();
        let body = HttpResponseBody::new(Answer::new(body, self.patience));
        Ok(HttpResponse::from_parts(parts, body))
    }
}
