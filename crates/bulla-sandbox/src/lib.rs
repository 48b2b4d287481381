//! The sandbox: runs one command where it can reach nothing, and tells what it did.
//!
//! Foreign code never chooses bytes that leave the machine: a command has a network namespace with nobody in it, a
//! mapped uid without power, a root that is thrown away, and an allow-list of system calls. Three processes take part:
//!
//! 1. the caller, through [`Launcher::run`], supervises: it answers the filter, and keeps records, journal and limits;
//! 2. the helper clones sandboxes: see [`intercept`];
//! 3. the first process of each sandbox sets it up from within, starts the command and waits for it.
//!
//! This is the only crate of the project with `unsafe` code; it is in `sys`, and where a process is cloned.

#![expect(unsafe_code, reason = "clone, seccomp and reading another process's memory have no safe interface")]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the sandbox knows the system calls of Linux on x86-64 only");

mod bpf;
mod cell;
mod doctor;
mod emulate;
mod error;
mod examine;
mod filter;
mod fixed;
mod helper;
mod inside;
mod journal;
mod launcher;
mod limits;
mod net;
mod notify;
mod observe;
mod outcome;
mod prepare;
mod request;
mod root;
mod serve;
mod stage;
mod supervise;
mod sys;
mod terminal;
mod watch;
mod wire;
mod worker;

pub use cell::{Cell, Entered, MAX_CELL_MESSAGE, receive};
pub use doctor::{Finding, State, diagnose};
pub use error::Error;
pub use helper::intercept;
pub use launcher::{Attended, Cancel, Launcher, Options};
pub use outcome::{Executed, Exit, Isolation, Limit, Outcome, Owned, Owners, Refusal, RefusalKind, Rung, Usage};
pub use request::{Bind, Emulation, Limits, MAX_LOWERS, Machine, Privileges, Request, Root, Secret, SecretPlace};
pub use serve::{Connected, Connection, Serve, monotonic};
pub use stage::Stage;
pub use supervise::Stream;
pub use terminal::Terminal;
