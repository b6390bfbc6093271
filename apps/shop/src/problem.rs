//! Everything that can go wrong with a request, and the one place that turns it into an answer.

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde_json::json;

use crate::catalogue::PRODUCTS;
use crate::drills::SIZE_BYTES_MAX;
use crate::session::{NAME_CHARS_MAX, QUANTITY_MAX, SessionError};

/// A request that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("The shop has no product of this name; it has {}", product_ids())]
    UnknownProduct,
    #[error("A quantity is a whole number from 0 to {QUANTITY_MAX}")]
    BadQuantity,
    #[error("A name is 1 to {NAME_CHARS_MAX} printable characters")]
    BadName,
    #[error("This is not the password; it stands beside the form")]
    WrongPassword,
    #[error("The body is not the JSON object this address takes")]
    BadJson(#[source] serde_json::Error),
    #[error("The body could not be read")]
    BadBody(#[source] BytesRejection),
    #[error("The query is not what this address takes")]
    BadQuery(#[source] QueryRejection),
    #[error("A size is at most {SIZE_BYTES_MAX} bytes")]
    SizeTooLarge,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownProduct => StatusCode::NOT_FOUND,
            Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::BadQuantity | Self::BadName | Self::BadJson(_) | Self::BadQuery(_) | Self::SizeTooLarge => {
                StatusCode::BAD_REQUEST
            }
            Self::BadBody(rejection) => rejection.status(),
            Self::Session(SessionError::Keys(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Session(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut answer = (status, Json(json!({ "error": chain(&self) }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

/// An error with everything that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn product_ids() -> String {
    PRODUCTS.map(|product| product.id).join(", ")
}
