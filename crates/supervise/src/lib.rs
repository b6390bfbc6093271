//! Runs an application's instances as child processes, so that a gateway can be started with nothing but a command:
//! each instance gets its own `PORT`, comes back after a crash, prints under its own name, and leaves when told to.
//!
//! | module | question |
//! | --- | --- |
//! | `settings` | What is to run, how often, and how patient are we with it? |
//! | `supervisor` | What can a caller ask of the running instances? |
//! | `instance` | What happens next to one instance: run, wait, start again, end? |
//! | `process`, `group` | How is one process group started, signalled and known to be gone? |
//! | `backoff` | How long until a crashed instance is tried again? |
//! | `lines`, `output` | How does an instance's output reach the terminal without ever blocking the instance? |
//! | `launcher` | How do instances die with a supervisor that was killed outright? |
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cloakroom_supervise::{Settings, Supervisor};
//! use std::{num::NonZeroUsize, time::Duration};
//!
//! let command = vec!["node".into(), "server.js".into()];
//! let three = NonZeroUsize::new(3).ok_or("three is not zero")?;
//! let supervisor = Supervisor::start(Settings::new(command, three)).await?;
//! assert!(supervisor.wait_listening(0, Duration::from_secs(10)).await);
//! println!("instances at {:?}", supervisor.addresses());
//! supervisor.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Who dies when
//! | what ends | what happens to the instances |
//! | --- | --- |
//! | [`Supervisor::stop`] | SIGTERM to every process group at once, SIGKILL at the deadline, all are waited for |
//! | the last [`Supervisor`] handle, or the runtime | SIGKILL to every process group |
//! | the process, by SIGKILL | the kernel kills each instance's first process, if a launcher called [`exec_instance`] |
//!
//! The last row does not reach what an instance itself has forked: the kernel's parent-death signal is not inherited
//! (prctl(2), `PR_SET_PDEATHSIG`). A shell that wraps a server should therefore `exec` it.

mod backoff;
mod error;
mod group;
mod instance;
mod launcher;
mod lines;
mod output;
mod process;
mod settings;
mod supervisor;

pub use backoff::Backoff;
pub use error::{InstanceError, SpawnError};
pub use launcher::{bind_to_parent, exec_instance};
pub use lines::LINE_BYTES_MAX;
pub use output::OUTPUT_QUEUE_LINES_MAX;
pub use process::{INSTANCE_VARIABLE, PORT_VARIABLE, SUPERVISOR_VARIABLE};
pub use settings::{Colour, INSTANCES_MAX, Output, Settings};
pub use supervisor::{EVENTS_MAX, Event, EventKind, Supervisor};
