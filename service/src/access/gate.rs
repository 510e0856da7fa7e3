//! The gate before all services of a listener: decides about every call, bounds it, and notes what was refused.
//!
//! Does not own: the rules (`Access`). Nothing of a call reaches a service before it passed, so a service never meets
//! a caller without the right.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::{
    Access, Caller, Reason, Who,
    body::{Bounded, Counted},
};

/// Services behind a gate; cheap to clone.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    access: Access,
    calls: Arc<Semaphore>,
}

impl<S> Gate<S> {
    /// Puts a gate before services that lets so many calls be under way at once.
    pub fn new(inner: S, access: Access, calls: usize) -> Self {
        Self { inner, access, calls: Arc::new(Semaphore::new(calls)) }
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().to_owned();
        let Some(caller) = request.extensions().get::<Caller>().cloned() else {
            return answered(Status::internal("the connection has no caller"));
        };
        if let Err(problem) = self.access.decide(caller.who(), &method) {
            return answered(self.access.status(&problem));
        }
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            let problem = self.access.crowded(&method);
            self.access.refusals().note(Reason::Crowded, caller.who(), &method, &problem);
            return answered(self.access.status(&problem));
        };
        let running = (caller.enter(), permit);
        let (refusals, who) = (self.access.refusals().clone(), caller.who().to_string());
        let bounds = (refusals, who, method.clone());
        let stays_open = self.access.may_stay_open(&method);
        let request = request.map(|body| Body::new(Bounded::new(body, bounds, stays_open)));
        let (call, access) = (self.inner.call(request), self.access.clone());
        Box::pin(async move {
            let response = call.await?;
            note_refused(&access, caller.who(), &method, &response);
            Ok(response.map(|body| Body::new(Counted::new(body, running))))
        })
    }
}

fn answered<E: Send + 'static>(status: Status) -> Answer<E> {
    Box::pin(std::future::ready(Ok(status.into_http())))
}

/// Notes a request that its service found invalid: a name that is none, a path that leads elsewhere.
fn note_refused(access: &Access, who: &Who, method: &str, response: &Response<Body>) {
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() == Code::InvalidArgument
    {
        access.refusals().note(Reason::Request, who, method, status.message());
    }
}
