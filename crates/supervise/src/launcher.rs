//! Ties an instance's life to its supervisor's, even when the supervisor gets no chance to clean up. The tie can only
//! be made by the instance's own process, before it becomes the application: hence a launcher in between.

use crate::process::SUPERVISOR_VARIABLE;
use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

/// Asks the kernel to kill this process when its parent dies, and checks that the parent is still the process
/// `parent_pid`: one that died before the request would never be noticed.
///
/// The request survives an `exec` of an ordinary program and is not inherited by forked children (prctl(2),
/// `PR_SET_PDEATHSIG`). "Parent" means the *thread* that started this process, so a supervisor must run on a thread
/// that lives as long as the supervisor. Systems other than Linux have no such request; there, only the check is made.
///
/// # Errors
/// When the kernel refuses, or when the parent is another process by now.
pub fn bind_to_parent(parent_pid: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;

    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.and_then(|pid| u32::try_from(pid).ok()) == Some(parent_pid) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("the supervisor, process {parent_pid}, is gone")))
    }
}

/// Becomes the program in `arguments`, bound to the supervisor that started this process as a launcher. Returns only
/// on failure. The supervisor tells its process id in [`SUPERVISOR_VARIABLE`], which the program does not get to see.
pub fn exec_instance(arguments: &[OsString]) -> io::Error {
    let Some((program, arguments)) = arguments.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "there is no program to run");
    };
    let told = std::env::var(SUPERVISOR_VARIABLE).ok().and_then(|pid| pid.parse().ok());
    let Some(parent_pid) = told else {
        let message = format!("{SUPERVISOR_VARIABLE} names no process: this is for a supervisor to call");
        return io::Error::new(io::ErrorKind::InvalidInput, message);
    };
    if let Err(error) = bind_to_parent(parent_pid) {
        return error;
    }
    Command::new(program).args(arguments).env_remove(SUPERVISOR_VARIABLE).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A launcher started by hand would otherwise run an application that nothing ever stops.
    #[test]
    fn a_launcher_without_a_supervisor_refuses() {
        assert_eq!(exec_instance(&[]).kind(), io::ErrorKind::InvalidInput);
        let error = exec_instance(&["/bin/true".into()]);
        assert!(error.to_string().contains(SUPERVISOR_VARIABLE), "{error}");
    }
}
