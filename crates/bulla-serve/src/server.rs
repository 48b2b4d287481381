//! The caller's side, and the way into the process.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use bulla_sandbox::{Cell, Connection, Entered, Launcher, Serve};
use rustix::event::EventfdFlags;

use crate::{
    connection::Desk,
    engine::{self, Limits, Wires},
    error::Error,
    record::{Heard, Report},
    table::{Index, Route, Table},
};

/// The name under which the program is executed as the server.
const NAME: &str = "bulla-serve";
/// How long the process may take for each thing that it tells at the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The locked repository of one step, served by a process of its own. Dropping it ends the process.
#[derive(Debug)]
pub struct Server {
    cell: Cell,
    /// Readable when something was asked for that is not there.
    refused: OwnedFd,
    paths: Vec<String>,
}

impl Server {
    /// Starts the process, which then waits for its socket. The program's `main` must call [`intercept`] first.
    ///
    /// # Errors
    /// When a route cannot be answered as it is, or the process cannot be had.
    pub fn start(launcher: &Launcher, table: &Table) -> Result<Self, Error> {
        let failed = |doing| move |source| Error::Table { doing, source };
        table.check()?;
        let file = table.seal().map_err(failed("writing the table"))?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let refused = rustix::event::eventfd(0, flags).map_err(|e| failed("making the sign")(e.into()))?;
        let cell = launcher.cell(NAME, table.blobs.as_deref()).map_err(Error::Start)?;
        cell.send(&[file.as_fd(), refused.as_fd()]).map_err(failed("handing over the table"))?;
        let paths = table.routes.iter().map(Route::name).collect();
        Ok(Self { cell, refused, paths })
    }

    /// Ends the process, and gives what it was asked. Call it when the step has ended: what still lies unread in its connections
    /// is read, and counts. `connections` are those of the step's outcome ([`bulla_sandbox::Outcome::connections`]).
    ///
    /// # Errors
    /// When the process ended before.
    pub fn finish(self, connections: &[Connection]) -> Result<Report, Error> {
        self.cell.close().map_err(|_| Error::Lost)?;
        let mut heard = Heard::default();
        while let Some(message) = self.cell.receive(PATIENCE).map_err(|_| Error::Lost)? {
            heard.take(&message).ok_or(Error::Lost)?;
        }
        if !heard.ended() {
            return Err(Error::Lost);
        }
        let path = |route: usize| self.paths.get(route).map(String::as_str);
        heard.report(&path, connections).ok_or(Error::Lost)
    }
}

impl Serve for Server {
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        // Here, since the process may set nothing about its descriptors.
        rustix::io::ioctl_fionbio(&listener, true)?;
        self.cell.send(&[listener.as_fd()])
    }

    fn refused(&self) -> Option<BorrowedFd<'_>> {
        Some(self.refused.as_fd())
    }
}

/// Serves when this process is the server's, and then never returns; does nothing else. Call it first in `main`, together with
/// [`bulla_sandbox::intercept`].
pub fn intercept() {
    if let Some(entered) = Cell::enter(NAME) {
        Entered::end(i32::from(attend(entered).is_none()))
    }
}

/// Serves in the process of the server; `None` when that failed.
fn attend(entered: Entered) -> Option<()> {
    let Entered { socket, folder, files } = entered;
    let [table, refused] = <[OwnedFd; 2]>::try_from(bulla_sandbox::receive(&socket).ok()??).ok()?;
    let desk = Desk::new(Index::read(table)?, folder)?;
    engine::serve(desk, Wires { control: socket, refused }, None, Limits::within(files)).ok()
}
