//! The server: routes, the headers every answer carries, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt;
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, InvalidHeaderValue, X_CONTENT_TYPE_OPTIONS};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::gateway_session::GatewaySessions;
use crate::memory_session::MemorySessions;
use crate::problem::chain;
use crate::session::{Change, SessionError, Sessions, Visitor};
use crate::settings::{SessionDesign, ShopSettings};
use crate::{drills, forms, json_api, page};

/// The largest body a request may have; log-ins and quantities are far smaller.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long requests under way may take to finish once the end was asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The header that names the instance in every answer.
const INSTANCE: HeaderName = HeaderName::from_static("x-instance");

/// Why the shop could not open, or closed by itself.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// The name of the instance cannot stand in a header.
    #[error("the instance name {instance:?} cannot stand in a header")]
    Instance {
        /// The name as given.
        instance: String,
        /// What is wrong with it.
        #[source]
        source: InvalidHeaderValue,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as given.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The process cannot be told when to stop.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The server ended with an error.
    #[error("the server broke down")]
    Serve(#[source] io::Error),
}

/// Runs the shop until the process is told to stop (SIGTERM or SIGINT), then finishes the requests
/// under way, for at most five seconds.
///
/// # Errors
/// An unusable instance name or address, or a system that denies signals or the socket.
pub async fn serve(settings: ShopSettings) -> Result<(), ShopError> {
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| ShopError::Listen { address, source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ShopError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ShopError::Signals)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve_on(listener, settings, stop).await
}

/// Like [`serve`], on a listener that is bound already and until `stop` completes;
/// `settings.listen` is not looked at.
///
/// # Errors
/// An unusable instance name, or a socket that fails for good.
pub async fn serve_on(
    listener: TcpListener,
    settings: ShopSettings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ShopError> {
    let shop = Arc::new(Shop::new(settings)?);
    // Small answers would otherwise wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let (stopping, stopped) = oneshot::channel();
    let server = axum::serve(listener, router(shop)).with_graceful_shutdown(async move {
        stop.await;
        let _ = stopping.send(());
    });
    let mut server = pin!(server.into_future());
    let deadline = async {
        // The other end is dropped unsent only when the server itself has ended.
        if stopped.await.is_ok() {
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        }
    };
    tokio::select! {
        biased;
        outcome = &mut server => outcome.map_err(ShopError::Serve),
        () = deadline => Ok(()),
    }
}

/// One instance of the shop: what all handlers share.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) instance: String,
    pub(crate) sessions: Sessions,
    instance_header: HeaderValue,
    session_fault_told: AtomicBool,
}

impl Shop {
    fn new(settings: ShopSettings) -> Result<Self, ShopError> {
        let instance = settings.instance;
        let instance_header = HeaderValue::from_str(&instance)
            .map_err(|source| ShopError::Instance { instance: instance.clone(), source })?;
        let sessions = match settings.design {
            SessionDesign::Memory => Sessions::Memory(MemorySessions::default()),
            SessionDesign::Gateway { verification } => Sessions::Gateway(GatewaySessions::new(verification)),
        };
        let session_fault_told = AtomicBool::new(false);
        Ok(Self { instance, sessions, instance_header, session_fault_told })
    }

    /// Who sent a request with these headers.
    pub(crate) async fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, SessionError> {
        self.sessions.visitor(headers).await.inspect_err(|fault| self.tell_once(fault))
    }

    /// Carries `change` out; see [`Sessions::change`].
    pub(crate) async fn change(
        &self,
        headers: &HeaderMap,
        change: Change,
    ) -> Result<(Visitor, HeaderMap), SessionError> {
        self.sessions.change(headers, change).await.inspect_err(|fault| self.tell_once(fault))
    }

    /// Tells the first fault of its kind. A fault of the installation meets every request, and the
    /// same line a thousand times a second would hide all others.
    fn tell_once(&self, fault: &SessionError) {
        if !self.session_fault_told.swap(true, Ordering::Relaxed) {
            eprintln!("shop instance {}: {} (told once; further ones are only answered)", self.instance, chain(fault));
        }
    }
}

fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/assets/shop.css", get(page::style))
        .route("/assets/shop.js", get(page::script))
        .route("/login", post(forms::log_in))
        .route("/logout", post(forms::log_out))
        .route("/cart", post(forms::set_quantity))
        .route("/api/me", get(json_api::me))
        .route("/api/login", post(json_api::log_in))
        .route("/api/logout", post(json_api::log_out))
        .route("/api/cart/{product}", put(json_api::put_in_cart).delete(json_api::take_from_cart))
        .route("/api/slow", get(drills::slow))
        .route("/api/size", get(drills::size))
        .route("/health", get(drills::health))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&shop), sign))
        .with_state(shop)
}

/// Adds what every answer carries, errors included.
async fn sign(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.insert(INSTANCE, shop.instance_header.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Answers speak of one visitor, unless a handler says otherwise.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}
