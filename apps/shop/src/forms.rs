//! The same changes as plain form posts, for a page without scripts: each ends in a 303 back to
//! `/`, so that reloading the page repeats nothing.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use hyper::HeaderMap;
use serde::Deserialize;

use crate::json_api::{log_in_change, quantity_change};
use crate::problem::Problem;
use crate::server::Shop;
use crate::session::Change;

/// What the page has to say after a form that was not carried out. It travels in the query of the
/// redirect as a word, never as text, so that no link can put words into the shop's mouth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    WrongPassword,
    BadName,
    BadForm,
}

impl Notice {
    const ALL: [Self; 3] = [Self::WrongPassword, Self::BadName, Self::BadForm];

    /// The notice of this word, if there is one.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::BadName => "bad-name",
            Self::BadForm => "bad-form",
        }
    }

    /// What the visitor reads.
    pub(crate) fn text(self) -> String {
        match self {
            Self::WrongPassword => format!("{}.", Problem::WrongPassword),
            Self::BadName => format!("{}.", Problem::BadName),
            Self::BadForm => "The form did not make sense to the shop; nothing was changed.".into(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct LogInForm {
    name: String,
    password: String,
}

/// `POST /login`
pub(crate) async fn log_in(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    form: Result<Form<LogInForm>, FormRejection>,
) -> Result<Response, Problem> {
    let Ok(Form(form)) = form else {
        return Ok(refusal(Notice::BadForm));
    };
    carry_out(&shop, &headers, log_in_change(&form.name, &form.password)).await
}

/// `POST /logout`
pub(crate) async fn log_out(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Result<Response, Problem> {
    carry_out(&shop, &headers, Ok(Change::LogOut)).await
}

#[derive(Deserialize)]
pub(crate) struct CartForm {
    product: String,
    quantity: u64,
}

/// `POST /cart`
pub(crate) async fn set_quantity(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
    form: Result<Form<CartForm>, FormRejection>,
) -> Result<Response, Problem> {
    let Ok(Form(form)) = form else {
        return Ok(refusal(Notice::BadForm));
    };
    carry_out(&shop, &headers, quantity_change(&form.product, form.quantity)).await
}

async fn carry_out(shop: &Shop, headers: &HeaderMap, change: Result<Change, Problem>) -> Result<Response, Problem> {
    match change {
        Ok(change) => {
            let (_, session_headers) = shop.change(headers, change).await?;
            Ok((session_headers, Redirect::to("/")).into_response())
        }
        Err(Problem::WrongPassword) => Ok(refusal(Notice::WrongPassword)),
        Err(Problem::BadName) => Ok(refusal(Notice::BadName)),
        Err(_) => Ok(refusal(Notice::BadForm)),
    }
}

fn refusal(notice: Notice) -> Response {
    Redirect::to(&format!("/?notice={}", notice.word())).into_response()
}
