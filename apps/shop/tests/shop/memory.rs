//! Sessions in the instance's memory: the design with all its weaknesses, which must be exactly the
//! known ones.

use cloakroom_shop::SessionDesign;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Browser, RunningShop};

const ALICE: &str = r#"{"name":" alice ","password":"coat-check"}"#;

#[tokio::test]
async fn a_cart_is_filled_kept_through_log_in_and_gone_after_log_out() {
    let shop = RunningShop::start("2", SessionDesign::Memory).await;
    let mut browser = Browser::default();

    let answer = browser.send(&shop, Method::GET, "/api/me", "").await;
    let nobody = json!({"user": null, "cart": {}, "instance": "2", "design": "memory"});
    assert_eq!(answer.json(), nobody);
    assert_eq!(browser.cookie, None, "a mere visit begins no session");

    let answer = browser.send(&shop, Method::PUT, "/api/cart/espresso", r#"{"quantity":2}"#).await;
    assert_eq!(answer.json()["cart"], json!({"espresso": 2}));
    let before_log_in = browser.cookie.clone().unwrap();

    let answer = browser.send(&shop, Method::POST, "/api/login", ALICE).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert_ne!(browser.cookie.as_ref(), Some(&before_log_in), "the id changes at log-in");
    let alice = json!({"user": "alice", "cart": {"espresso": 2}, "instance": "2", "design": "memory"});
    assert_eq!(answer.json(), alice);
    assert_eq!(browser.send(&shop, Method::GET, "/api/me", "").await.json(), alice);

    let mut planted = Browser { cookie: Some(before_log_in) };
    let answer = planted.send(&shop, Method::GET, "/api/me", "").await;
    assert_eq!(answer.json(), nobody, "the id from before the log-in opens nothing");

    let signed_in = browser.cookie.clone();
    let answer = browser.send(&shop, Method::POST, "/api/logout", "").await;
    assert_eq!((answer.json(), &browser.cookie), (nobody.clone(), &None));
    let mut replayed = Browser { cookie: signed_in };
    assert_eq!(replayed.send(&shop, Method::GET, "/api/me", "").await.json(), nobody);
}

/// A visitor sent to another instance, or to the same one after a restart, shows a cookie nobody
/// knows. An error page would be worse than the truth: here they are a stranger.
#[tokio::test]
async fn another_instance_knows_nobody() {
    let first = RunningShop::start("1", SessionDesign::Memory).await;
    let second = RunningShop::start("2", SessionDesign::Memory).await;
    let mut browser = Browser::default();
    browser.send(&first, Method::POST, "/api/login", ALICE).await;

    let answer = browser.send(&second, Method::GET, "/api/me", "").await;
    assert_eq!(answer.json()["user"], json!(null));
    assert_eq!(answer.header("x-instance"), Some("2"));
    let answer = browser.send(&first, Method::GET, "/api/me", "").await;
    assert_eq!(answer.json()["user"], json!("alice"));
}

#[tokio::test]
async fn quantities_are_set_rather_than_added() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let mut browser = Browser::default();
    for _ in 0..2 {
        let answer = browser.send(&shop, Method::PUT, "/api/cart/mug", r#"{"quantity":99}"#).await;
        assert_eq!(answer.json()["cart"], json!({"mug": 99}));
    }
    browser.send(&shop, Method::PUT, "/api/cart/scarf", r#"{"quantity":1}"#).await;
    let answer = browser.send(&shop, Method::DELETE, "/api/cart/mug", "").await;
    assert_eq!(answer.json()["cart"], json!({"scarf": 1}));
    let answer = browser.send(&shop, Method::PUT, "/api/cart/scarf", r#"{"quantity":0}"#).await;
    assert_eq!(answer.json()["cart"], json!({}));

    let mut stranger = Browser::default();
    stranger.send(&shop, Method::DELETE, "/api/cart/mug", "").await.json();
    assert_eq!(stranger.cookie, None, "removing nothing begins no session");
}

#[tokio::test]
async fn quantities_and_products_that_make_no_sense_are_told_why() {
    let one = r#"{"quantity":1}"#;
    refused(Method::PUT, "/api/cart/cigars", one, StatusCode::NOT_FOUND).await;
    refused(Method::DELETE, "/api/cart/cigars", "", StatusCode::NOT_FOUND).await;
    for quantity in ["100", "-1", "1.5", "\"1\"", "null", "99999999999999999999"] {
        let body = format!(r#"{{"quantity":{quantity}}}"#);
        refused(Method::PUT, "/api/cart/mug", &body, StatusCode::BAD_REQUEST).await;
    }
    refused(Method::PUT, "/api/cart/mug", "{", StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn log_ins_that_make_no_sense_are_told_why() {
    let body = |name: &str, password: &str| json!({"name": name, "password": password}).to_string();
    let wrong = body("alice", "open sesame");
    refused(Method::POST, "/api/login", &wrong, StatusCode::UNAUTHORIZED).await;
    for name in [" ", "a\nb", &"x".repeat(41)] {
        let body = body(name, "coat-check");
        refused(Method::POST, "/api/login", &body, StatusCode::BAD_REQUEST).await;
    }
    let no_password = r#"{"name":"alice"}"#;
    refused(Method::POST, "/api/login", no_password, StatusCode::BAD_REQUEST).await;
    let huge = body(&"x".repeat(20_000), "coat-check");
    refused(Method::POST, "/api/login", &huge, StatusCode::PAYLOAD_TOO_LARGE).await;
}

/// Driving a server from the wrong end of a typing error should not need its source code.
#[tokio::test]
async fn unknown_addresses_are_signed_like_all_others() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let answer = shop.get("/nowhere").await;
    assert_eq!((answer.status, answer.header("x-instance")), (StatusCode::NOT_FOUND, Some("1")));
}

async fn refused(method: Method, path: &str, body: &str, status: StatusCode) {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let mut browser = Browser::default();
    let answer = browser.send(&shop, method, path, body).await;
    assert_eq!(answer.status, status, "{path} {body}");
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{path} {body}");
    assert_eq!(answer.header("x-instance"), Some("1"));
    assert_eq!(browser.cookie, None, "a refusal begins no session");
}
