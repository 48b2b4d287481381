//! `bulla build --since`: what a change affects, in checkouts that the real git made.

use std::process::Command;

use bulla_testkit::{Project, Ran, process, skipped};

use crate::{
    offline,
    workspace::{add, names, run_in, workspace},
};

/// Runs git without the machine's configuration.
#[track_caller]
fn git(project: &Project, folder: &str, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=T", "-c", "user.email=t@mirror.example", "-c", "commit.gpgsign=false"])
        .args(["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(project.path(folder))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    process::output(&mut git).unwrap_or_else(|error| panic!("git {arguments:?}: {error}"))
}

fn commit(project: &Project) {
    git(project, ".", &["add", "--all"]);
    git(project, ".", &["commit", "--quiet", "--allow-empty", "-m", "x"]);
}

/// A workspace, committed on `main`, and a branch `work` that is checked out; `None`, after it was said, without git.
fn checkout(test: &str) -> Option<Project> {
    if !process::exists("git") {
        skipped(test, "there is no git");
        return None;
    }
    let project = workspace("");
    project.write("services/shop/pages/read.md", "ignored by the spec");
    project.write(".gitignore", "*.tmp\n");
    offline().run(&project, &["lock"]).success();
    git(&project, ".", &["init", "--quiet"]);
    commit(&project);
    git(&project, ".", &["checkout", "--quiet", "-b", "work"]);
    Some(project)
}

fn since(project: &Project, revision: &str) -> Ran {
    offline().run(project, &["build", "--since", revision])
}

#[test]
fn what_changed_is_built_and_said_why() {
    let Some(project) = checkout("a change") else { return };
    let none = since(&project, "main").success();
    assert_eq!(none.stdout, "");
    assert!(none.stderr.starts_with("Nothing that is built from changed since main ("), "{}", none.stderr);

    project.write("services/shop/pages/index.html", "changed");
    let ran = since(&project, "main").success();
    assert_eq!(names(&ran), ["services/shop"]);
    assert!(
        ran.stderr.starts_with("services/shop: services/shop/pages/index.html changed since main ("),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("): 1 of 3 members."), "{}", ran.stderr);
    commit(&project);
    assert_eq!(names(&since(&project, "main").success()), ["services/shop"], "when it is committed too");
    assert_eq!(names(&since(&project, "HEAD~1").success()), ["services/shop"]);
    assert_eq!(since(&project, "HEAD").success().stdout, "");
}

#[test]
fn each_way_in_which_a_file_can_differ_counts() {
    let Some(project) = checkout("each way to differ") else { return };
    let shop = |name: &str| project.path(&format!("services/shop/{name}"));
    let reset = || {
        git(&project, ".", &["reset", "--quiet", "--hard"]);
        git(&project, ".", &["clean", "--quiet", "-xdff"]);
    };
    let told = |what: &str| {
        let ran = since(&project, "main").success();
        assert_eq!(names(&ran), ["services/shop"], "{}", ran.stderr);
        assert!(ran.stderr.contains(what), "{what}: {}", ran.stderr);
    };
    let untouched = |why: &str| assert_eq!(since(&project, "main").success().stdout, "", "{why}");

    project.write("services/shop/pages/deep/new.html", "");
    told("services/shop/pages/deep/new.html is new since main");
    git(&project, ".", &["add", "--all"]);
    told("services/shop/pages/deep/new.html is new since main");
    reset();
    fs_err::remove_file(shop("pages/index.html")).expect("removing it");
    project.write("services/shop/pages/other.html", "");
    told("services/shop/pages/index.html is gone since main");
    reset();
    git(&project, ".", &["mv", "services/shop/pages/index.html", "services/shop/pages/moved.html"]);
    told("services/shop/pages/index.html is gone since main (");
    told(", and 1 more");
    reset();
    process::output(Command::new("chmod").arg("+x").arg(shop("pages/index.html"))).expect("its mode");
    told("services/shop/pages/index.html changed since main");
    reset();
    let spec = project.read("services/shop/bulla.yaml");
    project.write("services/shop/bulla.yaml", spec.replace("/www", "/srv"));
    told("services/shop/bulla.yaml changed since main");
    reset();
    project.write("services/shop/bulla.yaml", spec.replace("name:", "naem:"));
    let broken = since(&project, "main").failure(3);
    assert!(broken.stderr.contains("services/shop: its spec cannot be read"), "{}", broken.stderr);
    reset();

    project.write("services/shop/pages/read.md", "changed, and ignored by the spec");
    project.write("services/shop/pages/more.md", "new, and ignored by the spec");
    project.write("services/shop/pages/x.tmp", "ignored by git");
    project.write("services/shop/notes.txt", "in no source");
    project.write("README.md", "of no member");
    untouched("nothing of it is read by a build");
    reset();
    project.write("bulla.workspace.yaml", "bulla: 1\nmembers: [services/*]\n");
    let all = since(&project, "main").success();
    assert_eq!(names(&all), ["services/cart", "services/shop"]);
    assert!(all.stderr.contains("services/cart: bulla.workspace.yaml changed since main"), "{}", all.stderr);
}

#[test]
fn what_others_did_since_on_that_branch_does_not_count() {
    let Some(project) = checkout("a merge base") else { return };
    project.write("services/cart/pages/index.html", "mine");
    commit(&project);
    git(&project, ".", &["checkout", "--quiet", "main"]);
    project.write("services/shop/pages/index.html", "theirs");
    commit(&project);
    git(&project, ".", &["checkout", "--quiet", "work"]);
    // The control: the two trees differ in both.
    let both = git(&project, ".", &["diff", "--name-only", "main"]);
    assert!(both.contains("shop") && both.contains("cart"), "{both}");
    assert_eq!(names(&since(&project, "main").success()), ["services/cart"]);
}

#[test]
fn a_member_alone_and_named_ones_are_asked_the_same() {
    let Some(project) = checkout("a member alone") else { return };
    project.write("services/shop/pages/index.html", "changed");
    let environment = offline();
    let run = |folder: &str, arguments: &[&str]| run_in(&environment, &project, folder, arguments).success();
    let shop = run("services/shop", &["build", "--since", "main"]);
    assert!(shop.stdout.starts_with("sha256:"), "{}", shop.stdout);
    let cart = run("services/cart", &["build", "--since", "main"]);
    assert!(cart.stdout.is_empty() && cart.stderr.starts_with("Nothing that is built from changed"), "{}", cart.stderr);
    let two = run(".", &["build", "--since", "main", "services/cart", "services/shop"]);
    assert_eq!(names(&two), ["services/shop"]);
    assert_eq!(run(".", &["build", "--since", "main", "services/cart"]).stdout, "");
}

#[test]
fn revisions_that_are_not_there_are_told_with_the_way_out() {
    let Some(project) = checkout("revisions that are not there") else { return };
    for revision in ["none", "--help", "main..work", "", "HEAD:services", "0123456789012345678901234567890123456789"] {
        let ran = offline().run(&project, &["build", &format!("--since={revision}")]);
        assert!(ran.code == Some(3) && ran.stdout.is_empty(), "{revision}: {:?} {}", ran.code, ran.stderr);
    }
    let none = since(&project, "none").failure(3);
    assert!(none.stderr.contains("has no commit `none`") && none.stderr.contains("origin/main"), "{}", none.stderr);

    git(&project, ".", &["checkout", "--quiet", "--orphan", "apart"]);
    // In the same second, the same files would be the same commit.
    project.write("other.txt", "");
    commit(&project);
    let apart = since(&project, "main").failure(4);
    assert!(apart.stderr.contains("have no commit in common"), "{}", apart.stderr);

    let bare = workspace("");
    let outside = since(&bare, "main").failure(3);
    assert!(outside.stderr.contains("is in no git checkout"), "{}", outside.stderr);
    git(&bare, ".", &["init", "--quiet"]);
    let empty = since(&bare, "main").failure(3);
    assert!(empty.stderr.contains("has no commit"), "{}", empty.stderr);
}

#[test]
fn a_shallow_clone_says_what_to_fetch() {
    let Some(project) = checkout("a shallow clone") else { return };
    project.write("services/shop/pages/index.html", "changed");
    commit(&project);
    git(&project, ".", &["checkout", "--quiet", "main"]);
    project.write("services/cart/pages/index.html", "theirs");
    commit(&project);
    git(&project, ".", &["checkout", "--quiet", "work"]);
    let clone = Project::new();
    let from = format!("file://{}", project.root().display());
    git(&clone, ".", &["clone", "--quiet", "--depth=1", "--branch=work", &from, "."]);
    let unknown = since(&clone, "origin/main").failure(3);
    assert!(
        unknown.stderr.contains("the clone is shallow") && unknown.stderr.contains("fetch-depth: 0"),
        "{}",
        unknown.stderr
    );
    git(&clone, ".", &["fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main"]);
    let unrelated = since(&clone, "origin/main").failure(4);
    assert!(
        unrelated.stderr.contains("have no commit in common") && unrelated.stderr.contains("--unshallow"),
        "{}",
        unrelated.stderr
    );
    // The control: what the hint says helps.
    git(&clone, ".", &["fetch", "--quiet", "--unshallow", "origin", "main:refs/remotes/origin/main", "work"]);
    assert_eq!(names(&since(&clone, "origin/main").success()), ["services/shop"]);
}

#[test]
fn submodules_and_checkouts_of_their_own_are_not_taken_for_unchanged() {
    let Some(project) = checkout("submodules") else { return };
    let other = Project::new().file("lib.c", "one");
    git(&other, ".", &["init", "--quiet"]);
    commit(&other);
    let url = other.root().display().to_string();
    git(&project, ".", &["submodule", "--quiet", "add", &url, "services/shop/pages/lib"]);
    commit(&project);
    git(&project, ".", &["branch", "-f", "main"]);
    assert_eq!(since(&project, "main").success().stdout, "");
    let built = |what: &str| {
        let ran = since(&project, "main").success();
        assert_eq!(names(&ran), ["services/shop"], "{what}: {}", ran.stderr);
        ran.stderr
    };
    project.write("services/shop/pages/lib/lib.c", "two");
    built("a file in it");
    // What the repository says of it does not hide it.
    let modules = project.read(".gitmodules");
    project.write(".gitmodules", format!("{modules}\tignore = all\n"));
    built("a file in it that shall be ignored");
    project.write(".gitmodules", &modules);
    git(&project, "services/shop/pages/lib", &["commit", "--quiet", "-am", "two"]);
    assert!(built("another commit").contains("services/shop/pages/lib changed since main"));
    commit(&project);
    built("another commit, committed");
    git(&project, ".", &["branch", "-f", "main"]);
    assert_eq!(since(&project, "main").success().stdout, "");
    // A source that is a checkout which git ignores has a history of its own.
    project.write(".git/info/exclude", "services/cart/pages\n");
    git(&project, ".", &["rm", "--quiet", "-r", "--cached", "services/cart/pages"]);
    git(&project, "services/cart/pages", &["init", "--quiet"]);
    git(&project, "services/cart/pages", &["add", "--all"]);
    commit(&project);
    git(&project, ".", &["branch", "-f", "main"]);
    let ran = since(&project, "main").success();
    assert_eq!(names(&ran), ["services/cart"]);
    assert!(ran.stderr.contains("lies in another git checkout, which is not compared"), "{}", ran.stderr);
}

#[test]
fn a_repository_runs_nothing_and_another_users_is_not_believed() {
    let Some(project) = checkout("a hostile repository") else { return };
    let trap = project.path("trap").display().to_string();
    let config = format!(
        "[core]\n\tfsmonitor = touch {trap}\n\tsshCommand = touch {trap}\n\thooksPath = .\n[filter \"x\"]\n\tclean = touch {trap}; cat\n\
         \tprocess = touch {trap}\n[diff]\n\texternal = touch {trap}\n"
    );
    let own = project.read(".git/config");
    project.write(".git/config", own + &config);
    project.write(".gitattributes", "* filter=x diff=x\n");
    project.write("services/shop/pages/index.html", "changed");
    assert_eq!(names(&since(&project, "main").success()), ["services/shop"]);
    assert!(!project.path("trap").exists(), "something was run");
    // The control: git itself runs it.
    let mut status = Command::new("git");
    status.arg("status").current_dir(project.root()).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let _ = status.output();
    assert!(project.path("trap").exists(), "the trap is none");
    if !process::is_root() {
        skipped("another user's repository", "only root can make one");
        return;
    }
    process::output(Command::new("chown").arg("nobody").arg(project.path(".git"))).expect("giving it away");
    let foreign = since(&project, "main").failure(7);
    assert!(
        foreign.stderr.contains("the git checkout at") && foreign.stderr.contains("belongs to the user"),
        "{}",
        foreign.stderr
    );
}

#[test]
fn an_object_that_unfolds_to_much_is_refused() {
    let Some(project) = checkout("a large object") else { return };
    let made = |megabytes: usize| {
        project.write(".git/message", "x".repeat(megabytes << 20));
        let tree = "HEAD^{tree}";
        git(&project, ".", &["commit-tree", "-p", "HEAD", "-F", ".git/message", tree]).trim().to_owned()
    };
    let (small, large) = (made(1), made(40));
    let object = project.path(&format!(".git/objects/{}/{}", &large[..2], &large[2..]));
    assert!(object.metadata().expect("a loose object").len() < 1 << 20, "it is small on the disk");
    let ran = since(&project, &large).failure(3);
    assert!(ran.stderr.contains("has no commit"), "{}", ran.stderr);
    assert_eq!(since(&project, &small).success().stdout, "", "the control");
}

#[test]
fn a_tree_that_lies_in_itself_ends() {
    let Some(project) = checkout("a tree in itself") else { return };
    // Git names objects by their hash, so a tree in itself is one whose file was put under another's name.
    let wrong = git(&project, ".", &["rev-parse", "main:services"]).trim().to_owned();
    add(&project, "services/new", "new");
    commit(&project);
    let object = |id: &str| project.path(&format!(".git/objects/{}/{}", &id[..2], &id[2..]));
    let entry = Command::new("sh")
        .args(["-c", "printf '040000 tree %s\\tservices\\n' \"$1\" | git mktree --missing", "sh", &wrong])
        .current_dir(project.root())
        .output()
        .expect("git mktree");
    let made = String::from_utf8_lossy(&entry.stdout).trim().to_owned();
    assert_eq!(made.len(), 40, "{}", String::from_utf8_lossy(&entry.stderr));
    fs_err::remove_file(object(&wrong)).expect("removing a tree");
    fs_err::copy(object(&made), object(&wrong)).expect("putting another in its place");
    let ran = since(&project, "main").failure(4);
    assert!(
        ran.stderr.contains("folders more than 200 deep") || ran.stderr.contains("reading the git checkout"),
        "{}",
        ran.stderr
    );
}
