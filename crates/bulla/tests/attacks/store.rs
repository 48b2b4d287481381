//! A store that rotted, was edited, cannot be written, is full, or is used by two at once: the next build gives the same
//! image or says what is wrong.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use bulla_testkit::{Mirror, Project, SmallDisk, TestEnvironment, process};

use crate::world::{GOOD, World, files, project};

/// A world in which the good project was built, and the digest of its image.
fn built(test: &str) -> Option<(World, Project, String)> {
    let world = World::new(test)?;
    let project = project(&GOOD);
    let digest = world.digest(&project);
    Some((world, project, digest))
}

/// Changes a byte in the middle of a file, whatever its mode; its size and its times stay.
fn flip(path: &Path) {
    let before = fs::metadata(path).expect("a file");
    let mut bytes = fs_err::read(path).expect("reading a file");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("its mode");
    fs_err::write(path, bytes).expect("flipping a bit");
    fs::set_permissions(path, before.permissions()).expect("its mode");
    let times = fs::FileTimes::new().set_modified(before.modified().expect("a time"));
    fs::File::options().read(true).open(path).and_then(|file| file.set_times(times)).expect("its times");
}

/// Gives the files beneath folders of the store, without empty ones.
fn of_store(world: &World, folder: &str) -> Vec<PathBuf> {
    let found = files(&world.environment.store().join(folder));
    found.into_iter().filter(|file| file.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() > 0)).collect()
}

/// Builds again, in every way that stands on the store, and expects the same image each time; then all must be sound.
#[track_caller]
fn same(world: &World, project: &Project, digest: &str, what: &str) {
    let _ = fs::remove_dir_all(project.path("bulla-out"));
    for arguments in [&[][..], &["--no-cache"]] {
        let ran = world.build(project, arguments);
        assert_eq!(ran.code, Some(0), "{what} {arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout.trim_end(), digest, "{what} {arguments:?}");
    }
    for (name, bytes) in layout_blobs(project) {
        assert_eq!(
            bulla_model::Digest::of(&bytes).hex(),
            name,
            "{what}: a blob of the layout is not what its name says"
        );
    }
}

fn layout_blobs(project: &Project) -> Vec<(String, Vec<u8>)> {
    files(&project.path("bulla-out/blobs/sha256"))
        .into_iter()
        .map(|file| {
            (file.file_name().expect("a name").to_string_lossy().into_owned(), fs_err::read(&file).expect("a blob"))
        })
        .collect()
}

#[test]
fn a_flipped_bit_in_any_blob_changes_no_image() {
    let Some((world, project, digest)) = built("a flipped bit") else { return };
    let blobs = of_store(&world, "blobs");
    assert!(blobs.len() > 3, "{blobs:?}");
    for blob in blobs {
        if !blob.exists() {
            continue;
        }
        flip(&blob);
        same(&world, &project, &digest, &blob.display().to_string());
    }
    world.environment.run(&project, &["store", "verify", "--full"]);
    world.assert_sound(&project);
    same(&world, &project, &digest, "at the end");
}

#[test]
fn an_edited_tree_or_farm_changes_no_image() {
    let Some((world, project, digest)) = built("an edited tree") else { return };
    for folder in ["trees", "farms"] {
        let all = of_store(&world, folder);
        assert!(!all.is_empty(), "there is nothing in {folder}");
        let chosen = all.iter().filter(|file| file.metadata().is_ok_and(|m| m.len() < 100_000));
        for file in chosen.step_by(7).take(8) {
            if !file.exists() {
                continue;
            }
            flip(file);
            same(&world, &project, &digest, &file.display().to_string());
        }
    }
    world.environment.run(&project, &["store", "verify", "--full"]);
    world.assert_sound(&project);
}

#[test]
fn a_program_that_was_put_into_a_root_never_runs() {
    let Some((world, project, digest)) = built("a changed program") else { return };
    let dpkg: Vec<PathBuf> = of_store(&world, "").into_iter().filter(|file| file.ends_with("usr/bin/dpkg")).collect();
    assert!(!dpkg.is_empty(), "dpkg is in no tree");
    let evil = "#!/bin/sh\nmkdir -p /etc; echo evil >/etc/evil; exit 0\n";
    for file in dpkg {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its mode");
        fs_err::write(&file, evil).expect("writing it");
    }
    same(&world, &project, &digest, "a changed dpkg");
    let found = of_store(&world, "trees").into_iter().find(|file| file.ends_with("etc/evil"));
    assert_eq!(found, None, "the changed program was run");
}

/// Makes another result of one.
type Forge = fn(&[u8]) -> Vec<u8>;

#[test]
fn results_that_were_swapped_or_forged_are_misses() {
    let Some((world, project, digest)) = built("forged results") else { return };
    let results = of_store(&world, "actions");
    assert!(results.len() > 2, "{results:?}");
    let texts: Vec<Vec<u8>> = results.iter().map(|file| fs_err::read(file).expect("a result")).collect();
    // Each has the bytes of the next: all of them genuine, for another action.
    for (file, text) in results.iter().zip(texts.iter().cycle().skip(1)) {
        fs_err::write(file, text).expect("swapping");
    }
    let ran = world.build(&project, &[]).success();
    assert_eq!(ran.stdout.trim_end(), digest);
    assert!(ran.stderr.contains("warning: the result of the action"), "{}", ran.stderr);
    let forgeries: [Forge; 3] =
        [|_| b"{}".to_vec(), |_| Vec::new(), |text| text.iter().map(|byte| byte.wrapping_add(1)).collect()];
    for forge in forgeries {
        for (file, text) in results.iter().zip(&texts) {
            fs_err::write(file, forge(text)).expect("forging");
        }
        same(&world, &project, &digest, "forged results");
    }
    // The control: results that nobody touched are used.
    let ran = world.build(&project, &[]).success();
    assert!(!ran.stderr.contains("warning") && ran.stderr.contains("cached"), "{}", ran.stderr);
    // What no build asked for again, as the evidence of the first one, is still forged: whoever looks finds it.
    world.environment.run(&project, &["store", "verify"]);
    world.assert_sound(&project);
}

#[test]
fn results_of_a_store_with_another_key_are_misses() {
    let Some((world, project, digest)) = built("another key") else { return };
    let keys: Vec<PathBuf> = files(world.environment.folder())
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "store.key"))
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(!keys[0].starts_with(world.environment.store()), "the key lies in the store");
    assert_eq!(fs::metadata(&keys[0]).expect("the key").mode() & 0o077, 0, "others may read the key");
    fs_err::remove_file(&keys[0]).expect("losing the key");
    same(&world, &project, &digest, "another key");
}

#[test]
fn a_tree_blob_or_farm_that_was_deleted_is_made_again() {
    let Some((world, project, digest)) = built("deleted parts") else { return };
    for folder in ["trees", "farms", "blobs"] {
        let all: Vec<PathBuf> = fs_err::read_dir(world.environment.store().join(folder))
            .expect("a folder")
            .map(|e| e.expect("it").path())
            .collect();
        assert!(!all.is_empty(), "{folder}");
        for path in all {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if removed.is_err() {
                continue;
            }
            same(&world, &project, &digest, &format!("without {}", path.display()));
        }
    }
    for folder in ["trees", "farms", "blobs", "actions"] {
        let whole = world.environment.store().join(folder);
        fs::remove_dir_all(&whole).expect("removing it");
        same(&world, &project, &digest, &format!("without any {folder}"));
    }
    world.assert_sound(&project);
}

#[test]
fn garbage_collection_between_builds_changes_no_image() {
    let Some((world, project, digest)) = built("garbage collection") else { return };
    world.environment.run(&project, &["store", "du"]).success();
    let freed = world.environment.run(&project, &["store", "gc", "--keep", "0B"]).success();
    assert!(!freed.stdout.starts_with("removed                  0"), "{}", freed.stdout);
    same(&world, &project, &digest, "after gc");
    world.assert_sound(&project);
}

/// An environment whose store is on a disk of its own.
fn on_disk(world: &World, disk: &SmallDisk) -> TestEnvironment {
    let mirror: &Mirror = &world.mirror;
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &world.repo, mirror);
    environment.set("BULLA_STORE", &disk.path().join("store").display().to_string())
}

#[test]
fn a_store_that_cannot_be_written_is_said_to_be() {
    let Some((world, _, digest)) = built("a read-only store") else { return };
    let Some(disk) = SmallDisk::new(256 << 10) else { return };
    let environment = on_disk(&world, &disk);
    let project = project(&GOOD);
    assert_eq!(environment.run(&project, &["build"]).success().stdout.trim_end(), digest);
    if let Err(why) = disk.make_read_only() {
        bulla_testkit::skipped("a read-only store", &why);
        return;
    }
    let ran = environment.run(&project, &["build"]).failure(4);
    assert!(ran.stderr.contains(&disk.path().display().to_string()), "{}", ran.stderr);
    assert!(ran.stderr.to_lowercase().contains("read-only"), "{}", ran.stderr);
}

#[test]
fn a_full_disk_is_said_to_be_and_leaves_a_sound_store() {
    let Some((world, _, digest)) = built("a full disk") else { return };
    let mut succeeded = false;
    for kibibytes in [256, 1024, 2500, 4500, 6000, 9000, 262_144] {
        let Some(disk) = SmallDisk::new(kibibytes) else { return };
        let environment = on_disk(&world, &disk);
        let project = project(&GOOD);
        let ran = environment.run(&project, &["build"]);
        if ran.code == Some(0) {
            assert_eq!(ran.stdout.trim_end(), digest, "{kibibytes} KiB");
            succeeded = true;
            continue;
        }
        // The disk may be full for the step itself, whose own failure is then told.
        assert!(matches!(ran.code, Some(1 | 4)), "{kibibytes} KiB: {ran:?}");
        // A step that takes longer than a tick of its supervisor is ended by that, which leaves a reserve of a disk.
        let told =
            ["No space left on device", "over its limit of disk space"].iter().any(|why| ran.stderr.contains(why));
        assert!(told, "{kibibytes} KiB: {}", ran.stderr);
        assert!(!project.path("bulla-out/index.json").exists());
        process::output(std::process::Command::new("mount").args(["-o", "remount,size=262144k"]).arg(disk.path()))
            .expect("a larger disk");
        environment.run(&project, &["store", "verify", "--full"]).success();
        assert_eq!(environment.run(&project, &["build"]).success().stdout.trim_end(), digest, "{kibibytes} KiB");
    }
    assert!(succeeded, "the control: the largest disk is large enough");
}

#[test]
fn two_builds_of_one_project_at_once_give_the_same() {
    let Some(world) = World::new("two builds at once") else { return };
    let (first, second) = (project(&GOOD), project(&GOOD));
    let digest = world.digest(&first);
    world.environment.run(&second, &["lock"]).success();
    world.environment.run(&second, &["store", "gc", "--keep", "0B"]).success();
    let builds: Vec<_> = (0..4)
        .map(|number| {
            let mut command = world.environment.command(second.root());
            command.args(["build", "--quiet"]).args(if number % 2 == 1 { &["--no-cache"][..] } else { &[] });
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bulla can be run")
        })
        .collect();
    for build in builds {
        let out = build.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim_end(), digest, "{said}");
    }
    assert!(!layout_blobs(&second).is_empty());
    same(&world, &second, &digest, "after builds at once");
    world.assert_sound(&second);
}
