//! The HTTP client that a store's client is given.
//!
//! Does not own: watching (`moving`, `answer`) or trying again. Of all answers only an object is handed on as it comes, and
//! read on where it ended; the others are short and are taken whole, so that one that breaks off is a request that failed,
//! which the store's client tries again. Requests for credentials of the platform go to an address of its own, mostly in
//! the clear: those that have other timeouts are left to the store's own client, the others get a client that may do that.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, header::IF_NONE_MATCH, request, response};
use http_body_util::{BodyExt as _, Collected, Limited};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService, ReqwestConnector,
    },
};
use reqwest::{Body, Certificate, Client, Request};

use super::{
    answer::Answer,
    error,
    listing::without_strange_names,
    moving::Moving,
    platform::Platform,
    silence::{SILENT, Silence},
};

/// Time for a connection to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Most bytes of an answer that is no object; a listing's page of a thousand keys has a few hundred thousand.
const LONGEST: usize = 16 << 20;

/// Makes clients that wait `patience` for a byte to move.
#[derive(Debug)]
pub struct Connector {
    line: Line,
    authorities: Vec<Certificate>,
    own: Option<String>,
}

#[derive(Clone, Debug)]
struct Line {
    client: Client,
    patience: Duration,
    silence: Silence,
}

impl Connector {
    /// A connector that trusts these authorities beside the system's, and sends in the clear only where that is wanted.
    pub fn new(
        patience: Duration,
        authorities: Vec<Certificate>,
        in_the_clear: bool,
        silence: Silence,
    ) -> Result<Self, reqwest::Error> {
        let line = Line { client: client(&authorities, in_the_clear)?, patience, silence };
        let own = Self::options().get_config_value(&ClientConfigKey::ConnectTimeout);
        Ok(Self { line, authorities, own })
    }

    /// The options of a store that uses this connector.
    pub fn options() -> ClientOptions {
        ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIME)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        if options.get_config_value(&ClientConfigKey::ConnectTimeout) != self.own {
            return ReqwestConnector::default().connect(options).map(Platform).map(HttpClient::new);
        }
        let mut line = self.line.clone();
        if options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true") {
            line.client = client(&self.authorities, true)
                .map_err(|source| object_store::Error::Generic { store: "HTTP", source: source.into() })?;
        }
        Ok(HttpClient::new(line))
    }
}

fn client(authorities: &[Certificate], in_the_clear: bool) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(concat!("packhorse/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIME)
        .tls_certs_merge(authorities.iter().cloned())
        .https_only(!in_the_clear)
        .build()
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
        self.silence.asked();
        let answer = self.exchange(parts, body, url).await;
        match &answer {
            Ok(answer) if !answer.status().is_server_error() => self.silence.answered(),
            Ok(answer) => self.silence.failed(&answer.status().to_string()),
            Err(error) if error.kind() == HttpErrorKind::Unknown => self.silence.answered(),
            Err(error) => self.silence.failed(&error::causes(error)),
        }
        answer
    }

    async fn exchange(
        &self,
        parts: request::Parts,
        body: HttpRequestBody,
        url: reqwest::Url,
    ) -> Result<HttpResponse, HttpError> {
        let conditional = parts.headers.contains_key(IF_NONE_MATCH);
        let lists = is_listing(&url);
        let asks_for_an_object = parts.method == Method::GET && !lists;
        let mut request = Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        let (body, moved) = Moving::new(body);
        *request.body_mut() = Some(Body::wrap(body));
        let told = async {
            moved.stops_for(SILENT).await;
            self.silence.waits();
            std::future::pending().await
        };
        let answer = tokio::select! {
            answer = self.client.execute(request) => answer.map_err(error::of_reqwest)?,
            () = moved.stops_for(self.patience) => return Err(error::stalled(self.patience)),
            () = told => return Err(error::stalled(self.patience)),
        };
        let (parts, body) = http::Response::<Body>::from(answer).into_parts();
        let body = Answer::new(body, self.patience);
        if asks_for_an_object && parts.status.is_success() {
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        if parts.status == StatusCode::NOT_IMPLEMENTED {
            // Nothing that can change, so the store's client must not try it again, as it does with others of its kind.
            let words =
                Limited::new(body, LONGEST).collect().await.map(Collected::to_bytes).unwrap_or_default();
            return Err(error::not_implemented(conditional, &String::from_utf8_lossy(&words)));
        }
        let (parts, bytes) = whole(parts, body).await?;
        let shorter = if lists { without_strange_names(&bytes) } else { None };
        Ok(HttpResponse::from_parts(parts, shorter.map_or(bytes, Bytes::from).into()))
    }
}

/// Whether the answer lists objects; S3 and Google have the first, Azure has the second.
fn is_listing(url: &reqwest::Url) -> bool {
    url.query_pairs().any(|(name, value)| name == "list-type" || name == "comp" && value == "list")
}

/// Takes the answer to its end. Of one that is an error the status is worth more than its words.
async fn whole(parts: response::Parts, body: Answer) -> Result<(response::Parts, Bytes), HttpError> {
    let bytes = match Limited::new(body, LONGEST).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) if !parts.status.is_success() => Bytes::new(),
        Err(error) => return Err(error::broken_off(error)),
    };
    Ok((parts, bytes))
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::FaultyS3;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_credentials_may_be_fetched_in_the_clear_beside_a_store_with_tls() {
        let server = FaultyS3::start();
        let silence = Silence::new(server.endpoint(), Duration::from_secs(5));
        let connector = Connector::new(Duration::from_secs(5), Vec::new(), false, silence).expect("a client");
        let ask = async |options: &ClientOptions| {
            let client = connector.connect(options).expect("a client");
            let request = http::Request::get(server.endpoint()).body(Vec::new().into()).expect("a request");
            client.execute(request).await
        };
        ask(&Connector::options()).await.expect_err("the store is asked with TLS alone");
        ask(&Connector::options().with_allow_http(true)).await.expect("the platform is asked as it wants");
    }
}
