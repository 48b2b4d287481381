//! The `bulla` command: see [`cli`] for what it can do.

mod cli;
mod commands;
mod config;
mod environment;
mod error;
mod interrupt;
mod limit;
mod neutral;
mod ops;
mod progress;
mod quantity;
#[cfg(test)]
mod reference;
mod registry;
mod remote;
mod report;
mod secret;
mod session;
mod terminal;

fn main() -> std::process::ExitCode {
    bulla_sandbox::intercept();
    bulla_serve::intercept();
    if secret::intercept() {
        return std::process::ExitCode::SUCCESS;
    }
    if let Some(code) = ops::rules::intercept() {
        return code;
    }
    limit::raise_open_files();
    cli::main()
}
