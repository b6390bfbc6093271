//! `cloakroom check`: an operator who fixes one error per attempt takes as many attempts as there are errors.

use std::process::{Command, Output};

const MISTAKES: &str = "\
[gateway]
lisen = \"0.0.0.0:8080\"
admin = 9400

[sessions]
idle = \"1 fortnight\"
outage = \"stale:30s\"

[pools.shop]
instances = [\"127.0.0.1:4001\", \"nowhere\"]
balance = \"fastest\"

[[routes]]
path = \"api\"
pool = \"shopp\"
";

fn check(arguments: &[&str], text: &str) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_cloakroom")).arg("check").arg(&path).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, text)
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let (output, text) = check(&[], MISTAKES);
    assert_eq!(output.status.code(), Some(1));
    for expected in ["lisen", "listen", "fortnight", "outage", "nowhere", "fastest", "api", "shopp"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    for line in ["2:", "3:", "6:", "7:", "10:", "11:", "14:", "15:"] {
        assert!(text.contains(&format!("gateway.toml:{line}")), "line {line} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colour where there is no terminal");
}

#[test]
fn machines_get_json() {
    let (output, _) = check(&["--json"], MISTAKES);
    let errors: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors.as_array().unwrap().len(), 8, "{errors:#}");
    assert_eq!(errors[0]["line"], 2);
}

#[test]
fn the_example_is_valid() {
    let example = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["check", "--example"]).output().unwrap();
    let (output, text) = check(&[], &String::from_utf8_lossy(&example.stdout));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("is valid"));
}

#[test]
fn a_missing_file_is_named() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["check", "/nonexistent/gateway.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/gateway.toml can't be read"));
}
