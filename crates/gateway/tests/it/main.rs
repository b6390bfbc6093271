//! The gateway from outside: real sockets, origins that follow a script, and what arrived there byte for byte.
//!
//! One binary with a module per topic, since linking costs more than compiling these.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step ends the test")]

mod support;

mod admin;
mod bodies;
mod forwarding;
mod framing;
mod health;
mod pins;
mod protocol;
mod refusals;
mod retries;
mod session_commits;
mod session_failures;
mod session_life;
mod shutdown;
mod timeouts;
mod upgrades;
