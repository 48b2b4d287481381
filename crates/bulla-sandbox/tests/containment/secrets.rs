//! Secrets of a run: where they are, and where they are not.

use std::{ffi::CString, fs, os::unix::fs::PermissionsExt as _};

use bulla_model::SecretBytes;
use bulla_sandbox::{Request, Root, Secret, SecretPlace};

use crate::{
    Case,
    world::{World, succeeded},
};

pub(crate) const CASES: &[Case] = &[
    ("a_secret_is_a_file_that_its_run_alone_has", a_secret_is_a_file_that_its_run_alone_has),
    ("a_secret_is_a_variable_that_its_run_alone_has", a_secret_is_a_variable_that_its_run_alone_has),
    ("a_secret_is_in_a_copied_root_and_gone_after", a_secret_is_in_a_copied_root_and_gone_after),
    ("no_core_is_dumped", no_core_is_dumped),
];

const VALUE: &str = "open sesame\n";

fn secret(name: &str, place: SecretPlace) -> Secret {
    Secret { name: name.to_owned(), value: SecretBytes::new(VALUE.as_bytes().to_vec()), place }
}

fn files(request: &mut Request) {
    request.secrets.push(secret("token", SecretPlace::File(None)));
    request.secrets.push(secret("other", SecretPlace::File(Some("/deep/er/place".into()))));
}

/// What the probe says of a path: its kind of file system, its mode, what comes of writing it, and its content.
pub(crate) fn look(path: &str) {
    let c_path = CString::new(path).expect("a path");
    // SAFETY: a structure of numbers, which the call fills in.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a string and a structure that live on.
    if unsafe { libc::statfs(c_path.as_ptr(), &raw mut stat) } != 0 {
        println!("{path} missing");
        return;
    }
    let tmpfs = stat.f_type == libc::TMPFS_MAGIC;
    let mode = fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let writing = fs::OpenOptions::new().write(true).open(path).err().and_then(|error| error.raw_os_error());
    let removing = fs::remove_file(path).err().and_then(|error| error.raw_os_error());
    let content = fs::read_to_string(path).expect("it can be read");
    println!("{path} tmpfs={tmpfs} mode={mode:o} write={writing:?} remove={} {content:?}", removing.is_some());
}

fn a_secret_is_a_file_that_its_run_alone_has(world: &World) {
    let words = ["look", "/run/secrets/token", "/run/secrets/other", "/deep/er/place"];
    let ran = world.run_with(&words, files);
    succeeded(&ran);
    for path in &words[1..] {
        let expected = format!("{path} tmpfs=true mode=400 write=Some({}) remove=true {VALUE:?}", libc::EACCES);
        assert!(ran.stdout.lines().any(|line| line == expected), "no `{expected}` in {}", ran.stdout);
    }
    assert_eq!(fs::read_dir(ran.upper()).expect("the upper").count(), 0, "the upper has nothing of it");
    let beside = world.run_with(&["write", "/run/secrets/new"], files);
    assert_eq!(beside.stdout.trim(), libc::EROFS.to_string(), "nothing is put beside them");
    let without = world.run(&words);
    succeeded(&without);
    assert_eq!(without.stdout.matches(" missing\n").count(), 3, "{}", without.stdout);
}

fn a_secret_is_a_variable_that_its_run_alone_has(world: &World) {
    let variable = |request: &mut Request| {
        request.env.insert("TOKEN".to_owned(), "the spec's".to_owned());
        request.secrets.push(secret("token", SecretPlace::Env("TOKEN".to_owned())));
    };
    let ran = world.run_with(&["read", "/proc/self/environ"], variable);
    succeeded(&ran);
    assert!(ran.stdout.contains(&format!("TOKEN={VALUE}")) && !ran.stdout.contains("spec's"), "{}", ran.stdout);
    // The first process was given it as well, and is closed to the command.
    let first = world.try_run(&["read", "/proc/1/environ"], variable).expect("it runs");
    assert!(!first.outcome.exit.success() && !first.stdout.contains("sesame"), "{}", first.stdout);
    assert!(!world.run(&["read", "/proc/self/environ"]).stdout.contains("TOKEN"));
}

fn a_secret_is_in_a_copied_root_and_gone_after(world: &World) {
    let copy = world.scratch();
    for folder in ["bin", "lib64", "lib/x86_64-linux-gnu", "tmp", "etc"] {
        fs::create_dir_all(copy.path().join(folder)).expect("a folder");
        for entry in fs::read_dir(world.root().join(folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                fs::copy(entry.path(), copy.path().join(folder).join(entry.file_name())).expect("a copy");
            }
        }
    }
    world.give_all(copy.path());
    let ran = world.run_with(&["look", "/run/secrets/token", "/deep/er/place"], |request| {
        request.root = Root::Copy { dir: copy.path().to_owned() };
        files(request);
    });
    succeeded(&ran);
    assert_eq!(ran.stdout.matches("tmpfs=true mode=400").count(), 2, "{}", ran.stdout);
    assert!(!copy.path().join("run").exists() && !copy.path().join("deep").exists(), "the mount points are left");
}

/// With a limit of 0 the kernel still pipes core dumps to a program of the host, where there is one (core(5)).
fn no_core_is_dumped(world: &World) {
    let limits = world.run(&["read", "/proc/self/limits"]);
    let line = limits.stdout.lines().find(|line| line.starts_with("Max core file size")).expect("the line").to_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(matches!(words[4..6], ["1", "1"] | ["0", "0"]), "{line}");
    let ran = world.run(&["signal", &libc::SIGABRT.to_string()]);
    let left: Vec<_> = fs::read_dir(ran.upper().join("tmp")).into_iter().flatten().collect();
    assert!(left.is_empty() && !ran.outcome.exit.success(), "{left:?}");
}
