//! What to run and how patient to be with it.

use std::{ffi::OsString, num::NonZeroUsize, time::Duration};

/// The most instances one supervisor runs: each costs a process, a port, two pipes and three tasks.
pub const INSTANCES_MAX: usize = 256;

/// What a supervisor runs, and how. [`Settings::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program and its arguments; at least the program.
    pub command: Vec<OsString>,
    /// Put before the command, for example a program that calls [`exec_instance`](crate::exec_instance). May be empty.
    pub launcher: Vec<OsString>,
    /// How many instances, at most [`INSTANCES_MAX`].
    pub count: NonZeroUsize,
    /// Added to the inherited environment of every instance. The supervisor's own variables win over these.
    pub environment: Vec<(OsString, OsString)>,
    /// The delay after a first crash, before jitter shortens it.
    pub backoff_min: Duration,
    /// The delay that crash after crash leads up to. A crashing instance is retried at this pace for ever.
    pub backoff_max: Duration,
    /// An instance that lived this long starts again at `backoff_min` when it crashes.
    pub settled: Duration,
    /// How long an instance may take to leave after SIGTERM, before SIGKILL.
    pub stop_deadline: Duration,
    /// Where the instances' standard output and standard error go.
    pub output: Output,
}

impl Settings {
    /// `count` instances of `command`: backoff from 200 ms to 10 s, settled after 10 s, 10 s to stop, and output
    /// prefixed without colour.
    pub fn new(command: Vec<OsString>, count: NonZeroUsize) -> Self {
        Self {
            command,
            launcher: Vec::new(),
            count,
            environment: Vec::new(),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            settled: Duration::from_secs(10),
            stop_deadline: Duration::from_secs(10),
            output: Output::Prefixed { colour: Colour::Plain },
        }
    }
}

/// Where the instances' output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Each line goes to our own standard output or standard error as `instance 1 | text`.
    Prefixed {
        /// Whether the prefix is coloured.
        colour: Colour,
    },
    /// To nowhere.
    Discard,
    /// Straight to our own standard output and standard error, unprefixed; a slow terminal then blocks the instances.
    Inherit,
}

/// Whether prefixes are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// No escape sequences.
    Plain,
    /// A colour for each instance, from a cycle of six.
    PerInstance,
}
