//! Evaluates the expressions of a policy where they can do no harm.
//!
//! An expression is a stranger's as the policy may be, and can compute without end. So each is evaluated by a process of its own, this same program executed
//! again: it has little memory and little time, which the kernel takes care of, and nothing but the expression and the variables, which come through a pipe.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use bulla_evidence::policy::{Expression, expression};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{CliError, Result},
    session::Session,
};

/// The name under which the program is executed as the process that evaluates.
const PROCESS: &str = "bulla-rule";
/// The most bytes of memory that evaluating one may take, beside what the variables have.
const MEMORY: u64 = 512 << 20;
/// How many bytes of memory a byte of variables may be.
const UNFOLDED: u64 = 32;
/// The most seconds of a processor.
const SECONDS: u64 = 2;
/// How long it may take all in all: other work may have the processors.
const PATIENCE: Duration = Duration::from_secs(30);
/// The signals by which the kernel ends a process that had its time.
const OUT_OF_TIME: [i32; 2] = [Signal::XCPU.as_raw(), Signal::KILL.as_raw()];
/// The most bytes of an answer.
const MAX_ANSWER: u64 = 64 << 10;

/// What is asked.
#[derive(Serialize, Deserialize)]
struct Question {
    text: String,
    variables: Value,
}

/// Evaluates an expression: whether it is so, or why nobody can tell.
///
/// # Errors
/// When the process cannot be started, or the user stops it.
pub(crate) fn evaluate(session: &Session, rule: &Expression, variables: &Value) -> Result<Result<bool, String>> {
    session.interrupt.check()?;
    let question = Question { text: rule.text.clone(), variables: variables.clone() };
    let question = serde_json::to_vec(&question).map_err(|error| CliError::Option(error.to_string()))?;
    ask(question).map_err(CliError::file)
}

fn ask(question: Vec<u8>) -> io::Result<Result<bool, String>> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(PROCESS).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let writer = child.stdin.take().map(|mut stdin| {
        // It may end before it has read all.
        thread::spawn(move || stdin.write_all(&question))
    });
    let reader = child.stdout.take().map(|stdout| {
        thread::spawn(move || {
            let mut answer = Vec::new();
            stdout.take(MAX_ANSWER).read_to_end(&mut answer).map(|_| answer)
        })
    });
    let status = wait(&mut child)?;
    let answer = reader.and_then(|reader| reader.join().ok()).and_then(Result::ok).unwrap_or_default();
    drop(writer.map(thread::JoinHandle::join));
    match status.filter(ExitStatus::success) {
        Some(_) => Ok(serde_json::from_slice(&answer).unwrap_or_else(|_| Err("it gave no answer".to_owned()))),
        None => Ok(Err(ended(status))),
    }
}

/// Waits for a process to end, and ends it when that takes too long.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn ended(status: Option<ExitStatus>) -> String {
    let time = || format!("it takes more than {SECONDS} seconds");
    match status {
        None => time(),
        Some(status) if status.signal().is_some_and(|signal| OUT_OF_TIME.contains(&signal)) => time(),
        Some(_) => format!("it takes more than {} MiB of memory, or is too deep", MEMORY >> 20),
    }
}

/// Evaluates when this process is the one that does, and gives its exit code. Call it first in `main`.
pub(crate) fn intercept() -> Option<ExitCode> {
    let is_it = std::env::args_os().next().is_some_and(|name| name == PROCESS);
    // Nobody can be told otherwise that it went wrong.
    is_it.then(|| if serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve() -> io::Result<()> {
    let limit = |resource, most: u64| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, SECONDS)?;
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    limit(Resource::As, MEMORY + UNFOLDED * input.len() as u64)?;
    let question: Question = serde_json::from_slice(&input)?;
    let answer = expression::evaluate(&question.text, &question.variables);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&serde_json::to_vec(&answer)?)?;
    stdout.flush()
}
