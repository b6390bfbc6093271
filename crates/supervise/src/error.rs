//! Why instances could not be started, and why one of them could not be acted upon.

use crate::settings::INSTANCES_MAX;
use std::{ffi::OsString, io};

/// Why no supervisor was started. Whatever had been started by then has been killed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The command has no program.
    #[error("there is no program to run: the command is empty")]
    EmptyCommand,
    /// More instances than one supervisor runs.
    #[error("{count} instances are too many: the most is {INSTANCES_MAX}")]
    TooManyInstances {
        /// How many were asked for.
        count: usize,
    },
    /// The program is neither a file nor found on `PATH`.
    #[error("cannot find the program {program:?}")]
    ProgramNotFound {
        /// As given in the command or the launcher.
        program: OsString,
    },
    /// The program is there, but we may not execute it.
    #[error("the program {program:?} is not an executable file")]
    NotExecutable {
        /// As given in the command or the launcher.
        program: OsString,
    },
    /// No free loopback port could be had.
    #[error("cannot find a free port on 127.0.0.1")]
    NoPort {
        /// What the operating system said.
        source: io::Error,
    },
    /// The writer of prefixed output could not be set up.
    #[error("cannot set up the writer of the instances' output")]
    Output {
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused to start the program.
    #[error("cannot start instance {number} ({program:?})", number = .instance + 1)]
    Start {
        /// The instance, from 0.
        instance: usize,
        /// The program as given in the command or the launcher.
        program: OsString,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why an instance could not be acted upon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// There is no such instance.
    #[error("there is no instance {number}: there are {count}", number = .instance + 1)]
    Unknown {
        /// The instance asked for, from 0.
        instance: usize,
        /// How many there are.
        count: usize,
    },
    /// The instance has no process now: it crashed and waits for its next start, or it was stopped.
    #[error("instance {number} is not running", number = .instance + 1)]
    NotRunning {
        /// The instance, from 0.
        instance: usize,
    },
    /// The supervisor is stopping or has stopped.
    #[error("instance {number} is being stopped for good", number = .instance + 1)]
    Stopping {
        /// The instance, from 0.
        instance: usize,
    },
    /// The instance did not start again; it will be retried as after a crash.
    #[error("cannot start instance {number} again", number = .instance + 1)]
    Start {
        /// The instance, from 0.
        instance: usize,
        /// What the operating system said.
        source: io::Error,
    },
    /// The signal could not be sent.
    #[error("cannot signal instance {number}", number = .instance + 1)]
    Signal {
        /// The instance, from 0.
        instance: usize,
        /// What the operating system said.
        source: io::Error,
    },
}
