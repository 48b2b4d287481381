//! Runs a command over an empty root into which this host's `/usr` is bound, and shows what the sandbox saw.
//!
//! `look FOLDER scripts|step COMMAND…`: FOLDER must be on a real disk; the changes are left in it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a tool to look with")]

use std::{error::Error, fs, io::Write as _, os::unix::fs::symlink, path::PathBuf};

use bulla_sandbox::{Bind, Cancel, Launcher, Limits, Options, Privileges, Request, Root, Stream};

fn main() -> Result<(), Box<dyn Error>> {
    bulla_sandbox::intercept();
    let mut args = std::env::args_os().skip(1);
    let folder = PathBuf::from(args.next().ok_or("usage: look FOLDER scripts|step COMMAND…")?);
    let scripts = args.next().is_some_and(|word| word == "scripts");
    let (lower, scratch) = (folder.join("lower"), folder.join("scratch"));
    for directory in [&lower.join("tmp"), &lower.join("etc"), &scratch] {
        fs::create_dir_all(directory)?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), lower.join(name))?;
    }
    if rustix::process::geteuid().is_root() {
        let uid = Options::default().service_uid;
        for path in [&lower, &lower.join("tmp"), &lower.join("etc"), &scratch] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid))?;
        }
    }
    let request = Request {
        root: Root::Overlay { lowers: vec![lower], scratch },
        binds: vec![Bind { source: "/usr".into(), target: "/usr".into(), writable: false }],
        secrets: Vec::new(),
        argv: args.collect(),
        env: [("PATH".to_owned(), "/usr/sbin:/usr/bin".to_owned())].into(),
        cwd: "/tmp".into(),
        hostname: "build".to_owned(),
        umask: 0o022,
        privileges: if scripts { Privileges::Scripts } else { Privileges::Step },
        identity_fake: false,
        emulation: None,
        stop_on_refusal: false,
        listen: None,
        limits: Limits::default(),
    };
    let outcome = Launcher::start(Options::default())?.run(&request, &Cancel::new()?, &mut |stream, bytes| {
        let _ = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
    })?;
    eprintln!("{:?}, {:?}", outcome.exit, outcome.usage);
    outcome.refusals.iter().for_each(|refusal| eprintln!("{refusal:?}"));
    eprintln!("{} programs, {:?}", outcome.executed.len(), outcome.isolation);
    println!();
    Ok(())
}
