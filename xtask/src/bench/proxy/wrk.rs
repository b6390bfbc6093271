//! The load generator: wrk, run on its core, its report read. Any failed request fails the benchmark, because a proxy
//! that answers errors is fast for nothing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What to send.
pub(super) struct Load {
    pub(super) port: u16,
    pub(super) connections: u32,
    pub(super) duration: Duration,
    pub(super) core: usize,
}

/// What wrk reports.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) latency_p50_ms: f64,
    pub(super) latency_p99_ms: f64,
}

impl Load {
    /// Runs to its end.
    pub(super) fn run(&self) -> Result<Figures> {
        let output = Command::new("taskset")
            .args(["--cpu-list", &self.core.to_string(), "wrk", "--threads", "1", "--latency"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.duration.as_secs())])
            .arg(format!("http://127.0.0.1:{}/", self.port))
            .output()
            .context("cannot start wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("wrk ended with {}:\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        parse(&text)
    }
}

fn parse(text: &str) -> Result<Figures> {
    let failures = ["Socket errors:", "Non-2xx or 3xx responses:"];
    if let Some(line) = text.lines().find(|line| failures.iter().any(|failure| line.trim().starts_with(failure))) {
        bail!("requests failed: {}", line.trim());
    }
    read(text).with_context(|| format!("cannot read the report of wrk:\n{text}"))
}

fn read(text: &str) -> Option<Figures> {
    let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label).map(str::trim));
    let (requests, rest) = text.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    let (elapsed, _) = rest.split_once(',')?;
    Some(Figures {
        requests: requests.parse().ok().filter(|requests| *requests > 0)?,
        seconds: milliseconds(elapsed)? / 1000.0,
        requests_per_second: after("Requests/sec:")?.parse().ok()?,
        latency_p50_ms: milliseconds(after("50%")?)?,
        latency_p99_ms: milliseconds(after("99%")?)?,
    })
}

/// Reads a duration as wrk writes it: `250.00us`, `5.80ms`, `1.02s`, `1.00m`.
fn milliseconds(text: &str) -> Option<f64> {
    let unit_start = text.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_start);
    let number: f64 = number.parse().ok()?;
    match unit {
        "us" => Some(number / 1000.0),
        "ms" => Some(number),
        "s" => Some(number * 1000.0),
        "m" => Some(number * 60_000.0),
        "h" => Some(number * 3_600_000.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
Running 8s test @ http://127.0.0.1:40001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.99ms  311.02us   9.99ms   88.50%
    Req/Sec    32.20k     1.07k   34.00k    86.54%
  Latency Distribution
     50%  950.00us
     75%    2.10ms
     90%    2.40ms
     99%    3.25ms
  257600 requests in 8.00s, 60.17MB read
Requests/sec:  32187.12
Transfer/sec:      7.52MB
";

    /// Microseconds taken for milliseconds would make one proxy look a thousand times slower.
    #[test]
    fn a_report_is_read_with_its_units() {
        let expected = Figures {
            requests: 257_600,
            seconds: 8.0,
            requests_per_second: 32187.12,
            latency_p50_ms: 0.95,
            latency_p99_ms: 3.25,
        };
        assert_eq!(parse(REPORT).unwrap(), expected);
        assert_eq!(["1.50s", "2.00m", "3.00x"].map(milliseconds), [Some(1500.0), Some(120_000.0), None]);
    }

    /// A proxy that refuses everything would otherwise win.
    #[test]
    fn failed_requests_are_no_result() {
        let refused = format!("{REPORT}  Non-2xx or 3xx responses: 12\n");
        assert!(parse(&refused).is_err_and(|error| error.to_string().contains("responses: 12")));
        let broken = format!("{REPORT}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        assert!(parse(&broken).is_err_and(|error| error.to_string().contains("read 3")));
        assert!(parse(&REPORT.replace("257600", "0")).is_err());
    }
}
