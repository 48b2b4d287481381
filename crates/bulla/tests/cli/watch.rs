//! Builds that begin again when a file changes. They are of files alone, so that no sandbox is needed.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use bulla_model::Digest;
use bulla_testkit::{Mirror, Project, TestEnvironment};

use crate::offline;

const SPEC: &str = "\
bulla: 1
name: watched
epoch: 1700000000
sources:
  all: {path: .}
image:
  from: {scratch: {}}
  copy:
    - {source: all/pages, to: /www}
  entrypoint: [/www/serve]
  user: 65532
";

/// A build that watches, and the lines of its standard output as they come.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(environment: &TestEnvironment, project: &Project) -> Self {
        Self::start_in(environment, project, ".")
    }

    fn start_in(environment: &TestEnvironment, project: &Project, folder: &str) -> Self {
        environment.own(project);
        let mut command = environment.command(&project.path(folder));
        command.args(["build", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("bulla can be run");
        let (tell, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    #[track_caller]
    fn digest(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("a digest")
    }

    /// Sends Ctrl-C, and gives the exit code and standard error.
    fn stop(mut self) -> (Option<i32>, String) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill can be run");
        assert!(sent.success());
        let start = Instant::now();
        while self.child.try_wait().expect("it can be waited for").is_none() {
            if start.elapsed() > Duration::from_secs(10) {
                self.child.kill().expect("killed");
                panic!("it goes on after Ctrl-C");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("what it said");
        (self.child.wait().expect("it ended").code(), said)
    }
}

#[test]
fn a_change_begins_a_build_and_a_mistake_ends_nothing() {
    let (environment, project) = (offline(), Project::with_spec(SPEC).file("pages/index.html", "one"));
    let watching = Watching::start(&environment, &project);
    let one = watching.digest();
    let quiet = watching.lines.recv_timeout(Duration::from_millis(1200));
    assert!(quiet.is_err(), "what the build itself writes began another: {quiet:?}");
    project.write("pages/index.html", "two");
    let two = watching.digest();
    assert_ne!(one, two);
    project.write("bulla.yaml", SPEC.replace("image:", "imgae:"));
    let wrong = watching.lines.recv_timeout(Duration::from_millis(1500));
    assert!(wrong.is_err(), "a spec with a mistake was built: {wrong:?}");
    project.write("bulla.yaml", SPEC);
    assert_eq!(two, watching.digest());
    // Folders that were not there are watched as well, from the build on that they began.
    project.write("pages/deep/er/first.html", "1");
    let three = watching.digest();
    project.write("pages/deep/er/first.html", "2");
    let mut four = watching.digest();
    if four == three {
        four = watching.digest();
    }
    assert_ne!(three, four);
    assert!(project.read("bulla-out/index.json").contains(&four));
    let (code, said) = watching.stop();
    assert_eq!(code, Some(130), "{said}");
    for part in ["unknown key `imgae`", "changed: ", "interrupted"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let left: Vec<_> = fs_err::read_dir(project.root()).expect("the project").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 4, "temporary files are left: {left:?}");
}

#[test]
fn a_source_from_a_url_is_pinned_and_not_watched() {
    let files = Project::new().file("data.csv", "a,b\n");
    let server = Mirror::serve(files.root());
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    environment.write_config(&format!(
        "[registry.debian]\napt = false\n[network]\nlocal-hosts = [\"{}\"]\n",
        server.address()
    ));
    let data = format!("  data: {{url: '{}/data.csv', sha256: {}}}\nimage:", server.url(), Digest::of("a,b\n").hex());
    let spec = SPEC
        .replace("image:", &data)
        .replace("{source: all/pages", "{source: data, to: /data}\n    - {source: all/pages");
    let project = Project::with_spec(&spec).file("pages/serve", "one");
    let watching = Watching::start(&environment, &project);
    let first = watching.digest();
    server.forget_requests();
    project.write("pages/serve", "two");
    assert_ne!(watching.digest(), first);
    assert!(server.requests().is_empty(), "what is pinned is not asked for again");
    watching.stop();
}

#[test]
fn a_layout_that_is_the_base_is_watched_as_well() {
    let environment = offline();
    let base = Project::with_spec(SPEC).file("pages/base.html", "base");
    let project = Project::with_spec(
        &SPEC.replace("from: {scratch: {}}", "from: {image: 'oci:base'}").replace("path: .", "path: own"),
    );
    project.write("own/pages/index.html", "one");
    let inside = project.path("base");
    let make = |page: &str| {
        base.write("pages/base.html", page);
        let to = format!("oci:{}", inside.display());
        environment.run(&base, &["build", "--output", &to]).success();
    };
    make("base");
    let watching = Watching::start(&environment, &project);
    watching.digest();
    make("another base");
    let same = watching.lines.recv_timeout(Duration::from_millis(2500));
    assert!(same.is_err(), "another base than the lock has was taken: {same:?}");
    let (_, said) = watching.stop();
    assert!(said.contains("changed: ") && said.contains("oci:base"), "{said}");
}

#[test]
fn what_a_member_inherits_is_watched_and_nothing_else_beside_its_file() {
    let workspace = |settings: &str| format!("bulla: 1\nmembers: [app]\n{settings}");
    let project = Project::new().file("bulla.workspace.yaml", workspace("")).file("app/pages/index.html", "one");
    project.write("app/bulla.yaml", SPEC.replace("epoch: 1700000000\n", ""));
    let environment = offline();
    let watching = Watching::start_in(&environment, &project, "app");
    let one = watching.digest();
    project.write("README.md", "of no member");
    let quiet = watching.lines.recv_timeout(Duration::from_millis(1200));
    assert!(quiet.is_err(), "another file began a build: {quiet:?}");
    project.write("bulla.workspace.yaml", workspace("setings: {}\n"));
    let wrong = watching.lines.recv_timeout(Duration::from_millis(1500));
    assert!(wrong.is_err(), "a workspace with a mistake was used: {wrong:?}");
    project.write("bulla.workspace.yaml", workspace("settings: {epoch: 1700000000}\n"));
    assert_ne!(one, watching.digest());
    watching.stop();
}
