//! Outputs that are not what they seem: nothing of the host may come into an image, and nothing is written outside.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use bulla_testkit::{Project, contains, process, skipped};

use crate::world::{World, project, spec};

/// Gives the layers of the image that was built, as files.
fn layers(project: &Project) -> Vec<PathBuf> {
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().and_then(|text| text.strip_prefix("sha256:")).expect("a digest");
        project.path("bulla-out/blobs/sha256").join(digest)
    };
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs_err::read(path).expect("a blob")).expect("JSON")
    };
    let index = read(&blob(&read(&project.path("bulla-out/index.json"))["manifests"][0]));
    let manifest = if index["layers"].is_array() { index } else { read(&blob(&index["manifests"][0])) };
    manifest["layers"].as_array().expect("layers").iter().map(blob).collect()
}

/// Lists the entries of all layers as `tar -tv` does, and gives their bytes as well.
fn contents(project: &Project) -> (String, Vec<u8>) {
    let (mut listing, mut bytes) = (String::new(), Vec::new());
    for layer in layers(project) {
        listing += &process::output(Command::new("tar").arg("-tvzf").arg(&layer)).expect("tar reads a layer");
        let out = Command::new("zcat").arg(&layer).output();
        bytes.extend(out.expect("gzip can be run").stdout);
    }
    (listing, bytes)
}

/// A file of the host with content that is nowhere else, at a path that links of an attack lead to.
fn secret() -> (Project, String) {
    let secret = format!("content-of-the-host-{}", std::process::id());
    let folder = Project::new().file("shadow", &secret);
    (folder, secret)
}

#[test]
fn links_to_the_host_are_kept_as_links_and_never_followed() {
    let Some(world) = World::new("links out of the sandbox") else { return };
    let (host, secret) = secret();
    let target = host.path("shadow").display().to_string();
    let project = project(&[
        "mkdir out; ln -s /etc/shadow out/shadow; ln -s /proc/self/environ out/environ",
        &format!("ln -s {target} out/host; ln -s {} out/folder; cp hello out/hello", host.root().display()),
        "ln -s ../../../../../../../../etc/passwd out/climbing",
    ]);
    world.build(&project, &[]).success();
    let (listing, bytes) = contents(&project);
    for link in ["out/shadow -> /etc/shadow", "out/environ -> /proc/self/environ", &format!("out/host -> {target}")] {
        assert!(listing.contains(link), "{link} is not in {listing}");
    }
    assert!(contains(&bytes, b"hello\n"), "the control: what is a file is in the layer");
    assert!(!contains(&bytes, &secret), "content of the host is in the image");
    assert!(!contains(&bytes, b"PATH=/"), "content of /proc is in the image");
    let shadow = fs_err::read_to_string("/etc/shadow").unwrap_or_default();
    for line in shadow.lines().filter(|line| line.len() > 8) {
        assert!(!contains(&bytes, line), "a line of /etc/shadow is in the image");
    }
}

#[test]
fn an_output_that_is_a_link_itself_stays_one() {
    let Some(world) = World::new("an output that is a link") else { return };
    let (host, secret) = secret();
    let target = host.path("shadow").display().to_string();
    let project = project(&[&format!("ln -s {target} out")]);
    world.build(&project, &[]).success();
    let (listing, bytes) = contents(&project);
    assert!(listing.contains(&format!("out -> {target}")), "{listing}");
    assert!(!contains(&bytes, &secret));
}

#[test]
fn an_output_beneath_a_link_or_missing_is_an_error_that_names_it() {
    let Some(world) = World::new("an output beneath a link") else { return };
    let text = |steps: &[&str]| spec("", steps, "/src/app/out/passwd");
    for (steps, says) in [
        (["ln -s /etc out"].as_slice(), "/src/app/out is a symbolic link to /etc"),
        (&["mkdir out"], "/src/app/out/passwd"),
        (&["echo x >out"], "/src/app/out/passwd"),
    ] {
        let project = Project::with_spec(&text(steps)).file("app/hello", "hello\n");
        let ran = world.build(&project, &[]).failure(3);
        let said = ran.stderr.replace("src/app", "/src/app").replace("//", "/");
        assert!(said.contains(says) && said.contains("`out`"), "{steps:?}: {}", ran.stderr);
        world.assert_no_image(&project);
    }
    let good = Project::with_spec(&text(&["mkdir out; echo x >out/passwd"])).file("app/hello", "hello\n");
    world.build(&good, &[]).success();
    world.assert_sound(&good);
}

#[test]
fn fifos_and_sockets_are_left_out_and_do_not_hang() {
    let Some(world) = World::new("FIFOs and sockets") else { return };
    let pipes = project(&["mkdir out; mkfifo out/fifo; cp hello out/hello"]);
    world.build(&pipes, &[]).success();
    let (listing, _) = contents(&pipes);
    assert!(listing.contains("out/hello") && !listing.contains("fifo"), "{listing}");
    // The output itself.
    let ran = world.build(&project(&["mkfifo out"]), &[]).failure(3);
    assert!(ran.stderr.contains("src/app/out"), "{}", ran.stderr);
    let Some(binder) = compiled(BINDER) else { return };
    let sockets = project(&["mkdir out; ./binder out/socket; cp hello out/hello"]);
    let sockets = Project::new().tree(sockets.root()).program("app/binder", binder);
    world.build(&sockets, &[]).success();
    let (listing, _) = contents(&sockets);
    assert!(listing.contains("out/hello") && !listing.contains("out/socket"), "{listing}");
    world.assert_sound(&sockets);
}

/// Makes a socket where it is told.
const BINDER: &str = "#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
int main(int n, char **words) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat found;
    if (n != 2) return 2;
    strncpy(at.sun_path, words[1], sizeof at.sun_path - 1);
    if (bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&at, sizeof at) != 0) return 1;
    return stat(words[1], &found) != 0 || !S_ISSOCK(found.st_mode);
}
";

/// Compiles a small program that needs no libraries.
fn compiled(source: &str) -> Option<Vec<u8>> {
    let folder = Project::new().file("it.c", source);
    let (from, to) = (folder.path("it.c"), folder.path("it"));
    match process::output(Command::new("cc").args(["-static", "-o"]).arg(&to).arg(from)) {
        Ok(_) => Some(fs_err::read(to).expect("the program")),
        Err(why) => {
            skipped("a socket as output", &why);
            None
        }
    }
}

#[test]
fn what_is_swapped_while_the_step_ends_is_one_or_the_other() {
    let Some(world) = World::new("a swapped output") else { return };
    let (host, secret) = secret();
    let folder = host.root().display();
    let swap = format!(
        "mkdir out; cp hello out/hello; (setsid sh -c 'while :; do rm -rf out/d; ln -s {folder} out/d; rm out/d; \
         mkdir out/d; echo own >out/d/shadow; done' >/dev/null 2>&1 &); sleep 0.2"
    );
    for round in 0..4 {
        let project = project(&[&format!("true {round}; {swap}")]);
        world.build(&project, &[]).success();
        let (listing, bytes) = contents(&project);
        assert!(listing.contains("out/hello"), "{listing}");
        assert!(!contains(&bytes, &secret), "content of the host is in the image: {listing}");
        assert!(!host.path("own").exists() && host.read("shadow") == secret);
        world.assert_sound(&project);
    }
}

#[test]
fn a_daemon_that_goes_on_writing_ends_with_its_step() {
    let Some(world) = World::new("a daemon") else { return };
    let mark = format!("8{:05}.25", std::process::id());
    let daemon = format!(
        "mkdir out; cp hello out/hello; (setsid sh -c 'sleep {mark} & while :; do date >>out/late 2>&1; done' \
         >/dev/null 2>&1 &); sleep 0.3"
    );
    let project =
        project(&[&daemon, "wc -c <out/late >out/one; sleep 0.3; wc -c <out/late >out/two; cmp out/one out/two"]);
    world.build(&project, &[]).success();
    assert!(!crate::world::is_running(&mark), "it runs still");
    world.assert_sound(&project);
    assert_eq!(world.digest(&project), world.digest(&project));
}

#[test]
fn names_that_are_not_utf8_are_refused_by_name_and_never_changed() {
    let Some(world) = World::new("names that are not UTF-8") else { return };
    let odd = project(&[r#"mkdir out; echo odd >"$(printf 'out/odd-\377\376')""#]);
    let ran = world.build(&odd, &[]).failure(3);
    assert!(ran.stderr.contains(r"out/odd-\xff\xfe") && ran.stderr.contains("rename"), "{}", ran.stderr);
    world.assert_no_image(&odd);
    world.assert_sound(&odd);
    // The control: other names than those of English are no matter.
    let project = project(&["mkdir out; echo even >'out/größe-大小'"]);
    world.build(&project, &[]).success();
    assert!(contains(&contents(&project).1, "out/größe-大小".as_bytes()));
}

#[test]
fn set_id_bits_are_dropped() {
    let Some(world) = World::new("set-id files") else { return };
    let project =
        project(&["mkdir out; cp hello out/plain; cp hello out/set; chmod 0755 out/plain; chmod 6755 out/set"]);
    let ran = world.build(&project, &[]);
    if ran.code == Some(0) {
        let (listing, _) = contents(&project);
        let modes: Vec<&str> = listing.lines().map(|line| &line[..10]).collect();
        assert!(modes.contains(&"-rwxr-xr-x") && !modes.iter().any(|mode| mode.contains(['s', 'S'])), "{listing}");
    } else {
        // The filter may refuse the call instead.
        let ran = ran.failure(1);
        assert!(ran.stderr.contains("chmod"), "{}", ran.stderr);
    }
}
