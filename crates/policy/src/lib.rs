//! Request policy as pure functions: which route a request takes, who the client is behind trusted hops, and whether a
//! failed try may be repeated.
//!
//! Nothing here reads a clock, draws a random number or touches a socket. The gateway gathers the input of each
//! decision, calls it, and carries it out.

pub mod forwarded;
pub mod retry;
pub mod route;

pub use forwarded::{Hop, TrustedHops};
pub use retry::{Replay, RetryBudget, RetryDecision, Sent};
pub use route::{HostPattern, PathPattern, RouteTable};
