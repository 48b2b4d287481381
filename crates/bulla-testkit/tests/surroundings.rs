//! The environment, the daemons and the folders that the test kit makes.

use bulla_testkit::{Project, SmallDisk, TestEnvironment, archive, docker, hostile, process, skipped};

#[test]
fn the_environment_of_a_run_is_its_own() {
    let environment = TestEnvironment::new("/usr/bin/env").set("CI", "true");
    let ran = environment.run(&Project::new(), &[]).success();
    for line in ran.stdout.lines() {
        let (name, value) = line.split_once('=').expect("a variable");
        let ours = value.starts_with(environment.folder().to_str().expect("UTF-8"));
        assert!(ours || ["PATH", "LC_ALL", "TZ", "NO_COLOR", "CI"].contains(&name), "{line}");
    }
    assert!(ran.stdout.contains("CI=true"));
}

#[test]
fn a_run_as_an_ordinary_user_has_its_folders_and_no_range_of_ids() {
    if !process::is_root() {
        return skipped("running as another user", "the tests do not run as root");
    }
    let environment = TestEnvironment::new("/bin/sh").as_user("bulla-test").without_subuid();
    let project = Project::new().file("source", "x");
    let script = "id -u; touch made \"$HOME/made\" \"$TMPDIR/made\"; mkdir \"$BULLA_STORE\"; grep -c bulla-test: /etc/subuid; true";
    let ran = environment.run(&project, &["-c", script]).success();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_ne!(lines[0], "0", "{}", ran.stderr);
    assert_eq!((lines.get(1), ran.stderr.as_str()), (Some(&"0"), ""));
}

#[test]
fn a_private_docker_starts_and_ends() {
    let Some(docker) = docker::Docker::start() else { return };
    assert_eq!(docker.run(&["images", "-q"]).expect("it answers"), "");
    let socket = docker.socket();
    drop(docker);
    assert!(!socket.exists());
}

#[test]
fn a_private_registry_starts_and_ends() {
    let Some(registry) = docker::Registry::start() else { return };
    let address = registry.address();
    drop(registry);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_small_disk_is_soon_full_and_can_be_made_read_only() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let file = disk.path().join("file");
    assert!(std::fs::write(&file, vec![0; 200_000]).is_err(), "it is full");
    std::fs::remove_file(&file).expect("room again");
    disk.make_read_only().expect("remounted");
    assert!(std::fs::write(&file, "x").is_err(), "it is read-only");
    let folder = disk.path().to_owned();
    drop(disk);
    assert!(!folder.exists());
}

#[test]
fn a_run_goes_through_what_it_is_told() {
    let environment = TestEnvironment::new("/bin/sh").through(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    assert_eq!(environment.run(&Project::new(), &["-c", "umask"]).success().stdout, "0077\n");
}

#[test]
fn archives_are_as_tar_reads_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.tar");
    let long = format!("./{}/end", "x".repeat(150));
    let entries = [
        archive::TarEntry::directory("./d", 0o1777).owned_by(1000, 7),
        archive::TarEntry::file(&long, 0o4755, "data"),
        archive::TarEntry::symlink("./l", "y".repeat(120)),
        archive::TarEntry::hardlink("./h", "./d/f"),
        archive::TarEntry::special("./c", b'3', (1, 3)),
    ];
    std::fs::write(&file, archive::tar(&entries)).expect("a file");
    let list = process::output(std::process::Command::new("tar").env("TZ", "UTC").args(["-tvf"]).arg(&file))
        .expect("tar reads it");
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("drwxrwxrwt 1000/7"), "{list}");
    assert!(
        lines[1].starts_with("-rwsr-xr-x 0/0") && lines[1].ends_with(&long) && lines[1].contains(" 4 2023-11-14"),
        "{list}"
    );
    assert!(
        lines[2].ends_with(&"y".repeat(120)) && lines[3].ends_with("link to ./d/f") && lines[4].contains("1,3"),
        "{list}"
    );
    assert_eq!(hostile::debs().len(), hostile::tar_entries().len());
}
