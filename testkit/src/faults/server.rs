//! The server's thread: takes connections, reads requests, and answers, spoils, holds or drops them.
//!
//! Does not own: what is decided (`plan`, `point`) or stored (`bucket`). A connection that is cut is dropped as a whole,
//! with everything that is on its way in it; a reset is a real one, without a farewell.

use std::{
    convert::Infallible,
    future::pending,
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming as Received, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::Sleep,
};

use super::{
    answer::Answer,
    handle::BUCKET,
    plan::Fault,
    point::When,
    request::{Incoming, Operation},
    state::Shared,
};

/// How a connection ends before its time.
enum Cut {
    Close,
    Reset,
}

/// Serves until `stop` is done; connections end with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // The connection's own handle goes into the HTTP server; this one is for resetting.
    let Ok(line) = stream.as_fd().try_clone_to_owned() else { return };
    let (cut, mut cuts) = mpsc::channel(1);
    let service = service_fn(|request| answer(request, &shared, &cut));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let how = tokio::select! {
        _ = serving => return,
        how = cuts.recv() => how,
        () = shared.wait_until(|state| state.outage) => Some(Cut::Reset),
    };
    if matches!(how, Some(Cut::Reset)) {
        set_reset(&line);
    }
}

/// Makes the end of the connection a reset.
fn set_reset(line: &OwnedFd) {
    // It fails only for a connection that is gone already.
    let _ = rustix::net::sockopt::set_socket_linger(line, Some(Duration::ZERO));
}

/// Ends the connection; whatever waits for this request's answer waits for nothing.
async fn end(cut: &mpsc::Sender<Cut>, how: Cut) -> ! {
    let _ = cut.try_send(how);
    pending::<Infallible>().await;
    unreachable!("the connection is dropped while it waits")
}

async fn answer(
    request: Request<Received>,
    shared: &Shared,
    cut: &mpsc::Sender<Cut>,
) -> Result<Response<Sent>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut request = Incoming::new(&parts.method, &parts.uri, &parts.headers);
    match receive(body, shared).await {
        Ok(bytes) => request.body = bytes,
        Err(_) => end(cut, Cut::Close).await,
    }
    let (number, held, fault) = meet(&request, shared);
    match held {
        Some(When::Before) => hold(shared, cut).await,
        Some(When::AfterApply) => {
            apply(&request, number, shared);
            hold(shared, cut).await
        }
        None => {}
    }
    let answer = match fault {
        None => apply(&request, number, shared),
        Some((fault, delay)) => spoil(fault, delay, &request, number, shared, cut).await,
    };
    shared.lock().log.change(number, |entry| entry.status = Some(answer.status));
    let broken = fault.is_some_and(|(fault, _)| fault == Fault::Truncated) && answer.body.len() > 1;
    Ok(respond(answer, broken))
}

/// Numbers the request and decides what becomes of it.
fn meet(request: &Incoming, shared: &Shared) -> (u64, Option<When>, Option<(Fault, Duration)>) {
    let mut state = shared.lock();
    let state = &mut *state;
    let number = state.log.add(request);
    let entry = state.log.requests().last().expect("it was just added");
    let held = state.point.as_mut().and_then(|point| point.meets(entry));
    let fault = state.plan.decide(request);
    state.log.change(number, |entry| {
        entry.fault = if held.is_some() { Some("held") } else { fault.map(|(fault, _)| fault.name()) };
    });
    (number, held, fault)
}

async fn receive(mut body: Received, shared: &Shared) -> hyper::Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            shared.lock().log.received(data.len());
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

fn apply(request: &Incoming, number: u64, shared: &Shared) -> Answer {
    let mut state = shared.lock();
    let answer = match request.bucket == BUCKET {
        true => {
            let careless = state.plan.careless();
            state.bucket.apply(request, careless)
        }
        false => Answer::no_such_bucket(),
    };
    state.log.change(number, |entry| entry.applied = request.operation.writes() && answer.status < 300);
    answer
}

async fn hold(shared: &Shared, cut: &mpsc::Sender<Cut>) -> ! {
    let releases = shared.lock().releases;
    shared.wait_until(|state| state.releases != releases).await;
    end(cut, Cut::Close).await
}

async fn spoil(
    fault: Fault,
    delay: Duration,
    request: &Incoming,
    number: u64,
    shared: &Shared,
    cut: &mpsc::Sender<Cut>,
) -> Answer {
    match fault {
        Fault::Latency => {
            tokio::time::sleep(delay).await;
            apply(request, number, shared)
        }
        Fault::Truncated => apply(request, number, shared),
        Fault::ResetBefore => end(cut, Cut::Reset).await,
        Fault::ResetAfter => {
            apply(request, number, shared);
            end(cut, Cut::Reset).await
        }
        Fault::Stall => {
            let plans = shared.lock().plans;
            shared.wait_until(|state| state.plans != plans).await;
            end(cut, Cut::Close).await
        }
        _ => refusal(fault, request.operation),
    }
}

fn refusal(fault: Fault, operation: Operation) -> Answer {
    let (status, code, message) = match fault {
        Fault::InternalError => (500, "InternalError", "We encountered an internal error. Please try again."),
        Fault::SlowDown => (503, "SlowDown", "Please reduce your request rate."),
        Fault::TooManyRequests => (429, "TooManyRequests", "Please reduce your request rate."),
        Fault::ErrorIn200 => (200, "InternalError", "We encountered an internal error. Please try again."),
        Fault::ExpiredToken => (400, "ExpiredToken", "The provided token has expired."),
        Fault::ClockSkew => (
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        Fault::AccessDenied => (403, "AccessDenied", "Access Denied"),
        Fault::NoSuchBucket => return Answer::no_such_bucket(),
        _ => (409, "ConditionalRequestConflict", "A conflicting conditional operation is in progress."),
    };
    let answer = Answer::error(status, code, message);
    // A HEAD has no body to say why.
    if operation == Operation::Head { Answer { body: Bytes::new(), ..answer } } else { answer }
}

fn respond(answer: Answer, broken: bool) -> Response<Sent> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let mut body = Sent { bytes: answer.body, breaking: None };
    if broken {
        response = response.header("content-length", body.bytes.len());
        body.bytes.truncate(body.bytes.len() / 2);
        body.breaking = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
    }
    response.body(body).expect("the store's headers are valid")
}

/// The body of an answer; one that breaks gives its bytes time to leave, and then fails.
struct Sent {
    bytes: Bytes,
    breaking: Option<Pin<Box<Sleep>>>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        let Some(breaking) = &mut self.breaking else { return Poll::Ready(None) };
        ready!(breaking.as_mut().poll(context));
        Poll::Ready(Some(Err(io::Error::other("cut short on purpose"))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.breaking.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.breaking.is_some() { SizeHint::new() } else { SizeHint::with_exact(self.bytes.len() as u64) }
    }
}
