//! The command as its users run it: processes, ports, signals, files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod check;
mod crash;
mod http;
mod run;
mod tour;
