//! The configuration of a gateway: `gateway.toml` to types that are valid by construction.
//!
//! Everything behind this crate may rely on a [`Config`]: every number is within its bounds, every name refers to
//! something that exists, no two settings contradict each other. And whoever writes the file is told of every mistake
//! at once, each with its line: a gateway that refuses to start during an incident must say all it knows.
//!
//! Nothing is accepted and ignored. A key that means nothing is an error that names the nearest one that does; a
//! setting that this version cannot honour is an error that says so.
//!
//! ```
//! let config = cloakroom_config::Config::parse(
//!     r#"
//!     [pools.shop]
//!     instances = ["127.0.0.1:4001", "127.0.0.1:4002"]
//!     "#,
//!     "gateway.toml",
//! )?;
//! assert_eq!(config.routes.len(), 1);
//!
//! let errors = cloakroom_config::Config::parse("[gatway]\n", "gateway.toml").unwrap_err();
//! assert_eq!(errors.errors()[1].help(), Some("did you mean `gateway`?"));
//! # Ok::<(), cloakroom_config::ConfigErrors>(())
//! ```

mod address;
mod error;
mod gateway;
mod pools;
mod render;
mod report;
mod routes;
mod sessions;
mod table;
#[cfg(test)]
mod tests;
mod units;

use std::net::SocketAddr;

use toml::de::DeTable;

pub use crate::error::{ConfigError, ConfigErrors, ErrorKind, Span};
pub use crate::gateway::{
    AccessLog, Gateway, LISTENERS_MAX, Limits, Retry, TRUSTED_PROXIES_MAX, Timeouts, WORKERS_BOUNDS,
};
pub use crate::pools::{Affinity, Balance, HealthCheck, Instance, Outlier, POOLS_MAX, Pool, Probe, SessionMode};
pub use crate::routes::{HostPattern, PathPattern, PoolId, ROUTES_MAX, Route, SessionCookie};
pub use crate::sessions::{CookieName, CookieNameError, SameSite, ServerError, Sessions, StoreUrl, Sync};
pub use crate::units::{format_duration, format_size, parse_duration, parse_size};

use crate::report::Report;
use crate::table::TableReader;

/// The longest configuration file, in bytes: far above 256 pools and 10,000 routes of ordinary length.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a gateway runs by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[gateway]`: the process as a whole.
    pub gateway: Gateway,
    /// `[sessions]`.
    pub sessions: Sessions,
    /// `[pools.NAME]` in the order of the file; at least one.
    pub pools: Vec<Pool>,
    /// `[[routes]]` in the order of the file, which means nothing; at least one.
    pub routes: Vec<Route>,
}

impl Config {
    /// Reads the text of a configuration file; `file_name` is for messages.
    ///
    /// # Errors
    /// Every mistake in the text, in its order.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        let report = Report::default();
        let text = if text.len() <= FILE_BYTES_MAX {
            text
        } else {
            let message = format!("the file is longer than {}", format_size(FILE_BYTES_MAX as u64));
            report.push(ErrorKind::Syntax { message }, 0..0, None);
            ""
        };
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        for error in syntax_errors {
            let message = error.message().to_owned();
            report.push(ErrorKind::Syntax { message }, error.span().unwrap_or(0..0), None);
        }
        let config = read_config(root.get_ref(), &report);
        report.into_result(text, file_name)?;
        Ok(config)
    }

    /// What `cloakroom run --listen … --to …` runs by: one pool named `default`, one route for everything.
    ///
    /// Both lists are taken as they are: the command line asks for at least one address each.
    pub fn single_pool(listen: Vec<SocketAddr>, instances: Vec<SocketAddr>) -> Self {
        let instances = instances.into_iter().map(Instance::new).collect();
        Self {
            gateway: Gateway { listen, ..Gateway::default() },
            sessions: Sessions::default(),
            pools: vec![Pool::with_instances("default", instances)],
            routes: vec![Route::everything(PoolId(0))],
        }
    }
}

/// A commented configuration file that shows every key.
pub fn example() -> &'static str {
    include_str!("../example.toml")
}

fn read_config<'a>(root: &'a DeTable<'a>, report: &'a Report) -> Config {
    let mut reader = TableReader::new(root, "the file".to_owned(), 0..0, report);
    let gateway = reader.table("gateway", "[gateway]").map(gateway::read_gateway).unwrap_or_default();
    let sessions = reader.table("sessions", "[sessions]").map(sessions::read_sessions).unwrap_or_default();
    let pools = pools::read_pools(&mut reader);
    let routes = routes::read_routes(&mut reader, &pools);
    reader.unsupported(
        "identities",
        Some("users log in through the application, which answers with `Cloakroom-Session-Login`"),
    );
    reader.finish();
    Config { gateway, sessions, pools, routes }
}
