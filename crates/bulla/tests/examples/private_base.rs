//! An image on a base of a private registry, which a mirror of the configuration stands for; the image goes to it too.

use std::process::Command;

use bulla_testkit::{
    Project, TestEnvironment,
    docker::{Docker, Registry},
    process, skipped,
};

use crate::world::{build, example};

const LOGIN: (&str, &str) = ("ada", "correct-horse");

/// Puts a base with a shell into the registry, made and pushed by other tools; gives the digests of its layers.
fn push_base(registry: &Registry, folder: &Project) -> Result<String, String> {
    let layout = folder.path("base").display().to_string();
    let image = format!("{layout}:1.35");
    let umoci = |arguments: &[&str]| process::output(Command::new("umoci").args(arguments));
    umoci(&["init", "--layout", &layout])?;
    umoci(&["new", "--image", &image])?;
    let rootless: &[&str] = if process::is_root() { &[] } else { &["--rootless"] };
    let programs = folder.path("bin");
    fs_err::create_dir(&programs).map_err(|error| error.to_string())?;
    fs_err::copy("/bin/busybox", programs.join("busybox")).map_err(|error| error.to_string())?;
    process::make_readable(&programs);
    umoci(&[&["insert"], rootless, &["--image", &image, &programs.display().to_string(), "/bin"]].concat())?;
    let to = format!("docker://{}/base/busybox:1.35", registry.address());
    let credentials = format!("{}:{}", LOGIN.0, LOGIN.1);
    let copy =
        ["copy", "--quiet", "--dest-tls-verify=false", "--dest-creds", &credentials, &format!("oci:{image}"), &to];
    process::output(Command::new("skopeo").args(copy))?;
    layers(&to)
}

/// Gives the digests of the layers of an image in the registry, as skopeo says them.
fn layers(image: &str) -> Result<String, String> {
    let credentials = format!("{}:{}", LOGIN.0, LOGIN.1);
    let inspect = [
        "inspect",
        "--tls-verify=false",
        "--creds",
        &credentials,
        "--format",
        "{{range .Layers}}{{println .}}{{end}}",
        image,
    ];
    process::output(Command::new("skopeo").args(inspect))
}

/// The logins of the user, as `docker login` keeps them.
fn logins(registry: &Registry) -> String {
    // YWRhOmNvcnJlY3QtaG9yc2U= is `ada:correct-horse`.
    format!(r#"{{"auths": {{"{}": {{"auth": "YWRhOmNvcnJlY3QtaG9yc2U="}}}}}}"#, registry.address())
}

/// Says that the layers of the base were taken over within the registry, and not sent to it.
fn mounted(log: &str, below: &str) {
    let sent: Vec<&str> = log.lines().filter(|line| line.contains("/v2/team/notes/blobs/uploads/")).collect();
    for layer in below.lines().filter_map(|line| line.strip_prefix("sha256:")) {
        let of_layer: Vec<&&str> = sent.iter().filter(|line| line.contains(layer)).collect();
        let mount =
            |line: &&str| line.contains("POST") && line.contains("from=base%2Fbusybox") && line.contains(" 201 ");
        assert!(of_layer.len() == 1 && mount(of_layer[0]), "{layer}: {sent:?}");
    }
    assert!(sent.iter().any(|line| line.contains("\"PUT ")), "the control: its own layer was sent: {sent:?}");
}

/// A registry with the base, whose layers are named, and the example with an environment that finds it there, and has no login yet.
fn prepared() -> Option<(Registry, String, Project, TestEnvironment)> {
    if !["umoci", "skopeo", "busybox"].iter().all(|program| process::exists(program)) {
        skipped("the example private-base", "umoci, skopeo or busybox is not installed");
        return None;
    }
    let registry = Registry::start_with_login(LOGIN.0, LOGIN.1)?;
    let project = Project::new().tree(&example("private-base"));
    let below = push_base(&registry, &Project::new()).expect("a base in the registry");
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let address = registry.address();
    environment.write_config(&format!("[registry.oci]\nmirrors = {{\"registry.example\" = \"{address}\"}}\n"));
    Some((registry, below, project, environment))
}

/// Lets the environment's user log in, as `docker login` does.
fn log_in(registry: &Registry, environment: &TestEnvironment) {
    let docker = environment.folder().join("home/.docker");
    fs_err::create_dir_all(&docker).expect("a folder");
    fs_err::write(docker.join("config.json"), logins(registry)).expect("a file");
}

/// The example, and an environment that has fetched its base: the registry is gone.
pub(crate) fn fetched() -> Option<(Project, TestEnvironment)> {
    let (registry, _, project, environment) = prepared()?;
    log_in(&registry, &environment);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

#[test]
fn an_image_on_a_private_base_is_built_pushed_and_run() {
    let Some((registry, below, project, environment)) = prepared() else { return };
    let address = registry.address();
    let denied = environment.run(&project, &["build"]).failure(4);
    assert!(denied.stderr.contains("docker login"), "{}", denied.stderr);
    log_in(&registry, &environment);

    let digest = build(&environment, &project);
    let lock = project.read("bulla.lock");
    assert!(lock.contains("registry.example/base/busybox:1.35") && !lock.contains(&address), "{lock}");
    let reference = format!("{address}/team/notes:1");
    let pushed = environment.run(&project, &["build", "--locked", "--push", &reference]).success();
    assert_eq!(pushed.stdout, format!("{reference}@{digest}\n"));
    mounted(&registry.log(), &below);
    let all = layers(&format!("docker://{reference}")).expect("skopeo reads it");
    assert!(
        all.starts_with(below.trim_end()) && all.len() > below.len(),
        "the base's layers are not its own:\n{below}\n{all}"
    );

    let Some(engine) = Docker::start() else { return };
    let configured = project.path("docker");
    fs_err::create_dir_all(&configured).expect("a folder");
    fs_err::write(configured.join("config.json"), logins(&registry)).expect("a file");
    let configured = configured.display().to_string();
    let script = "/bin/busybox httpd -p 8080 -h /srv/www && /bin/busybox wget -q -O - http://127.0.0.1:8080/ && /bin/busybox id -u";
    let run = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/busybox", &reference, "sh", "-c", script];
    let said = engine.run(&[&["--config", &configured], &run[..]].concat()).expect("it runs");
    assert!(said.contains("as the registry has them") && said.trim_end().ends_with("65532"), "{said}");
}
