//! Workspaces that attack: members that lead out, another user's file, loops, more than there may be.

use std::{path::Path, process::Command};

use bulla_testkit::{Project, process, skipped};

use crate::{
    offline,
    workspace::{add, names, run_in, workspace},
};

/// Replaces the workspace's file.
fn write(project: &Project, text: &str) {
    project.write("bulla.workspace.yaml", format!("bulla: 1\n{text}"));
}

#[test]
fn members_that_lead_out_of_the_workspace_are_refused() {
    let (environment, project) = (offline(), workspace(""));
    let outside = Project::new();
    add(&outside, "secret", "secret");
    let target = outside.path("secret").display().to_string();
    let project = project.symlink("services/linked", &target).symlink("link", &outside.root().display().to_string());
    for (members, told) in [
        ("../elsewhere", "leads out of the workspace"),
        ("services/../../x", "leads out of the workspace"),
        (target.as_str(), "leads out of the workspace"),
        ("services/linked", "is, or lies behind, a symbolic link"),
        ("link/secret", "is, or lies behind, a symbolic link"),
        ("services/notes", "has no bulla.yaml"),
        ("services/none", "does not exist"),
        ("services/README.md", "is not a folder"),
        ("link/*", "has no member"),
    ] {
        write(&project, &format!("members: [{members}]\n"));
        let ran = environment.run(&project, &["build"]).failure(3);
        assert!(ran.stderr.contains(told) && !ran.stderr.contains("<p>"), "{members}: {}", ran.stderr);
    }
    // A pattern passes over links, and a link that is named leads to no member.
    write(&project, "members: [services/*]\n");
    assert_eq!(names(&environment.run(&project, &["build"]).success()), ["services/cart", "services/shop"]);
    let named = environment.run(&project, &["build", "services/linked"]).failure(3);
    assert!(named.stderr.contains("is no member of"), "{}", named.stderr);
    assert!(!outside.path("secret/bulla-out").exists() && !outside.path("secret/bulla.lock").exists());
    // The control: named by its own path it is a project like any other.
    run_in(&environment, &outside, "secret", &["build"]).success();
}

#[test]
fn loops_of_links_end() {
    let environment = offline();
    let project = workspace("").symlink("services/loop", "..").symlink("services/shop/self", ".");
    write(&project, "members: ['**/shop', '**/loop/**']\n");
    assert_eq!(names(&environment.run(&project, &["build"]).success()), ["services/shop"]);
}

#[test]
fn more_members_than_there_may_be_are_refused_and_none_is_built() {
    let environment = offline();
    // Ten thousand folders are made in memory where there is a place for that.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(&place).or_else(|_| tempfile::tempdir()).expect("a temporary folder");
    process::make_readable(folder.path());
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
        fs_err::write(path, text).expect("writing a file");
    };
    (0..10_000).for_each(|number| put(&format!("many/m{number}/bulla.yaml"), ""));
    let check = |text: &str| {
        put("bulla.workspace.yaml", &format!("bulla: 1\n{text}"));
        let out = environment.command(folder.path()).arg("check").output().expect("bulla can be run");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for pattern in ["many/*", "**", "many/m[0-9]*"] {
        let (code, said) = check(&format!("members: ['{pattern}']\n"));
        assert!(code == Some(3) && said.contains("more than 5000 members") && said.lines().count() < 10, "{said}");
    }
    // As many folders beside the members are no matter.
    let (code, said) = check("members: [many/m1, '**/m2']\n");
    assert!(code == Some(3) && said.contains("2 of 2 members failed: many/m1, many/m2"), "{said}");
}

#[test]
fn a_workspace_does_not_lie_in_another() {
    let (environment, project) = (offline(), workspace("settings:\n  forbid: [root-user]\n"));
    let spec = project.read("services/shop/bulla.yaml");
    project.write("services/shop/bulla.yaml", format!("{spec}  allow: {{root-user: it binds port 80}}\n"));
    // The control: what a member would be rid of.
    run_in(&environment, &project, "services/shop", &["check"]).failure(3);
    for inner in ["services/shop/bulla.workspace.yaml", "services/bulla.workspace.yaml"] {
        project.write(inner, "bulla: 1\nmembers: ['**', .]\n");
        for (folder, arguments) in [("services/shop", &["check"][..]), (".", &["check", "services/shop"])] {
            let ran = run_in(&environment, &project, folder, arguments).failure(3);
            assert!(ran.stderr.contains("workspaces do not lie in one another"), "{inner}: {}", ran.stderr);
        }
        fs_err::remove_file(project.path(inner)).expect("removing it");
    }
    // A checkout within the workspace would not find it, so it is no member.
    fs_err::create_dir(project.path("services/shop/.git")).expect("a folder");
    let ran = environment.run(&project, &["check"]).failure(3);
    assert!(ran.stderr.contains("git checkout of its own"), "{}", ran.stderr);
}

#[test]
fn names_that_could_be_taken_for_other_lines_are_refused() {
    let (environment, project) = (offline(), workspace(""));
    for name in ["services/a b", "services/a\nb sha256:0"] {
        add(&project, name, "x");
        let ran = environment.run(&project, &["build"]).failure(3);
        assert!(ran.stderr.contains("has white space in its name") && ran.stdout.is_empty(), "{}", ran.stderr);
        fs_err::remove_dir_all(project.path(name)).expect("removing it");
    }
}

#[test]
fn a_workspaces_file_that_is_no_file_of_it_is_not_read() {
    let environment = offline();
    for target in ["/etc/passwd", "/dev/zero"] {
        let project = workspace("");
        fs_err::remove_file(project.path("bulla.workspace.yaml")).expect("removing it");
        let project = project.symlink("bulla.workspace.yaml", target);
        for folder in [".", "services/shop"] {
            let ran = run_in(&environment, &project, folder, &["check"]).failure(3);
            assert!(ran.stderr.contains("is a link that leads out of its folder"), "{}", ran.stderr);
            assert!(!ran.stderr.contains("root:"), "{}", ran.stderr);
        }
    }
    let project = Project::new();
    for text in ["", "a: &a [*a]\n", "members: [a]\n", "\u{1b}]0;x\u{7}: 1\n"] {
        project.write("bulla.workspace.yaml", text);
        let ran = environment.run(&project, &["build"]).failure(3);
        assert!(ran.stderr.len() < 4000 && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    }
}

/// Gives a file to another user.
fn give(project: &Project, path: &str, user: &str) {
    process::output(Command::new("chown").arg(user).arg(project.path(path))).expect("giving it away");
}

#[test]
fn another_users_workspace_is_not_believed() {
    if !process::is_root() {
        skipped("another user's workspace", "only root can make a file of another user");
        return;
    }
    let environment = offline();
    let project = workspace("settings:\n  forbid: [root-user]\n");
    let spec = project.read("services/shop/bulla.yaml");
    project.write("services/shop/bulla.yaml", format!("{spec}  allow: {{root-user: it binds port 80}}\n"));
    let check = || run_in(&environment, &project, "services/shop", &["check"]);
    check().failure(3);
    // Outside of a checkout, as in /tmp, it is passed over: nobody can keep others from building.
    give(&project, "bulla.workspace.yaml", "nobody");
    let passed = check().success();
    assert!(
        passed.stderr.contains("belongs to the user") && passed.stderr.contains("is not used"),
        "{}",
        passed.stderr
    );
    // It is not even opened: a pipe would never end, and a link could lead anywhere.
    let file = project.path("bulla.workspace.yaml");
    let text = project.read("bulla.workspace.yaml");
    fs_err::remove_file(&file).expect("removing it");
    process::output(Command::new("mkfifo").arg(&file)).expect("making a FIFO");
    give(&project, "bulla.workspace.yaml", "nobody");
    check().success();
    fs_err::remove_file(&file).expect("removing it");
    project.write("bulla.workspace.yaml", text);
    give(&project, "bulla.workspace.yaml", "nobody");
    // Within the checkout of the project it would have to be obeyed, so it is an error.
    fs_err::create_dir(project.path(".git")).expect("a folder");
    let refused = check().failure(7);
    assert!(refused.stderr.contains("and not to you, to root, or to who owns"), "{}", refused.stderr);
    environment.run(&project, &["build"]).failure(7);
    // A `.git` of the same stranger makes it no checkout.
    give(&project, ".git", "nobody");
    check().success();
    // The control: who owns the project's folder can say in its spec what they like, so also here (as in a container).
    give(&project, "services/shop", "nobody");
    check().failure(3);
}
