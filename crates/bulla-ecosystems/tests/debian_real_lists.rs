//! Debian's own indexes, as `apt-get update` left them on this machine, compared with what apt makes of them.
//!
//! Skipped, with a message, where apt or its lists are not there. `BULLA_TEST_APT` names a folder with other `lists/` and their
//! `sources.list` (as `apt-get update -o Dir::State::lists=… -o Dir::Etc::sourcelist=…` makes them).

#![expect(clippy::print_stdout, reason = "a test says what it skipped and what it measured")]
#![expect(clippy::disallowed_methods, reason = "a test looks at the machine that it runs on")]

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, time::Instant};

use bulla_ecosystems::debian::{
    keyring::Keyring,
    packages::Index,
    pruned::{EXCUSED, PRUNED},
    relation::Request,
    release::{Dates, Release, verify_inrelease},
    solve::{Question, SolveError, Source, solve},
    version::Version,
};
use bulla_model::Epoch;

/// Where apt's lists are, and the sources that they are from.
fn apt_files() -> (PathBuf, PathBuf) {
    match std::env::var_os("BULLA_TEST_APT").map(PathBuf::from) {
        Some(folder) => (folder.join("lists"), folder.join("sources.list")),
        None => ("/var/lib/apt/lists".into(), "/etc/apt/sources.list.d/debian.sources".into()),
    }
}

fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Finds the files of the lists whose names end so.
fn lists(ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(apt_files().0).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

/// Lists of Debian's own archive, unpacked, with the suite of each.
fn debian() -> Vec<(String, Vec<u8>)> {
    let all = lists("_main_binary-amd64_Packages").into_iter().chain(lists("_main_binary-amd64_Packages.lz4"));
    all.filter_map(|path| {
        let name = path.to_string_lossy().into_owned();
        let suite = name.split("_dists_").nth(1)?.split('_').next()?.to_owned();
        if !name.contains("_debian_dists_") && !name.contains("_debian-security_dists_") {
            return None;
        }
        let output = Command::new("/usr/lib/apt/apt-helper").arg("cat-file").arg(&path).output().ok()?;
        output.status.success().then_some((suite, output.stdout))
    })
    .collect()
}

fn now() -> Epoch {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Epoch::new(since.as_secs()).expect("before 9999")
}

fn verify(path: &PathBuf) -> Release {
    let bytes = fs::read(path).expect("readable");
    // Lists on a machine may be older than their validity.
    let mut dates = Dates::first(now());
    if let Some(valid_until) = String::from_utf8_lossy(&bytes)
        .lines()
        .find_map(|line| bulla_ecosystems::debian::release::parse_date(line.strip_prefix("Valid-Until: ")?))
    {
        dates.now = dates.now.min(valid_until);
    }
    verify_inrelease(&bytes, &Keyring::debian(), dates).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

#[test]
fn the_signed_indexes_of_debian_are_verified_by_the_keys_that_ship() {
    let found: Vec<PathBuf> =
        lists("InRelease").into_iter().filter(|p| p.to_string_lossy().contains("_debian")).collect();
    if found.is_empty() {
        return skipped("there is no InRelease of Debian in apt's lists");
    }
    for path in found {
        let release = verify(&path);
        assert!(!release.signed_with.is_empty() && release.by_hash, "{release:?}");
        let bytes = fs::read(&path).expect("readable");
        for (from, to) in
            [("Codename: ", "Codename: x"), ("amd64/Packages\n", "amd64/Packagez\n"), ("Date: ", "Date:  ")]
        {
            let text = String::from_utf8_lossy(&bytes).replacen(from, to, 1);
            let dates = Dates::first(release.date);
            assert!(verify_inrelease(text.as_bytes(), &Keyring::debian(), dates).is_err(), "{from}");
        }
    }
}

#[test]
fn the_order_of_versions_is_that_of_dpkg() {
    if Command::new("dpkg").arg("--version").output().is_err() {
        return skipped("dpkg is not there");
    }
    let mut versions: Vec<String> =
        ["0~", "1.a", "1.a0", "1:1-1~", "1-1+b1", "00.1", "0.01", "a~a", "a+a", "1.~", "1."]
            .map(str::to_owned)
            .to_vec();
    for (_, text) in debian() {
        let index = Index::parse(text).expect("a list");
        let step = (index.len() / 12).max(1);
        versions.extend(
            (0..index.len())
                .step_by(step)
                .filter_map(|i| Some(index.package(i as u32).ok()?.version.as_str().to_owned())),
        );
    }
    versions.truncate(40);
    let mut pairs = 0;
    for a in &versions {
        for b in versions.iter().filter(|b| *b > a) {
            let [left, right] = [a, b].map(|v| Version::parse(v).expect("a version"));
            let operator = match left.cmp(&right) {
                std::cmp::Ordering::Less => "lt",
                std::cmp::Ordering::Equal => "eq",
                std::cmp::Ordering::Greater => "gt",
            };
            // dpkg warns of versions that it finds odd, and compares them nevertheless.
            let agrees = Command::new("dpkg").args(["--compare-versions", a, operator, b]).output().expect("dpkg runs");
            assert!(agrees.status.success(), "{a} {operator} {b}");
            pairs += 1;
        }
    }
    assert!(pairs > 60);
    println!("compared {pairs} pairs");
}

struct World {
    suites: Vec<[String; 1]>,
    indexes: Vec<Index>,
}

impl World {
    fn read() -> Option<Self> {
        let lists = debian();
        if lists.is_empty() {
            skipped("there are no lists of Debian's packages, or apt is not there");
            return None;
        }
        let started = Instant::now();
        let suites = lists.iter().map(|(suite, _)| [suite.clone()]).collect();
        let bytes: usize = lists.iter().map(|(_, text)| text.len()).sum();
        let indexes: Vec<Index> = lists.into_iter().map(|(_, text)| Index::parse(text).expect("a list")).collect();
        let count: usize = indexes.iter().map(Index::len).sum();
        println!("read {count} packages, {} MB, in {:?}", bytes >> 20, started.elapsed());
        Some(Self { suites, indexes })
    }

    fn solve(&self, requests: &[&str], essential: bool, provided: &[&str]) -> BTreeSet<String> {
        self.try_solve(requests, essential, provided).unwrap_or_else(|e| panic!("{requests:?}: {e}"))
    }

    fn try_solve(&self, requests: &[&str], essential: bool, provided: &[&str]) -> Result<BTreeSet<String>, SolveError> {
        let sources: Vec<Source<'_>> = self
            .indexes
            .iter()
            .zip(&self.suites)
            .map(|(index, suites)| Source { index, suites, not_automatic: false })
            .collect();
        let wanted: Vec<Request> = requests.iter().map(|r| r.parse().expect("a request")).collect();
        let question = Question {
            sources: &sources,
            architecture: "amd64",
            foreign: None,
            requests: &wanted,
            essential,
            provided,
            excused: if provided.is_empty() { &[] } else { &EXCUSED },
            locked: &[],
        };
        let started = Instant::now();
        let choices = solve(&question);
        let count = choices.as_ref().map_or(0, Vec::len);
        println!("{requests:?}: {count} packages in {:?}", started.elapsed());
        Ok(choices?.iter().map(|c| format!("{} {}", c.package.name, c.package.version)).collect())
    }
}

/// Asks apt what it would install on a system that has nothing.
fn apt(requests: &[&str]) -> Option<BTreeSet<String>> {
    let (lists, sources) = apt_files();
    let output = Command::new("apt-get")
        .args(["install", "-s", "-q", "--no-install-recommends", "-o", "Dir::State::status=/dev/null"])
        .args(["-o", "Debug::NoLocking=1", "-o", "Dir::Etc::sourceparts=/dev/null"])
        .args(["-o".to_owned(), format!("Dir::State::lists={}", lists.display())])
        .args(["-o".to_owned(), format!("Dir::Etc::sourcelist={}", sources.display())])
        .args(requests)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    };
    Some(text.lines().filter_map(line).collect())
}

#[test]
fn the_choice_is_that_of_apt() {
    let Some(world) = World::read() else { return };
    for (requests, differ) in [
        (&["gcc", "libc6-dev", "make"][..], 0),
        (&["nodejs"], 0),
        (&["redis-server"], 4),
        (&["default-jdk-headless", "maven"], 4),
        (&["python3", "python3-pip", "python3-venv", "python3-dev", "gcc"], 4),
    ] {
        let Some(theirs) = apt(requests).filter(|found| !found.is_empty()) else {
            return skipped("apt does not say what it would install");
        };
        let ours = world.solve(requests, false, &[]);
        assert_eq!(ours, world.solve(requests, false, &[]), "the same question has the same answer");
        let (more, less): (Vec<_>, Vec<_>) = (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
        println!("{requests:?}: apt {}, more {more:?}, less {less:?}", theirs.len());
        assert!(more.len() + less.len() <= differ, "{requests:?}: more {more:?}, less {less:?}");
    }
}

#[test]
fn stages_and_images_have_the_sizes_that_were_measured() {
    let Some(world) = World::read() else { return };
    if !world.suites.iter().any(|suite| suite[0] == "bookworm") {
        return skipped("the lists are not bookworm's");
    }
    for (requests, expected) in [
        (&["gcc", "libc6-dev", "make"][..], 105),
        (&["cargo", "rustc", "gcc"], 136),
        (&["nodejs", "npm"], 451),
        (&["python3", "python3-pip", "python3-venv", "python3-dev", "gcc"], 140),
        (&["golang-go"], 65),
        (&["default-jdk-headless", "maven"], 140),
    ] {
        let count = world.solve(requests, true, &[]).len();
        assert!(count.abs_diff(expected) <= 6, "{requests:?}: {count}, not about {expected}");
    }
    for (requests, most) in [
        (&["libc6", "ca-certificates", "openssl"][..], 8),
        (&["python3-minimal"], 11),
        (&["nodejs"], 20),
        (&["openjdk-17-jre-headless"], 60),
        (&["redis-server"], 20),
        (&["nginx-light"], 14),
    ] {
        let chosen = world.solve(requests, false, &PRUNED);
        assert!(chosen.len() <= most, "{requests:?}: {}, not {most}: {chosen:?}", chosen.len());
    }
}

#[test]
fn what_cannot_be_had_together_is_explained() {
    let Some(world) = World::read() else { return };
    let explain = |requests: &[&str]| {
        let error = world.try_solve(requests, true, &[]).expect_err("no solution").to_string();
        println!("{error}");
        error
    };
    let error = explain(&["gcc", "exim4-daemon-light", "nodejs", "postfix"]);
    assert!(error.starts_with("`exim4-daemon-light` and `postfix` cannot be installed together"), "{error}");
    assert!(error.contains("conflicts with"), "{error}");
    let error = explain(&["gcc", "nodjes"]);
    assert!(error.contains("did you mean `nodejs`"), "{error}");
}
