//! Whether a request may enter at all.

use http::Method;

use crate::engine::Exchange;
use crate::respond::Refusal;

/// Refuses what the wire guard refused, what came too late, what is too large, and tunnels.
pub(crate) fn check<X: Exchange>(exchange: &X) -> Result<(), Refusal> {
    if let Some(violation) = exchange.violation() {
        return Err(Refusal::Wire(violation));
    }
    if exchange.has_timed_out() {
        return Err(Refusal::HeadTimedOut);
    }
    if exchange.method() == Method::CONNECT {
        return Err(Refusal::TunnelRefused);
    }
    if exchange.is_body_too_large() {
        return Err(Refusal::BodyTooLarge);
    }
    Ok(())
}
