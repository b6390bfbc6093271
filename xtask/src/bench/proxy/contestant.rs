//! The programs of the benchmark and their configurations. Each proxy has one worker, keeps connections alive on both
//! sides, writes no log, and adds X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host; Cloakroom adds Forwarded,
//! Via and X-Request-Id on top.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::requirements::{find_program, is_root};

/// Bytes of the origin's answer: small, so that the cost of a request is not the cost of copying.
pub(super) const BODY_BYTES: usize = 100;

/// Connections that nginx and HAProxy accept; above what the load generator may open.
const CONNECTIONS_MAX: usize = 4000;

/// A proxy that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Contestant {
    Cloakroom,
    Haproxy,
    Nginx,
}

/// Where a program keeps its files and listens.
pub(super) struct Place {
    folder: PathBuf,
    port: u16,
    origin_port: u16,
    /// Used by Cloakroom alone.
    pub(super) admin_port: u16,
}

/// A command, ready to be started.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) words: Vec<OsString>,
    /// Its working folder, where its output goes too.
    pub(super) folder: PathBuf,
}

impl Place {
    /// A folder of its own below the folder of the benchmark.
    pub(super) fn new(parent: &Path, name: &str, port: u16, origin_port: u16) -> Result<Self> {
        let folder = parent.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder, port, origin_port, admin_port: 0 })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Contestant {
    /// As it is typed and printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cloakroom => "cloakroom",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Writes the configuration and says how to start the proxy. `cloakroom` is where Cloakroom was built.
    pub(super) fn prepare(self, place: &Place, cloakroom: Option<&Path>) -> Result<Program> {
        let words = match self {
            Self::Cloakroom => {
                let file = place.write("cloakroom.toml", &cloakroom_configuration(place))?;
                let program = cloakroom.context("cloakroom was not built")?;
                vec![program.into(), "run".into(), file.into()]
            }
            Self::Haproxy => {
                let file = place.write("haproxy.cfg", &haproxy_configuration(place))?;
                vec![located("haproxy"), "-db".into(), "-f".into(), file.into()]
            }
            Self::Nginx => nginx_words(place, &nginx_proxy_server(place))?,
        };
        Ok(Program { name: self.name(), words, folder: place.folder.clone() })
    }
}

/// The origin: an nginx that answers from memory.
pub(super) fn origin(place: &Place) -> Result<Program> {
    let body = "x".repeat(BODY_BYTES);
    let port = place.port;
    let server = format!(
        "    server {{\n        listen 127.0.0.1:{port} backlog=4096;\n        default_type text/plain;\n        \
         location / {{ return 200 \"{body}\"; }}\n    }}\n"
    );
    Ok(Program { name: "origin", words: nginx_words(place, &server)?, folder: place.folder.clone() })
}

fn cloakroom_configuration(place: &Place) -> String {
    let Place { port, origin_port, admin_port, .. } = place;
    format!(
        r#"[gateway]
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:{admin_port}"
keys = "./cloakroom.keys"
workers = 1
access_log = "off"

[pools.origin]
instances = ["127.0.0.1:{origin_port}"]
session = "off"
"#
    )
}

fn haproxy_configuration(place: &Place) -> String {
    let Place { port, origin_port, .. } = place;
    format!(
        r"global
    nbthread 1
    maxconn {CONNECTIONS_MAX}

defaults
    mode http
    maxconn {CONNECTIONS_MAX}
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s

frontend clients
    bind 127.0.0.1:{port} backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    default_backend origin

backend origin
    http-reuse always
    server origin 127.0.0.1:{origin_port}
"
    )
}

fn nginx_proxy_server(place: &Place) -> String {
    let Place { port, origin_port, .. } = place;
    format!(
        r#"    upstream origin {{
        server 127.0.0.1:{origin_port};
        keepalive 256;
        keepalive_requests 10000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
        }}
    }}
"#
    )
}

/// A whole nginx with everything it writes in its own folder.
fn nginx_words(place: &Place, server: &str) -> Result<Vec<OsString>> {
    // The worker of a root's nginx would change to a user who cannot enter a private folder.
    let user = if is_root() { "user root;\n" } else { "" };
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("    {kind}_temp_path {kind};\n"));
    let configuration = format!(
        "{user}daemon off;\nworker_processes 1;\npid nginx.pid;\nevents {{ worker_connections {CONNECTIONS_MAX}; }}\nhttp \
         {{\n    access_log off;\n    keepalive_timeout 60s;\n    keepalive_requests 10000000;\n{}{server}}}\n",
        temporary.concat()
    );
    let file = place.write("nginx.conf", &configuration)?;
    let mut prefix = place.folder.clone().into_os_string();
    prefix.push("/");
    Ok(vec![located("nginx"), "-p".into(), prefix, "-c".into(), file.into(), "-e".into(), "stderr".into()])
}

fn located(program: &str) -> OsString {
    find_program(program).map_or_else(|| program.into(), PathBuf::into_os_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two proxies that wrote to one folder, or to the system's, would disturb each other and the machine.
    #[test]
    fn every_file_is_below_the_folder_of_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path(), "nginx", 4001, 4002).unwrap();
        let program = Contestant::Nginx.prepare(&place, None).unwrap();
        assert_eq!(program.folder, folder.path().join("nginx"));
        let text = fs::read_to_string(folder.path().join("nginx/nginx.conf")).unwrap();
        for expected in ["listen 127.0.0.1:4001", "server 127.0.0.1:4002", "pid nginx.pid;", "proxy_temp_path proxy;"] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        let settings = text.replace("location / ", "");
        assert!(!settings.contains(" /"), "an absolute path in:\n{settings}");
    }

    /// A benchmark of Cloakroom without a Cloakroom must not measure something else.
    #[test]
    fn cloakroom_must_be_built() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path(), "cloakroom", 4001, 4002).unwrap();
        assert!(Contestant::Cloakroom.prepare(&place, None).is_err());
        assert!(Contestant::Cloakroom.prepare(&place, Some(Path::new("built"))).is_ok());
    }
}
