//! Opens the file system of a step or stage: what it needs is fetched and run as in a build, then a shell or command runs
//! in the sandbox that steps have.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use bulla_build::{
    event::Stream as Told,
    run::{Journal, Opened, Place, Refused, Shell, Supply},
    secret::Secrets,
};
use bulla_model::{Platform, lock::Lock, spec::Name};
use bulla_sandbox::{Exit, Stream, Terminal};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::SIGWINCH;

use super::{
    build::{self, Wishes},
    project::Project,
    supply::Own,
};
use crate::{
    error::{CliError, Result},
    ops,
    progress::lines::Lines,
    remote::{Lender, Tiers},
    session::Session,
};

/// A wish for a shell.
pub(crate) struct Wish {
    /// The stage.
    pub stage: Name,
    /// The platform that it is run for.
    pub platform: Platform,
    /// Where in it.
    pub place: Place,
    /// Whether the lock may be added to.
    pub may_pin: bool,
    /// The words of a command; `None` is a shell for a person.
    pub command: Option<Vec<OsString>>,
}

/// Runs the shell or command, and gives how it ended.
///
/// # Errors
/// When a person is to sit at it and there is no terminal, when what it needs cannot be had, or a limit was passed.
pub(crate) fn run(session: &Session, project: &Project, lock: &Lock, wish: Wish) -> Result<Exit> {
    let seat = if wish.command.is_none() { Some(Seat::take()?) } else { None };
    let store = ops::store::open(session)?;
    let target = Some(wish.stage.clone());
    let wishes = Wishes { target, platforms: [wish.platform].into(), ..Wishes::default() };
    let plans = build::plans(project, lock, &wishes)?;
    let pins = build::pins_for(lock, &plans, &wishes);
    let others = Tiers::open(session, project)?;
    build::fetch_for(session, &store, project, &pins, others.as_ref())?;
    let lender = others.as_ref().map(|others| Lender::new(session, &store, others, project, pins, wish.may_pin));
    let own = Own::new(session, &store, wish.may_pin);
    let supply: &dyn Supply = lender.as_ref().map_or(&own, |lender| lender);
    let raw: RefCell<Option<Raw>> = RefCell::default();
    let (stage, sits) = (wish.stage.clone(), seat.is_some());
    let of_stage = plans.iter().flat_map(|plan| &plan.stages).filter(|planned| planned.name == stage);
    let has_secrets = of_stage.flat_map(|planned| &planned.steps).any(|step| !step.secrets.is_empty());
    let opened = |opened: Opened| {
        session.say(&told(&stage, opened, sits));
        if has_secrets {
            session.say("Secrets of its steps are not there: a shell is given none.");
        }
        if sits {
            *raw.borrow_mut() = Raw::set();
        }
    };
    let mut lines = Lines::default();
    let neutral = !sits && io::stdout().is_terminal();
    let mut sink = |stream: Stream, bytes: &[u8]| show(&mut lines, neutral, stream, bytes);
    let shell = Shell {
        command: wish.command,
        terminal: seat.map(|seat| seat.terminal),
        term: session.environment.term.clone(),
        opened: &opened,
        sink: &mut sink,
    };
    let journal = Journal::default();
    let secrets = Secrets::default();
    let ran = build::with_build(session, &store, project, (&plans, &wishes), (&journal, &secrets, supply), |build| {
        build.shell(&wish.stage, &wish.place, shell)
    });
    // Nothing more is said before the terminal is what it was.
    drop(raw.take());
    let pinned = lender.as_ref().map_or_else(|| own.pinned(), Lender::pinned);
    ops::lock::add_loose(session, project, pinned)?;
    if neutral {
        lines.finish().iter().for_each(|line| write(&mut io::stdout(), format!("{line}\n").as_bytes()));
    }
    let (exit, refusals) = ran?;
    for refused in &refusals {
        session.warn(&refusal(refused));
    }
    Ok(exit)
}

fn refusal(refused: &Refused) -> String {
    format!("refused: {refused}, by {}", refused.executable)
}

fn told(stage: &Name, opened: Opened, sits: bool) -> String {
    let place = match opened {
        Opened::Left(step) => format!("{stage}/{step}, as it was when the step failed"),
        Opened::Before(step) => format!("{stage}/{step}, where the step begins: what it left is not there"),
        Opened::After(0) => format!("{stage}, before its first step"),
        Opened::After(step) => format!("{stage}, after step {step}"),
    };
    let rest = if sits { "; without network, and what is changed here is thrown away" } else { "" };
    format!("The file system of {place}{rest}.")
}

fn show(lines: &mut Lines, neutral: bool, stream: Stream, bytes: &[u8]) {
    if neutral {
        let told = match stream {
            Stream::Stdout => Told::Stdout,
            Stream::Stderr => Told::Stderr,
        };
        let lines = lines.push(told, bytes);
        lines.iter().for_each(|line| write(&mut io::stdout(), format!("{line}\n").as_bytes()));
        return;
    }
    match stream {
        Stream::Stdout => write(&mut io::stdout(), bytes),
        Stream::Stderr => write(&mut io::stderr(), bytes),
    }
}

/// Writes what a command printed. A reader that went away is no reason to end the command.
fn write(to: &mut dyn Write, bytes: &[u8]) {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// The terminal at which the user sits.
struct Seat {
    terminal: Terminal,
}

impl Seat {
    fn take() -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            let text = "there is no terminal for a shell: standard input and output must be one";
            return Err(CliError::NoTerminal(text).into());
        }
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(CliError::file)?;
        let (resized, signalled) = UnixStream::pair().map_err(CliError::file)?;
        resized.set_nonblocking(true).map_err(CliError::file)?;
        signal_hook::low_level::pipe::register(SIGWINCH, signalled).map_err(CliError::file)?;
        Ok(Self { terminal: Terminal { input, resized: OwnedFd::from(resized) } })
    }
}

/// The user's terminal in raw mode: every key goes to the shell, Ctrl-C too. It is set back when this is dropped.
struct Raw(Termios);

impl Raw {
    fn set() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
