//! `cloakroom run`: starting, stopping, and the ways a start fails.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::{Browser, eventually, free_address};

const CLOAKROOM: &str = env!("CARGO_BIN_EXE_cloakroom");

fn gateway(directory: &Path, listen: SocketAddr, admin: SocketAddr, rest: &[&str]) -> Command {
    let mut command = Command::new(CLOAKROOM);
    command
        .current_dir(directory)
        .args(["run", "--listen", &listen.to_string(), "--admin", &admin.to_string()])
        .args(rest)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// An error that only says "address in use" leaves the user to look up which of two addresses and what to do.
#[test]
fn a_busy_port_names_the_flag_that_changes_it() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (busy, free) = (taken.local_addr().unwrap(), free_address());
    for (listen, admin, flag) in [(busy, free, "--listen"), (free, busy, "--admin")] {
        let output = gateway(directory.path(), listen, admin, &["--to", "127.0.0.1:1"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        assert!(text.contains(&busy.port().to_string()) && text.contains(flag), "{text}");
    }
}

#[test]
fn a_wrong_flag_and_a_missing_target_say_what_to_do() {
    let output = Command::new(CLOAKROOM).args(["run", "--lisen", ":1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("--listen"), "{}", text(&output));
    let output = Command::new(CLOAKROOM).arg("run").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("--to"), "{}", text(&output));
}

/// Two gateways on one embedded store would each believe its own memory.
#[test]
fn a_second_gateway_on_the_same_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (listen, admin) = (free_address(), free_address());
    let mut first = gateway(directory.path(), listen, admin, &["--to", "127.0.0.1:1"]).spawn().unwrap();
    eventually("the first gateway listens", || is_open(listen));
    let output = gateway(directory.path(), free_address(), free_address(), &["--to", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("redis://"), "{}", text(&output));
    terminate(&first);
    assert!(first.wait().unwrap().success());
}

/// Instances that outlive their gateway keep ports and memory, and the next start meets them.
#[test]
fn spawned_instances_serve_are_restarted_and_end_with_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let (listen, admin) = (free_address(), free_address());
    let command = ["--instances", "2", "--", CLOAKROOM, "shop"];
    let mut child =
        gateway(directory.path(), listen, admin, &command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let me = || Browser::new(listen).send("GET", "/api/me", None).ok();
    eventually("the gateway serves", || me().is_some_and(|answer| answer.status == 200));
    let status = Browser::new(admin).send("GET", "/v1/status", None);
    let status = status.map(|answer| answer.status);
    assert_eq!(status.unwrap(), 403, "a foreign Host is refused");

    terminate(&child);
    assert!(child.wait().unwrap().success());
    eventually("the port is closed", || !is_open(listen));
}
