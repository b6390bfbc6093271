//! The shop as its visitors and its gateway meet it: over a real socket, in every design.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

mod drills;
mod gateway;
mod memory;
mod page;
mod signed;
mod support;
