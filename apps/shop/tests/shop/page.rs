//! The page as a browser without scripts gets it.

use cloakroom_shop::SessionDesign;
use hyper::{Method, StatusCode};

use crate::support::{Browser, FakeGateway, RunningShop, Seal, trusted};

#[tokio::test]
async fn the_page_is_whole_and_needs_nobody_else() {
    let shop = RunningShop::start("2", SessionDesign::Memory).await;
    let answer = shop.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-instance"), Some("2"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));

    let page = answer.text();
    assert!(!page.contains("{{"), "a slot was left over");
    assert!(page.contains("in this instance\u{2019}s memory"));
    assert!(page.contains(r#"<strong id="instance">instance 2</strong>"#));
    assert!(page.contains("coat-check"));
    assert_eq!(page.matches("class=\"card\"").count(), 9);
    let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!without_namespace.contains("://"), "an outside address");

    let assets = page.split('"').filter(|part| part.starts_with("/assets/"));
    let mut kinds = Vec::new();
    for asset in assets {
        let answer = shop.get(asset).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text().contains("://"), "an outside address in {asset}");
        kinds.push(answer.header("content-type").unwrap().to_owned());
    }
    assert_eq!(kinds, ["text/css; charset=utf-8", "text/javascript; charset=utf-8"]);

    let page = RunningShop::start("2", trusted()).await.get("/").await;
    assert!(page.text().contains("sessions: kept by the gateway"));
}

#[tokio::test]
async fn a_visitor_without_scripts_shops_with_plain_forms() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let mut browser = Browser::default();

    let answer = browser.send(&shop, Method::POST, "/cart", "product=mug&quantity=2").await;
    assert_eq!(answer.location(), "/");
    let answer = browser.send(&shop, Method::POST, "/login", "name=alice&password=coat-check").await;
    assert_eq!(answer.location(), "/");

    let answer = browser.send(&shop, Method::GET, "/", "").await;
    let page = answer.text();
    assert!(page.contains(r#"<bdi id="user">alice</bdi>"#));
    assert!(page.contains(r#"<output aria-label="Quantity of Summit Enamel Mug">2</output>"#));
    assert!(page.contains("€28.00"));
    // The buttons carry the quantity to set: one fewer, one more, none.
    let line = page.split(r#"data-line="mug""#).nth(1).unwrap();
    assert!(line.contains(r#"value="1""#) && line.contains(r#"value="3""#));

    let answer = browser.send(&shop, Method::POST, "/cart", "product=mug&quantity=0").await;
    assert_eq!(answer.location(), "/");
    let answer = browser.send(&shop, Method::POST, "/logout", "").await;
    assert_eq!((answer.location(), &browser.cookie), ("/", &None));
}

#[tokio::test]
async fn forms_reach_the_gateway_as_well() {
    let shop = RunningShop::start("1", trusted()).await;
    let mut gateway = FakeGateway::new(Seal::Json);
    gateway.send(&shop, Method::POST, "/cart", "product=mug&quantity=2").await;
    gateway.send(&shop, Method::POST, "/login", "name=Zo%C3%AB&password=coat-check").await;
    let page = gateway.send(&shop, Method::GET, "/", "").await;
    assert!(page.text().contains("Zoë") && page.text().contains("€28.00"));
    assert_eq!(gateway.send(&shop, Method::POST, "/logout", "").await.location(), "/");
    assert!(!gateway.begun);
}

#[tokio::test]
async fn a_form_that_fails_comes_back_with_words() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    let cases = [
        ("/login", "name=alice&password=wrong", "not the password"),
        ("/login", "name=+&password=coat-check", "printable characters"),
        ("/login", "name=alice", "did not make sense"),
        ("/cart", "product=cigars&quantity=1", "did not make sense"),
        ("/cart", "product=mug&quantity=many", "did not make sense"),
    ];
    for (path, body, words) in cases {
        let mut browser = Browser::default();
        let answer = browser.send(&shop, Method::POST, path, body).await;
        let page = browser.send(&shop, Method::GET, answer.location(), "").await;
        assert!(page.text().contains(words), "{path} {body}");
    }
    let page = shop.get("/?notice=%3Cb%3EPay+here%3C/b%3E").await;
    assert!(!page.text().contains("Pay here"), "a link must not put words into the shop's mouth");
}

/// A name is whatever a visitor types; in a page it must stay a name, in the text and in the
/// attribute that carries the state to the script.
#[tokio::test]
async fn a_name_never_becomes_markup() {
    let shop = RunningShop::start("1", SessionDesign::Memory).await;
    for name in ["<script>alert(1)</script>", "\" onload=\"x", "' onload='x", "{{cards}}", "</bdi>"] {
        let mut browser = Browser::default();
        let body = serde_json::json!({"name": name, "password": "coat-check"}).to_string();
        let answer = browser.send(&shop, Method::POST, "/api/login", &body).await;
        assert_eq!(answer.json()["user"], name);
        let answer = browser.send(&shop, Method::GET, "/", "").await;
        let page = answer.text();
        assert!(!page.contains("<script>") && !page.contains("onload=\"") && !page.contains("onload='"));
        assert_eq!(page.matches("</bdi>").count(), 1);
        assert_eq!(page.matches("class=\"card\"").count(), 9, "{name}");
    }
}
