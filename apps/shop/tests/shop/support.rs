//! A shop on a free port, a client, and a gateway small enough to read at a glance.

use std::net::SocketAddr;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom_shop::{SessionDesign, ShopError, ShopSettings, Verification, serve_on};
use http_body_util::{BodyExt, Full};
use hyper::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A shop that runs until the test ends or asks it to stop.
pub(crate) struct RunningShop {
    pub(crate) address: SocketAddr,
    client: HttpClient,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<Result<(), ShopError>>,
}

impl RunningShop {
    pub(crate) async fn start(instance: &str, design: SessionDesign) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = ShopSettings { listen: address, instance: instance.to_owned(), design };
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve_on(listener, settings, async {
            // A dropped sender must not stop the shop before the test is over.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, client, stop: Some(stop), ended }
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Answer {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        *request.headers_mut() = headers;
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, HeaderMap::new(), "").await
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The JSON of an answer that must be a success.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text());
        self.headers[LOCATION].to_str().unwrap()
    }
}

/// A browser: keeps the shop's own cookie.
#[derive(Default)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) async fn send(&mut self, shop: &RunningShop, method: Method, path: &str, body: &str) -> Answer {
        let mut headers = form_headers(body);
        if let Some(cookie) = &self.cookie {
            headers.insert(COOKIE, HeaderValue::try_from(cookie).unwrap());
        }
        let answer = shop.send(method, path, headers, body.to_owned()).await;
        if let Some(cookie) = answer.headers.get(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answer
    }
}

/// A gateway with one visitor: holds the session, sends it along, carries out what the answer asks.
pub(crate) struct FakeGateway {
    pub(crate) principal: Option<String>,
    pub(crate) fields: Map<String, Value>,
    pub(crate) begun: bool,
    seal: Seal,
}

/// How the gateway writes the session header.
pub(crate) enum Seal {
    Json,
    Token(Box<dyn Fn(Value) -> String + Send + Sync>),
}

impl FakeGateway {
    pub(crate) fn new(seal: Seal) -> Self {
        Self { principal: None, fields: Map::new(), begun: false, seal }
    }

    pub(crate) fn session_header(&self) -> HeaderMap {
        if !self.begun {
            return HeaderMap::new();
        }
        let mut session = json!({ "sid": "handle", "fields": self.fields, "large": false });
        if let Some(principal) = &self.principal {
            session["sub"] = json!(principal);
        }
        let value = match &self.seal {
            Seal::Json => URL_SAFE_NO_PAD.encode(session.to_string()),
            Seal::Token(sign) => sign(session),
        };
        HeaderMap::from_iter([session_header(&value)])
    }

    pub(crate) async fn send(&mut self, shop: &RunningShop, method: Method, path: &str, body: &str) -> Answer {
        let mut headers = self.session_header();
        headers.extend(form_headers(body));
        let answer = shop.send(method, path, headers, body.to_owned()).await;
        self.commit(&answer.headers);
        answer
    }

    fn commit(&mut self, headers: &HeaderMap) {
        if headers.contains_key("cloakroom-session-end") {
            self.principal = None;
            self.fields.clear();
            self.begun = false;
        }
        if let Some(name) = headers.get("cloakroom-session-login") {
            self.principal = Some(String::from_utf8(name.as_bytes().to_vec()).unwrap());
            self.begun = true;
        }
        if let Some(patch) = headers.get("cloakroom-session-patch") {
            let patch: Map<String, Value> = serde_json::from_slice(patch.as_bytes()).unwrap();
            for (name, value) in patch {
                if value.is_null() {
                    self.fields.remove(&name);
                } else {
                    self.fields.insert(name, value);
                }
            }
            self.begun = true;
        }
    }
}

pub(crate) fn session_header(value: &str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static("cloakroom-session"), HeaderValue::try_from(value).unwrap())
}

pub(crate) fn trusted() -> SessionDesign {
    SessionDesign::Gateway { verification: Verification::Trusted }
}

/// A body that looks like JSON is sent as such, any other as a form.
fn form_headers(body: &str) -> HeaderMap {
    let kind = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
    HeaderMap::from_iter([(hyper::header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}
