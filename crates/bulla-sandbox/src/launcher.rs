//! The caller's handle: keeps helpers, and runs commands through them from any thread.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rustix::{
    event::EventfdFlags,
    fs::{MemfdFlags, OFlags},
    io::Errno,
    pipe::PipeFlags,
};

use crate::{
    error::Error,
    filter, helper,
    limits::Ladder,
    outcome::{Isolation, Outcome, Rung},
    prepare,
    request::{Request, Root},
    serve::Serve,
    stage::Stage,
    supervise::{Stream, Streams, Supervisor},
    terminal::{self, Terminal},
    wire::{self, Job},
    worker::{self, Worker},
};

const NAMESPACES: &[&str] = &["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];

/// How sandboxes are started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The uid and gid that sandboxes run as when the caller is root. All that they use must belong to it.
    pub service_uid: u32,
    /// The strongest way of limiting that is tried; tests ask for a weaker one.
    pub best_rung: Rung,
    /// An existing directory, on the disk of the upper directories and of that uid, where mount points are kept between
    /// runs. Without it they are made for each run, in its scratch directory.
    pub skeletons: Option<PathBuf>,
    /// Whether overlays are mounted in the way of kernels before 6.7, which takes about 180 lower directories. That way
    /// is taken by itself where it is needed; tests ask for it.
    pub old_overlay: bool,
    /// Whether overlays fail as on a host that refuses them; tests ask for it.
    pub refuse_overlay: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_uid: 61_170,
            best_rung: Rung::CgroupV2,
            skeletons: None,
            old_overlay: false,
            refuse_overlay: false,
        }
    }
}

impl Options {
    /// Gives the word that tells the helper which identity to take.
    pub(crate) fn identity(&self) -> String {
        let root = rustix::process::geteuid().is_root();
        if root { self.service_uid.to_string() } else { helper::KEEP_UID.to_owned() }
    }

    fn host_uid(&self) -> u32 {
        let uid = rustix::process::geteuid();
        if uid.is_root() { self.service_uid } else { uid.as_raw() }
    }
}

/// Starts sandboxes. Clones share their helper processes, which end with the last of them.
#[derive(Clone, Debug)]
pub struct Launcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Helpers without a run; as many are started as there were runs at one time.
    idle: Mutex<Vec<Worker>>,
    image: Arc<File>,
    ladder: Ladder,
    options: Options,
}

/// What attends to a run beside its output.
#[derive(Default)]
pub struct Attended<'a> {
    /// The caller's terminal, which the command is given for all three of its streams.
    pub terminal: Option<Terminal>,
    /// What answers at [`Request::listen`]; both are there, or neither.
    pub server: Option<&'a mut dyn Serve>,
}

/// Ends a run from another thread, at once and with all its processes.
#[derive(Clone, Debug)]
pub struct Cancel {
    event: Arc<OwnedFd>,
}

impl Cancel {
    /// Makes a handle that has not been used.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new() -> Result<Self, Error> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags)
            .map_err(|errno| Error::Supervise { doing: "making the cancel handle", source: errno.into() })?;
        Ok(Self { event: Arc::new(event) })
    }

    /// Ends every run that was, or will be, started with this handle.
    pub fn cancel(&self) {
        let _ = rustix::io::write(&*self.event, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Launcher {
    /// Starts the first helper. The program's `main` must call [`crate::intercept`] first.
    ///
    /// # Errors
    /// When the helper cannot be executed, or its cgroups cannot be made.
    pub fn start(options: Options) -> Result<Self, Error> {
        let image = Arc::new(worker::sealed_image()?);
        let ladder = match Ladder::find() {
            ladder if ladder.rung() >= options.best_rung => ladder,
            _ => Ladder::Rlimits,
        };
        ladder.sweep();
        let shared = Shared { idle: Mutex::new(Vec::new()), image, ladder, options };
        let first = shared.worker()?;
        shared.put_back(first);
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The sealed copy of this program.
    pub(crate) fn image(&self) -> &Arc<File> {
        &self.shared.image
    }

    /// Says how limits will be enforced.
    pub fn rung(&self) -> Rung {
        self.shared.ladder.rung()
    }

    /// Runs one command to its end. Output is handed to `sink` as it comes, from this thread.
    ///
    /// When this returns, no process of the run is left. Output beyond [`crate::Limits::output`] is read and dropped,
    /// and the command goes on: a build that took an hour does not fail for its log.
    ///
    /// # Errors
    /// When the sandbox could not be set up or was lost; a command that fails is an [`Outcome`].
    pub fn run(
        &self,
        request: &Request,
        cancel: &Cancel,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Outcome, Error> {
        self.run_with(request, cancel, Attended::default(), sink)
    }

    /// Runs one command at a terminal of its own, to which the caller's is connected until the command ends. All that the
    /// command prints is handed to `sink` as standard output. The caller's terminal should be in raw mode.
    ///
    /// # Errors
    /// As [`Launcher::run`], and when there is no terminal left.
    pub fn run_at_terminal(
        &self,
        request: &Request,
        cancel: &Cancel,
        terminal: Terminal,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Outcome, Error> {
        self.run_with(request, cancel, Attended { terminal: Some(terminal), server: None }, sink)
    }

    /// Runs one command with what attends to it: a server at [`Request::listen`], a terminal, or both.
    ///
    /// # Errors
    /// As [`Launcher::run`] and [`Launcher::run_at_terminal`], and when the server does not take its socket.
    pub fn run_with(
        &self,
        request: &Request,
        cancel: &Cancel,
        attended: Attended<'_>,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Outcome, Error> {
        let start = Instant::now();
        let Attended { terminal, server } = attended;
        request.check()?;
        if request.listen.is_some() != server.is_some() {
            return Err(Error::BadRequest { what: "a port to listen on and a server belong together".to_owned() });
        }
        if self.shared.options.refuse_overlay && matches!(request.root, Root::Overlay { .. }) {
            let source = Errno::PERM.into();
            return Err(Error::Setup { stage: Stage::Overlay, source, findings: Vec::new() });
        }
        let (control, theirs) = worker::socket_pair().map_err(broken("making a socket"))?;
        let job = self.job_file(request, terminal.is_some()).map_err(broken("writing the job"))?;
        let (streams, [stdout_theirs, stderr_theirs]) = match terminal {
            None => {
                let (stdout, stdout_theirs) = output_pipe().map_err(broken("making a pipe"))?;
                let (stderr, stderr_theirs) = output_pipe().map_err(broken("making a pipe"))?;
                (Streams { stdout, stderr: Some(stderr), keyboard: None }, [stdout_theirs, stderr_theirs])
            }
            Some(terminal) => {
                let (keyboard, stdout, inner) = terminal::open(terminal).map_err(broken("opening a terminal"))?;
                let again = inner.try_clone().map_err(broken("opening a terminal"))?;
                (Streams { stdout, stderr: None, keyboard: Some(keyboard) }, [inner, again])
            }
        };
        let fds = [job.as_fd(), theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
        let worker = self.shared.submit(request, fds)?;
        drop((job, theirs, stdout_theirs, stderr_theirs));
        let ended = Supervisor::new(request, &worker.cage, control, streams, server, start).serve(cancel, sink);
        let rung = worker.cage.rung();
        // A helper that has ended is noticed when it is given the next job.
        self.shared.put_back(worker);
        let ended = ended.map_err(|error| error.examined(request, &self.shared.options))?;
        let isolation = Isolation {
            namespaces: NAMESPACES,
            emulated: request.emulation.as_ref().map(|emulation| emulation.machine.name().to_owned()),
            filter: filter::filter(request.privileges, request.identity_fake).digest,
            rung,
            overlay: matches!(request.root, Root::Overlay { .. }),
            host_uid: self.shared.options.host_uid(),
            capabilities: prepare::capabilities(request.privileges),
            limits_reached: ended.reached.into_iter().collect(),
        };
        Ok(Outcome {
            exit: ended.exit,
            refusals: ended.records.refusals,
            refusals_dropped: ended.records.refusals_dropped,
            executed: ended.records.executed,
            executed_dropped: ended.records.executed_dropped,
            connections: ended.records.connections.list,
            connections_dropped: ended.records.connections.dropped,
            owners: ended.owners,
            usage: ended.usage,
            isolation,
        })
    }

    fn job_file(&self, request: &Request, terminal: bool) -> io::Result<OwnedFd> {
        let Options { skeletons, old_overlay, .. } = &self.shared.options;
        let bytes = wire::encode_job(&Job {
            request: request.clone(),
            data_limit: self.rung() == Rung::Rlimits,
            old_overlay: *old_overlay,
            skeletons: skeletons.clone(),
            terminal,
        });
        let file = rustix::fs::memfd_create("bulla-job", MemfdFlags::CLOEXEC)?;
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            written += rustix::io::pwrite(&file, rest, written as u64)?;
        }
        Ok(file)
    }
}

impl Shared {
    fn worker(&self) -> Result<Worker, Error> {
        Worker::start(&self.image, self.options.identity(), &self.ladder)
    }

    fn put_back(&self, worker: Worker) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    /// Gives a job to an idle helper, or to a new one, and gives that helper.
    fn submit(&self, request: &Request, fds: [BorrowedFd<'_>; 4]) -> Result<Worker, Error> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = idle.is_none();
            let mut worker = idle.map_or_else(|| self.worker(), Ok)?;
            worker.cage.limit(&request.limits)?;
            match worker.submit(fds) {
                Ok(()) => return Ok(worker),
                Err(error) if fresh => return Err(error),
                Err(_) => (),
            }
        }
    }
}

fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}

fn broken(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Supervise { doing, source }
}
