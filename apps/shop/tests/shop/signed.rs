//! Session tokens signed by the gateway: what is believed, what is not, and how keys are found.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use cloakroom_shop::{SessionDesign, Verification};
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{Answer, FakeGateway, RunningShop, Seal, session_header};

/// The secret key of RFC 8032, section 7.1, test 1, and its public half as a JWK writes it.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// The secret key of test 2 there: a key the gateway does not publish.
const OTHER_SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";

/// A server of key sets that counts how often it was asked.
#[derive(Clone, Default)]
struct KeyServer {
    keys: Arc<Mutex<Vec<Value>>>,
    fetches: Arc<AtomicUsize>,
}

impl KeyServer {
    fn with(kids: &[&str]) -> Self {
        let server = Self::default();
        *server.keys.lock().unwrap() = kids.iter().map(|kid| jwk(kid)).collect();
        server
    }

    async fn start(&self) -> SessionDesign {
        async fn publish(State(server): State<KeyServer>) -> Json<Value> {
            server.fetches.fetch_add(1, Ordering::SeqCst);
            Json(json!({ "keys": *server.keys.lock().unwrap() }))
        }
        let router = Router::new().route("/keys", get(publish)).with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        verified_by(&url)
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn verified_by(url: &str) -> SessionDesign {
    let verification = Verification::Jwks { url: url.parse().unwrap(), audience: "shop".to_owned() };
    SessionDesign::Gateway { verification }
}

fn jwk(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": PUBLIC, "alg": "EdDSA", "use": "sig"})
}

/// The frame of RFC 8410, section 7, round a seed.
fn signing_key(seed_hex: &str) -> EncodingKey {
    let mut der = hex("302e020100300506032b657004220420");
    der.extend(hex(seed_hex));
    EncodingKey::from_ed_der(&der)
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Claims as the gateway makes them.
fn claims() -> Value {
    let now = get_current_timestamp();
    json!({"iss": "cloakroom", "aud": "shop", "sub": "alice", "sid": "handle", "large": false,
           "fields": {"cart.espresso": 2}, "iat": now, "exp": now + 60})
}

fn signed(kid: &str, seed: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    encode(&header, claims, &signing_key(seed)).unwrap()
}

async fn me(shop: &RunningShop, token: &str) -> Answer {
    shop.send(Method::GET, "/api/me", HeaderMap::from_iter([session_header(token)]), "").await
}

#[tokio::test]
async fn a_visitor_shops_through_signed_tokens() {
    let keys = KeyServer::with(&["k1"]);
    let shop = RunningShop::start("3", keys.start().await).await;
    let mut gateway = FakeGateway::new(Seal::Token(Box::new(|session| {
        let mut token = claims();
        let token_fields = token.as_object_mut().unwrap();
        token_fields.remove("sub");
        token_fields.extend(session.as_object().unwrap().clone());
        signed("k1", SEED, &token)
    })));
    gateway.send(&shop, Method::PUT, "/api/cart/mug", r#"{"quantity":3}"#).await.json();
    assert_eq!(keys.fetches(), 0, "no key is fetched before one is needed");
    let log_in = r#"{"name":"alice","password":"coat-check"}"#;
    gateway.send(&shop, Method::POST, "/api/login", log_in).await.json();
    let answer = gateway.send(&shop, Method::GET, "/api/me", "").await;
    let state = json!({"user": "alice", "cart": {"mug": 3}, "instance": "3", "design": "external"});
    assert_eq!(answer.json(), state);
    assert_eq!(keys.fetches(), 1, "a key once fetched is kept");
}

/// Whoever can reach an instance can send a header. Only the gateway's signature, for this pool and
/// this moment, makes it a session.
#[tokio::test]
async fn tokens_that_do_not_hold_are_refused() {
    let keys = KeyServer::with(&["k1"]);
    let shop = RunningShop::start("1", keys.start().await).await;
    let good = signed("k1", SEED, &claims());
    assert_eq!(me(&shop, &good).await.json()["user"], json!("alice"));

    let altered = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signed("k1", SEED, &claims)
    };
    let parts: Vec<&str> = good.split('.').collect();
    let bob = altered("sub", json!("bob"));
    let swapped = format!("{}.{}.{}", parts[0], bob.split('.').nth(1).unwrap(), parts[2]);
    let hmac = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let public_as_secret = EncodingKey::from_secret(PUBLIC.as_bytes());
    let unnamed = Header::new(Algorithm::EdDSA);
    let now = get_current_timestamp();
    let cases = [
        ("another body under the same signature", swapped),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("another key", signed("k1", OTHER_SEED, &claims())),
        ("expired", altered("exp", json!(now - 60))),
        ("no expiry", altered("exp", Value::Null)),
        ("another pool", altered("aud", json!("blog"))),
        ("another issuer", altered("iss", json!("someone"))),
        ("a shared secret", encode(&hmac, &claims(), &public_as_secret).unwrap()),
        ("no key named", encode(&unnamed, &claims(), &signing_key(SEED)).unwrap()),
        ("unknown key", signed("k9", SEED, &claims())),
        ("plain JSON", "eyJzdWIiOiJhbGljZSJ9".to_owned()),
    ];
    for (case, token) in cases {
        let answer = me(&shop, &token).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{case}");
        assert!(answer.text().contains("cannot be believed"), "{case}: {}", answer.text());
    }
    assert_eq!(me(&shop, &good).await.json()["user"], json!("alice"));
}

/// Tokens with made-up key names would otherwise turn every request into one to the gateway.
#[tokio::test]
async fn unknown_keys_are_not_asked_for_again_at_once() {
    let keys = KeyServer::with(&["k1"]);
    let shop = RunningShop::start("1", keys.start().await).await;
    let started = std::time::Instant::now();
    for number in 0..20 {
        me(&shop, &signed(&format!("made-up-{number}"), SEED, &claims())).await;
    }
    // The first fetch, and one more for each second that went by.
    let fetches_max = 1 + usize::try_from(started.elapsed().as_secs()).unwrap();
    assert!(keys.fetches() <= fetches_max, "{} fetches", keys.fetches());
}

/// Many requests that meet a fresh instance at once would otherwise all fetch the keys.
#[tokio::test]
async fn requests_that_arrive_together_share_one_fetch() {
    let keys = KeyServer::with(&["k1"]);
    let shop = Arc::new(RunningShop::start("1", keys.start().await).await);
    let token = signed("k1", SEED, &claims());
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (shop, token) = (Arc::clone(&shop), token.clone());
        requests.spawn(async move { me(&shop, &token).await.status });
    }
    assert!(requests.join_all().await.iter().all(|status| *status == StatusCode::OK));
    assert_eq!(keys.fetches(), 1);
}

/// "No keys" is not "no session": the answer must invite another try, and must not pass for one
/// that judged the token.
#[tokio::test]
async fn keys_that_cannot_be_had_are_a_passing_trouble() {
    // Bound and never listening: the port is ours, and every connection is refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let unbound = socket.local_addr().unwrap();
    let shop = RunningShop::start("1", verified_by(&format!("http://{unbound}/keys"))).await;
    let token = signed("k1", SEED, &claims());
    for _ in 0..2 {
        let answer = me(&shop, &token).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(shop.get("/api/me").await.json()["user"], json!(null), "anonymous needs no key");
}
