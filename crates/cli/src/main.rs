//! The `cloakroom` command: reads the arguments and hands over to the command's own module.

mod arguments;
mod check;
mod demo;
mod instances;
mod pool;
mod run;
mod shop;
mod startup;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};
use terminal::LogLevel;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = match &arguments.command {
        Command::Demo(demo) if demo.tour => LogLevel::Errors,
        _ => LogLevel::Operator,
    };
    terminal::start_log(level);
    let done = match arguments.command {
        Command::Demo(demo) => demo::demo(demo),
        Command::Run(run) => run::run(run),
        Command::Check(check) => check::check(&check),
        Command::Pool(pool) => pool::pool(pool),
        Command::Shop => shop::shop(),
        Command::ExecInstance { command } => Err(cloakroom_supervise::exec_instance(&command).into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
