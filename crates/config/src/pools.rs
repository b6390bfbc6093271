//! `[pools.NAME]`: the instances of one application and how requests are shared out among them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::address::{AddressUse, read_address};
use crate::error::{ErrorKind, Span};
use crate::sessions::Sessions;
use crate::table::{TableReader, Value, Word};

/// How many pools there may be.
pub const POOLS_MAX: usize = 256;

/// `[pools.NAME]`: one application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    pub name: String,
    /// How an instance is picked; default [`Balance::RoundRobin`].
    pub balance: Balance,
    /// Its instances, 1 to 4,096, each address once.
    pub instances: Vec<Instance>,
    /// Active health checks; default none.
    pub health: Option<HealthCheck>,
    /// Ejection of instances that fail requests.
    pub outlier: Outlier,
    /// Below this share of healthy instances health is ignored, in percent; default 30, 0 (never) to 100.
    pub panic_threshold_percent: u32,
    /// Whether users stay with an instance; default [`Affinity::None`].
    pub affinity: Affinity,
    /// How instances get the session; default [`SessionMode::Token`].
    pub session: SessionMode,
}

impl Pool {
    /// The longest name.
    pub const NAME_LENGTH_MAX: usize = 64;
    /// How many instances a pool may have.
    pub const INSTANCES_MAX: usize = 4_096;
    /// Bounds of [`Pool::panic_threshold_percent`].
    pub const PANIC_THRESHOLD_PERCENT_BOUNDS: RangeInclusive<u32> = 0..=100;

    /// A pool with every setting at its default.
    pub(crate) fn with_instances(name: &str, instances: Vec<Instance>) -> Self {
        Self {
            name: name.to_owned(),
            balance: Balance::default(),
            instances,
            health: None,
            outlier: Outlier::default(),
            panic_threshold_percent: 30,
            affinity: Affinity::default(),
            session: SessionMode::default(),
        }
    }
}

/// `balance`: how an instance is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// At random, by weight.
    Random,
    /// The less busy of two picked at random.
    TwoChoices,
}

/// One process of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share relative to the others; default 1, 1 to 1,000.
    pub weight: u32,
    /// The version it runs, 1 to 64 visible ASCII characters; default unknown.
    pub version: Option<String>,
}

impl Instance {
    /// Bounds of [`Instance::weight`].
    pub const WEIGHT_BOUNDS: RangeInclusive<u32> = 1..=1_000;
    /// The longest version.
    pub const VERSION_LENGTH_MAX: usize = 64;

    /// An instance of weight 1 and unknown version.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, weight: 1, version: None }
    }
}

/// `health`: how the gateway asks instances whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Between two checks of an instance; default 2 s, 100 ms to 1 h.
    pub every: Duration,
    /// For the answer; default 1 s, 10 ms to 60 s.
    pub timeout: Duration,
    /// Good answers in a row until a sick instance is well; default 2, 1 to 100.
    pub rise: u32,
    /// Bad answers in a row until a well instance is sick; default 3, 1 to 100.
    pub fall: u32,
}

impl HealthCheck {
    /// Bounds of [`HealthCheck::every`].
    pub const EVERY_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
    /// Bounds of [`HealthCheck::timeout`].
    pub const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
    /// Bounds of [`HealthCheck::rise`] and [`HealthCheck::fall`].
    pub const STREAK_BOUNDS: RangeInclusive<u32> = 1..=100;

    /// A check with every setting but its probe at its default.
    pub fn new(probe: Probe) -> Self {
        Self { probe, every: Duration::from_secs(2), timeout: Duration::from_secs(1), rise: 2, fall: 3 }
    }
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of a path: 2xx and 3xx are good.
    Http {
        /// The path, with its leading `/`.
        path: String,
    },
    /// A connection: standing is good.
    Tcp,
}

/// `outlier`: ejection of instances that fail requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Failures in a row until an instance is ejected; default 5, 1 to 1,000.
    pub consecutive_failures: u32,
    /// How long it stays out; default 10 s, 100 ms to 1 h.
    pub ejection: Duration,
    /// The share of a pool that may be out at once, in percent; default 50, 0 (ejection off) to 100.
    pub max_ejected_percent: u32,
}

impl Outlier {
    /// Bounds of [`Outlier::consecutive_failures`].
    pub const CONSECUTIVE_FAILURES_BOUNDS: RangeInclusive<u32> = 1..=1_000;
    /// Bounds of [`Outlier::ejection`].
    pub const EJECTION_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
    /// Bounds of [`Outlier::max_ejected_percent`].
    pub const MAX_EJECTED_PERCENT_BOUNDS: RangeInclusive<u32> = 0..=100;
}

impl Default for Outlier {
    fn default() -> Self {
        Self { consecutive_failures: 5, ejection: Duration::from_secs(10), max_ejected_percent: 50 }
    }
}

/// `affinity`: whether users stay with an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Any instance serves any user.
    #[default]
    None,
    /// A sealed cookie names the instance; a user whose instance is down is pinned anew.
    Cookie {
        /// How long a pin holds; default 24 h, 1 s to 400 d.
        ttl: Duration,
    },
}

impl Affinity {
    /// How long a pin holds when the file does not say.
    pub const TTL_DEFAULT: Duration = Duration::from_secs(86_400);
}

/// `session`: how instances get the session of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionMode {
    /// As a signed token.
    #[default]
    Token,
    /// As plain base64url JSON, on a trusted network.
    Json,
    /// Not at all.
    Off,
}

/// Reads the pools. One that has an error is among them, so that routes to it are not errors too.
pub(crate) fn read_pools(root: &mut TableReader<'_>) -> Vec<Pool> {
    const HELP: &str = "write [pools.NAME] and under it instances = [\"127.0.0.1:4001\"]";
    let Some(value) = root.required("pools", HELP) else {
        return Vec::new();
    };
    if !value.is_table() {
        value.wrong_type("a table of pools", Some(HELP.to_owned()));
        return Vec::new();
    }
    let entries = value.table("[pools]").map(TableReader::into_entries).unwrap_or_default();
    if entries.is_empty() || entries.len() > POOLS_MAX {
        let help = Some(HELP.to_owned());
        value.refuse(format!("there must be 1 to {POOLS_MAX} pools, not {}", entries.len()), help);
    }
    entries.iter().map(read_pool).collect()
}

fn read_pool(entry: &Value<'_>) -> Pool {
    let name = entry.key;
    let fits = (1..=Pool::NAME_LENGTH_MAX).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if !fits {
        let reason = format!("the name of a pool is 1 to {} of a-z, 0-9, - and _", Pool::NAME_LENGTH_MAX);
        let kind = ErrorKind::BadValue { key: name.to_owned(), reason };
        entry.report.push(kind, entry.key_span.clone(), None);
    }
    let mut pool = Pool::with_instances(name, Vec::new());
    let Some(mut reader) = entry.table(&format!("[pools.{name}]")) else {
        return pool;
    };
    pool.balance = read_balance(&mut reader, pool.balance);
    pool.instances = read_instances(&mut reader);
    pool.health = read_health(&mut reader);
    pool.outlier = read_outlier(&mut reader);
    pool.panic_threshold_percent =
        reader.integer("panic_threshold_percent", pool.panic_threshold_percent, &Pool::PANIC_THRESHOLD_PERCENT_BOUNDS);
    pool.affinity = read_affinity(&mut reader);
    let modes = [
        ("token", Word::Means(SessionMode::Token)),
        ("json", Word::Means(SessionMode::Json)),
        ("off", Word::Means(SessionMode::Off)),
    ];
    pool.session = reader.word("session", &modes, pool.session);
    reader.finish();
    pool
}

fn read_balance(reader: &mut TableReader<'_>, default: Balance) -> Balance {
    const HASHING: &str = "to keep users with an instance, use affinity = { by = \"cookie\" }";
    let words = [
        ("round-robin", Word::Means(Balance::RoundRobin)),
        ("least-connections", Word::Means(Balance::LeastConnections)),
        ("random", Word::Means(Balance::Random)),
        ("two-choices", Word::Means(Balance::TwoChoices)),
        ("peak-ewma", Word::Later("use \"two-choices\"")),
        ("maglev", Word::Later(HASHING)),
        ("rendezvous", Word::Later(HASHING)),
    ];
    reader.word("balance", &words, default)
}

fn read_instances(reader: &mut TableReader<'_>) -> Vec<Instance> {
    const HELP: &str = "write instances = [\"10.0.0.1:4001\", \"10.0.0.2:4001\"]";
    let Some(value) = reader.required("instances", HELP) else {
        return Vec::new();
    };
    let Some(elements) = value.list("a list", HELP) else {
        return Vec::new();
    };
    if elements.is_empty() || elements.len() > Pool::INSTANCES_MAX {
        let reason = format!("a pool has 1 to {} instances, not {}", Pool::INSTANCES_MAX, elements.len());
        value.refuse(reason, None);
        return Vec::new();
    }
    let mut instances = Vec::with_capacity(elements.len());
    let mut seen: HashMap<SocketAddr, Span> = HashMap::new();
    for element in elements {
        let Some(instance) = read_instance(&element) else {
            continue;
        };
        match seen.get(&instance.address) {
            Some(first) => {
                let what = format!("the instance {}", instance.address);
                let help = Some("to send it more requests, give it a weight".to_owned());
                element.report.push_duplicate(what, element.span(), first.clone(), help);
            }
            None => {
                seen.insert(instance.address, element.span());
                instances.push(instance);
            }
        }
    }
    instances
}

fn read_instance(element: &Value<'_>) -> Option<Instance> {
    if element.is_string() {
        return read_address(element, AddressUse::Connect).map(Instance::new);
    }
    if !element.is_table() {
        element.wrong_type("a list of addresses and tables", None);
        return None;
    }
    let mut reader = element.table("an instance")?;
    let address = reader
        .required("address", "write { address = \"10.0.0.1:4001\", weight = 2 }")
        .and_then(|value| read_address(&value, AddressUse::Connect));
    let weight = reader.integer("weight", 1, &Instance::WEIGHT_BOUNDS);
    let version = reader.value("version").and_then(|value| {
        let text = value.string()?;
        let fits = (1..=Instance::VERSION_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            value.refuse(format!("a version is 1 to {} visible ASCII characters", Instance::VERSION_LENGTH_MAX), None);
        }
        fits.then(|| text.to_owned())
    });
    reader.finish();
    address.map(|address| Instance { address, weight, version })
}

fn read_health(pool: &mut TableReader<'_>) -> Option<HealthCheck> {
    let mut reader = pool.table("health", "`health`")?;
    let path = reader.value("path");
    let tcp = reader.value("tcp");
    let probe = match (&path, &tcp) {
        (Some(_), Some(tcp)) => {
            let reason = "`path` and `tcp` are two kinds of health check; give one".to_owned();
            reader.report().push(ErrorKind::Conflict { reason }, tcp.key_span.clone(), None);
            None
        }
        (Some(path), None) => read_probe_path(path),
        (None, Some(tcp)) => match tcp.boolean() {
            Some(false) => {
                tcp.refuse("write true, or leave `health` out for no checks", None);
                None
            }
            Some(true) => Some(Probe::Tcp),
            None => None,
        },
        (None, None) => {
            let kind = ErrorKind::Missing { key: "path", table: reader.name().to_owned() };
            let help = "write health = { path = \"/health\" }, or { tcp = true } to only connect";
            reader.report().push(kind, reader.span(), Some(help.to_owned()));
            None
        }
    };
    let default = HealthCheck::new(probe.unwrap_or(Probe::Tcp));
    let check = HealthCheck {
        every: reader.duration("every", default.every, &HealthCheck::EVERY_BOUNDS),
        timeout: reader.duration("timeout", default.timeout, &HealthCheck::TIMEOUT_BOUNDS),
        rise: reader.integer("rise", default.rise, &HealthCheck::STREAK_BOUNDS),
        fall: reader.integer("fall", default.fall, &HealthCheck::STREAK_BOUNDS),
        probe: default.probe,
    };
    reader.finish();
    Some(check)
}

fn read_probe_path(value: &Value<'_>) -> Option<Probe> {
    let text = value.string()?;
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !fits {
        value.refuse(
            format!("{text:?} is not a path"),
            Some("a path starts with / and holds visible ASCII characters only".to_owned()),
        );
    }
    fits.then(|| Probe::Http { path: text.to_owned() })
}

fn read_outlier(pool: &mut TableReader<'_>) -> Outlier {
    let default = Outlier::default();
    let Some(mut reader) = pool.table("outlier", "`outlier`") else {
        return default;
    };
    let outlier = Outlier {
        consecutive_failures: reader.integer(
            "consecutive_failures",
            default.consecutive_failures,
            &Outlier::CONSECUTIVE_FAILURES_BOUNDS,
        ),
        ejection: reader.duration("ejection", default.ejection, &Outlier::EJECTION_BOUNDS),
        max_ejected_percent: reader.integer(
            "max_ejected_percent",
            default.max_ejected_percent,
            &Outlier::MAX_EJECTED_PERCENT_BOUNDS,
        ),
    };
    reader.finish();
    outlier
}

fn read_affinity(pool: &mut TableReader<'_>) -> Affinity {
    const HELP: &str = "write affinity = { by = \"cookie\" }, or leave it out";
    let Some(mut reader) = pool.table("affinity", "`affinity`") else {
        return Affinity::None;
    };
    if let Some(by) = reader.required("by", HELP)
        && let Some(text) = by.string()
    {
        let method = text.split_once(':').map_or(text, |(method, _)| method);
        match method {
            "cookie" if text == "cookie" => {}
            "source-ip" | "header" | "query" | "app-cookie" => {
                by.refuse_for_now(format_args!("by = \"{method}\""), Some("use \"cookie\"".to_owned()));
            }
            _ => by.refuse(format!("{text:?} is no kind of affinity"), Some("use \"cookie\"".to_owned())),
        }
    }
    let words =
        [("repin", Word::Means(())), ("fail", Word::Later("use \"repin\"")), ("wait", Word::Later("use \"repin\""))];
    reader.word("when_down", &words, ());
    let ttl = reader.duration("ttl", Affinity::TTL_DEFAULT, &Sessions::LIFETIME_BOUNDS);
    reader.finish();
    Affinity::Cookie { ttl }
}
