//! The acceptance test: a tour through kill and drain loses nothing where the gateway keeps the sessions, and does lose
//! them where the instances do. Without the second half, a tour that checks nothing would pass.

use std::process::Command;

#[test]
fn the_tour_loses_nothing_with_external_sessions_and_something_without() {
    let output = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["demo", "--tour", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(output.status.success(), "{report:#}\n{}", String::from_utf8_lossy(&output.stderr));
    let designs = report["designs"].as_array().unwrap();
    assert_eq!(designs.len(), 3);
    for loss in ["failed", "signed_out", "carts_lost"] {
        assert_eq!(designs[0][loss], 0, "{report:#}");
    }
    assert!(designs[0]["requests"].as_u64().unwrap() > 100, "{report:#}");
    assert!(designs[1]["signed_out"].as_u64().unwrap() > 0, "{report:#}");
}

#[test]
fn a_tour_needs_an_instance_to_lose() {
    let output = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["demo", "--tour", "--instances", "1"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("at least 2"));
}
