//! Images go to a real registry and come back, by Bulla and by skopeo.

use std::process::Command;

use bulla_testkit::{Project, TestEnvironment, docker::Registry, process, skipped};

use crate::offline;

/// A project whose image is some files alone: it needs no sandbox.
pub(crate) fn site() -> Project {
    let spec = "bulla: 1
name: site
epoch: 1700000000
sources:
  pages: {path: pages}
image:
  from: {scratch: {}}
  copy:
    - {source: pages, to: /www}
  entrypoint: [/www/serve]
  user: 65532
";
    Project::with_spec(spec).file("pages/index.html", "<p>hello</p>").program("pages/serve", "#!/bin/true\n")
}

/// Builds the image of the project into `bulla-out`, and gives its digest.
pub(crate) fn built(environment: &TestEnvironment, project: &Project) -> String {
    environment.run(project, &["build", "--evidence", "none"]).success().stdout.trim_end().to_owned()
}

fn skopeo(arguments: &[&str]) -> Result<String, String> {
    process::output(Command::new("skopeo").args(arguments))
}

#[test]
fn a_pushed_image_is_read_by_skopeo_and_comes_back_the_same() {
    let Some(registry) = Registry::start() else { return };
    let (environment, project) = (offline(), site());
    let digest = built(&environment, &project);
    let reference = format!("{}/team/site:1", registry.address());
    let pushed = environment.run(&project, &["push", &reference]).success();
    assert_eq!(pushed.stdout, format!("{reference}@{digest}\n"), "standard output has the reference alone");
    // A second time nothing is sent; the same from the build itself.
    let again = environment.run(&project, &["build", "--push", &reference]).success();
    assert_eq!(again.stdout, pushed.stdout);
    let pulled = environment.run(&project, &["pull", &reference, "back"]).success();
    assert_eq!(pulled.stdout, pushed.stdout);
    let shown = |folder: &str| environment.run(&project, &["inspect", "--files", folder]).success().stdout;
    let names = |text: String| text.replace("names       1\n", "names       site\n");
    assert_eq!(names(shown("back")), shown("bulla-out"));
    if !process::exists("skopeo") {
        return skipped("reading by skopeo", "skopeo is not installed");
    }
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]).expect("readable");
    assert_eq!(bulla_model::Digest::of(raw).to_string(), digest);
    let there = project.path("skopeo").display().to_string();
    let copied = ["copy", "--quiet", "--all", "--src-tls-verify=false"];
    skopeo(&[&copied[..], &[&format!("docker://{reference}"), &format!("oci:{there}:site")]].concat()).expect("copied");
    assert_eq!(shown("skopeo"), shown("bulla-out"));
}

#[test]
fn what_skopeo_pushed_is_pulled_and_copied_everywhere() {
    let Some(registry) = Registry::start() else { return };
    if !process::exists("skopeo") {
        return skipped("pulling what skopeo pushed", "skopeo is not installed");
    }
    let (environment, project) = (offline(), site());
    built(&environment, &project);
    // As Docker's own format, which skopeo makes of it.
    let (from, to) = (project.path("bulla-out").display().to_string(), format!("{}/team/docker:2", registry.address()));
    skopeo(&[
        "copy",
        "--quiet",
        "--format=v2s2",
        "--dest-tls-verify=false",
        &format!("oci:{from}:site"),
        &format!("docker://{to}"),
    ])
    .expect("pushed");
    let pulled = environment.run(&project, &["pull", &to]).success().stdout;
    assert!(project.path("docker/oci-layout").is_file(), "the folder is named after the repository");
    let digest = pulled.trim_end().rsplit_once('@').expect("a digest").1.to_owned();
    let shown = environment.run(&project, &["inspect", "--files", "docker"]).success().stdout;
    assert!(shown.starts_with(&digest) && shown.contains("/www/index.html"), "{shown}");
    // Registry to registry, to an archive, to a layout under a name, and from there to the registry: always the same digest.
    let third = format!("{}/other/place:3", registry.address());
    for (source, target) in [
        (to.as_str(), third.as_str()),
        (&third, "oci-archive:x.tar"),
        ("oci-archive:x.tar", "oci:all:three"),
        ("oci:all:three", &format!("{}/other/again:4", registry.address())),
        (&format!("{}/other/again@{digest}", registry.address()), "oci:last"),
    ] {
        let ran = environment.run(&project, &["copy", source, target]).success();
        assert!(ran.stdout.trim_end().ends_with(&digest), "{source} {target}: {}", ran.stdout);
    }
    let archive = project.path("x.tar").display().to_string();
    skopeo(&["inspect", &format!("oci-archive:{archive}")]).expect("skopeo reads the archive");
    // The same archive, made again, has the same bytes.
    environment.run(&project, &["copy", &third, "oci-archive:y.tar"]).success();
    let bytes = |name: &str| fs_err::read(project.path(name)).expect("readable");
    assert!(bytes("x.tar") == bytes("y.tar"));
}

#[test]
fn images_of_one_layout_are_told_apart_by_name() {
    let (environment, project) = (offline(), site());
    let first = built(&environment, &project);
    environment.run(&project, &["copy", "oci:bulla-out", "oci:all:1"]).success();
    project.write("pages/index.html", "other");
    let second = built(&environment, &project);
    environment.run(&project, &["copy", "oci:bulla-out", "oci:all:2"]).success();
    let copy = |from: &str| environment.run(&project, &["copy", from, "oci:one"]);
    assert!(copy("oci:all").failure(3).stderr.contains("2 images"));
    assert!(copy("oci:all:3").failure(3).stderr.contains("no image of the name `3`"));
    assert_eq!(copy("oci:all:1").success().stdout.trim_end(), first);
    assert_eq!(copy("oci:all:2").success().stdout.trim_end(), second);
    let mine = site().file("mine/thesis.txt", "years of work");
    built(&environment, &mine);
    environment.run(&mine, &["copy", "oci:bulla-out", "oci:mine"]).failure(3);
}

#[test]
fn a_login_of_docker_or_podman_or_a_helper_is_used() {
    let Some(registry) = Registry::start_with_login("ada", "correct-horse") else { return };
    let (environment, project) = (offline(), site());
    built(&environment, &project);
    let address = registry.address();
    let reference = format!("{address}/team/site:1");
    let denied = environment.run(&project, &["push", &reference]).failure(4);
    assert!(denied.stderr.contains("docker login"), "{}", denied.stderr);
    // YWRhOmNvcnJlY3QtaG9yc2U= is `ada:correct-horse`.
    let docker = format!(r#"{{"auths": {{"{address}": {{"auth": "YWRhOmNvcnJlY3QtaG9yc2U="}}}}}}"#);
    let home = environment.folder().join("home");
    fs_err::create_dir_all(home.join(".docker")).expect("a folder");
    let file = home.join(".docker/config.json");
    fs_err::write(&file, &docker).expect("a file");
    environment.run(&project, &["push", &reference]).success();
    fs_err::remove_file(&file).expect("removed");
    environment.run(&project, &["pull", &reference, "denied"]).failure(4);
    let podman = environment.folder().join("run/containers");
    fs_err::create_dir_all(&podman).expect("a folder");
    fs_err::write(podman.join("auth.json"), &docker).expect("a file");
    environment.run(&project, &["pull", &reference, "podman"]).success();
    // Podman's logins may be for a part of a registry, and are for no other part then.
    let part = |name: &str| docker.replace(&address, &format!("{address}/{name}"));
    fs_err::write(podman.join("auth.json"), part("other")).expect("a file");
    environment.run(&project, &["pull", &reference, "part"]).failure(4);
    fs_err::write(podman.join("auth.json"), part("team")).expect("a file");
    environment.run(&project, &["pull", &reference, "part"]).success();
    fs_err::remove_file(podman.join("auth.json")).expect("removed");
    let named = environment.folder().join("named.json");
    fs_err::write(&named, &docker).expect("a file");
    let environment = environment.set("REGISTRY_AUTH_FILE", &named.display().to_string());
    environment.run(&project, &["pull", &reference, "named"]).success();
    // A helper, which is asked for this registry and no other.
    let helper = project.path("bin/docker-credential-test").display().to_string();
    let script = format!(
        "#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {address}' ] || {{ echo 'credentials not found in native keychain'; exit 1; }}\n\
         echo '{{\"Username\":\"ada\",\"Secret\":\"correct-horse\"}}'\n"
    );
    let project = project.program("bin/docker-credential-test", &script);
    fs_err::write(&named, r#"{"credsStore": "test"}"#).expect("a file");
    let path = format!("{}:/usr/bin:/bin", std::path::Path::new(&helper).parent().expect("a folder").display());
    let environment = environment.set("PATH", &path);
    environment.run(&project, &["pull", &reference, "helper"]).success();
    fs_err::write(&named, r#"{"credsStore": "broken"}"#).expect("a file");
    let broken = environment.run(&project, &["pull", &reference, "broken"]).failure(4);
    assert!(broken.stderr.contains("docker-credential-broken"), "{}", broken.stderr);
}

#[test]
fn progress_of_a_push_is_json_lines_for_programs() {
    let Some(registry) = Registry::start() else { return };
    let (environment, project) = (offline(), site());
    built(&environment, &project);
    let reference = format!("{}/team/site:1", registry.address());
    let ran = environment.run(&project, &["push", &reference, "--progress", "json"]).success();
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{lines:?}");
    assert!(lines[0].contains(r#""event":"started""#) && lines[0].contains(r#""title":"push: "#), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains(r#""event":"progress""#) && line.contains(r#""unit":"bytes""#)));
    assert!(lines.last().is_some_and(|line| line.contains(r#""ending":"done""#)), "{lines:?}");
}

#[test]
fn images_of_single_platforms_are_joined_in_a_registry_and_one_is_pulled_out() {
    let Some(registry) = Registry::start() else { return };
    let (environment, project) = (offline(), site());
    let spec = project.read("bulla.yaml").replace("sources:", "platforms: [linux/arm64, linux/amd64]\nsources:");
    project.write("bulla.yaml", spec);
    let whole = built(&environment, &project);
    let place = |tag: &str| format!("{}/team/site:{tag}", registry.address());
    let parts = ["amd64", "arm64"].map(|architecture| {
        let (platform, reference) = (format!("linux/{architecture}"), place(architecture));
        let pushed = environment.run(&project, &["build", "--platform", &platform, "--push", &reference]).success();
        pushed.stdout.trim_end().to_owned()
    });
    let joined = ["index", "create", "--push", &place("1"), &parts[0], &parts[1]];
    assert_eq!(environment.run(&project, &joined).success().stdout, format!("{}@{whole}\n", place("1")));
    // From a layout and the registry, into a layout and the registry.
    environment.run(&project, &["build", "--platform", "linux/amd64", "--output", "oci:amd64"]).success();
    let both = ["index", "create", "-o", "oci:both", "--push", &place("2"), "oci:amd64", &parts[1]];
    assert_eq!(environment.run(&project, &both).success().stdout, format!("{}@{whole}\n", place("2")));
    assert!(project.read("both/index.json").contains(&whole));
    let pulled = environment.run(&project, &["pull", &place("1"), "arm64", "--platform", "linux/arm64"]).success();
    let (_, digest) = parts[1].split_once('@').expect("a digest");
    assert!(pulled.stdout.ends_with(&format!("@{digest}\n")), "as that part was built: {}", pulled.stdout);
    let shown = environment.run(&project, &["inspect", "arm64"]).success().stdout;
    assert!(shown.contains("platform    linux/arm64") && !shown.contains("linux/amd64"), "{shown}");
    if !process::exists("skopeo") {
        return skipped("reading by skopeo", "skopeo is not installed");
    }
    let docker = format!("docker://{}", place("1"));
    let arm64 =
        skopeo(&["inspect", "--config", "--tls-verify=false", "--override-arch=arm64", &docker]).expect("readable");
    assert!(arm64.contains("\"architecture\":\"arm64\"") || arm64.contains("\"architecture\": \"arm64\""), "{arm64}");
    // A bare manifest, as other programs push it, says in its configuration where it runs.
    let bare = format!("docker://{}", place("bare"));
    let options = ["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--override-arch=arm64"];
    skopeo(&[&options[..], &[&docker, &bare]].concat()).expect("copied");
    let joined = ["index", "create", "-o", "oci:bare", &parts[0], &place("bare")];
    environment.run(&project, &joined).success();
    let shown = environment.run(&project, &["inspect", "bare"]).success().stdout;
    assert!(shown.contains("linux/arm64") && shown.contains("linux/amd64"), "{shown}");
}
