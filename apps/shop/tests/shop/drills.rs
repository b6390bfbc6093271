//! What drills and measurements lean on: health, slow and large answers, an orderly end.

use cloakroom_shop::{SessionDesign, ShopError, ShopSettings, serve};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::RunningShop;

#[tokio::test]
async fn health_is_two_letters() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let answer = shop.get("/health").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"));
    assert_eq!(answer.header("x-instance"), Some("1"));
}

#[tokio::test]
async fn bodies_have_the_size_asked_for() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    for bytes in [0, 1, 65_536, 65_537, 3_000_000] {
        let answer = shop.get(&format!("/api/size?bytes={bytes}")).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, bytes));
        assert_eq!(answer.header("content-length"), Some(bytes.to_string().as_str()));
    }
    let most = 64 * 1024 * 1024;
    let path = format!("/api/size?bytes={most}");
    let answer = shop.send(Method::HEAD, &path, HeaderMap::new(), "").await;
    assert_eq!(answer.header("content-length"), Some(most.to_string().as_str()));
    for wish in ["67108865", "-1", "all"] {
        let answer = shop.get(&format!("/api/size?bytes={wish}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wish}");
    }
}

#[tokio::test]
async fn slow_answers_take_their_time() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let started = std::time::Instant::now();
    let answer = shop.get("/api/slow?ms=50").await;
    assert_eq!(answer.json(), json!({"waited_ms": 50}));
    assert!(started.elapsed().as_millis() >= 50);
    assert_eq!(shop.get("/api/slow?ms=soon").await.status, StatusCode::BAD_REQUEST);
}

/// A rolling deploy stops instances in the middle of requests; each one cut off would be counted
/// against the gateway.
#[tokio::test]
async fn a_request_under_way_is_finished_before_the_end() {
    let mut shop = RunningShop::start("1", SessionDesign::Memory).await;
    let mut stream = TcpStream::connect(shop.address).await.unwrap();
    // The body is held back, so the request is certainly under way when the end is asked for.
    let head = "PUT /api/cart/mug HTTP/1.1\r\nhost: shop\r\ncontent-length: 14\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue"));

    shop.stop();
    stream.write_all(br#"{"quantity":4}"#).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""mug":4"#), "{answer}");
    shop.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_are_used_again() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    let answer = shop.send(Method::GET, "/health", headers, "").await;
    assert_ne!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_shop_that_cannot_open_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings =
        ShopSettings { listen: taken.local_addr().unwrap(), instance: "1".to_owned(), design: SessionDesign::Memory };
    assert!(matches!(serve(settings.clone()).await, Err(ShopError::Listen { .. })));
    drop(taken);
    let unnameable = ShopSettings { instance: "a\nb".to_owned(), ..settings };
    assert!(matches!(serve(unnameable).await, Err(ShopError::Instance { .. })));
}
