//! Sessions kept by the gateway, which here trusts its network: any instance serves anybody.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::{FakeGateway, RunningShop, Seal, session_header, trusted};

/// The promise of the whole design: instances come and go, and the visitor notices nothing.
#[tokio::test]
async fn any_instance_serves_the_same_visitor() {
    let first = RunningShop::start("1", trusted()).await;
    let second = RunningShop::start("2", trusted()).await;
    let mut gateway = FakeGateway::new(Seal::Json);

    let answer = gateway.send(&first, Method::GET, "/api/me", "").await;
    let nobody = json!({"user": null, "cart": {}, "instance": "1", "design": "external"});
    assert_eq!(answer.json(), nobody);
    assert!(!gateway.begun, "a mere visit begins no session");

    let answer = gateway.send(&first, Method::PUT, "/api/cart/espresso", r#"{"quantity":2}"#).await;
    assert_eq!(answer.header("cloakroom-session-patch"), Some(r#"{"cart.espresso":2}"#));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.json()["cart"], json!({"espresso": 2}), "the state after the change");

    let log_in = r#"{"name":"Łukasz","password":"coat-check"}"#;
    let answer = gateway.send(&second, Method::POST, "/api/login", log_in).await;
    assert_eq!(answer.headers["cloakroom-session-login"].as_bytes(), "Łukasz".as_bytes());
    let state = json!({"user": "Łukasz", "cart": {"espresso": 2}, "instance": "2", "design": "external"});
    assert_eq!(answer.json(), state);

    let answer = gateway.send(&first, Method::GET, "/api/me", "").await;
    assert_eq!(answer.json()["user"], json!("Łukasz"));

    let answer = gateway.send(&second, Method::DELETE, "/api/cart/espresso", "").await;
    assert_eq!(answer.header("cloakroom-session-patch"), Some(r#"{"cart.espresso":null}"#));
    assert_eq!(answer.json()["cart"], json!({}));
    assert!(gateway.fields.is_empty());

    let answer = gateway.send(&first, Method::POST, "/api/logout", "").await;
    assert_eq!(answer.header("cloakroom-session-end"), Some("1"));
    assert_eq!((answer.json(), gateway.begun), (nobody, false));
}

/// Two tabs that add different products at once start from the same session; one field for the
/// whole cart would let the second answer undo the first.
#[tokio::test]
async fn changes_under_way_together_are_all_kept() {
    let shop = RunningShop::start("1", trusted()).await;
    let mut gateway = FakeGateway::new(Seal::Json);
    gateway.send(&shop, Method::PUT, "/api/cart/mug", r#"{"quantity":1}"#).await;

    let mut other_tab = FakeGateway::new(Seal::Json);
    other_tab.fields = gateway.fields.clone();
    other_tab.begun = true;
    gateway.send(&shop, Method::PUT, "/api/cart/scarf", r#"{"quantity":1}"#).await;
    let answer = other_tab.send(&shop, Method::PUT, "/api/cart/kettle", r#"{"quantity":1}"#).await;

    assert_eq!(answer.header("cloakroom-session-patch"), Some(r#"{"cart.kettle":1}"#));
}

#[tokio::test]
async fn nothing_begins_a_session_that_has_nothing_to_keep() {
    let shop = RunningShop::start("1", trusted()).await;
    let mut gateway = FakeGateway::new(Seal::Json);
    gateway.send(&shop, Method::DELETE, "/api/cart/mug", "").await.json();
    let answer = gateway.send(&shop, Method::POST, "/api/logout", "").await;
    assert_eq!(answer.header("cloakroom-session-end"), None);
    assert!(!gateway.begun);
}

/// A header that cannot be read is a fault of the installation. Serving "nobody" instead would look
/// like a lost session, and the next patch would be built on it.
#[tokio::test]
async fn a_header_that_cannot_be_read_is_an_error_that_says_so() {
    let shop = RunningShop::start("1", trusted()).await;
    let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let cases = [
        ("not base64url!".to_owned(), "not base64url"),
        (encode("[1"), "not a session object"),
        (encode(r#"{"sub":7}"#), "not a session object"),
        (encode(r#"{"sub":"alice","large":true}"#), "too large"),
    ];
    for (value, reason) in cases {
        for (method, path) in [(Method::GET, "/api/me"), (Method::GET, "/"), (Method::POST, "/logout")] {
            let headers = HeaderMap::from_iter([session_header(&value)]);
            let answer = shop.send(method, path, headers, "").await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path} {value}");
            assert!(answer.text().contains(reason), "{}", answer.text());
            assert_eq!(answer.header("cloakroom-session-end"), None);
        }
    }
    let mut twice = HeaderMap::new();
    for json in [r#"{"sub":"alice"}"#, r#"{"sub":"bob"}"#] {
        let (name, value) = session_header(&encode(json));
        twice.append(name, value);
    }
    let answer = shop.send(Method::GET, "/api/me", twice, "").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// The shop's own cookie from another design must mean nothing here.
#[tokio::test]
async fn cookies_are_not_looked_at() {
    let shop = RunningShop::start("1", trusted()).await;
    let cookie = HeaderValue::from_static("shop_session=000000000000000000000000000000ff");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("cookie"), cookie)]);
    let answer = shop.send(Method::GET, "/api/me", headers, "").await;
    assert_eq!(answer.json()["user"], json!(null));
}
