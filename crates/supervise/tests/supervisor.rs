//! Supervision of real processes. The instances are small shell scripts, or this test program itself in another role.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail anywhere")]

mod support;

use cloakroom_supervise::{
    Colour, EventKind, INSTANCES_MAX, InstanceError, Output, PORT_VARIABLE, SUPERVISOR_VARIABLE, SpawnError,
    Supervisor, exec_instance,
};
use std::{
    ffi::OsString,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::{
    Lifeline, NEVER, PATIENCE, ROLE_SCRIPT, event, is_exited, is_restarting, is_started, role, script, settings, text,
};
use tempfile::TempDir;

/// Two instances on one port, or an instance that does not know its own name, would otherwise go unnoticed.
#[tokio::test]
async fn every_instance_gets_its_port_and_its_number() {
    let folder = TempDir::new().unwrap();
    let print =
        r#"echo "$PORT $EXTRA ${CLOAKROOM_SUPERVISOR_PID-none}" > "$FOLDER/$CLOAKROOM_INSTANCE"; exec sleep 600"#;
    let mut settings = script(3, print, folder.path());
    settings.environment.push(("EXTRA".into(), "extra".into()));
    settings.environment.push((PORT_VARIABLE.into(), "80".into()));
    let supervisor = Supervisor::start(settings).await.unwrap();
    let addresses = supervisor.addresses();
    for (instance, address) in addresses.iter().enumerate() {
        let told = text(folder.path().join((instance + 1).to_string()), 1).await;
        assert_eq!(told, format!("{} extra none\n", address.port()));
        assert!(address.ip().is_loopback());
        assert_eq!(supervisor.incarnation(instance), 1);
    }
    assert!(addresses[0] != addresses[1] && addresses[1] != addresses[2] && addresses[2] != addresses[0]);
    supervisor.stop().await;
    assert_eq!((supervisor.pid(0), supervisor.pid(3), supervisor.incarnation(3)), (None, None, 0));
}

/// A crash would otherwise cost the pool an instance for good, or bring it back where nobody looks for it.
#[tokio::test]
async fn a_killed_instance_comes_back_at_the_same_port() {
    let folder = TempDir::new().unwrap();
    let supervisor = Supervisor::start(script(1, r#"echo "$PORT" >> "$FOLDER/ports"; exec sleep 600"#, folder.path()))
        .await
        .unwrap();
    let mut events = supervisor.subscribe();
    let port = supervisor.addresses()[0].port();
    let first = supervisor.pid(0).expect("it runs");
    text(folder.path().join("ports"), 1).await;

    supervisor.kill(0).unwrap();
    assert_eq!(event(&mut events, is_exited).await, EventKind::Exited { status: "signal: 9 (SIGKILL)".to_owned() });
    event(&mut events, is_restarting).await;
    let started = event(&mut events, is_started).await;
    let second = supervisor.pid(0).expect("it runs again");
    assert_ne!(first, second);
    assert_eq!(started, EventKind::Started { pid: second, incarnation: 2 });
    assert_eq!(supervisor.incarnation(0), 2);
    assert_eq!(text(folder.path().join("ports"), 2).await, format!("{port}\n{port}\n"));
    supervisor.stop().await;
}

/// An instance that cannot start would otherwise be given up, or be started without a pause.
#[tokio::test]
async fn an_instance_that_crashes_again_and_again_is_retried_ever_more_slowly() {
    let folder = TempDir::new().unwrap();
    let mut settings = script(1, "exit 3", folder.path());
    settings.backoff_min = Duration::from_millis(4);
    settings.backoff_max = Duration::from_millis(16);
    settings.settled = NEVER;
    let supervisor = Supervisor::start(settings).await.unwrap();
    let mut events = supervisor.subscribe();
    for whole_ms in [4, 8, 16, 16, 16] {
        assert_eq!(event(&mut events, is_exited).await, EventKind::Exited { status: "exit status: 3".to_owned() });
        let EventKind::Restarting { after } = event(&mut events, is_restarting).await else { unreachable!() };
        let whole = Duration::from_millis(whole_ms);
        assert!(after <= whole && after >= whole * 3 / 4, "{after:?} is not about {whole:?}");
    }
    supervisor.stop().await;
    event(&mut events, |kind| *kind == EventKind::Stopped).await;
}

/// An instance that ignores SIGTERM would otherwise keep the gateway from ever stopping.
#[tokio::test]
async fn an_instance_that_ignores_sigterm_is_killed_at_the_deadline() {
    let folder = TempDir::new().unwrap();
    let deaf = r#"trap '' TERM; echo > "$FOLDER/$CLOAKROOM_INSTANCE"; while :; do sleep 600; done"#;
    let mut settings = script(2, deaf, folder.path());
    settings.stop_deadline = Duration::from_millis(300);
    let supervisor = Supervisor::start(settings).await.unwrap();
    let mut events = supervisor.subscribe();
    text(folder.path().join("1"), 1).await;
    text(folder.path().join("2"), 1).await;

    let asked = Instant::now();
    supervisor.stop().await;
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(300) && took < PATIENCE, "{took:?}");
    for _ in 0..2 {
        assert_eq!(event(&mut events, is_exited).await, EventKind::Exited { status: "signal: 9 (SIGKILL)".to_owned() });
    }
}

/// A server whose wrapper exits on SIGTERM would otherwise be killed in the middle of its last requests.
#[tokio::test]
async fn what_a_wrapper_leaves_behind_may_still_finish() {
    let folder = TempDir::new().unwrap();
    let mut lifeline = Lifeline::new(folder.path());
    let wrapper = r#"
        (trap 'sleep 0.1; echo finished; exit' TERM; echo > "$FOLDER/ready"; while :; do sleep 0.01; done) > "$FOLDER/lifeline" &
        wait"#;
    let supervisor = Supervisor::start(script(1, wrapper, folder.path())).await.unwrap();
    lifeline.opened().await;
    text(folder.path().join("ready"), 1).await;
    supervisor.stop().await;
    assert_eq!(lifeline.closed().await, "finished\n");
}

/// A server whose wrapper crashed would otherwise keep the port, and the wrapper's next start would fail on it.
#[tokio::test]
async fn grandchildren_die_with_a_crash() {
    let folder = TempDir::new().unwrap();
    let mut lifeline = Lifeline::new(folder.path());
    let mut settings = script(1, r#"sleep 600 > "$FOLDER/lifeline" & wait"#, folder.path());
    settings.backoff_min = NEVER;
    settings.backoff_max = NEVER;
    let supervisor = Supervisor::start(settings).await.unwrap();
    let mut events = supervisor.subscribe();
    lifeline.opened().await;
    let leader = rustix::process::Pid::from_raw(supervisor.pid(0).unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(leader, rustix::process::Signal::KILL).unwrap();
    event(&mut events, is_exited).await;
    lifeline.closed().await;
    supervisor.stop().await;
}

/// A caller that fails half-way and returns would otherwise leave its instances behind.
#[tokio::test]
async fn instances_die_with_the_last_handle() {
    let folder = TempDir::new().unwrap();
    let mut lifeline = Lifeline::new(folder.path());
    let supervisor =
        Supervisor::start(script(1, r#"sleep 600 > "$FOLDER/lifeline" & wait"#, folder.path())).await.unwrap();
    let clone = supervisor.clone();
    let mut events = supervisor.subscribe();
    lifeline.opened().await;
    drop(supervisor);
    assert!(clone.pid(0).is_some());
    drop(clone);
    event(&mut events, |kind| *kind == EventKind::Stopped).await;
    lifeline.closed().await;
}

/// A rolling deploy would otherwise wait out a backoff for an instance that did nothing wrong.
#[tokio::test]
async fn a_restart_is_at_once_and_no_crash() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings(2, &["sleep", "600"], folder.path());
    settings.backoff_min = NEVER;
    settings.backoff_max = NEVER;
    let supervisor = Supervisor::start(settings).await.unwrap();
    let mut events = supervisor.subscribe();
    let (first, other) = (supervisor.pid(0), supervisor.pid(1));
    supervisor.restart(0).await.unwrap();
    assert_ne!(supervisor.pid(0), first);
    assert_eq!((supervisor.incarnation(0), supervisor.incarnation(1)), (2, 1));
    assert_eq!(supervisor.pid(1), other);
    assert_eq!(events.recv().await.unwrap().kind, EventKind::Exited { status: "signal: 15 (SIGTERM)".to_owned() });
    assert!(is_started(&events.recv().await.unwrap().kind));
    assert!(matches!(supervisor.restart(2).await, Err(InstanceError::Unknown { instance: 2, count: 2 })));
    supervisor.stop().await;
}

/// Whoever has mended a crashing application would otherwise have to wait, and could not stop it meanwhile either.
#[tokio::test]
async fn a_crashed_instance_can_be_restarted_and_stopped_while_it_waits() {
    let folder = TempDir::new().unwrap();
    let mut settings = script(1, r#"[ -e "$FOLDER/mended" ] || exit 1; exec sleep 600"#, folder.path());
    settings.backoff_min = NEVER;
    settings.backoff_max = NEVER;
    let supervisor = Supervisor::start(settings).await.unwrap();
    let mut events = supervisor.subscribe();
    event(&mut events, is_restarting).await;
    assert!(matches!(supervisor.kill(0), Err(InstanceError::NotRunning { instance: 0 })));

    std::fs::write(folder.path().join("mended"), "").unwrap();
    supervisor.restart(0).await.unwrap();
    assert_eq!(supervisor.incarnation(0), 2);
    supervisor.kill(0).unwrap();
    event(&mut events, is_restarting).await;
    tokio::join!(supervisor.stop(), supervisor.stop());
    supervisor.stop().await;
    assert!(matches!(supervisor.restart(0).await, Err(InstanceError::Stopping { instance: 0 })));
    assert!(matches!(supervisor.kill(0), Err(InstanceError::NotRunning { instance: 0 })));
}

/// A program that a deploy took away would otherwise end the supervision of its instance.
#[tokio::test]
async fn a_program_that_vanished_is_retried() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("program");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    let command = [program.to_str().unwrap(), "-c", "exec sleep 600"];
    let supervisor = Supervisor::start(settings(1, &command, folder.path())).await.unwrap();
    let mut events = supervisor.subscribe();
    std::fs::remove_file(&program).unwrap();
    assert!(matches!(supervisor.restart(0).await, Err(InstanceError::Start { instance: 0, .. })));
    event(&mut events, |kind| matches!(kind, EventKind::StartFailed { .. })).await;
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    event(&mut events, is_started).await;
    supervisor.stop().await;
}

/// An instance frozen by a drill would otherwise never see SIGTERM, and be killed instead of stopped.
#[tokio::test]
async fn a_paused_instance_can_be_stopped() {
    let folder = TempDir::new().unwrap();
    let supervisor = Supervisor::start(settings(1, &["sleep", "600"], folder.path())).await.unwrap();
    let mut events = supervisor.subscribe();
    supervisor.pause(0).unwrap();
    supervisor.resume(0).unwrap();
    supervisor.pause(0).unwrap();
    supervisor.stop().await;
    assert_eq!(event(&mut events, is_exited).await, EventKind::Exited { status: "signal: 15 (SIGTERM)".to_owned() });
}

/// Traffic sent before an instance listens would otherwise be refused.
#[tokio::test]
async fn waiting_for_an_instance_to_listen() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings(1, &[], folder.path());
    settings.command = role("role_server");
    let supervisor = Supervisor::start(settings).await.unwrap();
    assert!(supervisor.wait_listening(0, PATIENCE).await);
    supervisor.restart(0).await.unwrap();
    assert!(supervisor.wait_listening(0, PATIENCE).await);
    assert!(!supervisor.wait_listening(1, PATIENCE).await);
    supervisor.stop().await;
    assert!(!supervisor.wait_listening(0, PATIENCE).await);
}

/// An instance that never listens would otherwise keep a start-up script waiting for ever.
#[tokio::test]
async fn waiting_for_an_instance_ends_at_the_deadline() {
    let folder = TempDir::new().unwrap();
    let supervisor = Supervisor::start(settings(1, &["sleep", "600"], folder.path())).await.unwrap();
    assert!(!supervisor.wait_listening(0, Duration::from_millis(100)).await);
    supervisor.stop().await;
}

/// A mistyped command would otherwise look like an application that crashes, again and again.
#[tokio::test]
async fn commands_that_cannot_run_are_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let refuse =
        async |settings: cloakroom_supervise::Settings| Supervisor::start(settings).await.map(|_| ()).unwrap_err();

    let error = refuse(settings(3, &["no-such-program-anywhere"], folder.path())).await;
    assert_eq!(error.to_string(), r#"cannot find the program "no-such-program-anywhere""#);
    let error = refuse(settings(3, &["./no/such/program"], folder.path())).await;
    assert!(matches!(error, SpawnError::ProgramNotFound { .. }), "{error}");

    let mut launched = settings(1, &["no-such-program-anywhere"], folder.path());
    launched.launcher = vec!["env".into()];
    assert!(matches!(refuse(launched).await, SpawnError::ProgramNotFound { .. }));

    let mut elsewhere = settings(1, &["sh"], folder.path());
    elsewhere.environment.push(("PATH".into(), folder.path().into()));
    assert!(matches!(refuse(elsewhere).await, SpawnError::ProgramNotFound { .. }));

    let file = folder.path().join("file");
    std::fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    let plain = settings(1, &[file.to_str().unwrap()], folder.path());
    assert!(matches!(refuse(plain.clone()).await, SpawnError::NotExecutable { .. }));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(refuse(plain).await, SpawnError::Start { instance: 0, .. }));

    assert!(matches!(refuse(settings(1, &[], folder.path())).await, SpawnError::EmptyCommand));
    let error = refuse(settings(INSTANCES_MAX + 1, &["sh"], folder.path())).await;
    assert_eq!(error.to_string(), "257 instances are too many: the most is 256");
}

/// Runs [`role_supervisor`] in a process of its own.
fn supervisor_process(script: &str, folder: &Path) -> Command {
    let words = role("role_supervisor");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env(ROLE_SCRIPT, script).env("FOLDER", folder);
    command
}

/// With several instances on one terminal nobody could tell otherwise which of them said what, and the last words of a
/// stopping instance, often the only interesting ones, would be lost.
#[test]
fn output_is_prefixed_and_complete_when_stop_returns() {
    let folder = TempDir::new().unwrap();
    let talk = r#"
        trap 'echo "last words"; exit' TERM
        printf 'hello\r\nw\303\266rld\n'; echo oops >&2
        echo > "$FOLDER/$CLOAKROOM_INSTANCE"
        while :; do sleep 0.01; done"#;
    let output = supervisor_process(talk, folder.path()).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for number in 1..=2 {
        let name = format!("instance {number} | ");
        let said: Vec<&str> = stdout.lines().filter_map(|line| line.strip_prefix(&name)).collect();
        // Behind the launcher's own chatter: it is a test program.
        assert!(said.ends_with(&["hello", "wörld", "last words"]), "{stdout}");
        assert!(stderr.contains(&format!("{name}oops\n")), "{stderr}");
    }
}

/// Instances that outlive a killed gateway would otherwise hold their ports and their memory until somebody looks.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn instances_die_with_a_killed_supervisor() {
    let folder = TempDir::new().unwrap();
    let mut lifeline = Lifeline::new(folder.path());
    let hold = r#"
        exec 3> "$FOLDER/lifeline"
        echo "$CLOAKROOM_INSTANCE ${CLOAKROOM_SUPERVISOR_PID-hidden}" > "$FOLDER/told-$CLOAKROOM_INSTANCE"
        exec sleep 600"#;
    let mut supervisor =
        supervisor_process(hold, folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    lifeline.opened().await;
    for number in 1..=2 {
        assert_eq!(text(folder.path().join(format!("told-{number}")), 1).await, format!("{number} hidden\n"));
    }
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    lifeline.closed().await;
}

/// Role: supervises two instances of a script behind a launcher, and stops them once each has written a file named
/// after its number.
#[test]
#[ignore = "a role that other tests start"]
fn role_supervisor() {
    let Ok(words) = std::env::var(ROLE_SCRIPT) else {
        return;
    };
    let folder = PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut settings = script(2, &words, &folder);
        settings.launcher = role("role_launcher");
        settings.output = Output::Prefixed { colour: Colour::Plain };
        let supervisor = Supervisor::start(settings).await.unwrap();
        text(folder.join("1"), 1).await;
        text(folder.join("2"), 1).await;
        supervisor.stop().await;
    });
}

/// Role: becomes the instance in the arguments after `--`.
#[test]
#[ignore = "a role that other tests start"]
fn role_launcher() {
    if std::env::var_os(SUPERVISOR_VARIABLE).is_none() {
        return;
    }
    let arguments: Vec<OsString> = std::env::args_os().skip_while(|argument| argument != "--").skip(1).collect();
    panic!("{}", exec_instance(&arguments));
}

/// Role: listens at its port and accepts whatever comes.
#[test]
#[ignore = "a role that other tests start"]
fn role_server() {
    let Ok(port) = std::env::var(PORT_VARIABLE) else {
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    listener.incoming().for_each(drop);
}
