//! The JSON API: what the page's script, tests and load drivers speak.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hyper::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue;
use crate::problem::Problem;
use crate::server::Shop;
use crate::session::{Cart, Change, Quantity, Visitor, VisitorName};

/// The one password, shown on the page: logging in is about sessions, not about secrets.
pub(crate) const PASSWORD: &str = "coat-check";

/// What every address of the API answers with.
#[derive(Debug, Serialize)]
pub(crate) struct VisitorState<'a> {
    user: Option<&'a str>,
    cart: &'a Cart,
    instance: &'a str,
    design: &'static str,
}

impl<'a> VisitorState<'a> {
    pub(crate) fn new(shop: &'a Shop, visitor: &'a Visitor) -> Self {
        Self {
            user: visitor.user.as_deref(),
            cart: &visitor.cart,
            instance: &shop.instance,
            design: shop.sessions.design_word(),
        }
    }
}

/// `GET /api/me`
pub(crate) async fn me(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Result<Response, Problem> {
    let visitor = shop.visitor(&headers).await?;
    Ok(Json(VisitorState::new(&shop, &visitor)).into_response())
}

#[derive(Deserialize)]
struct LogInBody {
    name: String,
    password: String,
}

/// `POST /api/login`
pub(crate) async fn log_in(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body: LogInBody = from_json(body)?;
    answer(&shop, &headers, log_in_change(&body.name, &body.password)?).await
}

/// `POST /api/logout`
pub(crate) async fn log_out(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Result<Response, Problem> {
    answer(&shop, &headers, Change::LogOut).await
}

#[derive(Deserialize)]
struct QuantityBody {
    /// Any JSON at all, so that `2.5` and `-1` are told what a quantity is, not what JSON is.
    quantity: Value,
}

/// `PUT /api/cart/{product}`
pub(crate) async fn put_in_cart(
    State(shop): State<Arc<Shop>>,
    Path(product): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body: QuantityBody = from_json(body)?;
    let quantity = body.quantity.as_u64().ok_or(Problem::BadQuantity)?;
    answer(&shop, &headers, quantity_change(&product, quantity)?).await
}

/// `DELETE /api/cart/{product}`
pub(crate) async fn take_from_cart(
    State(shop): State<Arc<Shop>>,
    Path(product): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&shop, &headers, quantity_change(&product, 0)?).await
}

/// The change that a log-in with this name and password is. The name is looked at first, so that
/// both complaints can be told apart with the right password or a wrong one.
pub(crate) fn log_in_change(name: &str, password: &str) -> Result<Change, Problem> {
    let name = VisitorName::parse(name).ok_or(Problem::BadName)?;
    if password == PASSWORD { Ok(Change::LogIn(name)) } else { Err(Problem::WrongPassword) }
}

/// The change that sets `product` to `quantity`.
pub(crate) fn quantity_change(product: &str, quantity: u64) -> Result<Change, Problem> {
    Ok(Change::SetQuantity {
        product: catalogue::product(product).ok_or(Problem::UnknownProduct)?,
        quantity: Quantity::new(quantity).ok_or(Problem::BadQuantity)?,
    })
}

async fn answer(shop: &Shop, headers: &HeaderMap, change: Change) -> Result<Response, Problem> {
    let (visitor, session_headers) = shop.change(headers, change).await?;
    Ok((session_headers, Json(VisitorState::new(shop, &visitor))).into_response())
}

/// Reads a body as JSON whatever its content type says: drivers differ, and the session cookie is
/// `SameSite=Lax`, so a foreign page gains nothing by posting one as text.
fn from_json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let body = body.map_err(Problem::BadBody)?;
    serde_json::from_slice(&body).map_err(Problem::BadJson)
}
