//! The caller's side of one run: it answers the filter, feeds the sink, hands output on, and ends what goes too far.

use std::{
    fs::File,
    io::{self, Read as _},
    net::UdpSocket,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    process::{PidfdGetfdFlags, Signal},
};

use crate::{
    Cancel,
    error::Error,
    journal::Owners,
    limits::Cage,
    net,
    notify::Watcher,
    observe::{self, Process, Records},
    outcome::{Exit, Limit, RefusalKind, Usage},
    request::{Request, Root},
    serve::Serve,
    stage::Stage,
    terminal::Keyboard,
    watch::Watch,
    wire::{self, Message},
};

/// Which of the two streams some output came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

const OUTPUT_BUFFER: usize = 64 * 1024;

/// What is known when the last process has ended.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) usage: Usage,
    pub(crate) records: Records,
    pub(crate) owners: Owners,
    pub(crate) reached: Vec<Limit>,
}

/// What the supervisor reads of a run, and writes to it.
pub(crate) struct Streams {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: Option<OwnedFd>,
    /// What is typed, where the run has a terminal.
    pub(crate) keyboard: Option<Keyboard>,
}

/// One run, from the job to the end of its last process.
pub(crate) struct Supervisor<'a, 's> {
    request: &'a Request,
    cage: &'a Cage,
    control: OwnedFd,
    outputs: [Option<(Stream, File)>; 2],
    keyboard: Option<Keyboard>,
    server: Option<&'s mut dyn Serve>,
    start: Instant,
    process: Option<(u32, OwnedFd)>,
    /// The number of the listener, until it is taken.
    listener: Option<i32>,
    inside: Option<Inside>,
    watcher: Option<Watcher>,
    watch: Option<Watch>,
    records: Records,
    owners: Owners,
    usage: Usage,
    status: Option<i32>,
    failure: Option<(Stage, Errno)>,
    stopped: Option<Exit>,
    reaped: bool,
}

/// What the sandbox handed out.
struct Inside {
    resolver: UdpSocket,
    root: Option<OwnedFd>,
    proc: OwnedFd,
}

impl<'a, 's> Supervisor<'a, 's> {
    pub(crate) fn new(
        request: &'a Request,
        cage: &'a Cage,
        control: OwnedFd,
        streams: Streams,
        server: Option<&'s mut dyn Serve>,
        start: Instant,
    ) -> Self {
        let Streams { stdout, stderr, keyboard } = streams;
        Self {
            request,
            cage,
            control,
            outputs: [Some((Stream::Stdout, stdout.into())), stderr.map(|stderr| (Stream::Stderr, stderr.into()))],
            keyboard,
            server,
            start,
            process: None,
            listener: None,
            inside: None,
            watcher: None,
            watch: None,
            records: Records::default(),
            owners: Owners::default(),
            usage: Usage::default(),
            status: None,
            failure: None,
            stopped: None,
            reaped: false,
        }
    }

    /// Serves the run until its last process has ended.
    pub(crate) fn serve(mut self, cancel: &Cancel, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<Ended, Error> {
        if let Err(error) = self.until_reaped(cancel, sink) {
            self.bury();
            return Err(error);
        }
        self.drain(sink);
        self.conclude()
    }

    fn until_reaped(&mut self, cancel: &Cancel, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<(), Error> {
        while !self.reaped {
            let ready = self.wait(cancel)?;
            if ready.cancelled {
                self.stop(Exit::Cancelled);
            }
            if ready.notification {
                self.notification()?;
            } else if ready.unfiltered {
                self.watcher = None;
            }
            if ready.lookup {
                self.lookup();
            }
            let refused = ready.refused || !self.records.refusals.is_empty();
            if self.request.stop_on_refusal && refused && self.goes_on() {
                self.stop(Exit::Refused);
            }
            self.keyboard(&ready);
            for index in 0..ready.outputs.len() {
                if ready.outputs[index] {
                    self.output(index, sink);
                }
            }
            if ready.control {
                self.message()?;
            }
            self.check_limits();
        }
        Ok(())
    }

    /// Hands on what is typed, and the size of the terminal.
    fn keyboard(&mut self, ready: &Ready) {
        let Some(keyboard) = &mut self.keyboard else { return };
        if ready.resized {
            keyboard.resized();
        }
        if ready.room {
            keyboard.write();
        }
        if ready.typed && !keyboard.read() && self.goes_on() {
            // The person's terminal is gone, and so is the person.
            self.keyboard = None;
            self.stop(Exit::Cancelled);
        }
    }

    /// Ends what still runs after an error, and waits until it has ended.
    fn bury(&mut self) {
        self.stop(Exit::Cancelled);
        // A run has fewer messages than that; each wait ends with the kill, or with the helper.
        for _ in 0..16 {
            if self.reaped || matches!(self.message(), Err(Error::HelperGone | Error::Prepare { .. })) {
                break;
            }
        }
    }

    fn wait(&self, cancel: &Cancel) -> Result<Ready, Error> {
        let mut ready = Ready::default();
        let listen = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut polled = vec![(Source::Control, listen(self.control.as_fd()))];
        if self.goes_on() {
            polled.push((Source::Cancel, listen(cancel.as_fd())));
        }
        if let Some(watcher) = &self.watcher {
            polled.push((Source::Notification, listen(watcher.listener.as_fd())));
        }
        if let Some(inside) = &self.inside {
            polled.push((Source::Lookup, listen(inside.resolver.as_fd())));
        }
        if self.request.stop_on_refusal
            && self.goes_on()
            && let Some(refused) = self.server.as_ref().and_then(|server| server.refused())
        {
            polled.push((Source::Refused, listen(refused)));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some((_, file)) = output {
                polled.push((Source::Output(index), listen(file.as_fd())));
            }
        }
        if let Some(keyboard) = self.keyboard.as_ref().filter(|_| self.goes_on()) {
            polled.push((Source::Resized, listen(keyboard.terminal.resized.as_fd())));
            polled.push(if keyboard.is_full() {
                (Source::Room, PollFd::from_borrowed_fd(keyboard.outer.as_fd(), PollFlags::OUT))
            } else {
                (Source::Typed, listen(keyboard.terminal.input.as_fd()))
            });
        }
        let (sources, mut fds): (Vec<_>, Vec<_>) = polled.into_iter().unzip();
        match rustix::event::poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(errno) => return Err(Error::Supervise { doing: "waiting", source: errno.into() }),
        }
        for (source, fd) in sources.into_iter().zip(&fds) {
            let events = fd.revents();
            if events.is_empty() {
                continue;
            }
            match source {
                Source::Control => ready.control = true,
                Source::Cancel => ready.cancelled = true,
                Source::Notification => {
                    ready.notification = events.contains(PollFlags::IN);
                    ready.unfiltered = events.intersects(PollFlags::HUP | PollFlags::ERR);
                }
                Source::Lookup => ready.lookup = true,
                Source::Refused => ready.refused = true,
                Source::Output(index) => ready.outputs[index] = true,
                Source::Resized => ready.resized = true,
                Source::Room => ready.room = true,
                Source::Typed => ready.typed = true,
            }
        }
        Ok(ready)
    }

    fn timeout(&self) -> Option<Timespec> {
        if !self.goes_on() {
            return None;
        }
        let left = self.request.limits.time.saturating_sub(self.start.elapsed());
        let tick = self.watch.as_ref().map_or(left, |watch| left.min(watch.due()));
        Timespec::try_from(tick + Duration::from_micros(500)).ok()
    }

    fn message(&mut self) -> Result<(), Error> {
        let received = wire::receive(self.control.as_fd())
            .map_err(|errno| Error::Supervise { doing: "receiving from the sandbox", source: errno.into() })?;
        let mut fds = received.fds.into_iter();
        match received.message {
            // Helper and sandbox are both gone, and the kernel may have ended the helper for the sandbox's memory.
            None if self.cage.reached().contains(&Limit::Memory) => {
                self.stopped = Some(Exit::Limit(Limit::Memory));
                self.reaped = true;
            }
            None => return Err(Error::HelperGone),
            Some(Message::Started { pid }) => {
                self.process = fds.next().map(|pidfd| (pid, pidfd));
                if self.stopped.is_some() {
                    self.kill();
                }
            }
            Some(Message::Inside) => {
                let (Some(resolver), Some(root), Some(proc)) = (fds.next(), fds.next(), fds.next()) else {
                    return Err(Error::Supervise {
                        doing: "receiving descriptors",
                        source: io::ErrorKind::Other.into(),
                    });
                };
                let resolver = UdpSocket::from(resolver);
                // A datagram may be gone when it is asked for.
                let _ = resolver.set_nonblocking(true);
                self.inside = Some(Inside { resolver, root: Some(root), proc });
                self.hand_over(fds.next())?;
            }
            Some(Message::Listener { number }) => self.listener = Some(number),
            Some(Message::Failed { stage, errno }) => {
                let stage = Stage::from_byte(stage).unwrap_or(Stage::Handover);
                self.failure = Some((stage, Errno::from_raw_os_error(errno)));
                // Without a process the helper has nothing to report the end of.
                self.reaped |= stage == Stage::Namespaces && self.process.is_none();
            }
            Some(Message::Status { raw }) => self.status = Some(raw),
            Some(Message::Unprepared) => {
                let mut said = String::new();
                if let Some(file) = fds.next() {
                    let _ = File::from(file).take(4096).read_to_string(&mut said);
                }
                return Err(Error::Prepare { said });
            }
            Some(Message::Reaped { cpu_us, max_rss_kib }) => {
                self.usage.cpu = Duration::from_micros(cpu_us);
                self.usage.max_rss = u64::from(max_rss_kib) * 1024;
                self.reaped = true;
            }
            Some(Message::Go) => (),
        }
        // The helper's message and the sandbox's come in any order.
        match self.listener {
            Some(number) if self.process.is_some() => {
                self.listener = None;
                match self.take_listener(number) {
                    // It was ended before it began, and the process that has the listener is gone.
                    Err(_) if self.stopped.is_some() => Ok(()),
                    taken => taken,
                }
            }
            _ => Ok(()),
        }
    }

    /// Gives the server its socket; the command waits for the filter, which comes later.
    fn hand_over(&mut self, listener: Option<OwnedFd>) -> Result<(), Error> {
        let failed = |source| Error::Supervise { doing: "handing the listening socket over", source };
        match (&mut self.server, listener) {
            (Some(server), Some(listener)) => server.listen(listener).map_err(failed),
            (None, None) => Ok(()),
            _ => Err(failed(io::ErrorKind::NotConnected.into())),
        }
    }

    fn take_listener(&mut self, number: i32) -> Result<(), Error> {
        let doing = |doing| move |source: io::Error| Error::Supervise { doing, source };
        let lost = || io::Error::from(io::ErrorKind::NotConnected);
        let (_, pidfd) = self.process.as_ref().ok_or_else(|| doing("taking the listener")(lost()))?;
        let listener = rustix::process::pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty())
            .map_err(|errno| doing("taking the listener")(errno.into()))?;
        let inside = self.inside.as_mut().ok_or_else(|| doing("taking the listener")(lost()))?;
        let root = inside.root.take().ok_or_else(|| doing("taking the listener")(lost()))?;
        let (upper, disk) = match &self.request.root {
            Root::Overlay { scratch, .. } => (Some(open_directory(&scratch.join("upper"))?), scratch.join("upper")),
            Root::Copy { dir } => (None, dir.clone()),
        };
        let written = self.request.binds.iter().filter(|bind| bind.writable).map(|bind| bind.source.clone());
        let disk = [disk].into_iter().chain(written).collect();
        let limits = &self.request.limits;
        let rung = self.cage.rung();
        self.watch = Some(Watch::new(inside.proc.as_raw_fd(), root.as_raw_fd(), disk, limits, rung));
        let watcher =
            Watcher::new(listener, root, upper, self.request, self.start).map_err(doing("looking at the root"))?;
        self.watcher = Some(watcher);
        self.go()
    }

    fn go(&self) -> Result<(), Error> {
        match wire::send(self.control.as_fd(), Message::Go, &[]) {
            // The sandbox has failed meanwhile; its message says why.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Error::Supervise { doing: "letting the sandbox go on", source: errno.into() }),
        }
    }

    fn notification(&mut self) -> Result<(), Error> {
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        match watcher.step(&mut self.records, &mut self.owners) {
            Ok(()) => Ok(()),
            // Every process under the filter has ended.
            Err(_) if self.status.is_some() || self.stopped.is_some() => {
                self.watcher = None;
                Ok(())
            }
            Err(errno) => Err(Error::Supervise { doing: "answering a system call", source: errno.into() }),
        }
    }

    fn lookup(&mut self) {
        let Some(inside) = &self.inside else { return };
        let mut query = [0; net::MAX_QUERY];
        let Ok((count, from)) = inside.resolver.recv_from(&mut query) else { return };
        let Some(lookup) = query.get(..count).and_then(net::answer) else { return };
        // Its own name is in /etc/hosts, but for the kinds of addresses that it has not.
        if lookup.name != "localhost" && lookup.name != self.request.hostname {
            let by = self
                .process
                .as_ref()
                .and_then(|(pid, _)| observe::owner_of_port(*pid, inside.proc.as_raw_fd(), from.port()));
            let by = by.unwrap_or_else(|| match self.watcher.as_ref().map(|watcher| watcher.resolving) {
                Some(pid) if pid != 0 => observe::process(&format!("/proc/{pid}")),
                _ => Process::default(),
            });
            self.records.refused(RefusalKind::Lookup, lookup.name, by, self.start.elapsed());
        }
        let _ = inside.resolver.send_to(&lookup.reply, from);
    }

    fn output(&mut self, index: usize, sink: &mut dyn FnMut(Stream, &[u8])) {
        let mut buffer = [0; OUTPUT_BUFFER];
        let Some((stream, file)) = self.outputs.get_mut(index).and_then(Option::as_mut) else { return };
        match file.read(&mut buffer) {
            Ok(count) if count > 0 => {
                let room = self.request.limits.output.saturating_sub(self.usage.output);
                let handed = count.min(usize::try_from(room).unwrap_or(usize::MAX));
                self.usage.output += count as u64;
                self.usage.output_dropped += (count - handed) as u64;
                if handed > 0 {
                    sink(*stream, buffer.get(..handed).unwrap_or_default());
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => (),
            _ => self.outputs[index] = None,
        }
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) {
        // Every writer has ended, so that each pipe ends after what is in it.
        for index in 0..self.outputs.len() {
            while self.outputs[index].is_some() {
                self.output(index, sink);
            }
        }
    }

    fn check_limits(&mut self) {
        if !self.goes_on() || self.reaped {
            return;
        }
        if self.start.elapsed() >= self.request.limits.time {
            self.stop(Exit::Limit(Limit::Time));
        } else if let Some(limit) = self.watch.as_mut().and_then(Watch::check) {
            self.stop(Exit::Limit(limit));
        }
    }

    /// Says whether the command has neither ended nor been ended.
    fn goes_on(&self) -> bool {
        self.stopped.is_none() && self.status.is_none()
    }

    fn stop(&mut self, exit: Exit) {
        // A command that has ended by itself was faster.
        if self.status.is_none() {
            self.stopped = Some(exit);
        }
        self.kill();
    }

    fn kill(&self) {
        if let Some((_, pidfd)) = &self.process {
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    fn conclude(mut self) -> Result<Ended, Error> {
        let mut reached = self.cage.reached();
        if self.usage.output_dropped > 0 {
            reached.push(Limit::Output);
        }
        let exit = match (self.stopped, self.failure, self.status) {
            (Some(exit), ..) => exit,
            (None, Some((stage, errno)), _) => return Err(self.failed(stage, errno)),
            (None, None, Some(raw)) => match self.command_exit(raw) {
                Exit::Code(0) => Exit::Code(0),
                _ if reached.contains(&Limit::Memory) => Exit::Limit(Limit::Memory),
                exit => exit,
            },
            // The first process was killed: by the kernel for memory, or by someone outside.
            (None, None, None) if reached.contains(&Limit::Memory) => Exit::Limit(Limit::Memory),
            (None, None, None) => Exit::Signal(Signal::KILL.as_raw()),
        };
        if let Exit::Limit(limit) = exit {
            reached.push(limit);
        }
        self.usage.wall = self.start.elapsed();
        Ok(Ended { exit, usage: self.usage, records: self.records, owners: self.owners, reached })
    }

    fn command_exit(&self, raw: i32) -> Exit {
        match raw & 0x7f {
            0 => Exit::Code(raw >> 8 & 0xff),
            libc::SIGXFSZ => Exit::Limit(Limit::Disk),
            signal => Exit::Signal(signal),
        }
    }

    fn failed(&self, stage: Stage, errno: Errno) -> Error {
        if stage == Stage::Execute {
            let program = self.request.argv.first().map(|word| word.to_string_lossy().into_owned());
            return Error::Execute { program: program.unwrap_or_default(), source: errno.into() };
        }
        Error::Setup { stage, source: errno.into(), findings: Vec::new() }
    }
}

#[derive(Default)]
struct Ready {
    control: bool,
    cancelled: bool,
    notification: bool,
    /// Every process under the filter has ended.
    unfiltered: bool,
    lookup: bool,
    /// The server was asked for what is not there.
    refused: bool,
    outputs: [bool; 2],
    resized: bool,
    /// What did not fit into the terminal may fit now.
    room: bool,
    typed: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Control,
    Cancel,
    Notification,
    Lookup,
    Refused,
    Output(usize),
    Resized,
    Room,
    Typed,
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::File { verb: "opening the directory", path: path.to_owned(), source: errno.into() })
}
