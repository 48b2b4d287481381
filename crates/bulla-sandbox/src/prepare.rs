//! What the helper makes ready before it clones: directories on disk, and every string that the new process needs, so
//! that the new process allocates nothing.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr, c_char},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use bulla_model::Digest;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
    process::{Resource, Rlimit},
    thread::CpuSet,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    bpf::Instruction,
    emulate::Registration,
    filter, fixed,
    request::{Emulation, Limits, Privileges, Request, Root, SECRETS, Secret},
    wire::Job,
};

const CAPABILITIES_OF_SCRIPTS: u64 = 0x8000_01ff;

/// Gives the capabilities that a command has inside its user namespace.
pub(crate) const fn capabilities(privileges: Privileges) -> u64 {
    match privileges {
        Privileges::Step => 0,
        Privileges::Scripts => CAPABILITIES_OF_SCRIPTS,
    }
}

/// Everything that the new process reads.
pub(crate) struct Prepared {
    pub(crate) root: PreparedRoot,
    pub(crate) binds: Vec<PreparedBind>,
    pub(crate) fixed: Vec<PreparedFile>,
    pub(crate) hostname: Vec<u8>,
    pub(crate) umask: u16,
    pub(crate) cwd: CString,
    pub(crate) programs: Vec<CString>,
    pub(crate) argv: Vec<*const c_char>,
    pub(crate) envp: Vec<*const c_char>,
    pub(crate) capabilities: u64,
    pub(crate) filter: &'static [Instruction],
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    pub(crate) cpus: CpuSet,
    /// The port to listen on for the caller.
    pub(crate) listen: Option<u16>,
    pub(crate) shm_size: CString,
    pub(crate) emulation: Option<Registration>,
    /// Whether the command gets the first stream, a terminal, for its standard input too.
    pub(crate) terminal: bool,
    pub(crate) secrets: Option<PreparedSecrets>,
    /// What `argv` and `envp` point into.
    strings: Vec<CString>,
    /// What is to be removed when the run has ended.
    made: Made,
}

pub(crate) enum PreparedRoot {
    Overlay(Layers),
    Copy { dir: CString },
}

pub(crate) struct Layers {
    pub(crate) lowers: Vec<CString>,
    pub(crate) upper: CString,
    pub(crate) work: CString,
    pub(crate) mountpoint: CString,
    pub(crate) old_way: bool,
}

pub(crate) struct PreparedBind {
    pub(crate) source: CString,
    /// Relative to the root.
    pub(crate) target: CString,
    pub(crate) writable: bool,
}

pub(crate) struct PreparedFile {
    /// Relative to the root.
    pub(crate) target: CString,
    pub(crate) content: Vec<u8>,
    /// Whether some kernels do not have it.
    pub(crate) optional: bool,
}

/// The secrets of a run.
pub(crate) struct PreparedSecrets {
    /// Where the tmpfs is mounted, relative to the root.
    pub(crate) folder: CString,
    /// How large it is.
    pub(crate) size: CString,
    pub(crate) files: Vec<PreparedSecret>,
    /// Further places of files: the name in the folder, and the path relative to the root.
    pub(crate) targets: Vec<(CString, CString)>,
}

pub(crate) struct PreparedSecret {
    pub(crate) name: CString,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

impl PreparedSecrets {
    /// Gives nothing where the run has no secrets. With variables alone there is an empty folder.
    fn new(request: &Request) -> Result<Option<Self>, String> {
        /// What a file takes beside its whole pages.
        const PAGE: usize = 8192;
        if request.secrets.is_empty() {
            return Ok(None);
        }
        let by_name: BTreeMap<&str, &Secret> =
            request.secrets.iter().filter(|one| one.is_file()).map(|one| (one.name.as_str(), one)).collect();
        let files = by_name.iter().map(|(name, secret)| {
            let content = Zeroizing::new(secret.value.expose().to_vec());
            Ok(PreparedSecret { name: c_string(name.as_bytes().to_vec())?, content })
        });
        let files = files.collect::<Result<Vec<_>, String>>()?;
        let target = |secret: &Secret| {
            let path = c_path(relative(secret.target()?));
            Some(c_string(secret.name.as_bytes().to_vec()).and_then(|name| Ok((name, path?))))
        };
        let size: usize = PAGE + files.iter().map(|file| file.content.len() + PAGE).sum::<usize>();
        Ok(Some(Self {
            folder: c_path(relative(Path::new(SECRETS)))?,
            size: c_string(size.to_string().into_bytes())?,
            files,
            targets: request.secrets.iter().filter_map(target).collect::<Result<_, String>>()?,
        }))
    }
}

/// Gives `NAME=VALUE` of a secret that is a variable, with room for the zero byte behind it.
fn variable(secret: &Secret) -> Option<Vec<u8>> {
    let (name, value) = (secret.variable()?, secret.value.expose());
    let mut text = Vec::with_capacity(name.len() + value.len() + 2);
    text.extend_from_slice(name.as_bytes());
    text.push(b'=');
    text.extend_from_slice(value);
    Some(text)
}

/// Directories and mount points that were made for one run.
#[derive(Default)]
struct Made {
    scratch: Option<PathBuf>,
    skeleton: PathBuf,
    /// The copied root, with what was made in it and is to be removed: path, and whether it is a directory.
    copy: Option<(OwnedFd, Vec<Target>)>,
}

/// A mount point: its path in the root, and whether it is a directory.
type Target = (PathBuf, bool);

impl Prepared {
    /// Makes directories and strings for a job. The text of the error says what failed, with the path.
    pub(crate) fn new(job: &Job) -> Result<Self, String> {
        Self::with(job, Made::new(job)?)
    }

    /// Makes the strings for a job whose directories another process has made.
    pub(crate) fn again(job: &Job) -> Result<Self, String> {
        Self::with(job, Made::found(job)?)
    }

    fn with(job: &Job, made: Made) -> Result<Self, String> {
        let request = &job.request;
        let cpus = processors(request.limits.cpus)?;
        let mut strings = Vec::new();
        let mut pointers = |words: &mut dyn Iterator<Item = Vec<u8>>| -> Result<Vec<*const c_char>, String> {
            let words: Vec<CString> = words.map(c_string).collect::<Result<_, _>>()?;
            let pointers = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
            strings.extend(words);
            Ok(pointers)
        };
        let argv = pointers(&mut request.argv.iter().map(|word| word.as_bytes().to_vec()))?;
        let env = request.env.iter().filter(|(key, _)| !request.secrets.iter().any(|one| one.variable() == Some(key)));
        let env = env.map(|(key, value)| format!("{key}={value}").into_bytes());
        let envp = pointers(&mut env.chain(request.secrets.iter().filter_map(variable)))?;
        Ok(Self {
            root: prepared_root(job, &made.skeleton)?,
            binds: request
                .binds
                .iter()
                .map(|bind| {
                    Ok(PreparedBind {
                        source: c_path(&bind.source)?,
                        target: c_path(relative(&bind.target))?,
                        writable: bind.writable,
                    })
                })
                .collect::<Result<_, String>>()?,
            fixed: prepared_files(request, cpus.count() as usize)?,
            hostname: request.hostname.clone().into_bytes(),
            umask: request.umask,
            cwd: c_path(&request.cwd)?,
            programs: programs(request)?,
            argv,
            envp,
            capabilities: capabilities(request.privileges),
            filter: &filter::filter(request.privileges, request.identity_fake).program,
            rlimits: rlimits(&request.limits, job.data_limit),
            cpus,
            listen: request.listen,
            emulation: match &request.emulation {
                Some(Emulation { machine, interpreter }) => Some(Registration::new(c_path(interpreter)?, *machine)),
                None => None,
            },
            shm_size: c_string((request.limits.memory / 2).max(1 << 20).to_string().into_bytes())?,
            terminal: job.terminal,
            secrets: PreparedSecrets::new(request)?,
            strings,
            made,
        })
    }

    /// Wipes the secrets that are files. Does not allocate.
    pub(crate) fn forget_secret_files(&mut self) {
        for file in self.secrets.iter_mut().flat_map(|secrets| &mut secrets.files) {
            file.content.zeroize();
        }
    }

    /// Wipes the secrets, and with them the arguments and the environment, where there are any: no command can be started
    /// after that. Does not allocate.
    pub(crate) fn forget_secrets(&mut self) {
        self.forget_secret_files();
        if self.secrets.is_some() {
            self.argv.clear();
            self.envp.clear();
            self.strings.drain(..).for_each(|string| string.into_bytes_with_nul().zeroize());
        }
    }

    /// Removes what was made for the run, but for the upper directory. The sandbox must have ended.
    pub(crate) fn clean(self) {
        self.made.clean();
    }
}

impl Made {
    fn new(job: &Job) -> Result<Self, String> {
        let targets = targets(&job.request)?;
        match &job.request.root {
            Root::Copy { dir } => {
                let root = open_directory(dir).map_err(|errno| said("opening the directory", dir, errno))?;
                let made = make_all(&root, &targets)
                    .map_err(|(path, errno)| said("making the mount point", &dir.join(path), errno))?;
                Ok(Self { copy: Some((root, made)), ..Self::default() })
            }
            Root::Overlay { scratch, .. } => {
                make(&scratch.join("upper"), 0o755)?;
                make(&scratch.join("work"), 0o700)?;
                let skeleton = match &job.skeletons {
                    Some(kept) => kept_skeleton(kept, &targets)?,
                    None => new_skeleton(&scratch.join("skeleton"), &targets)?,
                };
                Ok(Self { scratch: Some(scratch.clone()), skeleton, copy: None })
            }
        }
    }

    /// Gives what is needed of what [`Made::new`] made for the same job, and nothing to be removed.
    fn found(job: &Job) -> Result<Self, String> {
        let skeleton = match (&job.request.root, &job.skeletons) {
            (Root::Copy { .. }, _) => PathBuf::new(),
            (Root::Overlay { .. }, Some(kept)) => kept.join(skeleton_name(&targets(&job.request)?)),
            (Root::Overlay { scratch, .. }, None) => scratch.join("skeleton"),
        };
        Ok(Self { skeleton, ..Self::default() })
    }

    fn clean(&self) {
        if let Some((root, made)) = &self.copy {
            made.iter().rev().for_each(|(path, directory)| remove(root, path, *directory));
        }
        let Some(scratch) = &self.scratch else { return };
        // Overlayfs leaves folders of mode 000 there, which a plain recursive delete could not read. Deleting is left to
        // the caller, since it is slow where a disk discards blocks at once, and nobody has to wait for it.
        for path in ["work/work", "work/work/incompat", "work/work/incompat/volatile"] {
            let _ = rustix::fs::chmod(scratch.join(path), Mode::RWXU);
        }
    }
}

/// Lists the mount points that the root must have.
fn targets(request: &Request) -> Result<Vec<Target>, String> {
    let directories = ["dev", "proc"].iter().map(|name| (PathBuf::from(name), true));
    let files = fixed::NEEDED.iter().map(|name| (PathBuf::from(name), false));
    let mut targets: Vec<Target> = directories.chain(files).collect();
    for bind in &request.binds {
        let metadata = bind.source.metadata();
        let is_dir = metadata.map_err(|error| format!("reading {}: {error}", bind.source.display()))?.is_dir();
        targets.push((relative(&bind.target).to_owned(), is_dir));
    }
    if !request.secrets.is_empty() {
        targets.push((relative(Path::new(SECRETS)).to_owned(), true));
    }
    targets.extend(request.secrets.iter().filter_map(Secret::target).map(|path| (relative(path).to_owned(), false)));
    Ok(targets)
}

/// Makes the lowest layer of an overlay: mount points that the root may lack, so that the upper directory gets none.
fn new_skeleton(path: &Path, targets: &[Target]) -> Result<PathBuf, String> {
    make(path, 0o755)?;
    let root = open_directory(path).map_err(|errno| said("opening the directory", path, errno))?;
    match make_all(&root, targets) {
        Ok(_) => Ok(path.to_owned()),
        Err((target, errno)) => Err(said("making the mount point", &path.join(target), errno)),
    }
}

/// Names a skeleton by its mount points.
fn skeleton_name(targets: &[Target]) -> String {
    let mut text = Vec::new();
    for (path, directory) in targets {
        text.extend_from_slice(if *directory { b"d" } else { b"f" });
        text.extend_from_slice(path.as_os_str().as_bytes());
        text.push(0);
    }
    Digest::of(text).hex()
}

/// Gives the skeleton that other runs with the same mount points use as well.
fn kept_skeleton(kept: &Path, targets: &[Target]) -> Result<PathBuf, String> {
    let path = kept.join(skeleton_name(targets));
    if path.is_dir() {
        return Ok(path);
    }
    let unfinished = path.with_extension(std::process::id().to_string());
    let _ = std::fs::remove_dir_all(&unfinished);
    new_skeleton(&unfinished, targets)?;
    match rustix::fs::rename(&unfinished, &path) {
        Ok(()) => Ok(path),
        // Another helper was faster.
        Err(Errno::EXIST | Errno::NOTEMPTY) => {
            let _ = std::fs::remove_dir_all(&unfinished);
            Ok(path)
        }
        Err(errno) => Err(said("keeping the skeleton", &path, errno)),
    }
}

fn make(path: &Path, mode: u32) -> Result<(), String> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map_err(|errno| said("making the directory", path, errno))
}

/// Makes mount points, and gives those that were not there; on an error none of them stays.
fn make_all(root: &OwnedFd, targets: &[Target]) -> Result<Vec<Target>, (PathBuf, Errno)> {
    let mut made = Vec::new();
    for (target, is_dir) in targets {
        if let Err(errno) = ensure(root, target, *is_dir, &mut made) {
            made.iter().rev().for_each(|(path, directory)| remove(root, path, *directory));
            return Err((target.clone(), errno));
        }
    }
    Ok(made)
}

/// Makes a mount point and the directories above it, never through a link that leaves the root.
fn ensure(root: &OwnedFd, target: &Path, is_dir: bool, made: &mut Vec<Target>) -> Result<(), Errno> {
    let above: Vec<&Path> = target.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    for path in above.into_iter().rev() {
        match open_inside(root, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(_) => continue,
            Err(Errno::NOENT) => (),
            Err(errno) => return Err(errno),
        }
        let (parent, name) = parent(root, path)?;
        let directory = is_dir || path != target;
        if directory {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        }
        made.push((path.to_owned(), directory));
    }
    Ok(())
}

/// Removes a mount point again, unless the command has made use of it.
fn remove(root: &OwnedFd, path: &Path, directory: bool) {
    let Ok((parent, name)) = parent(root, path) else { return };
    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    let empty =
        directory || rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_size == 0);
    if empty {
        let _ = rustix::fs::unlinkat(&parent, name, flags);
    }
}

fn parent<'a>(root: &OwnedFd, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => open_inside(root, parent, OFlags::PATH | OFlags::DIRECTORY)?,
        None => rustix::io::fcntl_dupfd_cloexec(root, 0)?,
    };
    Ok((parent, name))
}

fn prepared_root(job: &Job, skeleton: &Path) -> Result<PreparedRoot, String> {
    Ok(match &job.request.root {
        Root::Overlay { lowers, scratch } => {
            let lowers = lowers.iter().map(PathBuf::as_path).chain([skeleton]);
            PreparedRoot::Overlay(Layers {
                lowers: lowers.map(c_path).collect::<Result<_, _>>()?,
                upper: c_path(&scratch.join("upper"))?,
                work: c_path(&scratch.join("work"))?,
                mountpoint: c_path(scratch)?,
                old_way: job.old_overlay,
            })
        }
        Root::Copy { dir } => PreparedRoot::Copy { dir: c_path(dir)? },
    })
}

fn prepared_files(request: &Request, cpus: usize) -> Result<Vec<PreparedFile>, String> {
    let files = fixed::files(&request.hostname, &request.limits, cpus);
    files
        .into_iter()
        .map(|file| {
            Ok(PreparedFile {
                target: c_string(file.target.as_bytes().to_vec())?,
                content: file.content.into_bytes(),
                optional: file.target.starts_with("proc/"),
            })
        })
        .collect()
}

/// Gives the paths to try for the command, as `execvp(3)` does.
fn programs(request: &Request) -> Result<Vec<CString>, String> {
    let Some(program) = request.argv.first().map(|word| word.as_bytes()) else { return Err("no command".to_owned()) };
    if program.contains(&b'/') {
        return Ok(vec![c_string(program.to_vec())?]);
    }
    let path = request.env.get("PATH").map_or("/usr/bin:/bin", String::as_str);
    path.split(':')
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .map(|dir| c_string([dir.as_bytes(), b"/", program].concat()))
        .collect()
}

/// Chooses the first processors of those that this process may use.
fn processors(wanted: Option<u16>) -> Result<CpuSet, String> {
    let allowed =
        rustix::thread::sched_getaffinity(None).map_err(|errno| format!("asking for the processors: {errno}"))?;
    let Some(wanted) = wanted else { return Ok(allowed) };
    let mut chosen = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(wanted.into()).for_each(|cpu| chosen.set(cpu));
    Ok(chosen)
}

/// Sets every limit, so that none is inherited; the hard limits of this process bound them.
fn rlimits(limits: &Limits, data_limit: bool) -> Vec<(Resource, Rlimit)> {
    const NONE: u64 = u64::MAX;
    // The supervisor ends what goes over the limit and can say so; this stops one process that is faster than it.
    let data = if data_limit { limits.memory.saturating_add((limits.memory / 4).max(256 << 20)) } else { NONE };
    // The kernel tells of a cgroup's limit that was reached, and of this one not: where there is a cgroup it comes first.
    let processes = u64::from(limits.processes) + 3;
    let wanted: BTreeMap<u8, (Resource, u64, u64)> = [
        (Resource::As, NONE, NONE),
        // One byte: no file is that short, and a program of the host that is piped core dumps (core(5)) gets none, as it would with 0.
        (Resource::Core, 1, 1),
        (Resource::Cpu, NONE, NONE),
        (Resource::Data, data, data),
        (Resource::Fsize, limits.disk, limits.disk),
        (Resource::Locks, NONE, NONE),
        (Resource::Memlock, 8 << 20, 8 << 20),
        (Resource::Msgqueue, 819_200, 819_200),
        (Resource::Nice, 0, 0),
        (Resource::Nofile, 1024, 65_536),
        (Resource::Nproc, processes, processes),
        (Resource::Rss, NONE, NONE),
        (Resource::Rtprio, 0, 0),
        (Resource::Rttime, NONE, NONE),
        (Resource::Sigpending, 4096, 4096),
        (Resource::Stack, 8 << 20, NONE),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, limit)| (index as u8, limit))
    .collect();
    wanted
        .into_values()
        .map(|(resource, soft, hard)| {
            let bound = rustix::process::getrlimit(resource).maximum.unwrap_or(NONE);
            let value = |limit: u64| Some(limit.min(bound)).filter(|limit| *limit != NONE);
            (resource, Rlimit { current: value(soft), maximum: value(hard) })
        })
        .collect()
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn c_path(path: &Path) -> Result<CString, String> {
    c_string(path.as_os_str().as_bytes().to_vec())
}

fn c_string(bytes: Vec<u8>) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| "a string with a zero byte".to_owned())
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_inside(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn said(verb: &str, path: &Path, errno: Errno) -> String {
    format!("{verb} {}: {}", path.display(), io::Error::from(errno))
}
