//! The repositories of the test kit, seen by the ordinary clients.

use std::process::Command;

use bulla_testkit::{Deb, DebianRepo, Mirror, Release, debian, process, skipped};

/// Makes an apt that knows only one repository, and no installed package.
fn apt(folder: &std::path::Path, repo: &DebianRepo, mirror: &Mirror) -> impl Fn(&[&str]) -> Result<String, String> {
    for part in ["lists/partial", "archives/partial", "etc"] {
        fs_err::create_dir_all(folder.join(part)).expect("a folder");
    }
    fs_err::write(folder.join("status"), "").expect("an empty status");
    let line = format!("deb [signed-by={}] {} {} main\n", repo.keyring().display(), mirror.url(), repo.suite());
    fs_err::write(folder.join("sources.list"), line).expect("sources");
    let path = |name: &str| folder.join(name).display().to_string();
    let options = [
        format!("Dir::Etc::sourcelist={}", path("sources.list")),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::status={}", path("status")),
        format!("Dir::State::lists={}", path("lists")),
        format!("Dir::Cache::archives={}", path("archives")),
        "Dir::Cache::pkgcache=".to_owned(),
        "Dir::Cache::srcpkgcache=".to_owned(),
        "Debug::NoLocking=1".to_owned(),
        "APT::Sandbox::User=".to_owned(),
        format!("APT::Architecture={}", repo.architecture()),
        "Acquire::http::Proxy=DIRECT".to_owned(),
    ];
    move |arguments| {
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C");
        options.iter().for_each(|option| {
            command.args(["-o", option]);
        });
        process::output(command.args(arguments))
    }
}

#[test]
fn apt_accepts_what_the_test_kit_publishes_and_downloads_from_it() {
    if !process::exists("apt-get") {
        return skipped("the repository as apt sees it", "apt is not installed");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut repo = DebianRepo::new("trixie");
    repo.add(&Deb::new("greeting", "1:2.0-1").depends("base").file("usr/share/greeting", 0o644, "hello"));
    repo.add(&Deb::new("base", "1.0").compression(debian::Compression::Zstd));
    repo.publish(&Release::default());
    let mirror = Mirror::serve(repo.root());
    let apt = apt(folder.path(), &repo, &mirror);
    apt(&["update"]).expect("the index is accepted");
    apt(&["-y", "--download-only", "install", "greeting"]).expect("the packages are accepted");
    let deb = folder.path().join("archives/greeting_1%3a2.0-1_amd64.deb");
    let list = process::output(Command::new("dpkg-deb").arg("-c").arg(deb)).expect("dpkg reads it");
    assert!(list.contains("./usr/share/greeting"), "{list}");
}

#[test]
fn apt_refuses_what_is_badly_signed() {
    if !process::exists("apt-get") {
        return skipped("the repository as apt sees it", "apt is not installed");
    }
    for signing in [debian::Signing::Unsigned, debian::Signing::OtherKey, debian::Signing::Changed] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut repo = DebianRepo::new("trixie");
        repo.add(&Deb::new("base", "1.0")).publish(&Release { signing, ..Release::default() });
        let mirror = Mirror::serve(repo.root());
        let apt = apt(folder.path(), &repo, &mirror);
        let refused = apt(&["-o", "APT::Update::Error-Mode=any", "update"]);
        assert!(refused.is_err(), "{signing:?} was accepted");
    }
}

#[test]
fn real_packages_make_a_repository_that_apt_can_use() {
    let Some(repo) = DebianRepo::real(&["libc6"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::serve(repo.root());
    let apt = apt(folder.path(), &repo, &mirror);
    apt(&["update"]).expect("the index is accepted");
    apt(&["-y", "--download-only", "install", "?essential"]).expect("the packages are accepted");
    let packages = repo.packages();
    for essential in ["base-files", "dpkg", "libc-bin", "coreutils"] {
        assert!(packages.contains(&format!("Package: {essential}\n")), "{essential}");
    }
}

#[test]
fn a_real_source_is_fetched_by_apt() {
    let Some(tree) = debian::real_source("hello") else { return };
    assert!(tree.join("debian/control").is_file());
}
