//! hyper 1 as the HTTP/1.1 engine, on both sides.

mod body;
mod exchange;
mod hop_by_hop;
mod stream;
mod upstream;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use hyper::service::service_fn;
use tokio::net::TcpStream;

use crate::clock;
use crate::completion::Completion;
use crate::engine::ConnectionInfo;
use crate::pipeline;
use crate::respond;
use crate::worker::Worker;
use body::ResponseBody;
pub(crate) use exchange::HyperExchange;
use stream::{ClientTimeouts, GuardedStream};

pub(crate) use stream::{Gate, Refusal as WireRefusal};
pub(crate) use upstream::{UpstreamConnection, connect};

/// hyper's own bound for a head, with room for the body bytes behind it. The wire guard's bound is tighter.
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// Fields that hyper reads without a heap allocation.
const HYPER_HEADERS_DEFAULT: usize = 100;

/// Serves one client's connection to its end, or to the end of the request in flight once the worker stops.
pub(crate) async fn serve_connection(worker: Rc<Worker>, number: usize, socket: TcpStream, peer: SocketAddr) {
    let gateway = &worker.shared.config.gateway;
    let gate = Arc::new(Gate::default());
    let limits = cloakroom_wire::Limits { head_bytes: gateway.limits.header_bytes, headers: gateway.limits.headers };
    let timeouts = ClientTimeouts {
        idle: gateway.timeouts.idle,
        header: gateway.timeouts.header,
        stream_idle: gateway.timeouts.stream_idle,
    };
    clock::read();
    let stream = GuardedStream::new(socket, limits, timeouts, Arc::clone(&gate));
    let forwarded_for = cloakroom_policy::forwarded::forwarded_for(std::iter::empty(), peer.ip());
    let Ok(forwarded_for) = HeaderValue::from_bytes(&forwarded_for) else { return };
    let hop = worker.shared.trusted.hop(peer.ip());
    let connection = Rc::new(ConnectionInfo { peer, hop, forwarded_for, forwarded: RefCell::new(None) });

    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MIN.max(gateway.limits.header_bytes * 2));
    if gateway.limits.headers > HYPER_HEADERS_DEFAULT {
        builder.max_headers(gateway.limits.headers);
    }
    let requests = Cell::new(0);
    let service_worker = Rc::clone(&worker);
    let service = service_fn(move |request| {
        requests.set(requests.get() + 1);
        let (worker, connection, gate) = (Rc::clone(&service_worker), Rc::clone(&connection), Arc::clone(&gate));
        serve_request(worker, connection, gate, requests.get(), request)
    });
    let mut serving = pin!(builder.serve_connection(stream, service).with_upgrades());
    let mut is_stopping = false;
    let served = poll_fn(|context| {
        if !is_stopping && worker.poll_stopping(number, context).is_ready() {
            is_stopping = true;
            serving.as_mut().graceful_shutdown();
        }
        serving.as_mut().poll(context)
    })
    .await;
    if let Err(error) = served {
        // A client that leaves, dawdles or breaks a body is everyday life, and counted elsewhere.
        tracing::trace!(%error, "a client's connection ended early");
    }
}

async fn serve_request(
    worker: Rc<Worker>,
    connection: Rc<ConnectionInfo>,
    gate: Arc<Gate>,
    ordinal: u64,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<ResponseBody>, Infallible> {
    let now = clock::now();
    let refusal = gate.refusal(ordinal);
    let mut exchange = HyperExchange::new(&worker, connection, request, refusal);
    let record = worker.record(&exchange, now);
    let mut completion = Box::new(Completion::new(Rc::clone(&worker), Arc::clone(&gate), record));
    let served = pipeline::serve(&worker, &mut exchange, &mut completion, now).await;
    let answer = match served {
        Ok(()) => exchange.into_response(&gate, completion),
        Err(refusal) => {
            exchange.decline_upgrade(&gate);
            let (parts, text) = respond::refuse(&refusal, &mut completion.record, exchange.must_close());
            let bytes = if exchange.is_head() { None } else { Some(text) };
            http::Response::from_parts(parts, ResponseBody::Own { bytes, completion: Some(completion) })
        }
    };
    Ok(answer)
}
