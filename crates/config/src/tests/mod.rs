//! What the file means, and what is said about each kind of mistake.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

mod shown;

const POOL: &str = "[pools.shop]\ninstances = [\"127.0.0.1:4001\"]\n";

fn config(text: &str) -> Config {
    Config::parse(text, "gateway.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> ConfigErrors {
    Config::parse(text, "gateway.toml").expect_err(text)
}

/// The errors as "line: message (help)".
fn lines(text: &str) -> Vec<String> {
    errors(text)
        .errors()
        .iter()
        .map(|error| match error.help() {
            Some(help) => format!("{}: {} ({help})", error.line(), error.message()),
            None => format!("{}: {}", error.line(), error.message()),
        })
        .collect()
}

/// Checks that a text has exactly one error, whose line, message and help hold the given parts.
fn check_one(text: &str, parts: &[&str]) {
    let lines = lines(text);
    assert_eq!(lines.len(), 1, "{text}\n{lines:#?}");
    for part in parts {
        assert!(lines[0].contains(part), "{text}\n{} lacks {part:?}", lines[0]);
    }
}

/// The same for a line under a table, beside one good pool.
fn check_under(table: &str, line: &str, parts: &[&str]) {
    check_one(&format!("{POOL}{table}\n{line}\n"), parts);
}

/// The same for a line of a pool.
fn check_pool(line: &str, parts: &[&str]) {
    check_one(&format!("{POOL}{line}\n"), parts);
}

/// The same for a line of a route to a good pool.
fn check_route(line: &str, parts: &[&str]) {
    check_one(&format!("{POOL}[[routes]]\npool = \"shop\"\n{line}\n"), parts);
}

/// The documentation's file, kept to what this version does, would otherwise be a file that does not start.
#[test]
fn the_documented_file_means_what_it_says() {
    let config = config(
        r#"
        [gateway]
        listen = "0.0.0.0:8080"
        admin  = "127.0.0.1:9400"
        keys   = "./cloakroom.keys"
        trusted_proxies = ["10.0.0.0/8"]
        [sessions]
        store    = "embedded:./cloakroom-data"
        cookie   = "cloakroom"
        idle     = "24h"
        touch    = "30s"
        absolute = "30d"
        outage   = "fail"
        conflict = "merge"
        [pools.shop]
        balance   = "least-connections"
        instances = ["10.0.0.1:4001", "10.0.0.2:4001", { address = "10.0.0.3:4001", weight = 2, version = "v2" }]
        health    = { path = "/health", every = "2s" }
        affinity  = { by = "cookie", when_down = "repin" }
        session   = "token"
        [[routes]]
        host = "shop.example.com"
        path = "/api/*"
        pool = "shop"
        "#,
    );
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    assert_eq!(config.gateway, Gateway { trusted_proxies, ..Gateway::default() });
    assert_eq!(config.sessions, Sessions::default());
    let pool = &config.pools[0];
    assert_eq!(pool.balance, Balance::LeastConnections);
    assert_eq!(pool.instances[0], Instance::new("10.0.0.1:4001".parse().unwrap()));
    assert_eq!(pool.instances[2].weight, 2);
    assert_eq!(pool.instances[2].version.as_deref(), Some("v2"));
    let path = "/health".to_owned();
    assert_eq!(pool.health, Some(HealthCheck::new(Probe::Http { path })));
    assert_eq!(pool.affinity, Affinity::Cookie { ttl: Affinity::TTL_DEFAULT });
    assert_eq!(
        config.routes,
        [Route {
            host: Some(HostPattern::Exact("shop.example.com".to_owned())),
            path: PathPattern::Prefix("/api/".to_owned()),
            pool: PoolId(0),
            session_cookie: SessionCookie::Strip,
        }]
    );
}

/// The example is what people copy; a mistake in it is everybody's.
#[test]
fn the_example_parses_and_states_the_defaults() {
    let config = config(example());
    assert_eq!(config.gateway.timeouts, Timeouts::default());
    assert_eq!(config.gateway.retry, Retry::default());
    let body_bytes = config.gateway.limits.body_bytes;
    assert_eq!(body_bytes, Some(64 << 20));
    assert_eq!(config.gateway.limits, Limits { body_bytes, ..Limits::default() });
    assert_eq!(config.sessions, Sessions::default());
    assert_eq!(config.pools[0].outlier, Outlier::default());
    assert_eq!(config.pools[1].health, Some(HealthCheck::new(Probe::Tcp)));
    assert_eq!(config.routes.len(), 2);
    let long = example().lines().find(|line| line.chars().count() > 120);
    assert_eq!(long, None);
}

/// The command line's gateway and the smallest file's must not differ in a default.
#[test]
fn one_pool_needs_no_routes_and_no_other_table() {
    let from_file = config("[pools.default]\ninstances = [\"127.0.0.1:4001\"]\n");
    let address = "127.0.0.1:4001".parse().unwrap();
    let listen = Gateway::default().listen;
    assert_eq!(from_file, Config::single_pool(listen, vec![address]));
}

/// Whoever fixes one error only to be told of the next needs eight starts for this file.
#[test]
fn eight_mistakes_are_told_at_once() {
    let text = r#"[gateway]
listen = "0.0.0.0:80800"
worker = 4
[gateway.timeouts]
connect = "5min"
[sessions]
idle = "500d"
payload_bytes = true
[pools.shop]
balance = "least-connection"
instances = ["10.0.0.1:4001", "10.0.0.1:4001"]
[[routes]]
pool = "shopp"
"#;
    let expected = [
        "2: `listen`: \"0.0.0.0:80800\" has no port of 0 to 65535",
        "3: unknown key `worker` in [gateway] (did you mean `workers`?)",
        "5: `connect`: \"5min\" is not a duration",
        "7: `idle` must be 1s to 400d, not 500d",
        "8: `payload_bytes` must be a size, not a boolean",
        "10: `balance`: \"least-connection\" is not one of",
        "11: the instance 10.0.0.1:4001 appears twice",
        "13: no pool is named \"shopp\" (did you mean \"shop\"?)",
    ];
    let found = lines(text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, start) in found.iter().zip(expected) {
        assert!(line.starts_with(start), "{line}\ndoes not start with\n{start}");
    }
    let compact = errors(text).to_string();
    assert!(compact.contains("gateway.toml:3:1: unknown key `worker`"), "{compact}");
    assert_eq!(compact.lines().count(), expected.len());
}

/// A syntax error must hide neither the others, nor bring errors of its own making.
#[test]
fn a_syntax_error_stands_beside_the_others() {
    let found = lines("[sessions]\nidle = 24h\ntuch = \"1s\"\n[pools.shop\ninstances = [\"127.0.0.1:1\"]\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("2: not valid TOML: string values must be quoted"), "{found:#?}");
    assert!(found[1].starts_with("3: unknown key `tuch`"), "{found:#?}");
    assert!(found[2].starts_with("4: not valid TOML: unclosed table"), "{found:#?}");
    let swallowed = "[sessions\nstore = \"redis:\"\n\n[gateway]\nworker = 1\n";
    let found = lines(swallowed);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[1].starts_with("5: unknown key `worker`"), "{found:#?}");
    check_one("a = \n", &["1: not valid TOML"]);
    check_one(&format!("{POOL}[pools.shop]\n"), &["3: not valid TOML: duplicate key"]);
    check_one(&"#".repeat(FILE_BYTES_MAX + 1), &["longer than 8MiB"]);
}

/// A misspelt key that is skipped leaves its setting at a default that nobody chose.
#[test]
fn unknown_keys_name_the_nearest() {
    check_one(&format!("{POOL}[gatway]\n"), &["3: unknown key `gatway` in the file", "`gateway`"]);
    check_under("[gateway]", "trusted-proxies = []", &["`trusted_proxies`"]);
    check_under("[gateway]", "Listen = ':80'", &["`listen`"]);
    check_under("[gateway]", "zzzzzzzz = 1", &["the keys of [gateway] are `listen`, `admin`"]);
    check_under("[gateway.limits]", "header_byte = 1", &["in [gateway.limits]", "`header_bytes`"]);
    check_under("[gateway.retry]", "trys = 1", &["`tries`"]);
    check_pool("outlier = { ejecton = \"1s\" }", &["in `outlier`", "`ejection`"]);
    check_pool("health = { path = \"/\", evry = \"1s\" }", &["`every`"]);
    check_pool("affinity = { by = \"cookie\", tll = \"1h\" }", &["`ttl`"]);
    check_route("hots = \"a\"", &["5: unknown key `hots` in [[routes]]", "`host`"]);
}

/// A setting of the gateway that is half right would otherwise show only under load.
#[test]
fn gateway_settings_are_checked() {
    let check = |line: &str, parts: &[&str]| check_under("[gateway]", line, parts);
    check("listen = []", &["give 1 to 16 addresses, not 0"]);
    check("listen = 8080", &["must be a string, not a whole number"]);
    check("listen = [\":80\", \"0.0.0.0:80\"]", &["the address 0.0.0.0:80 appears twice"]);
    check("listen = \"tls://0.0.0.0:8443\"", &["`tls://` is not in this version"]);
    check("listen = \":9400\"", &["want the same port", "\"off\""]);
    check("admin = \"10.0.0.1:9400\"", &["4: `admin_token_file` is missing", "off loopback"]);
    check("keys = \"\"", &["not the path of a file"]);
    check("trusted_proxies = [\"10.0.0.0/33\"]", &["not a range"]);
    check("workers = 0", &["`workers` must be 1 to 256, not 0"]);
    check("workers = 99999999999999999999", &["too large"]);
    check("workers = 1.5", &["must be a whole number, not a decimal number"]);
    check("access_log = \"jsn\"", &["did you mean \"json\"?"]);
    check("timeouts = 1", &["`timeouts` must be a table"]);
    check("timeouts.total = 30", &["must be a duration in quotes", "\"30s\""]);
    check("timeouts.total = \"2h\"", &["`total` must be 1s to 1h, not 2h"]);
    check("limits.body_bytes = 0", &["`body_bytes` must be 1B to 1TiB, not 0B"]);
    check("limits.retry_body_bytes = -1", &["a size is not negative"]);
    check("limits.header_bytes = \"64KB\"", &["\"64KB\" is not a size", "64KiB"]);
    check("retry.budget_percent = 101", &["must be 0 to 100, not 101"]);
}

/// Short forms and units mean what their long forms do.
#[test]
fn gateway_settings_are_read() {
    let text = "[gateway]\nlisten = [\":80\", \"[::1]:81\", \"127.0.0.1:0\", \"127.0.0.1:0\"]\nadmin = \"off\"\n\
        workers = 0x10\ntrusted_proxies = \"10.1.2.3/8\"\naccess_log = \"off\"\n\
        limits.header_bytes = 2048\nlimits.body_bytes = \"1GiB\"\ntimeouts.connect = \"150ms\"\n";
    let gateway = config(&format!("{text}{POOL}")).gateway;
    let listen: Vec<String> = gateway.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:80", "[::1]:81", "127.0.0.1:0", "127.0.0.1:0"]);
    assert_eq!(gateway.admin, None);
    assert_eq!(gateway.workers.map(usize::from), Some(16));
    assert_eq!(gateway.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(gateway.limits.header_bytes, 2048);
    assert_eq!(gateway.limits.body_bytes, Some(1 << 30));
    assert_eq!(gateway.timeouts.connect, Duration::from_millis(150));
    let text = format!("[gateway]\nadmin = \":9400\"\nadmin_token_file = \"t\"\n{POOL}");
    let gateway = config(&text).gateway;
    assert_eq!(gateway.admin_token_file, Some(PathBuf::from("t")));
}

/// Sessions that expire while in use, or a store that is not the one that was meant, sign users out.
#[test]
fn session_settings_are_checked() {
    let check = |line: &str, parts: &[&str]| check_under("[sessions]", line, parts);
    check("idle = \"20s\"", &["4: `touch` (30s) must be shorter than `idle` (20s)"]);
    check("idle = \"31d\"", &["`idle` (31d) must not be longer than `absolute` (30d)"]);
    check("touch = \"1ms\"", &["`touch` must be 100ms to 1h, not 1ms"]);
    check("cookie = \"a b\"", &["letters, digits"]);
    check("cookie = \"__Host-x\"", &["no prefix"]);
    check("cookie = \"cloakroom-pin\"", &["affinity cookie"]);
    check("outage = \"stale:30s\"", &["`outage = \"stale\"` is not in this version", "\"fail\""]);
    check("outage = \"maybe\"", &["the one value of this version"]);
    check("conflict = \"cas\"", &["`conflict = \"cas\"` is not in this version"]);
    check("server_error = \"comit\"", &["did you mean \"commit\"?"]);
    check("same_site = \"Lax\"", &["did you mean \"lax\"?"]);
    check("payload_bytes = \"2MiB\"", &["must be 1KiB to 1MiB, not 2MiB"]);
    check("store = \"embedded:\"", &["needs the path"]);
    check("store = \"embedded://./data\"", &["needs the path"]);
    check("store = \"embeded:./data\"", &["did you mean \"embedded:\"?"]);
    check("store = \"embedded:./data?sync=never\"", &["\"?sync=disk\", \"?sync=os\""]);
    for scheme in ["redis", "rediss", "redis+sentinel", "redis+cluster", "postgres", "mysql", "memcached", "sealed"] {
        let what = format!("`store = \"{scheme}:\"` is not in this version");
        check(&format!("store = \"{scheme}:x\""), &[&what, "use \"embedded:\""]);
    }
}

/// A store URL is written into logs and the admin interface.
#[test]
fn store_urls_read_and_write() {
    for (text, path, sync) in
        [("embedded:./data", "./data", Sync::Disk), ("embedded:/var/lib/data?sync=os", "/var/lib/data", Sync::Os)]
    {
        let config = config(&format!("[sessions]\nstore = \"{text}\"\n{POOL}"));
        let path = PathBuf::from(path);
        assert_eq!(config.sessions.store, StoreUrl::Embedded { path, sync });
        assert_eq!(config.sessions.store.to_string(), text);
    }
}

/// Requests to an instance that cannot be there, or twice to one that is, are errors that users see.
#[test]
fn pools_are_checked() {
    let check = |text: &str, parts: &[&str]| check_one(text, parts);
    check("", &["1: `pools` is missing from the file"]);
    check("[pools]\n", &["there must be 1 to 256 pools, not 0"]);
    check("[[pools]]\n", &["`pools` must be a table of pools, not a list", "[pools.NAME]"]);
    check("pools.shop = 1\n", &["`shop` must be a table"]);
    check("[pools.Shop]\ninstances = [\"127.0.0.1:1\"]\n", &["`Shop`: the name of a pool"]);
    check("[pools.shop]\n", &["1: `instances` is missing from [pools.shop]"]);
    let check = |instances: &str, parts: &[&str]| check_one(&format!("[pools.shop]\ninstances = {instances}\n"), parts);
    check("[]", &["a pool has 1 to 4096 instances, not 0"]);
    check("\"127.0.0.1:1\"", &["`instances` must be a list, not a string"]);
    check("[1]", &["must be a list of addresses and tables"]);
    check("[\"shop.internal:80\"]", &["host names are not resolved in this version", "give an IP address"]);
    check("[{ weight = 2 }]", &["`address` is missing"]);
    check("[{ address = \"127.0.0.1:1\", weight = 0 }]", &["`weight` must be 1 to 1000"]);
    check("[{ address = \"127.0.0.1:1\", version = \"a b\" }]", &["visible ASCII"]);
    check(
        "[\"127.0.0.1:1\",\n{ address = \"localhost:1\" }]",
        &["3: the instance 127.0.0.1:1 appears twice", "weight"],
    );
}

/// A setting of a pool that is not honoured would be found out during an outage.
#[test]
fn pool_settings_are_checked() {
    check_pool("balance = \"maglev\"", &["`balance = \"maglev\"` is not in this version", "affinity"]);
    check_pool("balance = \"peak-ewma\"", &["not in this version", "two-choices"]);
    check_pool("balance = \"rendezvous\"", &["not in this version"]);
    check_pool("panic_threshold_percent = 101", &["must be 0 to 100"]);
    check_pool("session = \"jwt\"", &["is not one of \"token\", \"json\", \"off\""]);
    check_pool("health = {}", &["`path` is missing from `health`"]);
    check_pool("health = { path = \"/\", tcp = true }", &["two kinds"]);
    check_pool("health = { tcp = false }", &["leave `health` out"]);
    check_pool("health = { path = \"health\" }", &["starts with /"]);
    check_pool("health = { tcp = true, every = \"1ms\" }", &["`every` must be 100ms to 1h, not 1ms"]);
    check_pool("outlier = { max_ejected_percent = 200 }", &["must be 0 to 100"]);
    check_pool("affinity = \"cookie\"", &["`affinity` must be a table"]);
    check_pool("affinity = {}", &["`by` is missing"]);
    check_pool("affinity = { by = \"header:X-User\" }", &["`by = \"header\"` is not in this version"]);
    check_pool("affinity = { by = \"source-ip\" }", &["not in this version"]);
    check_pool("affinity = { by = \"magic\" }", &["no kind of affinity"]);
    check_pool("affinity = { by = \"cookie\", when_down = \"fail\" }", &["not in this version", "repin"]);
}

/// A route that never matches, or a rule that is not enforced, is a hole that nobody sees.
#[test]
fn routes_are_checked() {
    check_route("path = \"api\"", &["does not start with /"]);
    check_route("path = \"/api*\"", &["\"/api/*\""]);
    check_route("host = \"*\"", &["leave `host` out"]);
    check_route("session_cookie = \"keep\"", &["is not one of \"strip\", \"forward\""]);
    check_route("[[routes]]\npool = \"shop\"", &["the route for /* appears twice"]);
    check_route("limit = { rate = \"1/s\" }", &["5: `limit` is not in this version"]);
    check_route("identify = []", &["`identify` is not in this version"]);
    check_route("require = ''", &["`require` is not in this version"]);
    check_route("idempotency = \"keyed\"", &["`idempotency` is not in this version"]);
    check_route("session = { conflict = \"cas\" }", &["`session` is not in this version"]);
    check_one(&format!("routes = []\n{POOL}"), &["1 to 10000 routes, not 0"]);
    check_one(&format!("{POOL}[routes]\n"), &["`routes` must be a list of tables"]);
    check_one(&format!("{POOL}[[routes]]\n"), &["3: `pool` is missing from [[routes]]"]);
    check_one(&format!("{POOL}[identities.corp]\njwks = 'x'\n"), &["3: `identities` is not in this version"]);
    let two = "[pools.b]\ninstances = [\"127.0.0.1:1\"]\n[pools.a]\ninstances = [\"127.0.0.1:1\"]\n";
    check_one(two, &["`routes` is missing", "\"b\", \"a\""]);
    let hosts =
        "[[routes]]\nhost = \"A.example\"\npool = \"shop\"\n[[routes]]\nhost = \"a.example.\"\npool = \"shop\"\n";
    check_one(&format!("{POOL}{hosts}"), &["7: the route for a.example/* appears twice"]);
    check_one(&format!("{POOL}[[routes]]\npool = \"static-files\"\n"), &["the pools are \"shop\""]);
}

/// An error that says the right thing at the wrong place is a search through the file.
#[test]
fn columns_count_characters_and_crlf_is_one_line_end() {
    let errors = errors(&format!("{POOL}[sessions]\r\n\"ä\" = 1\r\nx = {{ä = 1}}\r\n"));
    let places: Vec<_> = errors.errors().iter().map(|error| (error.line(), error.column())).collect();
    assert_eq!(places[0], (4, 1), "{errors}");
    assert!(places.iter().all(|(line, _)| *line <= 5));
}
