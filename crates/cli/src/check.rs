//! `cloakroom check`: everything that is wrong with a configuration.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use cloakroom_config::{Config, ConfigErrors};
use serde::Serialize;

use crate::arguments::Check;
use crate::terminal;

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Serialize)]
struct ErrorLine<'error> {
    file: &'error str,
    line: usize,
    column: usize,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'error str>,
}

pub(crate) fn check(arguments: &Check) -> anyhow::Result<ExitCode> {
    let Some(path) = arguments.file.as_deref() else {
        print!("{}", cloakroom_config::example());
        return Ok(ExitCode::SUCCESS);
    };
    match parse(path)? {
        Ok(config) if arguments.json => {
            println!("[]");
            drop(config);
            Ok(ExitCode::SUCCESS)
        }
        Ok(config) => {
            let instances: usize = config.pools.iter().map(|pool| pool.instances.len()).sum();
            println!(
                "{} is valid: {} routes, {} pools, {instances} instances",
                path.display(),
                config.routes.len(),
                config.pools.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            if arguments.json {
                print_json(&errors)?;
            } else {
                eprint!("{}", errors.render(terminal::has_colour(), terminal::width()));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Reads and resolves a file.
pub(crate) fn parse(path: &Path) -> anyhow::Result<Result<Config, ConfigErrors>> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).with_context(|| format!("{name} can't be read"))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "{name} has {size} bytes; a configuration has at most {FILE_BYTES_MAX}");
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} can't be read"))?;
    Ok(Config::parse(&text, &name))
}

fn print_json(errors: &ConfigErrors) -> anyhow::Result<()> {
    let line = |error: &cloakroom_config::ConfigError| -> anyhow::Result<String> {
        let line = ErrorLine {
            file: errors.file(),
            line: error.line(),
            column: error.column(),
            message: error.message(),
            help: error.help(),
        };
        Ok(serde_json::to_string(&line)?)
    };
    let lines: Vec<_> = errors.errors().iter().map(line).collect::<anyhow::Result<_>>()?;
    println!("[{}]", lines.join(",\n "));
    Ok(())
}
