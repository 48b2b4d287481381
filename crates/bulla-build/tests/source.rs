//! Which files a local source is made of, in git checkouts that the real git made and elsewhere.

#![expect(clippy::disallowed_methods, reason = "the checkouts are made by the real git")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use bulla_build::source::{CheckoutState, Listing, SourceError, list};
use bulla_model::spec::{Folder, Glob};

fn source(path: Option<&str>, ignore: &[&str]) -> Folder {
    Folder {
        path: path.map(|path| path.parse().expect("a clean path")),
        ignore: ignore.iter().map(|text| Glob::parse(text).expect("a pattern")).collect(),
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("it has a folder")).expect("making a folder");
    fs::write(path, text).expect("writing a file");
}

fn names(listing: &Listing) -> Vec<String> {
    listing.files.iter().map(ToString::to_string).collect()
}

/// Gives the state of the checkout, whose files are all examined anew.
fn state(listing: &Listing) -> CheckoutState {
    listing.checkout.as_ref().expect("it is a checkout").state([]).expect("it can be read")
}

/// Runs git without the machine's configuration; `None` where there is no git.
fn git(folder: &Path, arguments: &[&str]) -> Option<()> {
    let ran = Command::new("git")
        .args(["-c", "user.name=T", "-c", "user.email=t@mirror.example", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .ok()?;
    assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    Some(())
}

/// Makes a repository with a tracked file and an ignore rule; `None`, with a word, where there is no git.
fn checkout(folder: &Path) -> Option<()> {
    if git(folder, &["init", "-q", "."]).is_none() {
        eprintln!("skipped: git is not installed");
        return None;
    }
    write(folder, ".gitignore", "*.o\n");
    write(folder, "main.c", "int main;");
    write(folder, "sub/deep.c", "int x;");
    git(folder, &["add", "."])?;
    git(folder, &["commit", "-q", "-m", "first"])
}

#[test]
fn without_git_a_source_is_all_but_what_steers_the_build() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["bulla.yaml", "bulla.lock", "bulla-out/index.json", "a.c", "b/bulla.yaml", "docs/x.md"] {
        write(folder.path(), name, "");
    }
    let all = list("app", folder.path(), &source(None, &[])).expect("it lists");
    assert_eq!(names(&all), ["a.c", "b/bulla.yaml", "docs/x.md"]);
    assert!(all.checkout.is_none());
    let some = list("app", folder.path(), &source(None, &["docs/**"])).expect("it lists");
    assert_eq!(names(&some), ["a.c", "b/bulla.yaml"]);
}

#[test]
fn in_a_checkout_ignored_files_are_left_out_and_untracked_ones_make_it_dirty() {
    let folder = tempfile::tempdir().expect("a folder");
    if checkout(folder.path()).is_none() {
        return;
    }
    write(folder.path(), "main.o", "ignored");
    let clean = list("app", folder.path(), &source(None, &[])).expect("it lists");
    assert_eq!(names(&clean), [".gitignore", "main.c", "sub/deep.c"]);
    let found = state(&clean);
    assert!(!found.dirty);
    assert_eq!(found.commit.map(|commit| commit.len()), Some(40));

    write(folder.path(), "new.c", "");
    let dirty = list("app", folder.path(), &source(None, &[])).expect("it lists");
    assert_eq!(names(&dirty), [".gitignore", "main.c", "new.c", "sub/deep.c"]);
    assert!(state(&dirty).dirty);
}

#[test]
fn a_changed_tracked_file_makes_it_dirty() {
    let folder = tempfile::tempdir().expect("a folder");
    if checkout(folder.path()).is_none() {
        return;
    }
    write(folder.path(), "main.c", "int other;");
    let listing = list("app", folder.path(), &source(None, &[])).expect("it lists");
    assert!(state(&listing).dirty);
}

#[test]
fn whatever_differs_from_the_commit_makes_it_dirty() {
    let folder = tempfile::tempdir().expect("a folder");
    if checkout(folder.path()).is_none() {
        return;
    }
    // What is older than the index need not be read to be known.
    let settle = || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        git(folder.path(), &["reset", "-q", "--hard"]).expect("there is a git");
        git(folder.path(), &["update-index", "--refresh", "-q"]).expect("there is a git");
        git(folder.path(), &["read-tree", "HEAD"]).expect("there is a git");
        std::thread::sleep(std::time::Duration::from_millis(30));
        git(folder.path(), &["status"]).expect("there is a git");
    };
    let dirty = || state(&list("app", folder.path(), &source(None, &[])).expect("it lists")).dirty;
    settle();
    assert!(!dirty(), "the control: nothing differs");
    let mode = |bits| std::os::unix::fs::PermissionsExt::from_mode(bits);
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 6] = [
        ("a file of the same length", Box::new(|| write(folder.path(), "main.c", "int niam;"))),
        (
            "a file that may be executed",
            Box::new(|| fs::set_permissions(folder.path().join("main.c"), mode(0o755)).expect("a mode")),
        ),
        ("a file that is gone", Box::new(|| fs::remove_file(folder.path().join("sub/deep.c")).expect("removing it"))),
        (
            "a change that is staged alone",
            Box::new(|| {
                write(folder.path(), "main.c", "int staged;");
                git(folder.path(), &["add", "main.c"]).expect("there is a git");
            }),
        ),
        (
            "a file that is no longer tracked",
            Box::new(|| {
                git(folder.path(), &["rm", "-q", "--cached", "main.c"]).expect("there is a git");
                fs::remove_file(folder.path().join("main.c")).expect("removing it");
            }),
        ),
        (
            "a file that became a link",
            Box::new(|| {
                fs::remove_file(folder.path().join("main.c")).expect("removing it");
                symlink("sub/deep.c", folder.path().join("main.c")).expect("a link");
            }),
        ),
    ];
    for (what, change) in changes {
        settle();
        change();
        assert!(dirty(), "{what} is not seen");
        git(folder.path(), &["reset", "-q", "--hard"]).expect("there is a git");
    }
    settle();
    // The same bytes written again are no difference.
    write(folder.path(), "main.c", "int main;");
    assert!(!dirty());
}

#[test]
fn a_deleted_tracked_file_is_not_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    if checkout(folder.path()).is_none() {
        return;
    }
    fs::remove_file(folder.path().join("main.c")).expect("removing a file");
    let listing = list("app", folder.path(), &source(None, &[])).expect("it lists");
    assert_eq!(names(&listing), [".gitignore", "sub/deep.c"]);
}

#[test]
fn a_source_in_a_subfolder_of_a_checkout_has_only_what_is_below_it() {
    let folder = tempfile::tempdir().expect("a folder");
    if checkout(folder.path()).is_none() {
        return;
    }
    write(folder.path(), "sub-not/x", "");
    let listing = list("app", folder.path(), &source(Some("sub"), &[])).expect("it lists");
    assert_eq!(names(&listing), ["deep.c"]);
}

#[test]
fn programs_that_a_strangers_checkout_names_are_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    if checkout(folder.path()).is_none() {
        return;
    }
    write(folder.path(), ".gitattributes", "*.c filter=evil\n");
    git(folder.path(), &["add", "."]).expect("there is a git");
    git(folder.path(), &["commit", "-q", "-m", "attributes"]).expect("there is a git");
    // Outside of the checkout, in which all is tracked: its files have to be compared.
    let outside = tempfile::tempdir().expect("a folder");
    let proof = outside.path().join("proof");
    let program = outside.path().join("evil.sh");
    fs::write(&program, format!("#!/bin/sh\ntouch '{}'\ncat\n", proof.display())).expect("writing a file");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("making it executable");
    let evil = program.display().to_string();
    for key in ["core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.external"] {
        git(folder.path(), &["config", key, &evil]).expect("there is a git");
    }
    write(folder.path(), "main.c", "int changed;");
    assert!(state(&list("app", folder.path(), &source(None, &[])).expect("it lists")).dirty);
    assert!(!proof.exists(), "a program of the checkout's configuration was run");
    // The control: git itself runs it.
    git(folder.path(), &["status"]).expect("there is a git");
    assert!(proof.exists(), "the control did not run the program either");
}

#[test]
fn a_source_that_leads_out_of_the_project_is_refused() {
    let outside = tempfile::tempdir().expect("a folder");
    write(outside.path(), "secret", "");
    let folder = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), folder.path().join("app")).expect("making a link");
    let refused = list("app", folder.path(), &source(Some("app"), &[]));
    assert!(matches!(refused, Err(SourceError::Outside { .. })), "{refused:?}");
    write(folder.path(), "file", "");
    let refused = list("app", folder.path(), &source(Some("file"), &[]));
    assert!(matches!(refused, Err(SourceError::NotAFolder { .. })), "{refused:?}");
}
