//! `[gateway]`: where the gateway listens, how long it waits, how much it takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::{AddressUse, read_address};
use crate::error::{ErrorKind, Span};
use crate::table::{TableReader, Value, Word};

/// How many addresses one gateway may listen on.
pub const LISTENERS_MAX: usize = 16;
/// How many ranges of trusted proxies there may be; each is compared on each request that carries a forwarded header.
pub const TRUSTED_PROXIES_MAX: usize = 1024;
/// How many worker threads there may be.
pub const WORKERS_BOUNDS: RangeInclusive<u32> = 1..=256;

/// `[gateway]`: the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Addresses for clients, at least one, each once; default `0.0.0.0:8080`.
    pub listen: Vec<SocketAddr>,
    /// Address of the admin listener; default `127.0.0.1:9400`, `None` when the file says `"off"`.
    pub admin: Option<SocketAddr>,
    /// File that holds the bearer token of the admin listener; present whenever `admin` is off loopback.
    pub admin_token_file: Option<PathBuf>,
    /// File of the key ring, relative to the working directory; default `./cloakroom.keys`.
    pub keys: PathBuf,
    /// Proxies whose forwarded headers are believed; default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads, 1 to 256; `None`, the default, is one per core.
    pub workers: Option<NonZeroUsize>,
    /// Form of the access log; default [`AccessLog::Auto`].
    pub access_log: AccessLog,
    /// `[gateway.timeouts]`.
    pub timeouts: Timeouts,
    /// `[gateway.limits]`.
    pub limits: Limits,
    /// `[gateway.retry]`.
    pub retry: Retry,
}

/// `access_log`: the form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// [`AccessLog::Human`] on a terminal, [`AccessLog::Json`] elsewhere.
    #[default]
    Auto,
    /// One aligned line per request.
    Human,
    /// One JSON object per line and request.
    Json,
    /// None.
    Off,
}

/// `[gateway.timeouts]`: how long each wait may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection to an instance stands; default 2 s, 10 ms to 60 s.
    pub connect: Duration,
    /// Until a client has sent a whole request head; default 10 s, 100 ms to 5 min.
    pub header: Duration,
    /// Between two requests on a client's connection; default 60 s, 1 s to 1 h.
    pub idle: Duration,
    /// From the head of a request to the first byte of the head of its response; default 60 s, 1 s to 1 h.
    pub total: Duration,
    /// Without a byte in either direction while a body streams; default 60 s, 1 s to 24 h.
    pub stream_idle: Duration,
    /// That an unused connection to an instance is kept; default 30 s, 1 s to 1 h.
    pub upstream_idle: Duration,
    /// For requests in flight to end at shutdown; default 30 s, 0 s to 1 h.
    pub shutdown: Duration,
}

impl Timeouts {
    /// Bounds of [`Timeouts::connect`].
    pub const CONNECT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
    /// Bounds of [`Timeouts::header`].
    pub const HEADER_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
    /// Bounds of [`Timeouts::idle`].
    pub const IDLE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
    /// Bounds of [`Timeouts::total`].
    pub const TOTAL_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
    /// Bounds of [`Timeouts::stream_idle`].
    pub const STREAM_IDLE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
    /// Bounds of [`Timeouts::upstream_idle`].
    pub const UPSTREAM_IDLE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
    /// Bounds of [`Timeouts::shutdown`].
    pub const SHUTDOWN_BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
}

/// `[gateway.limits]`: how much the gateway takes from one client or holds for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections of the whole gateway; default 10,000, 1 to 1,000,000.
    pub connections: usize,
    /// Bytes of a request head; default 16 KiB, 1 KiB to 256 KiB.
    pub header_bytes: usize,
    /// Header fields of a request; default 100, 8 to 1,000.
    pub headers: usize,
    /// Bytes of a request body, 1 B to 1 TiB; `None`, the default, is no limit, since bodies are streamed.
    pub body_bytes: Option<u64>,
    /// Bytes of a request body that are kept to send it again; default 64 KiB, 0 to 1 MiB.
    pub retry_body_bytes: usize,
    /// Connections to one instance from one worker; default 1,024, 1 to 65,536.
    pub upstream_connections: usize,
}

impl Limits {
    /// Bounds of [`Limits::connections`].
    pub const CONNECTIONS_BOUNDS: RangeInclusive<u32> = 1..=1_000_000;
    /// Bounds of [`Limits::header_bytes`].
    pub const HEADER_BYTES_BOUNDS: RangeInclusive<u64> = 1_024..=262_144;
    /// Bounds of [`Limits::headers`].
    pub const HEADERS_BOUNDS: RangeInclusive<u32> = 8..=1_000;
    /// Bounds of [`Limits::body_bytes`].
    pub const BODY_BYTES_BOUNDS: RangeInclusive<u64> = 1..=1 << 40;
    /// Bounds of [`Limits::retry_body_bytes`].
    pub const RETRY_BODY_BYTES_BOUNDS: RangeInclusive<u64> = 0..=1_048_576;
    /// Bounds of [`Limits::upstream_connections`].
    pub const UPSTREAM_CONNECTIONS_BOUNDS: RangeInclusive<u32> = 1..=65_536;
}

/// `[gateway.retry]`: when a failed request is tried on another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries of one request, the first included; default 3, 1 to 10.
    pub tries: u32,
    /// Retries allowed per hundred requests; default 20, 0 to 100.
    pub budget_percent: u32,
    /// Retries allowed beyond the budget, so that a quiet gateway may retry at all; default 100, 0 to 10,000.
    pub reserve: u32,
}

impl Retry {
    /// Bounds of [`Retry::tries`].
    pub const TRIES_BOUNDS: RangeInclusive<u32> = 1..=10;
    /// Bounds of [`Retry::budget_percent`].
    pub const BUDGET_PERCENT_BOUNDS: RangeInclusive<u32> = 0..=100;
    /// Bounds of [`Retry::reserve`].
    pub const RESERVE_BOUNDS: RangeInclusive<u32> = 0..=10_000;
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: vec![(Ipv4Addr::UNSPECIFIED, 8080).into()],
            admin: Some((Ipv4Addr::LOCALHOST, 9400).into()),
            admin_token_file: None,
            keys: PathBuf::from("./cloakroom.keys"),
            trusted_proxies: Vec::new(),
            workers: None,
            access_log: AccessLog::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            retry: Retry::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(60),
            stream_idle: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(30),
            shutdown: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 16 * 1024,
            headers: 100,
            body_bytes: None,
            retry_body_bytes: 64 * 1024,
            upstream_connections: 1_024,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 3, budget_percent: 20, reserve: 100 }
    }
}

pub(crate) fn read_gateway(mut reader: TableReader<'_>) -> Gateway {
    let default = Gateway::default();
    let (listen, listen_span) = read_listen(&mut reader);
    let (admin, admin_span) = read_admin(&mut reader, default.admin);
    let admin_token_file = read_path(&mut reader, "admin_token_file");
    check_admin(&reader, &listen, admin, admin_span.or(listen_span));
    if let Some(address) = admin
        && !address.ip().is_loopback()
        && admin_token_file == FileSetting::Absent
    {
        let kind = ErrorKind::Missing { key: "admin_token_file", table: reader.name().to_owned() };
        let help = format!("the admin listener {address} is off loopback, so it needs a token; or listen on 127.0.0.1");
        let span = reader.peek("admin").map_or_else(|| reader.span(), |value| value.span());
        reader.report().push(kind, span, Some(help));
    }
    let words = [
        ("auto", Word::Means(AccessLog::Auto)),
        ("human", Word::Means(AccessLog::Human)),
        ("json", Word::Means(AccessLog::Json)),
        ("off", Word::Means(AccessLog::Off)),
    ];
    let gateway = Gateway {
        listen: if listen.is_empty() { default.listen } else { listen },
        admin,
        admin_token_file: admin_token_file.path(),
        keys: read_path(&mut reader, "keys").path().unwrap_or(default.keys),
        trusted_proxies: read_trusted_proxies(&mut reader),
        workers: reader
            .value("workers")
            .and_then(|value| value.integer(&WORKERS_BOUNDS))
            .and_then(|workers| NonZeroUsize::new(workers as usize)),
        access_log: reader.word("access_log", &words, default.access_log),
        timeouts: read_timeouts(&mut reader),
        limits: read_limits(&mut reader),
        retry: read_retry(&mut reader),
    };
    reader.finish();
    gateway
}

fn read_listen(reader: &mut TableReader<'_>) -> (Vec<SocketAddr>, Option<Span>) {
    let Some(value) = reader.value("listen") else {
        return (Gateway::default().listen, None);
    };
    let elements = value.elements();
    if elements.is_empty() || elements.len() > LISTENERS_MAX {
        value.refuse(format!("give 1 to {LISTENERS_MAX} addresses, not {}", elements.len()), None);
        return (Vec::new(), Some(value.span()));
    }
    let mut listen: Vec<(SocketAddr, Span)> = Vec::new();
    for element in elements {
        let Some(address) = read_address(&element, AddressUse::Listen) else {
            continue;
        };
        // Port 0 is a new port each time, so it is never the same listener.
        match listen.iter().find(|(known, _)| *known == address && address.port() != 0) {
            Some((_, first)) => {
                let what = format!("the address {address}");
                reader.report().push_duplicate(what, element.span(), first.clone(), None);
            }
            None => listen.push((address, element.span())),
        }
    }
    let addresses = listen.into_iter().map(|(address, _)| address).collect();
    (addresses, Some(value.span()))
}

fn read_admin(reader: &mut TableReader<'_>, default: Option<SocketAddr>) -> (Option<SocketAddr>, Option<Span>) {
    let Some(value) = reader.value("admin") else {
        return (default, None);
    };
    if value.is_string() && value.string() == Some("off") {
        return (None, None);
    }
    (read_address(&value, AddressUse::Listen), Some(value.span()))
}

/// Two listeners that want one port: the second would fail to start, or take half of the clients' connections.
fn check_admin(reader: &TableReader<'_>, listen: &[SocketAddr], admin: Option<SocketAddr>, span: Option<Span>) {
    let Some(admin) = admin else { return };
    let overlaps = |address: &&SocketAddr| {
        address.port() == admin.port()
            && admin.port() != 0
            && address.is_ipv4() == admin.is_ipv4()
            && (address.ip() == admin.ip() || address.ip().is_unspecified() || admin.ip().is_unspecified())
    };
    if let Some(address) = listen.iter().find(overlaps) {
        let reason = format!("`listen` {address} and `admin` {admin} want the same port");
        let help = Some("give `admin` a port of its own, or set it to \"off\"".to_owned());
        reader.report().push(ErrorKind::Conflict { reason }, span.unwrap_or_else(|| reader.span()), help);
    }
}

/// A path in the file; one that cannot be used is not absent, or its absence would be reported too.
#[derive(Debug, PartialEq, Eq)]
enum FileSetting {
    Absent,
    Unusable,
    At(PathBuf),
}

impl FileSetting {
    fn path(self) -> Option<PathBuf> {
        match self {
            Self::At(path) => Some(path),
            Self::Absent | Self::Unusable => None,
        }
    }
}

fn read_path(reader: &mut TableReader<'_>, key: &'static str) -> FileSetting {
    let Some(value) = reader.value(key) else {
        return FileSetting::Absent;
    };
    match value.string() {
        None => FileSetting::Unusable,
        Some(text) if text.is_empty() || text.contains('\0') => {
            value.refuse("this is not the path of a file", None);
            FileSetting::Unusable
        }
        Some(text) => FileSetting::At(PathBuf::from(text)),
    }
}

fn read_trusted_proxies(reader: &mut TableReader<'_>) -> Vec<IpNet> {
    let Some(value) = reader.value("trusted_proxies") else {
        return Vec::new();
    };
    let elements = value.elements();
    if elements.len() > TRUSTED_PROXIES_MAX {
        value.refuse(format!("give at most {TRUSTED_PROXIES_MAX} ranges, not {}", elements.len()), None);
        return Vec::new();
    }
    elements.iter().filter_map(read_range).collect()
}

fn read_range(value: &Value<'_>) -> Option<IpNet> {
    let text = value.string()?;
    let range = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if range.is_none() {
        value.refuse(
            format!("{text:?} is not a range of IP addresses"),
            Some("write it like \"10.0.0.0/8\" or \"fd00::/8\", or one address".to_owned()),
        );
    }
    range.map(|range| range.trunc())
}

fn read_timeouts(gateway: &mut TableReader<'_>) -> Timeouts {
    let default = Timeouts::default();
    let Some(mut reader) = gateway.table("timeouts", "[gateway.timeouts]") else {
        return default;
    };
    let timeouts = Timeouts {
        connect: reader.duration("connect", default.connect, &Timeouts::CONNECT_BOUNDS),
        header: reader.duration("header", default.header, &Timeouts::HEADER_BOUNDS),
        idle: reader.duration("idle", default.idle, &Timeouts::IDLE_BOUNDS),
        total: reader.duration("total", default.total, &Timeouts::TOTAL_BOUNDS),
        stream_idle: reader.duration("stream_idle", default.stream_idle, &Timeouts::STREAM_IDLE_BOUNDS),
        upstream_idle: reader.duration("upstream_idle", default.upstream_idle, &Timeouts::UPSTREAM_IDLE_BOUNDS),
        shutdown: reader.duration("shutdown", default.shutdown, &Timeouts::SHUTDOWN_BOUNDS),
    };
    reader.finish();
    timeouts
}

fn read_limits(gateway: &mut TableReader<'_>) -> Limits {
    let default = Limits::default();
    let Some(mut reader) = gateway.table("limits", "[gateway.limits]") else {
        return default;
    };
    let size = |reader: &mut TableReader<'_>, key, default: usize, bounds| {
        let bytes = reader.size(key, &bounds);
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
    };
    let count = |reader: &mut TableReader<'_>, key, default: usize, bounds| {
        let count = reader.value(key).and_then(|value| value.integer(&bounds));
        count.map_or(default, |count| count as usize)
    };
    let limits = Limits {
        connections: count(&mut reader, "connections", default.connections, Limits::CONNECTIONS_BOUNDS),
        header_bytes: size(&mut reader, "header_bytes", default.header_bytes, Limits::HEADER_BYTES_BOUNDS),
        headers: count(&mut reader, "headers", default.headers, Limits::HEADERS_BOUNDS),
        body_bytes: reader.size("body_bytes", &Limits::BODY_BYTES_BOUNDS),
        retry_body_bytes: size(
            &mut reader,
            "retry_body_bytes",
            default.retry_body_bytes,
            Limits::RETRY_BODY_BYTES_BOUNDS,
        ),
        upstream_connections: count(
            &mut reader,
            "upstream_connections",
            default.upstream_connections,
            Limits::UPSTREAM_CONNECTIONS_BOUNDS,
        ),
    };
    reader.finish();
    limits
}

fn read_retry(gateway: &mut TableReader<'_>) -> Retry {
    let default = Retry::default();
    let Some(mut reader) = gateway.table("retry", "[gateway.retry]") else {
        return default;
    };
    let retry = Retry {
        tries: reader.integer("tries", default.tries, &Retry::TRIES_BOUNDS),
        budget_percent: reader.integer("budget_percent", default.budget_percent, &Retry::BUDGET_PERCENT_BOUNDS),
        reserve: reader.integer("reserve", default.reserve, &Retry::RESERVE_BOUNDS),
    };
    reader.finish();
    retry
}
