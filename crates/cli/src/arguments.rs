//! The commands and their flags.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Sessions that no instance owns.
///
/// Cloakroom stands in front of a web application that runs on several instances, and keeps its users' sessions, so
/// that any instance serves any user and none is missed when it goes.
#[derive(Parser)]
#[command(name = "cloakroom", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cloakroom demo                                        a shop on three instances; kill one
  cloakroom run --to 127.0.0.1:4001,127.0.0.1:4002      in front of what runs already
  cloakroom run --instances 3 -- node server.js         start the instances as well
  cloakroom run gateway.toml                            everything from a file
  cloakroom check gateway.toml                          what is wrong with the file";

#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Run(Run),
    Check(Check),
    Pool(Pool),
    /// One instance of the demonstration shop, as `demo` starts it.
    #[command(hide = true)]
    Shop,
    /// Becomes an instance that ends with its supervisor.
    #[command(hide = true)]
    ExecInstance {
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// A shop on three instances behind the gateway: log in, fill a cart, kill an instance.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cloakroom demo                       open http://localhost:8080 and try it
  cloakroom demo --tour                the same without a person, with the losses counted
  cloakroom demo --listen :8090        where port 8080 is taken")]
pub(crate) struct Demo {
    /// How many instances of the shop.
    #[arg(long, default_value = "3", value_name = "N")]
    pub(crate) instances: NonZeroUsize,
    /// Where the shop is opened.
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = listen_address, value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Where metrics, status and drains are.
    #[arg(long, default_value = "127.0.0.1:9400", value_parser = listen_address, value_name = "ADDRESS")]
    pub(crate) admin: SocketAddr,
    /// The directory of the embedded session store; it is kept, so that the next demo knows you.
    #[arg(long, default_value = "./cloakroom-data", value_name = "DIRECTORY")]
    pub(crate) store: PathBuf,
    /// Let simulated users shop while instances are killed and drained, and count what they lose, in three designs.
    #[arg(long)]
    pub(crate) tour: bool,
    /// Users of the tour.
    #[arg(long, default_value = "8", value_name = "N", requires = "tour")]
    pub(crate) users: NonZeroUsize,
    /// Repeat a tour's choices.
    #[arg(long, value_name = "NUMBER", requires = "tour")]
    pub(crate) seed: Option<u64>,
    /// Print the tour's figures as JSON, and nothing else.
    #[arg(long, requires = "tour")]
    pub(crate) json: bool,
}

/// The gateway: a load balancer that keeps the users' sessions.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cloakroom run gateway.toml
  cloakroom run --listen :8080 --to 127.0.0.1:4001,127.0.0.1:4002
  cloakroom run --instances 3 -- node server.js       each is given PORT, and restarted if it crashes

Stops on Ctrl-C or SIGTERM: no new connection, requests in flight finish. A second Ctrl-C stops at once.
CLOAKROOM_LOG=debug shows more of what it does.")]
pub(crate) struct Run {
    /// The configuration file.
    #[arg(value_name = "FILE", conflicts_with_all = ["listen", "to", "instances", "admin", "keys", "store", "balance", "session"])]
    pub(crate) file: Option<PathBuf>,
    /// Where clients are listened for; :8080 is every address of the machine.
    #[arg(long, value_parser = listen_address, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
    /// The instances, where they run already.
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', value_parser = instance_address, conflicts_with = "instances")]
    pub(crate) to: Vec<SocketAddr>,
    /// How many instances of COMMAND to run.
    #[arg(long, value_name = "N", requires = "command")]
    pub(crate) instances: Option<NonZeroUsize>,
    /// Where metrics, status and drains are.
    #[arg(long, default_value = "127.0.0.1:9400", value_parser = listen_address, value_name = "ADDRESS")]
    pub(crate) admin: SocketAddr,
    /// The key ring; made if it is not there.
    #[arg(long, default_value = "./cloakroom.keys", value_name = "FILE")]
    pub(crate) keys: PathBuf,
    /// The directory of the embedded session store.
    #[arg(long, default_value = "./cloakroom-data", value_name = "DIRECTORY")]
    pub(crate) store: PathBuf,
    /// How instances are picked.
    #[arg(long, value_enum, default_value = "round-robin")]
    pub(crate) balance: Balance,
    /// What instances get of a session: a signed token, plain JSON (on a trusted network), or nothing.
    #[arg(long, value_enum, default_value = "token")]
    pub(crate) session: Session,
    /// What starts an instance; it listens on $PORT of 127.0.0.1.
    #[arg(last = true, value_name = "COMMAND", requires = "instances")]
    pub(crate) command: Vec<OsString>,
}

/// Says everything that is wrong with a configuration, with the line of each error.
#[derive(Args)]
pub(crate) struct Check {
    /// The configuration file.
    #[arg(value_name = "FILE", required_unless_present = "example")]
    pub(crate) file: Option<PathBuf>,
    /// Print the errors as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print an example file with every key.
    #[arg(long, conflicts_with = "file")]
    pub(crate) example: bool,
}

/// The instances of a running gateway.
#[derive(Args)]
pub(crate) struct Pool {
    #[command(subcommand)]
    pub(crate) action: PoolAction,
    /// The gateway's admin address.
    #[arg(long, global = true, default_value = "127.0.0.1:9400", value_parser = instance_address, value_name = "ADDRESS")]
    pub(crate) admin: SocketAddr,
    /// The file with the admin token, off loopback.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum PoolAction {
    /// Every instance, its state and its load.
    Status,
    /// Gives an instance no new traffic; requests in flight and pinned users stay.
    Drain {
        /// The instance as `status` names it: POOL/NUMBER.
        instance: String,
        /// Return only when no request is left on it, or fail after this many seconds.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
    },
    /// Ends a drain.
    Undrain {
        /// The instance as `status` names it: POOL/NUMBER.
        instance: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Balance {
    RoundRobin,
    LeastConnections,
    Random,
    TwoChoices,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Session {
    Token,
    Json,
    Off,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    match text.strip_prefix(':') {
        Some(_) => instance_address(&format!("0.0.0.0{text}")),
        None => instance_address(text),
    }
}

fn instance_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| "write ADDRESS:PORT, such as 127.0.0.1:4001".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        assert_eq!(listen_address(":8080"), Ok("0.0.0.0:8080".parse().unwrap()));
        assert_eq!(listen_address("localhost:1"), Ok("127.0.0.1:1".parse().unwrap()));
        assert_eq!(listen_address("[::1]:80"), Ok("[::1]:80".parse().unwrap()));
        assert!(instance_address("4001").is_err());
        assert!(instance_address(":4001").is_err());
    }

    #[test]
    fn a_command_stands_behind_two_dashes() {
        let parsed =
            Arguments::try_parse_from(["cloakroom", "run", "--instances", "3", "--", "node", "server.js", "--x"]);
        let Ok(Arguments { command: Command::Run(run) }) = parsed else { panic!("not parsed") };
        assert_eq!(run.command, ["node", "server.js", "--x"]);
        assert!(Arguments::try_parse_from(["cloakroom", "run", "--instances", "3"]).is_err());
        assert!(Arguments::try_parse_from(["cloakroom", "run", "--", "node"]).is_err());
        assert!(Arguments::try_parse_from(["cloakroom", "run", "a.toml", "--to", "127.0.0.1:1"]).is_err());
    }
}
