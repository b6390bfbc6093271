//! The gateway: an L7 load balancer that keeps the users' sessions.
//!
//! This crate is the edge where the pure crates meet sockets, clocks and randomness. The folders follow a request:
//!
//! | place | step |
//! | --- | --- |
//! | `listener` | a connection is accepted by one worker and stays there |
//! | `engine` | bytes become a request; the wire guard refuses what has two readings |
//! | `pipeline`, `stage` | every step in order: admit, route, hops, pin, session |
//! | `upstream` | an instance is picked, a connection found, the request sent, sent again where that is safe |
//! | `stage::session` | the answer's session headers are committed before its first byte leaves |
//! | `respond` | the only map from errors to HTTP |
//! | `completion`, `telemetry` | one record per request becomes counters and a log line |
//! | `admin` | metrics, health, status and drains, on a listener of their own |

mod admin;
mod clock;
mod completion;
mod deadline;
mod engine;
pub mod keys;
mod listener;
mod pipeline;
mod respond;
mod server;
mod shared;
mod stage;
mod telemetry;
mod upstream;
mod worker;

pub use admin::AdminTokenError;
pub use server::{Gateway, InstanceReports, ListenerKind, StartError};
pub use shared::needs_store;
