//! The result: a table for people, all rounds as JSON for programs, and the machine they belong to.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::contestant::Contestant;
use super::{Arguments, Measurement};
use crate::console;
use crate::requirements::find_program;

/// A load average above this means that someone else works on the machine.
const LOAD_AVERAGE_QUIET: f64 = 0.5;

/// What the figures were measured on.
#[derive(Serialize)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    load_average: f64,
    versions: Vec<String>,
}

impl Machine {
    /// Looks around.
    pub(super) fn look(proxies: &[Contestant], cloakroom: Option<&Path>) -> Result<Self> {
        let text = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let processors = text("/proc/cpuinfo")?;
        let name = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load_averages = text("/proc/loadavg")?;
        let mut versions = Vec::new();
        if let Some(cloakroom) = cloakroom {
            versions.push(version(cloakroom, "--version"));
        }
        if proxies.contains(&Contestant::Haproxy) {
            versions.push(located_version("haproxy", "-v"));
        }
        versions.extend([located_version("nginx", "-v"), located_version("wrk", "--version")]);
        Ok(Self {
            processor: name.map_or("unknown processor", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: load_averages.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0),
            versions,
        })
    }

    /// Says so when the figures will not be worth much.
    pub(super) fn warn_if_busy(&self) {
        if self.load_average > LOAD_AVERAGE_QUIET {
            console::warning(&format!("load average {}: other work disturbs the figures", self.load_average));
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, versions, .. } = self;
        write!(formatter, "{processor}, {cores} cores, Linux {kernel}; {}", versions.join("; "))
    }
}

/// One proxy in one round, while it happens.
pub(super) fn one_line(measurement: &Measurement) -> String {
    format!(
        "{:<10} {:>8.0} requests/s   p99 {:>6.2} ms   {:>5.2} CPU s/100k   core {:>3.0} % busy",
        measurement.proxy.name(),
        measurement.requests_per_second,
        measurement.latency_p99_ms,
        measurement.cpu_s_per_100k(),
        measurement.core_busy_percent
    )
}

/// Prints the medians side by side.
pub(super) fn print_table(proxies: &[Contestant], measurements: &[Measurement]) {
    let medians: Vec<_> = proxies.iter().filter_map(|proxy| Median::of(*proxy, measurements)).collect();
    let reference = medians.iter().find(|median| median.proxy == Contestant::Haproxy);
    let header = ["proxy", "requests/s", "vs HAProxy", "p50 ms", "p99 ms", "CPU s/100k (user + sys)", "vs HAProxy"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows[0].extend(["core busy", "RSS MiB"].map(str::to_owned));
    rows.extend(medians.iter().map(|median| row(median, reference)));
    let widths: Vec<_> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    println!();
    for row in rows {
        let (first, rest) = (&row[0], row[1..].iter().zip(&widths[1..]));
        let rest: String = rest.map(|(cell, width)| format!("   {cell:>width$}")).collect();
        println!("{first:<width$}{rest}", width = widths[0]);
    }
    println!();
    println!(
        "Medians of the rounds. vs HAProxy: above 1 is better. Requests/s say what a proxy carries where its core"
    );
    println!("is busy, and else what the load generator and the origin on the other core carry.");
}

/// Writes every round and the medians.
pub(super) fn write_json(
    path: &Path,
    machine: &Machine,
    arguments: &Arguments,
    measurements: &[Measurement],
) -> Result<()> {
    let medians: Vec<_> = arguments.only.iter().filter_map(|proxy| Median::of(*proxy, measurements)).collect();
    let value = json!({
        "benchmark": "proxy",
        "machine": machine,
        "settings": arguments,
        "rounds": measurements,
        "medians": medians,
    });
    let text = serde_json::to_string_pretty(&value)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The median of each figure of one proxy.
#[derive(Serialize)]
struct Median {
    proxy: Contestant,
    requests_per_second: f64,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    cpu_s_per_100k: f64,
    cpu_user_s_per_100k: f64,
    cpu_system_s_per_100k: f64,
    core_busy_percent: f64,
    resident_mib: f64,
}

impl Measurement {
    fn cpu_s_per_100k(&self) -> f64 {
        self.cpu_user_s_per_100k + self.cpu_system_s_per_100k
    }
}

impl Median {
    fn of(proxy: Contestant, measurements: &[Measurement]) -> Option<Self> {
        let own: Vec<_> = measurements.iter().filter(|measurement| measurement.proxy == proxy).collect();
        let of = |figure: fn(&Measurement) -> f64| median(own.iter().map(|measurement| figure(measurement)).collect());
        Some(Self {
            proxy,
            requests_per_second: of(|measurement| measurement.requests_per_second)?,
            latency_p50_ms: of(|measurement| measurement.latency_p50_ms)?,
            latency_p99_ms: of(|measurement| measurement.latency_p99_ms)?,
            cpu_s_per_100k: of(Measurement::cpu_s_per_100k)?,
            cpu_user_s_per_100k: of(|measurement| measurement.cpu_user_s_per_100k)?,
            cpu_system_s_per_100k: of(|measurement| measurement.cpu_system_s_per_100k)?,
            core_busy_percent: of(|measurement| measurement.core_busy_percent)?,
            resident_mib: of(|measurement| measurement.resident_mib)?,
        })
    }
}

fn row(median: &Median, reference: Option<&Median>) -> Vec<String> {
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x"));
    vec![
        median.proxy.name().to_owned(),
        format!("{:.0}", median.requests_per_second),
        ratio(reference.map(|reference| median.requests_per_second / reference.requests_per_second)),
        format!("{:.2}", median.latency_p50_ms),
        format!("{:.2}", median.latency_p99_ms),
        format!(
            "{:.2} ({:.2} + {:.2})",
            median.cpu_s_per_100k, median.cpu_user_s_per_100k, median.cpu_system_s_per_100k
        ),
        ratio(reference.map(|reference| reference.cpu_s_per_100k / median.cpu_s_per_100k)),
        format!("{:.0} %", median.core_busy_percent),
        format!("{:.1}", median.resident_mib),
    ]
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[middle - 1], upper))
}

fn located_version(program: &str, option: &str) -> String {
    find_program(program).map_or_else(|| format!("{program} unknown"), |path| version(&path, option))
}

/// The first line that a program says about its version, on whichever stream, without what follows the number.
fn version(program: &Path, option: &str) -> String {
    let name = || program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(output) = Command::new(program).arg(option).output() else {
        return name();
    };
    let told = [output.stdout, output.stderr].concat();
    let first = String::from_utf8_lossy(&told).lines().next().unwrap_or_default().to_owned();
    let end =
        [" 20", " - http", "[", "Copyright"].iter().filter_map(|mark| first.find(mark)).min().unwrap_or(first.len());
    first[..end].trim().trim_start_matches("nginx version: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(proxy: Contestant, requests_per_second: f64, cpu_s: f64) -> Measurement {
        Measurement {
            round: 1,
            proxy,
            requests: 1000,
            requests_per_second,
            latency_p50_ms: 1.0,
            latency_p99_ms: 2.0,
            cpu_user_s_per_100k: cpu_s / 4.0,
            cpu_system_s_per_100k: cpu_s * 3.0 / 4.0,
            core_busy_percent: 99.0,
            resident_mib: 8.0,
        }
    }

    /// One disturbed round would drag a mean along; it must not drag the result.
    #[test]
    fn a_median_stands_against_one_bad_round() {
        assert_eq!(median(vec![30.0, 1.0, 31.0]), Some(30.0));
        assert_eq!(median(vec![4.0, 2.0]), Some(3.0));
        assert_eq!(median(Vec::new()), None);
    }

    /// A ratio the wrong way round would praise the proxy that burns the most.
    #[test]
    fn ratios_above_one_are_better() {
        let all = [measurement(Contestant::Haproxy, 40_000.0, 2.0), measurement(Contestant::Cloakroom, 50_000.0, 1.6)];
        let reference = Median::of(Contestant::Haproxy, &all);
        let ours = Median::of(Contestant::Cloakroom, &all).unwrap();
        let cells = row(&ours, reference.as_ref());
        assert_eq!([cells[2].as_str(), cells[5].as_str(), cells[6].as_str()], ["1.25x", "1.60 (0.40 + 1.20)", "1.25x"]);
        assert_eq!(row(&ours, None)[2], "-");
    }
}
