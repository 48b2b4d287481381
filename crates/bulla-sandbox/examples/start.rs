//! Measures how long a sandboxed `/bin/true` takes, with everything observed, and prints the percentiles.
//!
//! `start ROOT [RUNS [PAUSE]]`: ROOT is a directory with a static `/bin/true`; before each run there is a pause of so many
//! milliseconds, as steps have what they left taken into the store between them.

#![expect(clippy::print_stdout, reason = "it is a measuring tool")]

use std::{
    error::Error,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use bulla_sandbox::{Cancel, Launcher, Limits, Options, Privileges, Request, Root};

fn main() -> Result<(), Box<dyn Error>> {
    bulla_sandbox::intercept();
    let mut args = std::env::args_os().skip(1);
    let root = PathBuf::from(args.next().ok_or("usage: start ROOT [RUNS [PAUSE]]")?);
    let runs: usize = args.next().and_then(|runs| runs.to_str()?.parse().ok()).unwrap_or(500);
    let pause: u64 = args.next().and_then(|pause| pause.to_str()?.parse().ok()).unwrap_or(0);
    let scratch_parent = root.with_file_name("start-scratch");
    fs::create_dir_all(&scratch_parent)?;
    let skeletons = root.with_file_name("start-skeletons");
    fs::create_dir_all(&skeletons)?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&skeletons, Some(61_170), Some(61_170))?;
    }
    let launcher = Launcher::start(Options { skeletons: Some(skeletons.clone()), ..Options::default() })?;
    let cancel = Cancel::new()?;
    let mut times = Vec::new();
    for run in 0..runs {
        let scratch = scratch_parent.join(run.to_string());
        fs::create_dir(&scratch)?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&scratch, Some(61_170), Some(61_170))?;
        }
        let request = Request {
            root: Root::Overlay { lowers: vec![root.clone()], scratch: scratch.clone() },
            binds: Vec::new(),
            secrets: Vec::new(),
            argv: vec!["/bin/true".into()],
            env: [("PATH".to_owned(), "/bin".to_owned())].into(),
            cwd: "/".into(),
            hostname: "build".to_owned(),
            umask: 0o022,
            privileges: Privileges::Step,
            identity_fake: false,
            emulation: None,
            stop_on_refusal: false,
            listen: None,
            limits: Limits::default(),
        };
        std::thread::sleep(Duration::from_millis(pause));
        let start = Instant::now();
        let outcome = launcher.run(&request, &cancel, &mut |_, _| ())?;
        times.push(start.elapsed());
        if !outcome.exit.success() || outcome.executed.len() != 1 {
            return Err(format!("{outcome:?}").into());
        }
        fs::remove_dir_all(&scratch)?;
    }
    fs::remove_dir(&scratch_parent)?;
    fs::remove_dir_all(&skeletons)?;
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "rung {:?}: median {:?}, p90 {:?}, p99 {:?}, most {:?}",
        launcher.rung(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
