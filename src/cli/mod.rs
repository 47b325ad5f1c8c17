//! Floor 5: the command line. Arguments in, text and an exit code out; no rules of any kind.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the floor that reads files and the environment, and talks to people"
)]

mod args;
mod backup;
mod bench;
mod check;
mod client;
mod controller;
mod definitions;
mod diff;
mod exit;
mod explain;
mod files;
mod fmt;
mod graph;
mod init;
mod live;
mod plan;
mod rabbitmq;
mod revision;
mod route;
mod serve;
mod sound;
mod store;
mod test;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::args::Args;
use crate::cli::args::Command;

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    // The allocator asks for huge pages, so that an idle broker would hold 8 MiB it never uses.
    // Measured: half the memory for the same CPU per message. Where the kernel cannot, it stays.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let args = Args::parse_from(bench::args::spell_out(std::env::args_os().collect()));
    let exit = match args.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Route(args) => route::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Apply(args) => plan::apply(&args),
        Command::Drift(args) => plan::drift(&args),
        Command::Adopt(args) => plan::adopt(&args),
        Command::Controller(args) => controller::run(&args),
        Command::Export(args) => definitions::export(&args),
        Command::Import(args) => definitions::import(&args),
        Command::Fmt(args) => fmt::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Schema => init::schema(),
        Command::Explain(args) => explain::run(&args),
        Command::Store(args) => store::run(&args),
        Command::Backup(args) => backup::back_up(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Client(command) => client::run(&command),
    };
    exit.into()
}
