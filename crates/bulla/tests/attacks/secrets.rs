//! Secrets of steps: given to the steps that name them, hidden in all that is shown, and not let into what a step leaves.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bulla_testkit::{Project, Ran};

use crate::world::{GOOD, World, files, is_running, project, quoted, spec};

/// A value that is nowhere else.
pub(crate) const VALUE: &str = "s3cr3t+Value&of=test";

/// A project whose steps are these, some with further keys (whole lines, indented by eight).
pub(crate) fn with_secrets(steps: &[(&str, &str)]) -> Project {
    let written: String = steps.iter().map(|(run, keys)| format!("      - run: {}\n{keys}", quoted(run))).collect();
    let text = spec("", &["REPLACED"], "/src/app/out").replace("      - \"REPLACED\"\n", &written);
    Project::with_spec(&text).file("app/hello", "hello\n")
}

const TOKEN: &str = "        secrets: [token]\n";

/// Builds with the value of `token` in a variable.
pub(crate) fn build(world: &World, project: &Project, value: &str, arguments: &[&str]) -> Ran {
    world.environment.own(project);
    let mut command = world.environment.command(project.root());
    command.env("MY_TOKEN", value).args(["build", "--secret", "id=token,env=MY_TOKEN"]).args(arguments);
    let out = command.output().expect("bulla can be run");
    Ran {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Says which files beneath a folder have a text in them, in their names or in what they link to. `grep` reads: it is a hundred times
/// faster than what is not optimised here.
pub(crate) fn holders(folder: &Path, text: &str) -> Vec<String> {
    let out = Command::new("grep").args(["-rlaF", "--devices=skip", "-e", text]).arg(folder).output();
    let out = out.expect("grep can be run");
    let mut found: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    let named = |path: &std::path::PathBuf| {
        let link = std::fs::read_link(path).unwrap_or_default();
        path.to_string_lossy().contains(text) || link.to_string_lossy().contains(text)
    };
    found.extend(files(folder).into_iter().filter(named).map(|path| path.display().to_string()));
    found
}

/// Panics where the value is in the store, the state, the image or what was said.
#[track_caller]
pub(crate) fn assert_nowhere(world: &World, project: &Project, ran: &Ran) {
    assert!(!ran.stderr.contains(VALUE) && !ran.stdout.contains(VALUE), "it was shown: {}", ran.stderr);
    assert_eq!(holders(world.environment.folder(), VALUE), [""; 0]);
    assert_eq!(holders(project.root(), VALUE), [""; 0]);
}

#[test]
fn a_secret_is_there_for_its_step_alone_and_decides_nothing() {
    let Some(world) = World::new("a secret") else { return };
    let project = with_secrets(&[
        (
            "mkdir out; busybox sha256sum </run/secrets/token >out/sum; stat -c %a /run/secrets/token >out/mode; \
             grep -c ' /run/secrets tmpfs ro' /proc/mounts >>out/mode; ! echo x >/run/secrets/token",
            TOKEN,
        ),
        ("test ! -e /run/secrets; test -z \"${TOKEN:-}\"; test ! -e /root/.npmrc; cp out/sum out/after", ""),
        (
            "printf %s \"$TOKEN\" | busybox sha256sum | grep -q \"$(head -c 64 out/sum)\"; test ! -s /run/secrets/token",
            "        secrets: [{id: token, env: TOKEN}]\n",
        ),
        (
            "busybox sha256sum </root/.npmrc | grep -q \"$(head -c 64 out/sum)\"; stat -c %a /root/.npmrc >>out/mode",
            "        secrets:\n          - {id: token, target: /root/.npmrc}\n",
        ),
    ]);
    let ran = build(&world, &project, VALUE, &[]).success();
    assert_nowhere(&world, &project, &ran);
    let digest = ran.stdout;
    let kept = files(&world.environment.store()).into_iter().find(|path| path.ends_with("root/mode"));
    let kept = fs_err::read_to_string(kept.expect("the control: what the steps wrote is in the store")).expect("text");
    assert_eq!(kept, "400\n1\n400\n");

    let again = build(&world, &project, "an entirely other value", &[]).success();
    assert_eq!(again.stdout, digest, "the value is no part of the key");
    assert!(again.stderr.contains("0 of 5 steps run") || again.stderr.contains("0 of 4 steps run"), "{}", again.stderr);
    let forced = build(&world, &project, "an entirely other value", &["--no-cache=build/1"]).success();
    assert_ne!(forced.stdout, digest, "the control: the step had the other value");
    world.assert_sound(&project);
}

#[test]
fn what_a_step_prints_or_runs_is_shown_and_kept_without_it() {
    let Some(world) = World::new("masked output") else { return };
    let prints = "mkdir -p out; cp hello out/; v=$(cat $FROM); echo \"the value is $v.\"; printf %s \"$v\" | busybox base64; \
                  printf %s \"$v\" | busybox xxd -p; echo \"$v\" >&2; busybox echo $v; \
                  for part in \"${v%Value*}\" \"${v#*+}\"; do printf %s \"$part\"; done; echo; nslookup $v.example || true";
    let step = |last: &str| with_secrets(&[(&format!("FROM=/run/secrets/token; {prints}; {last}"), TOKEN)]);
    for arguments in [&["--progress", "plain", "--verbose"][..], &["--progress", "json"], &[]] {
        let project = step(&format!("echo {}", arguments.len()));
        let ran = build(&world, &project, VALUE, arguments).success();
        assert!(ran.stderr.contains("the value is ***."), "{}", ran.stderr);
        for form in ["czNjcjN0K1ZhbHVlJm9mPXRlc3", "7333637233742b56616c7565266f663d74657374"] {
            assert!(!ran.stderr.contains(form), "{form}: {}", ran.stderr);
        }
        assert_nowhere(&world, &project, &ran);
        let told = world.environment.run(&project, &["explain", "--json"]).success();
        let history = world.environment.run(&project, &["history", "--json"]).success();
        assert!(!told.stdout.contains(VALUE) && !history.stdout.contains(VALUE));
    }
    // The last lines of a step that fails.
    let project = step("exit 3");
    let ran = build(&world, &project, VALUE, &["--quiet"]).failure(1);
    assert!(ran.stderr.contains("the value is ***."), "{}", ran.stderr);
    assert_nowhere(&world, &project, &ran);
    // The control: the same with a value that is no secret.
    let plain = with_secrets(&[(&format!("FROM=token.txt; {prints}"), "")]).file("app/token.txt", VALUE);
    let ran = world.build(&plain, &["--progress", "plain", "--verbose"]).success();
    assert!(ran.stderr.contains(&format!("the value is {VALUE}.")), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("czNjcjN0K1ZhbHVlJm9mPXRlc3") && ran.stderr.contains("7333637233742b5661"),
        "{}",
        ran.stderr
    );
}

/// A way in which a value gets into what a step leaves: the commands, with `FROM` for where they read it, and what the error says.
const LEAKS: [(&str, &str); 17] = [
    ("cp $FROM out/copy", "/src/app/out/copy, as it is"),
    ("cp $FROM /etc/elsewhere", "/etc/elsewhere, as it is"),
    ("busybox xxd -p $FROM >out/hex", "/src/app/out/hex, in hexadecimal"),
    ("busybox base64 $FROM >out/encoded", "/src/app/out/encoded, in base64"),
    ("(printf 'user:'; cat $FROM) | busybox base64 >out/auth", "/src/app/out/auth, in base64"),
    ("(printf 'a user:'; cat $FROM) | busybox base64 -w 8 >out/auth", "in base64, with white space in between"),
    ("busybox base64 $FROM | busybox base64 >out/twice", "/src/app/out/twice, encoded twice"),
    ("busybox gzip -c $FROM >out/log.gz", "/src/app/out/log.gz > gzip, as it is"),
    ("busybox tar -cf - -C / ${FROM#/} | busybox gzip >out/all.tgz", "/src/app/out/all.tgz > gzip > "),
    (
        "mkdir -p x; cp $FROM x/; (cd x; busybox tar -cf - .) | busybox gzip | busybox gzip >out/a; rm -r x",
        "/src/app/out/a > gzip > gzip > ",
    ),
    ("touch \"out/$(cat $FROM)\"", "the name of /src/app/out/***, as it is"),
    ("mkfifo \"out/$(cat $FROM)\"", "the name of /src/app/out/***, as it is"),
    ("ln -s \"/$(cat $FROM)\" out/link", "the target of the link /src/app/out/link, as it is"),
    ("TOKEN=$(cat $FROM) env >out/environment", "/src/app/out/environment, as it is"),
    // The stack of a program, as a core dump has it: addresses are not random in a step.
    (
        "TOKEN=$(cat $FROM) busybox sh -c 'r=$(grep stack /proc/self/maps | cut -c-25); \
         exec busybox dd if=/proc/self/mem bs=4096 count=34 skip=$((0x7ffffffde)) of=out/core 2>out/log' || true; test -s out/core",
        "/src/app/out/core, as it is",
    ),
    ("sed 's/./&\\n/g' $FROM", "its output, as it is, with white space in between"),
    ("busybox gzip -c $FROM", "its output > gzip, as it is"),
];

#[test]
fn a_step_that_leaves_the_value_fails_and_leaves_nothing() {
    let (Some(world), Some(control)) = (World::new("leaks"), World::new("leaks")) else { return };
    let steps = |leak: &str, from: &str| format!("rm -rf out; mkdir out; FROM={from}; {leak}; cp hello out/hello");
    let project = with_secrets(&[("true", TOKEN)]);
    for (leak, says) in LEAKS {
        // In one project, so that its lock is written once.
        project.write("bulla.yaml", with_secrets(&[(&steps(leak, "/run/secrets/token"), TOKEN)]).read("bulla.yaml"));
        let ran = build(&world, &project, VALUE, &[]).failure(6);
        assert!(ran.stderr.contains(says), "{leak}: no `{says}` in {}", ran.stderr);
        assert!(ran.stderr.contains("`token`") && ran.stderr.contains("build 1/1"), "{}", ran.stderr);
        assert_nowhere(&world, &project, &ran);
        world.assert_no_image(&project);
    }
    world.assert_sound(&project);
    // The control: the same from a file that is no secret is built, and the search of this test finds it.
    let plain: Vec<String> = LEAKS.iter().map(|(leak, _)| steps(leak, "/src/app/token.txt")).collect();
    let plain: Vec<(&str, &str)> = plain.iter().map(|run| (run.as_str(), "")).collect();
    control.build(&with_secrets(&plain).file("app/token.txt", VALUE), &[]).success();
    assert!(holders(&control.environment.store(), VALUE).len() > 8);
}

#[test]
fn what_only_a_program_that_means_it_would_do_is_not_found() {
    let Some(world) = World::new("hidden on purpose") else { return };
    // Each letter with another behind it: no search knows all ways. The manual says so, and this test that it is so.
    let project = with_secrets(&[("mkdir out; sed 's/./&-/g' /run/secrets/token >out/hidden", TOKEN)]);
    build(&world, &project, VALUE, &[]).success();
}

#[test]
fn an_archive_that_was_brought_along_is_looked_into() {
    let Some(world) = World::new("a zip archive") else { return };
    let project = with_secrets(&[("mkdir out; cp some.zip out/; cat /run/secrets/token >/dev/null", TOKEN)]);
    let zip = |text: &str| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("in/side", zip::write::SimpleFileOptions::default()).expect("an entry");
        std::io::Write::write_all(&mut writer, text.as_bytes()).expect("memory");
        writer.finish().expect("memory").into_inner()
    };
    project.write("app/some.zip", zip("nothing of interest"));
    build(&world, &project, VALUE, &[]).success();
    project.write("app/some.zip", zip(&format!("a {VALUE} b")));
    let ran = build(&world, &project, VALUE, &[]).failure(6);
    assert!(ran.stderr.contains("/src/app/out/some.zip > in/side, as it is"), "{}", ran.stderr);
}

#[test]
fn what_a_failed_step_left_is_not_kept_with_the_value() {
    let Some(world) = World::new("a failed step") else { return };
    let project = with_secrets(&[("mkdir out; echo kept-text >out/b; cp /run/secrets/token out/a; exit 9", TOKEN)]);
    let ran = build(&world, &project, VALUE, &[]).failure(1);
    assert!(ran.stderr.contains("is not kept") && ran.stderr.contains("/src/app/out/a"), "{}", ran.stderr);
    assert_nowhere(&world, &project, &ran);
    let shell = world.environment.run(&project, &["shell", "build/1", "--", "ls", "/", "/src/app"]).success();
    assert!(shell.stderr.contains("a shell is given none") && !shell.stdout.contains("out\n"), "{}", shell.stdout);
    // The control: without the value it is kept.
    let project =
        with_secrets(&[("mkdir out; echo kept-text >out/b; cat /run/secrets/token >/dev/null; exit 9", TOKEN)]);
    build(&world, &project, VALUE, &[]).failure(1);
    assert_eq!(world.environment.run(&project, &["shell", "--", "ls", "out"]).success().stdout, "b\n");
}

#[test]
fn a_crash_leaves_no_core() {
    let Some(world) = World::new("a core dump") else { return };
    let crash = "mkdir out; cp hello out/; cd out; (TOKEN=$(cat /run/secrets/token) busybox sh -c 'ulimit -c unlimited; kill -SEGV $$') || true; \
                 test \"$(ls)\" = hello";
    let project = with_secrets(&[(crash, TOKEN)]);
    build(&world, &project, VALUE, &[]).success();
}

#[test]
fn a_spec_cannot_say_where_a_value_comes_from() {
    let Some(world) = World::new("a spec that wants credentials") else { return };
    for wanted in [
        "{id: token, file: /etc/shadow}",
        "{id: token, file: ~/.ssh/id_ed25519}",
        "{id: token, src: /root/.aws/credentials}",
        "{id: token, exec: cat /etc/shadow}",
        "{id: token, target: /run/secrets/../shadow}",
        "{id: token, target: /proc/self/mem}",
        "{id: token, env: LD_PRELOAD}",
        "../../etc/shadow",
        "/etc/shadow",
        "~/.ssh/id_ed25519",
    ] {
        let project = with_secrets(&[(GOOD[0], &format!("        secrets:\n          - {wanted}\n"))]);
        let ran = build(&world, &project, VALUE, &[]).failure(3);
        assert!(ran.stderr.contains("bulla.yaml:"), "{wanted}: {}", ran.stderr);
    }
    // A variable or file of the user's own is not what a name in the spec means.
    let project = with_secrets(&[(GOOD[0], "        secrets:\n          - {id: home, env: HOME_OF_CALLER}\n")]);
    let ran = world.build(&project, &[]).failure(3);
    assert!(ran.stderr.contains("asks for the secret `home`, which was not given"), "{}", ran.stderr);
    let covered = "mkdir out; test \"$(wc -c </etc/shadow)\" = 20; cp hello out/hello";
    let project = with_secrets(&[(covered, "        secrets:\n          - {id: token, target: /etc/shadow}\n")]);
    build(&world, &project, VALUE, &[]).success();
    assert!(!holders(Path::new("/etc"), VALUE).iter().any(|path| path.contains("shadow")), "the control");
}

#[test]
fn options_that_do_not_fit_are_refused_before_anything_runs() {
    let Some(world) = World::new("options") else { return };
    let project = with_secrets(&[(GOOD[0], TOKEN)]);
    let empty = project.write("empty", "\n");
    let large = project.write("large", "x".repeat((512 << 10) + 1));
    let (empty, large) = (format!("id=token,file={}", empty.display()), format!("id=token,file={}", large.display()));
    for (options, code, says) in [
        (&[][..], 3, "which was not given"),
        (&["id=token,env=MY_TOKEN", "id=other,env=MY_TOKEN"], 3, "no step of the spec asks for the secret `other`"),
        (&["id=token,env=MY_TOKEN", "id=token,env=MY_TOKEN"], 3, "given twice"),
        (&["id=token,env=NOT_SET_AT_ALL"], 4, "`NOT_SET_AT_ALL`, which is not set"),
        (&["id=token,file=/no/such/file"], 4, "/no/such/file"),
        (&["id=token,exec=exit 7"], 4, "ended with exit code 7"),
        (&["id=token,exec=printf ''"], 4, "is empty"),
        (&[&empty], 4, "is empty"),
        (&[&large], 4, "more than 524288 bytes"),
        (&["id=token"], 2, "expected id=NAME"),
        (&["token=x"], 2, "expected id=NAME"),
    ] {
        let mut command = world.environment.command(project.root());
        command.env("MY_TOKEN", VALUE).arg("build");
        command.args(options.iter().flat_map(|option| ["--secret", option]));
        let out = command.output().expect("bulla can be run");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{options:?}: {stderr}");
        assert!(stderr.contains(says), "{options:?}: no `{says}` in {stderr}");
        assert!(!stderr.contains("build 1/1"), "{options:?}: a step ran: {stderr}");
    }
    let part = world.environment.run(&project, &["check"]).success();
    assert!(part.stderr.contains("is good"), "{}", part.stderr);
}

#[test]
fn a_value_in_the_spec_would_stay_in_the_records_and_is_refused() {
    let Some(world) = World::new("a value in the spec") else { return };
    let project = with_secrets(&[(&format!("{}; cat /run/secrets/token >/dev/null", GOOD[0]), TOKEN)]);
    let spec = project.read("bulla.yaml").replace("sources:", "params:\n  EXTRA: {default: none}\nsources:");
    project.write("bulla.yaml", spec);
    let ran = build(&world, &project, VALUE, &["--set", &format!("EXTRA=https://x:{VALUE}@host")]).failure(6);
    assert!(ran.stderr.contains("the spec, with the values of its params"), "{}", ran.stderr);
    assert_nowhere(&world, &project, &ran);
    build(&world, &project, VALUE, &["--set", "EXTRA=other"]).success();
}

#[test]
fn a_short_value_warns_and_fails_nothing() {
    let Some(world) = World::new("short values") else { return };
    let project = with_secrets(&[("mkdir out; cp /run/secrets/token out/copy", TOKEN)]);
    let ran = build(&world, &project, "7%x1q", &[]).success();
    assert!(ran.stderr.contains("has 5 bytes") && ran.stderr.contains("may be chance"), "{}", ran.stderr);
    assert!(ran.stderr.contains("/src/app/out/copy, as it is"), "{}", ran.stderr);
    let ran = build(&world, &project, "7%x", &["--no-cache"]).success();
    assert!(ran.stderr.contains("neither hidden nor found"), "{}", ran.stderr);
    build(&world, &project, "7%x1q-9s", &["--no-cache"]).failure(6);
}

/// Starts a build that goes on until it is ended, whose secret is made and taken back by commands that write into the project.
fn endless(world: &World, project: &Project) -> std::process::Child {
    let mut command = world.environment.command(project.root());
    let option = format!("id=token,exec=printf '{VALUE}',revoke=cat >revoked.tmp && mv revoked.tmp revoked");
    command.args(["build", "--secret", &option]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("bulla can be run")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_secret_is_revoked_however_the_build_ends() {
    let Some(world) = World::new("revoked secrets") else { return };
    let (make, take) = (format!("exec=printf '{VALUE}'"), "revoke=cat >revoked.tmp && mv revoked.tmp revoked");
    for (last, code) in [("true", 0), ("exit 5", 1), ("cp /run/secrets/token out/", 6)] {
        let project = with_secrets(&[(&format!("{}; test -s /run/secrets/token; {last}", GOOD[0]), TOKEN)]);
        let option = format!("id=token,{make},{take}");
        world.build(&project, &["--secret", &option]).failure(code);
        assert_eq!(project.read("revoked"), VALUE, "{last}");
    }
    // A value that came before one that cannot be had is taken back as well.
    let project = with_secrets(&[(GOOD[0], "        secrets: [token, other]\n")]);
    let option = format!("id=token,{make},{take}");
    world.build(&project, &["--secret", &option, "--secret", "id=other,exec=exit 1"]).failure(4);
    assert_eq!(project.read("revoked"), VALUE);

    for (number, signal) in ["-INT", "-TERM", "-KILL"].into_iter().enumerate() {
        let mark = format!("4{number}{:05}.5", std::process::id());
        let project = with_secrets(&[(&format!("mkdir out; sleep {mark}"), TOKEN)]);
        let mut child = endless(&world, &project);
        until("the step does not run", || is_running(&mark));
        assert!(!project.path("revoked").exists(), "the control: it is not revoked while the build goes on");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill can be run").success());
        child.wait().expect("it ends");
        until("it was not revoked", || project.path("revoked").exists());
        assert_eq!(project.read("revoked"), VALUE, "{signal}");
    }
}

#[test]
fn what_is_not_revoked_is_said_and_has_its_code() {
    let Some(world) = World::new("a revocation that fails") else { return };
    let project = with_secrets(&[(&format!("{}; test -s /run/secrets/token", GOOD[0]), TOKEN)]);
    let option = |revoke: &str| format!("id=token,exec=printf '{VALUE}',revoke={revoke}");
    let ran = world.build(&project, &["--secret", &option("exit 3")]).failure(4);
    assert!(ran.stderr.contains("not revoked: `token`: its command ended with exit code 3"), "{}", ran.stderr);
    assert!(project.path("bulla-out/index.json").exists(), "the image is there all the same");
    let ran = world.build(&project, &["--secret", &option("kill -KILL $PPID; kill -KILL $$")]).failure(4);
    assert!(ran.stderr.contains("the process that revokes was ended"), "{}", ran.stderr);
    // The build's own failure is the one that counts.
    let failing = with_secrets(&[("exit 2", TOKEN)]);
    let ran = world.build(&failing, &["--secret", &option("exit 3")]).failure(1);
    assert!(ran.stderr.contains("not revoked"), "{}", ran.stderr);
    world.build(&project, &["--secret", &option("true")]).success();
}

#[test]
fn a_step_that_asks_for_another_secret_is_another_step() {
    let Some(world) = World::new("the names of secrets") else { return };
    let project = with_secrets(&[(GOOD[0], "")]);
    world.build(&project, &[]).success();
    project.write("bulla.yaml", with_secrets(&[(GOOD[0], TOKEN)]).read("bulla.yaml"));
    build(&world, &project, VALUE, &[]).success();
    let told = world.environment.run(&project, &["explain", "build/1"]).success();
    assert!(told.stdout.contains("secrets none → token at /run/secrets/token"), "{}", told.stdout);
}

#[test]
fn a_build_without_secrets_asks_for_nothing() {
    let Some(world) = World::new("no secrets") else { return };
    let project = project(&GOOD);
    world.build(&project, &[]).success();
    let ran = world.build(&project, &["--secret", "id=token,exec=touch made; echo some value"]).failure(3);
    assert!(ran.stderr.contains("no step of the spec asks") && !project.path("made").exists(), "{}", ran.stderr);
}

#[test]
fn results_of_steps_with_secrets_stay_where_they_are_when_the_user_says_so() {
    let Some(world) = World::new("secrets and a remote store") else { return };
    let project = with_secrets(&[
        ("mkdir out; cp hello out/hello", ""),
        ("busybox sha256sum </run/secrets/token >out/sum", TOKEN),
        ("cp out/sum out/after", ""),
    ]);
    let key = crate::remote::new_key(&world.environment);
    assert!(key.starts_with("ed25519:"));
    let ran_after = |keys: &str, steps: &str| {
        let folder = tempfile::Builder::new().prefix("bulla-remote-").tempdir().expect("a folder");
        let remote = format!("remote = \"file://{}\"\nwrite-from = [\"*\"]\n", folder.path().display());
        crate::remote::configure(&world.environment, &format!("{remote}{keys}"));
        let first = build(&world, &project, VALUE, &["--no-cache"]).success();
        assert_nowhere(&world, &project, &first);
        assert_eq!(holders(folder.path(), VALUE), [""; 0]);
        let own = build(&world, &project, VALUE, &[]).success();
        assert!(own.stderr.contains("0 of 4 steps run") && own.stdout == first.stdout, "{}", own.stderr);
        let results = files(&folder.path().join("manifests"));
        let results = results.iter().filter(|path| path.to_string_lossy().contains("/result-")).count();
        // Another machine with the same key.
        fs_err::remove_dir_all(world.environment.store()).expect("removed");
        let ran = build(&world, &project, VALUE, &[]).success();
        assert!(ran.stderr.contains(steps) && ran.stdout == first.stdout, "{keys}: {}", ran.stderr);
        results
    };
    // The root and the first step follow from nothing secret; what follows the second step may have it.
    assert_eq!(ran_after("share-secret-steps = false\n", "2 of 4 steps run"), 2);
    assert_eq!(
        ran_after("", "0 of 4 steps run"),
        7,
        "the control: steps, the output, the image and whose its files are"
    );
}
