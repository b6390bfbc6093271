//! A tour in a terminal: one line for most events and a table at the end, within 80 columns.

use std::fmt::Write as _;

use crate::report::{Losses, TourReport, Verdict};
use crate::tour::TourEvent;

/// Whether escape sequences may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// None.
    Plain,
    /// SGR sequences (ECMA-48, section 8.3.117).
    Ansi,
}

#[derive(Clone, Copy)]
enum Tint {
    Heading,
    Quiet,
    Good,
    Bad,
}

impl Colour {
    fn paint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Heading => 1,
            Tint::Quiet => 2,
            Tint::Good => 32,
            Tint::Bad => 31,
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    fn judge(self, losses: &Losses, text: &str) -> String {
        self.paint(if losses.are_none() { Tint::Good } else { Tint::Bad }, text)
    }
}

/// An event in words, without the line break at its end.
pub fn line(event: &TourEvent, colour: Colour) -> String {
    match event {
        TourEvent::Began { users, instances, seed } => {
            format!("{} on {}, seed {seed}", count(*users as u64, "user"), count(*instances as u64, "instance"))
        }
        TourEvent::DesignBegan { design } => {
            let heading = format!("{}  {}", design.letter(), design.name());
            format!("\n{}", colour.paint(Tint::Heading, &heading))
        }
        TourEvent::Arrived { gateway, users, products } => {
            let text = format!(
                "   {} logged in, {} in their carts",
                count(*users as u64, "user"),
                count(*products as u64, "product")
            );
            format!("{text} {}", colour.paint(Tint::Quiet, &format!("(http://{gateway}/)")))
        }
        TourEvent::Killed { number, pid, user, requests, in_flight } => {
            let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let under_way = count(*in_flight, "request");
            let detail = format!("after {requests} requests, {under_way} under way; it had just served {user}");
            format!("   kill -9 instance {number}{process}\n   {}", colour.paint(Tint::Quiet, &detail))
        }
        TourEvent::Restarted { number, after, losses } => {
            let text = format!("instance {number} serves again after {:.1} s", after.as_secs_f64());
            format!("   {text}\n   so far {}", colour.judge(losses, &told(losses)))
        }
        TourEvent::Drained { number, requests, to_drained, losses } => {
            let reached = match to_drained {
                0 => "none reached it".to_owned(),
                some => format!("{some} of kept users did"),
            };
            let text = format!("instance {number} drained for {}, {reached}", count(*requests, "request"));
            format!("   {text}\n   so far {}", colour.judge(losses, &told(losses)))
        }
        TourEvent::DesignEnded { report } => {
            let served = count(report.requests, "request");
            let again = format!("{} sent again by the gateway", report.retries);
            format!("   {served}, {again}\n   {}", colour.judge(&report.losses, &told(&report.losses)))
        }
    }
}

/// All designs side by side, and the verdict; ends with a line break.
pub fn table(report: &TourReport, colour: Colour) -> String {
    let mut text = format!("{:<38}{:>9}{:>8}{:>13}{:>12}\n", "", "requests", "failed", "signed out", "carts lost");
    for design in &report.designs {
        let name = format!("{}  {}", design.design.letter(), design.name);
        let of_users = |lost: u64| format!("{lost} of {}", design.users);
        let losses = &design.losses;
        let cell = |lost: u64, shown: String, width: usize| {
            // Padded before it is painted: the escape sequences have no width.
            colour.paint(if lost == 0 { Tint::Good } else { Tint::Bad }, &format!("{shown:>width$}"))
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<38}{:>9}{}{}{}",
            design.requests,
            cell(losses.failed, losses.failed.to_string(), 8),
            cell(losses.signed_out, of_users(losses.signed_out), 13),
            cell(losses.carts_lost, of_users(losses.carts_lost), 12),
        );
    }
    text.push('\n');
    match report.verdict() {
        Verdict::Passed => {
            let line = "With sessions in the gateway's store, nobody noticed a killed instance.";
            let _ = writeln!(text, "{}", colour.paint(Tint::Good, line));
        }
        Verdict::Failed(shortcomings) => {
            for shortcoming in shortcomings {
                let _ = writeln!(text, "{}", colour.paint(Tint::Bad, &wrapped(&shortcoming.to_string())));
            }
        }
    }
    text
}

/// Columns of a terminal that nobody made wider.
const COLUMNS: usize = 80;

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn told(losses: &Losses) -> String {
    if losses.are_none() {
        return "nobody noticed anything".to_owned();
    }
    let failed = count(losses.failed, "failed request");
    let signed_out = count(losses.signed_out, "user");
    format!("{signed_out} signed out, {} lost, {failed}", count(losses.carts_lost, "cart"))
}

fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        many => format!("{many} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Design;
    use crate::report::tests::{sample, tour_of};
    use std::time::Duration;

    const WORST: Losses = Losses { failed: 1_234_567, signed_out: 256, carts_lost: 256 };

    fn events() -> Vec<TourEvent> {
        let losses = Losses { failed: 12_345, signed_out: 256, carts_lost: 256 };
        vec![
            TourEvent::Began { users: 256, instances: 256, seed: u64::MAX },
            TourEvent::DesignBegan { design: Design::Sticky },
            TourEvent::Arrived { gateway: ([127, 0, 0, 1], 65_535).into(), users: 256, products: 768 },
            TourEvent::Killed {
                number: 256,
                pid: Some(4_194_304),
                user: "shopper-1".to_owned(),
                requests: 10_000,
                in_flight: 1_024,
            },
            TourEvent::Restarted { number: 256, after: Duration::from_millis(14_960), losses },
            TourEvent::Drained { number: 256, requests: 1_536, to_drained: 512, losses },
            TourEvent::DesignEnded { report: sample(Design::Sticky, losses) },
        ]
    }

    fn width(line: &str) -> usize {
        line.chars().count()
    }

    /// A line that wraps turns the story and the table into a heap of words.
    #[test]
    fn everything_fits_80_columns() {
        for event in events() {
            for line in line(&event, Colour::Plain).lines() {
                assert!(width(line) <= COLUMNS, "{} columns: {line}", width(line));
            }
        }
        let designs = Design::ALL.map(|design| sample(design, WORST)).to_vec();
        for line in table(&tour_of(designs), Colour::Plain).lines() {
            assert!(width(line) <= COLUMNS, "{} columns: {line}", width(line));
        }
    }

    /// Escape sequences in a log file or a pipe are noise.
    #[test]
    fn plain_text_has_no_escape_sequences_and_colour_only_adds_them() {
        for event in events() {
            let plain = line(&event, Colour::Plain);
            assert!(!plain.contains('\u{1b}'));
            let mut stripped = line(&event, Colour::Ansi);
            for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m"] {
                stripped = stripped.replace(code, "");
            }
            assert_eq!(stripped, plain);
        }
    }

    #[test]
    fn the_table_says_who_lost_what() {
        let external = sample(Design::External, Losses::default());
        let in_process = sample(Design::InProcess, Losses { failed: 0, signed_out: 8, carts_lost: 7 });
        let text = table(&tour_of(vec![external, in_process]), Colour::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("C  sessions in the gateway's store") && lines[1].ends_with("0 of 8      0 of 8"));
        assert!(lines[2].starts_with("A  ") && lines[2].ends_with("8 of 8      7 of 8"), "{text}");
        assert_eq!(lines[4], "With sessions in the gateway's store, nobody noticed a killed instance.");
    }
}
