//! One user of the shop with a browser: their cookies, their kept-alive connection, and a memory of what the shop
//! acknowledged. They do not log in again after a sign-out: they have noticed it, and a user counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;

use crate::connection::{Answer, Connection, Heard, Use};
use crate::cookies::CookieJar;

/// How long a user waits for a whole answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The shop's one password; it stands on its page.
const PASSWORD: &str = "coat-check";
/// The header in which an instance signs its answers with its number.
const INSTANCE: &str = "x-instance";
/// Marks a request that may be repeated although its method may not (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// One thing a user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opens the page: `GET /`.
    Browse,
    /// Waits for an answer that takes its time: `GET /api/slow`.
    Linger {
        /// How long the shop holds the answer back.
        ms: u64,
    },
    /// `POST /api/login`, with a key that makes it safe to repeat.
    LogIn,
    /// `PUT /api/cart/{product}`.
    Put {
        /// The product's id.
        product: &'static str,
        /// How many, 0 to 99; 0 takes it out.
        quantity: u8,
    },
    /// `GET /api/me`, and compares the answer with what was acknowledged.
    Look,
}

/// What came of a step.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// The number of the instance that answered, from 1, where it said so.
    pub instance: Option<usize>,
    /// What the user noticed.
    pub notices: Vec<Notice>,
}

impl Visit {
    /// Whether the step's request was served.
    pub fn is_served(&self) -> bool {
        !self.notices.iter().any(|notice| matches!(notice, Notice::Failed { .. }))
    }
}

/// Something a user noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A request was not served. Told for every such request.
    Failed {
        /// Its method and path.
        request: String,
        /// What came instead of an answer.
        cause: FailureCause,
    },
    /// The shop does not know the user any more. Told once.
    SignedOut {
        /// Whom the shop takes them for; `None` is nobody.
        seen_as: Option<String>,
    },
    /// The cart is not what was acknowledged. Told once.
    CartLost {
        /// The first product that differs.
        product: String,
        /// The quantity that was acknowledged last.
        expected: u8,
        /// The quantity that is in the cart.
        found: u8,
    },
}

/// What came instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailureCause {
    /// An answer that is no success.
    #[error("answered {}", .0.as_u16())]
    Status(StatusCode),
    /// Nothing whole within the user's patience.
    #[error("not answered within {} s", REQUEST_TIMEOUT.as_secs())]
    TimedOut,
    /// No connection, or one that broke.
    #[error("broke off: {0}")]
    Broken(String),
    /// A success that can't be read.
    #[error("answered with something unreadable: {0}")]
    Unreadable(String),
}

impl std::fmt::Display for Notice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed { request, cause } => write!(formatter, "{request} {cause}"),
            Self::SignedOut { seen_as: None } => formatter.write_str("is signed out"),
            Self::SignedOut { seen_as: Some(other) } => write!(formatter, "is taken for {other}"),
            Self::CartLost { product, expected, found } => {
                write!(formatter, "has {found} of {product} in the cart instead of {expected}")
            }
        }
    }
}

/// A simulated user.
///
/// Their connection is kept alive. Where one that was used before breaks before a single byte of the answer came, an
/// idempotent request is sent once more on a new connection, as browsers do (RFC 9112, section 9.3.1): the server may
/// have closed an idle connection at that very moment, and nobody would notice. That is not a failed request. Any other
/// break is.
pub struct Shopper {
    name: String,
    gateway: SocketAddr,
    jar: CookieJar,
    connection: Option<Connection>,
    expected: Expected,
    log_ins: u32,
}

/// What the shop acknowledged, and what was noticed of it.
#[derive(Default)]
struct Expected {
    is_signed_in: bool,
    /// By product, the quantities that the cart may hold: one after an acknowledged change; after one that failed, the
    /// change may or may not have happened.
    cart: BTreeMap<&'static str, Vec<u8>>,
    has_told_sign_out: bool,
    has_told_cart: bool,
}

/// What the shop says of a visitor.
#[derive(Deserialize)]
struct Me {
    user: Option<String>,
    cart: BTreeMap<String, u8>,
}

struct Asked {
    method: Method,
    path: String,
    body: Bytes,
    idempotency_key: Option<String>,
}

impl Shopper {
    /// A user of this name (ASCII letters, digits and hyphens) who was never here.
    pub fn new(name: String, gateway: SocketAddr) -> Self {
        Self { name, gateway, jar: CookieJar::new(), connection: None, expected: Expected::default(), log_ins: 0 }
    }

    /// Their name in the shop.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many kinds of product were acknowledged to be in the cart.
    pub fn product_count(&self) -> usize {
        self.expected.cart.values().filter(|possible| possible.iter().all(|quantity| *quantity > 0)).count()
    }

    /// Takes one step. Must be called within a runtime with time and I/O enabled.
    pub async fn take(&mut self, step: &Step) -> Visit {
        let asked = self.asked(step);
        let answered = match tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(&asked)).await {
            Ok(answered) => answered,
            Err(_) => {
                // The answer may still come, and must not be taken for that of the next request.
                self.connection = None;
                Err(FailureCause::TimedOut)
            }
        };
        let mut visit = Visit::default();
        let served = answered.and_then(|answer| {
            self.jar.absorb(&asked.path, &answer.headers, Instant::now());
            visit.instance = instance_of(&answer);
            match answer.status.is_success() {
                true => Ok(answer),
                false => Err(FailureCause::Status(answer.status)),
            }
        });
        let judged = served.and_then(|answer| self.expected.acknowledge(step, &self.name, &answer.body));
        match judged {
            Ok(notices) => visit.notices = notices,
            Err(cause) => {
                self.expected.doubt(step);
                let request = format!("{} {}", asked.method, asked.path);
                visit.notices.push(Notice::Failed { request, cause });
            }
        }
        visit
    }

    fn asked(&mut self, step: &Step) -> Asked {
        let (method, path, body) = match step {
            Step::Browse => (Method::GET, "/".to_owned(), None),
            Step::Linger { ms } => (Method::GET, format!("/api/slow?ms={ms}"), None),
            Step::Look => (Method::GET, "/api/me".to_owned(), None),
            Step::LogIn => {
                let body = json!({ "name": self.name, "password": PASSWORD });
                (Method::POST, "/api/login".to_owned(), Some(body))
            }
            Step::Put { product, quantity } => {
                (Method::PUT, format!("/api/cart/{product}"), Some(json!({ "quantity": quantity })))
            }
        };
        let idempotency_key = (method == Method::POST).then(|| {
            self.log_ins += 1;
            format!("\"{}-{}\"", self.name, self.log_ins)
        });
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        Asked { method, path, body, idempotency_key }
    }

    async fn exchange(&mut self, asked: &Asked) -> Result<Answer, FailureCause> {
        let is_repeatable = asked.method.is_idempotent();
        let mut is_repeated = false;
        loop {
            let kept = match self.connection.take() {
                Some(mut kept) => kept.is_open().await.then_some(kept),
                None => None,
            };
            let mut connection = match kept {
                Some(kept) => kept,
                None => {
                    Connection::open(self.gateway).await.map_err(|error| FailureCause::Broken(error.to_string()))?
                }
            };
            let request = self.request(asked).map_err(|error| FailureCause::Broken(error.to_string()))?;
            match connection.send(request).await {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(broken) => {
                    let is_stale = broken.heard == Heard::Nothing && broken.use_of == Use::Again;
                    if is_repeated || !is_stale || !is_repeatable {
                        return Err(FailureCause::Broken(broken.reason));
                    }
                    is_repeated = true;
                }
            }
        }
    }

    fn request(&self, asked: &Asked) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(asked.method.clone())
            .uri(&asked.path)
            .header(header::HOST, self.gateway.to_string())
            .header(header::USER_AGENT, "cloakroom-drill");
        if let Some(cookies) = self.jar.header(&asked.path, Instant::now()) {
            request = request.header(header::COOKIE, cookies);
        }
        if let Some(key) = &asked.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if !asked.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(asked.body.clone()))
    }
}

impl Expected {
    /// A step was answered with success.
    fn acknowledge(&mut self, step: &Step, name: &str, body: &[u8]) -> Result<Vec<Notice>, FailureCause> {
        match step {
            Step::Browse | Step::Linger { .. } => Ok(Vec::new()),
            Step::LogIn => {
                self.is_signed_in = true;
                Ok(Vec::new())
            }
            Step::Put { product, quantity } => {
                self.cart.insert(product, vec![*quantity]);
                Ok(Vec::new())
            }
            Step::Look => {
                let me = serde_json::from_slice(body);
                me.map(|me| self.compare(name, me)).map_err(|error| FailureCause::Unreadable(error.to_string()))
            }
        }
    }

    /// A step failed, and may have been done all the same.
    fn doubt(&mut self, step: &Step) {
        if let Step::Put { product, quantity } = step {
            self.cart.entry(product).or_insert_with(|| vec![0]).push(*quantity);
        }
    }

    fn compare(&mut self, name: &str, me: Me) -> Vec<Notice> {
        let mut notices = Vec::new();
        if self.is_signed_in && !self.has_told_sign_out && me.user.as_deref() != Some(name) {
            self.has_told_sign_out = true;
            notices.push(Notice::SignedOut { seen_as: me.user });
        }
        if !self.has_told_cart
            && let Some(lost) = self.difference(&me.cart)
        {
            self.has_told_cart = true;
            notices.push(lost);
        }
        notices
    }

    fn difference(&self, found: &BTreeMap<String, u8>) -> Option<Notice> {
        let products: BTreeSet<&str> = self.cart.keys().copied().chain(found.keys().map(String::as_str)).collect();
        products.into_iter().find_map(|product| {
            let possible = self.cart.get(product).map_or(&[0][..], Vec::as_slice);
            let found = found.get(product).copied().unwrap_or(0);
            let expected = possible.first().copied().unwrap_or(0);
            let lost = Notice::CartLost { product: product.to_owned(), expected, found };
            (!possible.contains(&found)).then_some(lost)
        })
    }
}

fn instance_of(answer: &Answer) -> Option<usize> {
    answer.headers.get(INSTANCE)?.to_str().ok()?.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Step = Step::Put { product: "mug", quantity: 2 };

    fn look(expected: &mut Expected, body: &str) -> Vec<Notice> {
        expected.acknowledge(&Step::Look, "ann", body.as_bytes()).unwrap()
    }

    fn lost(product: &str, expected: u8, found: u8) -> Notice {
        Notice::CartLost { product: product.to_owned(), expected, found }
    }

    /// Ten looks at one emptied cart would otherwise count as ten lost carts.
    #[test]
    fn each_loss_is_told_once() {
        let mut expected = Expected::default();
        assert_eq!(look(&mut expected, r#"{"user":null,"cart":{}}"#), []);
        expected.acknowledge(&Step::LogIn, "ann", b"").unwrap();
        expected.acknowledge(&TWO, "ann", b"").unwrap();
        assert_eq!(look(&mut expected, r#"{"user":"ann","cart":{"mug":2},"instance":"1"}"#), []);
        let both = [Notice::SignedOut { seen_as: None }, lost("mug", 2, 0)];
        assert_eq!(look(&mut expected, r#"{"user":null,"cart":{}}"#), both);
        assert_eq!(look(&mut expected, r#"{"user":null,"cart":{}}"#), []);
    }

    /// Being taken for somebody else is the worst a session layer can do, and somebody else's cart comes with it.
    #[test]
    fn another_users_session_is_noticed() {
        let mut expected = Expected::default();
        expected.acknowledge(&Step::LogIn, "ann", b"").unwrap();
        let both = [Notice::SignedOut { seen_as: Some("bob".to_owned()) }, lost("scarf", 0, 1)];
        assert_eq!(look(&mut expected, r#"{"user":"bob","cart":{"scarf":1}}"#), both);
    }

    /// A change whose answer was lost may have happened: either cart is right, and calling one of them lost would blame
    /// the session layer for a broken connection.
    #[test]
    fn after_a_failed_change_both_carts_are_right_and_no_third() {
        for (cart, differs) in [("{}", false), (r#"{"mug":2}"#, false), (r#"{"mug":3}"#, true)] {
            let mut expected = Expected::default();
            expected.doubt(&TWO);
            let notices = look(&mut expected, &format!(r#"{{"user":null,"cart":{cart}}}"#));
            assert_eq!(!notices.is_empty(), differs, "{cart}");
        }
        let mut expected = Expected::default();
        expected.doubt(&TWO);
        expected.acknowledge(&TWO, "ann", b"").unwrap();
        assert_eq!(look(&mut expected, r#"{"user":null,"cart":{}}"#), [lost("mug", 2, 0)]);
    }

    /// A page of an error in place of the answer would otherwise count as served.
    #[test]
    fn an_unreadable_success_is_a_failure() {
        let mut expected = Expected::default();
        let outcome = expected.acknowledge(&Step::Look, "ann", b"<html>");
        assert!(matches!(outcome, Err(FailureCause::Unreadable(_))));
    }
}
