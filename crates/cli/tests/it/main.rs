//! The command as its users run it: processes, ports, signals, files.

mod check;
mod crash;
mod http;
mod run;
mod tour;
