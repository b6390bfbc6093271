//! The page, written by the server in full: it shows the same without scripts as with them.

use std::sync::{Arc, LazyLock};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde::Deserialize;

use crate::catalogue::{PRODUCTS, Product, price_text};
use crate::forms::Notice;
use crate::json_api::{PASSWORD, VisitorState};
use crate::problem::Problem;
use crate::server::Shop;
use crate::session::{QUANTITY_MAX, Visitor};

const PAGE: &str = include_str!("assets/page.html");
const CARD: &str = include_str!("assets/card.html");
const LINE: &str = include_str!("assets/line.html");
const STYLE: &str = include_str!("assets/shop.css");
const SCRIPT: &str = include_str!("assets/shop.js");

/// Everything comes from the shop itself; above all, no script that a name might smuggle in runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'";
/// Style and script have their version in their address, so an old copy is never the wrong one.
const ASSET_CACHING: &str = "public, max-age=3600";
/// How many colours the badge has to tell instances apart.
const TINTS: u32 = 6;

#[derive(Deserialize)]
pub(crate) struct PageQuery {
    notice: Option<String>,
}

/// `GET /`
pub(crate) async fn index(
    State(shop): State<Arc<Shop>>,
    query: Result<Query<PageQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = shop.visitor(&headers).await?;
    let notice = query.ok().and_then(|Query(query)| Notice::of_word(&query.notice?));
    let page = render(&shop, &visitor, notice);
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    Ok((headers, page).into_response())
}

/// `GET /assets/shop.css`
pub(crate) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, ASSET_CACHING)], STYLE)
}

/// `GET /assets/shop.js`
pub(crate) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, ASSET_CACHING)], SCRIPT)
}

fn render(shop: &Shop, visitor: &Visitor, notice: Option<Notice>) -> String {
    let quantity_of = |product: &Product| visitor.cart.get(product.id).copied().unwrap_or(0);
    let chosen = || PRODUCTS.iter().filter(|product| quantity_of(product) > 0);
    let count: u32 = visitor.cart.values().map(|quantity| u32::from(*quantity)).sum();
    let total_cents = chosen().map(|product| product.price_cents * u32::from(quantity_of(product)));
    let state = serde_json::to_string(&VisitorState::new(shop, visitor)).unwrap_or_default();
    let hidden_if = |condition| if condition { "hidden" } else { "" }.to_owned();
    let cards = PRODUCTS.iter().map(|product| card(product, quantity_of(product)));
    let lines = chosen().map(|product| line(product, quantity_of(product)));
    fill(
        PAGE,
        &[
            ("version", asset_version().to_owned()),
            ("state", escape(&state)),
            ("design", escape(shop.sessions.design_line())),
            ("tint", tint(&shop.instance).to_string()),
            ("instance", escape(&shop.instance)),
            ("password", PASSWORD.to_owned()),
            ("user", escape(visitor.user.as_deref().unwrap_or_default())),
            ("login_hidden", hidden_if(visitor.user.is_some())),
            ("logout_hidden", hidden_if(visitor.user.is_none())),
            ("count", count.to_string()),
            ("cards", cards.collect()),
            ("lines", lines.collect()),
            ("blank_line", line(&PRODUCTS[0], 1)),
            ("empty_hidden", hidden_if(count > 0)),
            ("total_hidden", hidden_if(count == 0)),
            ("total", price_text(total_cents.sum())),
            ("notice", escape(&notice.map(Notice::text).unwrap_or_default())),
        ],
    )
}

fn card(product: &Product, quantity: u8) -> String {
    fill(
        CARD,
        &[
            ("id", product.id.to_owned()),
            ("name", escape(product.name)),
            ("note", escape(product.note)),
            ("shelf", escape(product.shelf)),
            ("cents", product.price_cents.to_string()),
            ("price", price_text(product.price_cents)),
            ("art", product.art.to_owned()),
            ("next", next(quantity).to_string()),
            ("add_disabled", disabled_at_most(quantity)),
        ],
    )
}

fn line(product: &Product, quantity: u8) -> String {
    fill(
        LINE,
        &[
            ("id", product.id.to_owned()),
            ("name", escape(product.name)),
            ("shelf", escape(product.shelf)),
            ("sum", price_text(product.price_cents * u32::from(quantity))),
            ("quantity", quantity.to_string()),
            ("fewer", quantity.saturating_sub(1).to_string()),
            ("more", next(quantity).to_string()),
            ("more_disabled", disabled_at_most(quantity)),
        ],
    )
}

fn next(quantity: u8) -> u8 {
    (quantity + 1).min(QUANTITY_MAX)
}

fn disabled_at_most(quantity: u8) -> String {
    if quantity >= QUANTITY_MAX { "disabled" } else { "" }.to_owned()
}

/// Puts values, which are HTML already, into the `{{slots}}` of a template. One pass from left to
/// right: a value is never searched for slots, so a visitor named `{{state}}` is only that.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, (slot, after))) =
        rest.split_once("{{").and_then(|(before, tail)| Some((before, tail.split_once("}}")?)))
    {
        filled.push_str(before);
        if let Some((_, value)) = values.iter().find(|(name, _)| *name == slot) {
            filled.push_str(value);
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Text as HTML, good between tags and in quoted attributes alike.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The colour of an instance's badge; the page's script counts the same way.
fn tint(instance: &str) -> u32 {
    instance.chars().map(u32::from).fold(0, u32::wrapping_add) % TINTS
}

/// A mark of what style and script say, for their addresses (FNV-1a, 64 bits).
fn asset_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let hash = STYLE
            .bytes()
            .chain(SCRIPT.bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));

        format!("{hash:016x}")
    });
    &VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_read_as_a_template() {
        let values = [("user", "{{state}}".to_owned()), ("state", "secret".to_owned())];
        assert_eq!(fill("<b>{{user}}</b>{{", &values), "<b>{{state}}</b>{{");
    }

    #[test]
    fn markup_in_text_stays_text() {
        assert_eq!(escape(r#"<a b="c" d='e'>&"#), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
    }

    /// A slot without a value would silently show nothing.
    #[test]
    fn every_slot_of_the_fragments_is_filled() {
        for product in &PRODUCTS {
            for html in [card(product, 1), line(product, 1)] {
                assert!(html.contains(product.name) && !html.contains("=\"\""), "{html}");
            }
        }
    }
}
