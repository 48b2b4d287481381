//! Programs of another machine. The emulator here is one of a few instructions, which says that it was started.

use std::{fs, os::fd::OwnedFd, path::PathBuf};

use bulla_sandbox::{Emulation, Error, Exit, Machine, Outcome, Request, Stage};
use rustix::fs::{Mode, OFlags, openat};

use crate::{
    Case,
    world::{World, give, open_to_all},
};

pub(crate) const CASES: &[Case] = &[
    ("a program of another machine runs under the emulator", foreign_programs_run_under_the_emulator),
    ("an emulator that the host has for all runs nothing inside", the_hosts_emulator_runs_nothing),
    ("a step cannot reach where the emulator is registered", the_registration_is_out_of_reach),
];

/// An ELF file of 64 bits with one segment, which is all of it (System V ABI, chapter 4).
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0".to_vec();
    [2, machine].iter().for_each(|half| file.extend(half.to_le_bytes()));
    file.extend(1_u32.to_le_bytes());
    [BASE + HEADERS, 64, 0].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend(0_u32.to_le_bytes());
    [64_u16, 56, 1, 64, 0, 0].iter().for_each(|half| file.extend(half.to_le_bytes()));
    [1_u32, 5].iter().for_each(|word| file.extend(word.to_le_bytes()));
    [0, BASE, BASE, size, size, 0x1000].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend(code);
    file
}

/// Writes a line on standard output and ends with 7 (x86-64).
fn emulator() -> Vec<u8> {
    let text = b"emulated\n";
    let mut code = vec![0xbf, 1, 0, 0, 0]; // mov edi, 1
    code.extend([0x48, 0x8d, 0x35, 24, 0, 0, 0]); // lea rsi, [rip + 24]
    code.extend([0xba, text.len() as u8, 0, 0, 0]); // mov edx, length
    code.extend([0xb8, 1, 0, 0, 0, 0x0f, 0x05]); // mov eax, write; syscall
    code.extend([0xbf, 7, 0, 0, 0]); // mov edi, 7
    code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // mov eax, exit; syscall
    code.extend(text);
    elf(62, &code)
}

/// Puts a program into a folder of its own.
fn program(world: &World, name: &str, bytes: &[u8]) -> PathBuf {
    let path = world.folder.path().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, bytes).expect("a program");
    open_to_all(path.parent().expect("a folder"));
    open_to_all(&path);
    give(&path);
    path
}

fn emulation(world: &World) -> Emulation {
    Emulation { machine: Machine::Aarch64, interpreter: program(world, "emulator/run: it", &emulator()) }
}

fn run(world: &World, emulation: Option<Emulation>) -> (Result<Outcome, Error>, String) {
    program(world, "root/bin/foreign", &elf(183, b"\0\0\0\0"));
    let scratch = world.scratch();
    let request =
        Request { argv: vec!["/bin/foreign".into()], emulation, ..world.request(scratch.path(), &["nothing"]) };
    let mut output = Vec::new();
    let ran = world.launcher.run(&request, &world.cancel, &mut |_, bytes| output.extend_from_slice(bytes));
    (ran, String::from_utf8_lossy(&output).into_owned())
}

/// Says that the kernel cannot do it, where it cannot.
fn is_refused(ran: &Result<Outcome, Error>) -> bool {
    let refused = matches!(ran, Err(Error::Setup { stage: Stage::Emulation, .. }));
    if refused {
        println!("SKIPPED programs of another machine: this kernel has no binfmt_misc for user namespaces");
    }
    refused
}

fn foreign_programs_run_under_the_emulator(world: &World) {
    let is_foreign = |ran: Result<Outcome, Error>| match ran {
        Err(Error::Execute { source, .. }) => source.raw_os_error() == Some(libc::ENOEXEC),
        _ => false,
    };
    // The control: the kernel alone cannot execute it.
    assert!(is_foreign(run(world, None).0), "this host has an emulator registered for all");
    let (ran, output) = run(world, Some(emulation(world)));
    if is_refused(&ran) {
        return;
    }
    let outcome = ran.expect("it runs");
    assert_eq!((outcome.exit, output.as_str()), (Exit::Code(7), "emulated\n"));
    assert_eq!(outcome.isolation.emulated.as_deref(), Some("aarch64"));
    assert!(is_foreign(run(world, None).0), "nothing of it stays");
}

/// A registration for all of this host, of a format that nothing else has; it ends with the test.
struct Registered {
    instance: OwnedFd,
    name: String,
}

impl Registered {
    /// `None` where this process may not register anything for the host.
    fn new(world: &World, magic: &str) -> Option<Self> {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
        let context = fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
        fsconfig_create(&context).ok()?;
        let instance = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).ok()?;
        let emulator = program(world, "emulator/host", &emulator());
        let name = format!("bulla-test-{}", std::process::id());
        let registered = Self { instance, name };
        registered.write("register", &format!(":{}:M::{magic}::{}:F", registered.name, emulator.display())).ok()?;
        Some(registered)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), rustix::io::Errno> {
        let file = openat(&self.instance, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = self.write(&self.name, "-1");
    }
}

fn the_hosts_emulator_runs_nothing(world: &World) {
    let magic = format!("BULLA{:011}", std::process::id());
    let Some(registered) = Registered::new(world, &magic) else {
        return println!("SKIPPED an emulator of the host: nothing may be registered for the host here");
    };
    let path = program(world, "root/bin/odd", format!("{magic} and more").as_bytes());
    // The control: outside, it runs.
    let outside = std::process::Command::new(&path).output().expect("it runs under the host's emulator");
    assert_eq!((outside.status.code(), outside.stdout.as_slice()), (Some(7), b"emulated\n".as_slice()));
    if is_refused(&run(world, Some(emulation(world))).0) {
        return;
    }
    let scratch = world.scratch();
    let request = Request { argv: vec!["/bin/odd".into()], ..world.request(scratch.path(), &["nothing"]) };
    let ran = world.launcher.run(&request, &world.cancel, &mut |_, _| ());
    drop(registered);
    assert!(
        matches!(&ran, Err(Error::Execute { source, .. }) if source.raw_os_error() == Some(libc::ENOEXEC)),
        "{ran:?}"
    );
}

fn the_registration_is_out_of_reach(world: &World) {
    if is_refused(&run(world, Some(emulation(world))).0) {
        return;
    }
    let seen = |path: &str| {
        let ran = world.run_with(&["write", path], |request| request.emulation = Some(emulation(world)));
        ran.stdout.trim().parse::<i32>().expect("an errno")
    };
    assert_eq!(seen("/tmp/control"), 0, "the control");
    for path in
        ["/proc/1/fd/4/register", "/proc/1/fd/21/register", "/proc/self/fd/4/register", "/proc/self/fd/21/register"]
    {
        let errno = seen(path);
        assert!([libc::EACCES, libc::ENOENT].contains(&errno), "{path}: {errno}");
    }
    for path in ["/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/binfmt_misc/aarch64"] {
        assert_ne!(seen(path), 0, "{path}");
    }
}
