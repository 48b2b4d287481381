//! The solver on small lists that are written out.

use super::*;

/// Writes a list: a package a line, `name version / Field: value / …`; the name may have an architecture, `name:arm64`.
fn index(text: &str) -> Index {
    let mut list = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(" / ");
        let (name, version) = parts.next().and_then(|p| p.split_once(' ')).expect("name and version");
        let (name, architecture) = name.split_once(':').unwrap_or((name, "amd64"));
        list += &format!("Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n");
        list += &format!("Filename: pool/{name}_{version}_{architecture}.deb\n");
        list += &format!("Size: 1\nSHA256: {}\n", bulla_model::Digest::of(line).hex());
        for field in parts {
            list += &format!("{field}\n");
        }
        list.push('\n');
    }
    Index::parse(list.into_bytes()).expect("a list")
}

#[derive(Default)]
struct Ask<'a> {
    requests: &'a [&'a str],
    essential: bool,
    foreign: bool,
    provided: &'a [&'a str],
    locked: &'a [(&'a str, &'a str)],
}

fn ask(lists: &[(&str, &str)], ask: Ask<'_>) -> Result<Vec<String>, String> {
    let indexes: Vec<Index> = lists.iter().map(|(_, text)| index(text)).collect();
    let suites: Vec<[String; 1]> = lists.iter().map(|(suite, _)| [(*suite).to_owned()]).collect();
    let sources: Vec<Source<'_>> = indexes
        .iter()
        .zip(&suites)
        .map(|(index, suites)| Source { index, suites, not_automatic: suites[0].ends_with("-backports") })
        .collect();
    let requests: Vec<Request> = ask.requests.iter().map(|r| r.parse().expect("a request")).collect();
    let locked: Vec<Locked> = ask
        .locked
        .iter()
        .map(|(name, version)| Locked {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            architecture: "amd64".to_owned(),
        })
        .collect();
    let question = Question {
        sources: &sources,
        architecture: "amd64",
        foreign: ask.foreign.then_some("arm64"),
        requests: &requests,
        essential: ask.essential,
        provided: ask.provided,
        excused: &[("only", "lib2")],
        locked: &locked,
    };
    let text = |choice: Choice<'_>| {
        let Package { name, version, architecture, .. } = choice.package;
        if architecture == "arm64" { format!("{name}:arm64 {version}") } else { format!("{name} {version}") }
    };
    solve(&question).map(|choices| choices.into_iter().map(text).collect()).map_err(|error| error.to_string())
}

fn one(list: &str, requests: &[&str]) -> Result<Vec<String>, String> {
    ask(&[("trixie", list)], Ask { requests, ..Ask::default() })
}

fn chosen(words: &[&str]) -> Result<Vec<String>, String> {
    Ok(words.iter().map(|&word| word.to_owned()).collect())
}

#[test]
fn dependencies_are_followed_and_the_first_alternative_is_taken() {
    let list = "a 1 / Depends: b | c, d (>= 2)
        b 1
        c 1
        d 2 / Pre-Depends: e
        e 1 / Depends: a";
    assert_eq!(one(list, &["a"]), chosen(&["a 1", "b 1", "d 2", "e 1"]));
    assert_eq!(one(list, &["a", "c"]), chosen(&["a 1", "c 1", "d 2", "e 1"]), "what is asked for anyway will do");
}

#[test]
fn a_virtual_package_is_provided_and_its_version_counts() {
    let list = "a 1 / Depends: mta
        b 1 / Depends: api (>= 2)
        exim 1 / Provides: mta / Priority: extra
        postfix 1 / Provides: mta / Priority: optional
        old 1 / Provides: api
        older 1 / Provides: api (= 1)
        new 1 / Provides: api (= 3)";
    assert_eq!(one(list, &["a"]), chosen(&["a 1", "postfix 1"]));
    assert_eq!(one(list, &["b"]), chosen(&["b 1", "new 1"]));
    assert_eq!(one(list, &["mta"]), chosen(&["postfix 1"]));
}

#[test]
fn the_newest_version_is_taken_unless_it_is_pinned_or_locked() {
    let lists = [("trixie", "a 1:1.2\nlib 1"), ("trixie-security", "a 1:1.10\nlib 2"), ("trixie-backports", "a 2:0")];
    let get = |requests, locked| ask(&lists, Ask { requests, locked, ..Ask::default() });
    assert_eq!(get(&["a"], &[]), chosen(&["a 1:1.10"]));
    assert_eq!(get(&["a=1:1.2"], &[]), chosen(&["a 1:1.2"]));
    assert_eq!(get(&["a=1:1.2*"], &[]), chosen(&["a 1:1.2"]));
    assert_eq!(get(&["a/trixie-backports"], &[]), chosen(&["a 2:0"]));
    assert_eq!(get(&["a>=2:0"], &[]), chosen(&["a 2:0"]));
    assert_eq!(get(&["a", "lib"], &[("a", "1:1.2")]), chosen(&["a 1:1.2", "lib 2"]));
    assert_eq!(get(&["a"], &[("a", "0.9")]), chosen(&["a 1:1.10"]), "what is gone cannot be kept");
}

#[test]
fn a_lock_keeps_the_alternative_that_was_chosen() {
    let list = "a 1 / Depends: b | c\nb 1\nc 1";
    let locked = &[("c", "1")];
    assert_eq!(ask(&[("trixie", list)], Ask { requests: &["a"], locked, ..Ask::default() }), chosen(&["a 1", "c 1"]));
}

#[test]
fn conflicts_and_breaks_choose_another_way() {
    let list = "a 1 / Depends: b | c
        b 1 / Conflicts: d
        c 1
        d 1
        e 1 / Breaks: f (<< 2)
        f 1 / Provides: g
        f 2
        h 1 / Provides: mta / Conflicts: mta
        i 1 / Provides: mta / Conflicts: mta";
    assert_eq!(one(list, &["a", "d"]), chosen(&["a 1", "c 1", "d 1"]));
    assert_eq!(one(list, &["e", "f"]), chosen(&["e 1", "f 2"]));
    assert_eq!(one(list, &["h"]), chosen(&["h 1"]), "it may conflict with what it provides itself");
    assert!(one(list, &["h", "i"]).is_err());
}

#[test]
fn essential_packages_come_with_a_stage_and_usr_is_merged_without_perl() {
    let list = "init 1 / Essential: yes / Depends: usrmerge | usr-is-merged
        usrmerge 1 / Depends: perl
        usr-is-merged 1 / Conflicts: usrmerge
        perl 1
        tool 1";
    let get = |essential| ask(&[("trixie", list)], Ask { requests: &["tool"], essential, ..Ask::default() });
    assert_eq!(get(true), chosen(&["init 1", "tool 1", "usr-is-merged 1"]));
    assert_eq!(get(false), chosen(&["tool 1"]));
}

#[test]
fn what_only_scripts_need_is_pruned_unless_it_is_asked_for() {
    let list = "a 1 / Depends: debconf (>= 0.5) | debconf-2.0, lib, adduser\nlib 1\nadduser 1 / Depends: lib2\nlib2 1";
    let get = |requests, provided| ask(&[("trixie", list)], Ask { requests, provided, ..Ask::default() });
    let one = one("only 1 / Depends: lib2, lib\nlib 1 / Depends: lib2\nlib2 1", &["only"]);
    assert_eq!(one, chosen(&["lib 1", "lib2 1", "only 1"]), "excused for one is not excused for all");
    assert_eq!(self::one("only 1 / Depends: lib2\nlib2 1", &["only"]), chosen(&["only 1"]));
    assert_eq!(get(&["a"], &["debconf", "adduser"]), chosen(&["a 1", "lib 1"]));
    assert_eq!(get(&["a", "adduser"], &["debconf", "adduser"]), chosen(&["a 1", "adduser 1", "lib 1", "lib2 1"]));
}

#[test]
fn what_does_not_exist_is_named_with_what_does() {
    let list = "nodejs 18.1\ngcc 4:12";
    assert_eq!(
        one(list, &["nodjes"]).expect_err("no solution"),
        "there is no package `nodjes` in trixie; did you mean `nodejs`?"
    );
    let error = one(list, &["gcc=4:13.*"]).expect_err("no solution");
    assert_eq!(error, "no version of `gcc` is `gcc=4:13.*`; there is `4:12 (trixie)`");
    assert_eq!(
        one(list, &["gcc/sid"]).expect_err("no solution"),
        "no version of `gcc` is `gcc/sid`; there is `4:12 (trixie)`"
    );
}

#[test]
fn a_missing_dependency_is_told_with_its_chain() {
    let list = "a 1 / Depends: b\nb 1 / Depends: x | c (>= 2)\nc 1\ng 1";
    assert_eq!(
        one(list, &["g", "a"]).expect_err("no solution"),
        "`a` cannot be installed\n  a 1 needs b\n  b 1 needs x | c (>= 2), and of c there is only 1 (trixie)"
    );
    assert_eq!(
        one("a 1 / Depends: b\nb 1 / Depends: a, zz", &["a"]).expect_err("no solution"),
        "`a` cannot be installed\n  a 1 needs b\n  b 1 needs zz, and there is no such package"
    );
}

#[test]
fn a_conflict_is_told_by_the_requests_that_clash() {
    let list = "a 1 / Depends: b\nb 1 / Breaks: d (<< 2)\nc 1 / Depends: d\nd 1\ng 1\nl 1\nl 2\nm 1 / Depends: l (= 1)";
    assert_eq!(
        one(list, &["g", "a", "c"]).expect_err("no solution"),
        "`a` and `c` cannot be installed together\n  a 1 needs b\n  c 1 needs d\n  b 1 breaks d (<< 2), which d 1 is"
    );
    let list2 = "p 1 / Depends: r\np 2 / Depends: r\nq 1 / Conflicts: r\nq 2 / Conflicts: r (>= 1)\nr 1";
    assert_eq!(
        one(list2, &["p", "q"]).expect_err("no solution"),
        "`p` and `q` cannot be installed together\n  p 2 needs r\n  q 2 conflicts with r (>= 1), which r 1 is"
    );
    let error = one(list, &["g", "m", "l=2"]).expect_err("no solution");
    assert!(error.starts_with("`m` and `l=2` cannot be installed together"), "{error}");
    assert!(error.contains("m 1 needs l (= 1)") && error.contains("l=2 is asked for"), "{error}");
    assert!(error.contains("no version of l is all that; there is only 2 (trixie), 1 (trixie)"), "{error}");
}

#[test]
fn other_architectures_are_no_candidates() {
    let index = Index::parse(
        format!(
            "Package: a\nVersion: 1\nArchitecture: arm64\nFilename: a\nSize: 1\nSHA256: {}\n",
            bulla_model::Digest::of("").hex()
        )
        .into_bytes(),
    )
    .expect("a list");
    let requests = ["a".parse().expect("a request")];
    let sources = [Source { index: &index, suites: &[], not_automatic: false }];
    let question = Question {
        sources: &sources,
        architecture: "amd64",
        foreign: None,
        requests: &requests,
        essential: false,
        provided: &[],
        excused: &[],
        locked: &[],
    };
    assert!(matches!(solve(&question), Err(SolveError::Unknown { .. })));
}

#[test]
fn a_conflict_that_no_pair_decides_is_told_by_what_excludes_what() {
    let list = "a 1 / Depends: x | y\nb 1 / Depends: z | w\nx 1 / Conflicts: z, w\ny 1 / Conflicts: z, w\nz 1\nw 1";
    let error = one(list, &["a", "b"]).expect_err("no solution");
    assert!(error.starts_with("`a` and `b` cannot be installed together\n  no choice among"), "{error}");
    assert!(error.contains("\n  x 1 conflicts with w\n  x 1 conflicts with z\n  y 1"), "{error}");
}

/// Two architectures in one root (Debian's MultiarchSpec).
fn both(list: &str, requests: &[&str]) -> Result<Vec<String>, String> {
    ask(&[("trixie", list)], Ask { requests, foreign: true, ..Ask::default() })
}

#[test]
fn packages_of_another_architecture_bring_those_of_their_own() {
    let list = "dev 1 / Depends: lib (= 1) / Multi-Arch: same
        dev:arm64 1 / Depends: lib (= 1), tool, docs / Multi-Arch: same
        lib 1 / Multi-Arch: same
        lib:arm64 1 / Multi-Arch: same
        tool 1 / Multi-Arch: foreign
        tool:arm64 1 / Multi-Arch: foreign
        docs:all 1 / Multi-Arch: foreign";
    let all = ["dev:arm64 1", "docs 1", "lib:arm64 1", "tool 1"];
    assert_eq!(both(list, &["dev:arm64"]), chosen(&all), "tools are those that run here");
    assert_eq!(both(list, &["dev"]), chosen(&["dev 1", "lib 1"]));
    let request = ["dev", "dev:arm64"];
    assert_eq!(
        both(list, &request),
        chosen(&["dev 1", "dev:arm64 1", "docs 1", "lib 1", "lib:arm64 1", "tool 1"]),
        "copies stand beside each other"
    );
    assert_eq!(
        one(list, &["dev"]),
        chosen(&["dev 1", "lib 1"]),
        "another architecture is nothing where it is not asked for"
    );
}

#[test]
fn what_another_architecture_may_use_says_so() {
    let list = |kind: &str| format!("a:arm64 1 / Depends: x{kind}\nx 1 / Multi-Arch: allowed");
    assert_eq!(both(&list(":any"), &["a:arm64"]), chosen(&["a:arm64 1", "x 1"]));
    for kind in ["", ":arm64"] {
        let error = both(&list(kind), &["a:arm64"]).expect_err("no solution");
        assert!(error.contains("a:arm64 1 needs x"), "{error}");
    }
    assert_eq!(both(&list(":amd64"), &["a:arm64"]), chosen(&["a:arm64 1", "x 1"]));
    // What is for all architectures is the root's own, and so is not met for others unless it says so.
    assert!(both("a:arm64 1 / Depends: x\nx:all 1", &["a:arm64"]).is_err());
    assert!(both("a:arm64 1 / Depends: v\nx:all 1 / Multi-Arch: foreign / Provides: v", &["a:arm64"]).is_ok());
    // Asked for by a person, what is the same everywhere is found.
    assert_eq!(both("x:all 1", &["x:arm64"]), chosen(&["x 1"]));
    assert!(both("x 1", &["x:arm64"]).is_err());
}

#[test]
fn copies_have_one_version_and_what_is_no_copy_stands_alone() {
    let list = "lib 2 / Multi-Arch: same\nlib 1 / Multi-Arch: same\nlib:arm64 1 / Multi-Arch: same";
    assert_eq!(both(list, &["lib", "lib:arm64"]), chosen(&["lib 1", "lib:arm64 1"]));
    let error =
        both("lib 2 / Multi-Arch: same\nlib:arm64 1 / Multi-Arch: same", &["lib", "lib:arm64"]).expect_err("none");
    assert!(error.contains("lib:arm64 1 cannot stand beside another lib"), "{error}");
    assert!(both("x 1\nx:arm64 1", &["x", "x:arm64"]).is_err());
    let conflict = "a 1 / Conflicts: b\nb:arm64 1";
    assert!(both(conflict, &["a", "b:arm64"]).is_err(), "a conflict is with all architectures");
    assert!(both("a 1 / Conflicts: b:amd64\nb:arm64 1", &["a", "b:arm64"]).is_ok());
}
