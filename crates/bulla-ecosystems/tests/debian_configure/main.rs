//! Real packages, unpacked, and configured by their own scripts in the real sandbox.
//!
//! The program is its own runner, for it is the sandbox's helper as well. Started with `--packages NAME,NAME`, it makes a
//! root of other packages and tells how long it took.

#![expect(clippy::print_stdout, reason = "it is a test runner")]
#![expect(clippy::disallowed_methods, reason = "a test looks at the clock and writes files")]

mod root;

use std::{process::ExitCode, time::Instant};

use bulla_testkit::{DebianRepo, skipped};
use root::Root;

fn main() -> ExitCode {
    bulla_sandbox::intercept();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        println!("real_packages_are_configured_by_their_own_scripts: test");
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        skipped("configuring real packages", "this is not root");
        return ExitCode::SUCCESS;
    }
    let names = args.iter().skip_while(|arg| *arg != "--packages").nth(1).cloned();
    let names = names.unwrap_or_else(|| "gcc,libc6-dev,make".to_owned());
    let names: Vec<&str> = names.split(',').collect();
    let Some(repo) = DebianRepo::real(&names) else { return ExitCode::SUCCESS };
    real_packages_are_configured_by_their_own_scripts(&repo, &names);
    println!("test real_packages_are_configured_by_their_own_scripts ... ok");
    ExitCode::SUCCESS
}

fn real_packages_are_configured_by_their_own_scripts(repo: &DebianRepo, names: &[&str]) {
    let start = Instant::now();
    let mut root = Root::unpack(repo);
    println!("{} packages unpacked in {:.2?}", root.packages.len(), start.elapsed());
    let start = Instant::now();
    root.add_database();
    println!("database in {:.2?}, hidden: {:?}", start.elapsed(), root.hidden);
    let start = Instant::now();
    let (code, output) = root.configure();
    println!("configured in {:.2?}", start.elapsed());
    assert_eq!(code, 0, "{output}");
    let sh = |script: &str| root.run(&["/bin/sh", "-eu", "-c", script]);
    let (code, audit) = sh("dpkg --audit");
    assert_eq!((code, audit.as_str()), (0, ""), "the database is in order");
    let (_, states) = sh("dpkg-query -W -f '${db:Status-Abbrev}\n' | sort | uniq -c");
    assert_eq!(states.trim(), format!("{} ii", root.packages.len()), "each package is installed");
    // Conffiles are not written in the list of MD5 digests that packages bring: verify reads ours.
    let (code, verify) = sh("dpkg --verify");
    assert_eq!((code, verify.as_str()), (0, ""), "what was unpacked is what the packages brought");
    let (_, left) =
        sh("ls -A /tmp /var/tmp; ls /var/lib/dpkg/*-old /etc/*- /etc/machine-id /var/log/*.log 2>/dev/null || :");
    assert_eq!(left, "/tmp:\n\n/var/tmp:\n", "what is not reproducible is gone");
    if names.contains(&"gcc") && names.contains(&"libc6-dev") {
        let (code, version) = sh("gcc --version; echo 'int main(){return 7;}' >x.c; gcc -o x x.c; ./x || echo $?");
        assert_eq!(code, 0, "{version}");
        assert!(version.starts_with("gcc (Debian") && version.ends_with("\n7\n"), "{version}");
    }
}
