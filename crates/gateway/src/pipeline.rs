//! The life of a request, in order. Each step gathers its input, calls a pure decision, and carries it out.

use std::rc::Rc;

use cloakroom_config::SessionMode;

use crate::clock::{self, Now};
use crate::completion::Completion;
use crate::engine::Exchange;
use crate::respond::Refusal;
use crate::stage::{admit, affinity, forwarded, route, session};
use crate::upstream::forward;
use crate::worker::Worker;

/// Serves one request up to the head of its answer; the engine streams the bodies.
///
/// # Errors
/// The refusal to answer with in the instance's place.
pub(crate) async fn serve<X: Exchange>(
    worker: &Rc<Worker>,
    exchange: &mut X,
    completion: &mut Completion,
    now: Now,
) -> Result<(), Refusal> {
    admit::check(exchange)?;
    let (route_index, route) = route::find(worker, exchange)?;
    completion.record.route = Some(route_index);
    let pool = route.pool.0;
    let has_sessions = worker.shared.pools[pool].config.session != SessionMode::Off;

    let scheme = forwarded::scheme(exchange);
    forwarded::prepare(exchange, &completion.record);
    let pin = affinity::read(worker, exchange, scheme, pool, now);
    let mut session = session::Session::default();
    if has_sessions {
        session = session::load(worker, exchange, scheme, &mut completion.record, now).await?;
        session::present(worker, exchange, &session, pool, now);
    }
    session::strip_request(worker, exchange, route, has_sessions);

    let place = forward::forward(worker, exchange, completion, pool, pin.slot(), now).await?;
    completion.record.upstream = Some(clock::last().saturating_duration_since(now.instant));
    completion.record.status = exchange.status().as_u16();

    if has_sessions {
        session::commit(worker, exchange, session, &mut completion.record, now).await?;
    }
    session::strip_response(exchange);
    affinity::write(worker, exchange, scheme, pin, place, now);
    Ok(())
}
