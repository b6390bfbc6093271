//! Answers that are slow or large on demand, for drills and measurements of what stands in front.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::problem::Problem;

/// The longest an answer is held back; a longer wish is cut to it, and the answer says so.
const SLOW_MS_MAX: u64 = 10_000;
/// The largest body made on demand.
pub(crate) const SIZE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The size of one piece of such a body.
const PIECE_BYTES: usize = 64 * 1024;

static PIECE: [u8; PIECE_BYTES] = [b'.'; PIECE_BYTES];

/// `GET /health`
pub(crate) async fn health() -> &'static str {
    "ok"
}

#[derive(Deserialize)]
pub(crate) struct SlowQuery {
    #[serde(default)]
    ms: u64,
}

/// `GET /api/slow?ms=`
pub(crate) async fn slow(query: Result<Query<SlowQuery>, QueryRejection>) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(Problem::BadQuery)?;
    let waited_ms = query.ms.min(SLOW_MS_MAX);
    tokio::time::sleep(Duration::from_millis(waited_ms)).await;
    Ok(Json(json!({ "waited_ms": waited_ms })))
}

#[derive(Deserialize)]
pub(crate) struct SizeQuery {
    #[serde(default)]
    bytes: u64,
}

/// `GET /api/size?bytes=`
pub(crate) async fn size(query: Result<Query<SizeQuery>, QueryRejection>) -> Result<Response, Problem> {
    let Query(SizeQuery { bytes }) = query.map_err(Problem::BadQuery)?;
    if bytes > SIZE_BYTES_MAX {
        return Err(Problem::SizeTooLarge);
    }
    let body = Body::new(Filler { bytes_left: bytes });
    Ok(([(CONTENT_TYPE, "text/plain")], body).into_response())
}

/// A body of dots that is never held in memory whole.
struct Filler {
    bytes_left: u64,
}

impl hyper::body::Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes_left == 0 {
            return Poll::Ready(None);
        }
        let left = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        let piece = &PIECE[..left.min(PIECE_BYTES)];
        self.bytes_left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}
