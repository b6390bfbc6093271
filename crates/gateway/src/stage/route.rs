//! Which route, and with it which pool.

use cloakroom_config::Route;

use crate::engine::Exchange;
use crate::respond::Refusal;
use crate::worker::Worker;

/// The route of a request, and its index.
pub(crate) fn find<'worker, X: Exchange>(
    worker: &'worker Worker,
    exchange: &X,
) -> Result<(usize, &'worker Route), Refusal> {
    let index = worker.shared.routes.find(exchange.host(), exchange.path()).ok_or(Refusal::NoRoute)?;
    let route = worker.shared.config.routes.get(index).ok_or(Refusal::NoRoute)?;
    Ok((index, route))
}
