//! The guard from outside: a corpus of attacks and of ordinary traffic, and properties that hold for any stream.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod contract;
mod corpus;
mod properties;
mod reference;
mod requests;
