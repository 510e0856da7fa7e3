//! The server's thread: takes connections, reads requests, and answers, spoils, holds or drops them.
//!
//! Does not own: what is decided (`plan`, `point`) or stored (`bucket`). A connection that is cut is dropped as a whole,
//! with everything that is on its way in it; a reset is a real one, without a farewell.

use std::{
    convert::Infallible,
    future::pending,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{Request, Response, body::Incoming as Received, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    answer::{Answer, refusal},
    body::{Sent, respond},
    handle::BUCKET,
    plan::Fault,
    point::When,
    request::Incoming,
    state::{Shared, State},
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
        // In an outage nothing is served, also not what has come already.
        biased;
        () = shared.wait_until(|state| state.outage) => Some(Cut::Reset),
        how = cuts.recv() => how,
        _ = serving => return,
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
    let Met { number, held, fault } = meet(&request, shared);
    if let Some(releases) = held {
        shared.wait_until(|state| state.releases != releases).await;
        end(cut, Cut::Close).await
    }
    let answer = match fault {
        None => apply(&request, number, &mut shared.lock()),
        Some((fault, delay)) => spoil(fault, delay, &request, number, shared, cut).await,
    };
    shared.lock().log.change(number, |entry| entry.status = Some(answer.status));
    let broken = fault.is_some_and(|(fault, _)| fault == Fault::Truncated) && answer.body.len() > 1;
    Ok(respond(answer, broken))
}

/// What was decided about a request.
struct Met {
    number: u64,
    /// The releases that there were when it was held.
    held: Option<u64>,
    fault: Option<(Fault, Duration)>,
}

/// Numbers the request and decides what becomes of it; one that is held afterwards is applied in the same moment.
fn meet(request: &Incoming, shared: &Shared) -> Met {
    let mut state = shared.lock();
    let state = &mut *state;
    let number = state.log.add(request);
    let entry = state.log.requests().last().expect("it was just added");
    let held = state.point.as_mut().and_then(|point| point.meets(entry));
    if held == Some(When::AfterApply) {
        apply(request, number, state);
    }
    let fault = if held.is_none() { state.plan.decide(request) } else { None };
    state.log.change(number, |entry| {
        entry.fault = if held.is_some() { Some("held") } else { fault.map(|(fault, _)| fault.name()) };
    });
    Met { number, held: held.map(|_| state.releases), fault }
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

fn apply(request: &Incoming, number: u64, state: &mut State) -> Answer {
    let careless = state.plan.careless();
    let answer = match request.bucket == BUCKET {
        true => state.bucket.apply(request, careless),
        false => Answer::no_such_bucket(),
    };
    state.log.change(number, |entry| entry.applied = request.operation.writes() && answer.status < 300);
    answer
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
            apply(request, number, &mut shared.lock())
        }
        Fault::Truncated => apply(request, number, &mut shared.lock()),
        Fault::ResetBefore => end(cut, Cut::Reset).await,
        Fault::ResetAfter => {
            apply(request, number, &mut shared.lock());
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
