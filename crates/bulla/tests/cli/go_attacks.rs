//! What a hostile module proxy or project tries when modules of Go are fetched; each with a control.

use bulla_testkit::{
    Fault, GoModule, GoProxy, Project, Ran, TestEnvironment,
    go::{go_program, go_sum},
};

use super::{
    modules::{configure, with_word},
    online,
};

/// A project whose stage names a lock file. Nothing is run.
fn project(modules: &[&GoModule]) -> Project {
    let spec = "bulla: 1
name: shop
sources:
  app: {path: .}
stages:
  build:
    from: {debian: trixie, suites: [trixie], packages: [make]}
    dependencies: [{go: go.sum}]
    steps:
      - go build
image:
  from: {debian: trixie, suites: [trixie], packages: [libshop]}
  user: 65532
";
    let project = Project::with_spec(spec).file("go.sum", go_sum(modules));
    go_program(modules).into_iter().fold(project, |project, (name, text)| project.file(name, text))
}

fn fetch(environment: &TestEnvironment, project: &Project) -> Ran {
    environment.run(project, &["fetch"])
}

fn proxies(list: &str) -> String {
    format!("[registry.go]\ngo-env = false\nproxy = \"{list}\"\n")
}

#[test]
fn a_proxy_that_gives_other_bytes_is_refused() {
    let (_repo, _mirror, environment) = online();
    let (good, other) =
        (GoModule::new("example.com/word", "v1.0.0"), GoModule::new("example.com/word", "v1.0.0").file("evil.go", "x"));
    let (proxy, second) = (GoProxy::serve(&[&good]), GoProxy::serve(&[&good]));
    configure(&environment, &proxies(&format!("{}|{}", proxy.url(), second.url())));
    let project = project(&[&good]);
    proxy.mirror.fault(&good.place(), Fault::Bytes(other.archive()));
    let ran = fetch(&environment, &project).failure(5);
    assert!(ran.stderr.contains("fetching example.com/word v1.0.0, which go.sum:1 names"), "{}", ran.stderr);
    assert!(ran.stderr.contains("gives other bytes than the lock file says"), "{}", ran.stderr);
    assert!(second.mirror.requests().iter().all(|request| request.path != good.place()), "nobody else is asked");
    proxy.mirror.heal();
    // A name in the archive that is another module's: the sum is right, and still it is refused when a step would have it.
    fetch(&environment, &project).success();
}

#[test]
fn a_list_of_proxies_goes_on_only_where_it_says_so() {
    let (_repo, _mirror, environment) = online();
    let module = GoModule::new("example.com/word", "v1.0.0");
    let (none, broken, good) = (GoProxy::serve(&[]), GoProxy::serve(&[]), GoProxy::serve(&[&module]));
    broken.mirror.fault_everywhere(Fault::Status { status: 403, retry_after: None, times: 100 });
    let before = fs_err::read_to_string(environment.config()).expect("a configuration");
    let project = project(&[&module]);
    let with = |list: String| {
        environment.write_config(&format!("{before}{}", proxies(&list)));
        fetch(&environment, &project)
    };
    let ran = with(format!("{},{}", broken.url(), good.url()));
    assert_ne!(ran.code, Some(0));
    assert!(good.mirror.requests().is_empty(), "what refuses is not what has none: {}", ran.stderr);
    let ran = with(format!("{},direct", none.url()));
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("goes on with `direct`"), "{}", ran.stderr);
    with(format!("{},{}", none.url(), good.url())).success();
    let again = with(format!("{}|{}", broken.url(), good.url()));
    again.success();
}

#[test]
fn a_login_goes_to_its_host_alone() {
    let (_repo, _mirror, environment) = online();
    let module = GoModule::new("example.com/word", "v1.0.0");
    let (proxy, elsewhere) = (GoProxy::serve(&[&module]), GoProxy::serve(&[&module]));
    // Another name of the same machine is another host.
    let there = elsewhere.url().replace("127.0.0.1", "localhost");
    proxy.mirror.fault(&module.place(), Fault::Redirect(format!("{there}{}", module.place())));
    fs_err::write(
        environment.folder().join("home/.netrc"),
        "machine 127.0.0.1 login me password hidden-word\ndefault login me password hidden-word\n",
    )
    .expect("the logins");
    let environment = environment.set("GOPROXY", &format!("{},direct", proxy.url()));
    let project = project(&[&module]);
    fetch(&environment, &project).success();
    let logins = |proxy: &GoProxy| {
        let requests = proxy.mirror.requests();
        assert!(!requests.is_empty(), "it was asked");
        requests.iter().filter(|request| request.header("authorization").is_some()).count()
    };
    assert!(logins(&proxy) > 0, "the control: who the login is for gets it");
    assert_eq!(logins(&elsewhere), 0, "nobody else does");
    assert_eq!(with_word(&environment.store(), "hidden-word"), Vec::<std::path::PathBuf>::new());
    // One that the user's own list of proxies has.
    let (_repo, _mirror, environment) = online();
    let listed = elsewhere.url().replace("http://", "http://me:hidden-word@");
    elsewhere.mirror.forget_requests();
    let file = environment.folder().join("home/.config/go/env");
    fs_err::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs_err::write(&file, format!("GOPROXY={listed}\n")).expect("Go's settings");
    let ran = fetch(&environment, &project).success();
    assert!(logins(&elsewhere) > 0 && !ran.stderr.contains("hidden-word"), "{}", ran.stderr);
    assert_eq!(with_word(&environment.store(), "hidden-word"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn no_login_goes_in_the_clear_to_another_machine() {
    let (_repo, _mirror, environment) = online();
    let module = GoModule::new("example.com/word", "v1.0.0");
    let proxy = GoProxy::serve(&[&module]);
    fs_err::write(environment.folder().join("home/.netrc"), "machine go.example login me password hidden-word\n")
        .expect("the logins");
    // A proxy for HTTP stands for the other machine.
    configure(&environment, &format!("[network]\nhttp-proxy = \"{}\"\n", proxy.url()));
    configure(&environment, &proxies("http://go.example"));
    drop(fetch(&environment, &project(&[&module])));
    let requests = proxy.mirror.requests();
    assert!(!requests.is_empty(), "it was asked");
    assert!(requests.iter().all(|request| request.header("authorization").is_none()), "{requests:?}");
}

#[test]
fn a_private_module_is_not_asked_of_the_public_proxy() {
    let (_repo, _mirror, environment) = online();
    let (own, open) = (GoModule::new("corp.example/secret", "v1.0.0"), GoModule::new("example.com/word", "v1.0.0"));
    let (public, private) = (GoProxy::serve(&[&own, &open]), GoProxy::serve(&[&own]));
    let environment = environment.set("GOPROXY", &public.url()).set("GOPRIVATE", "*.corp.example,corp.example");
    let project = project(&[&own, &open]);
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("corp.example/secret is a private module by `GOPRIVATE`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("private = {\"corp.example/*\" = "), "{}", ran.stderr);
    let secret = |proxy: &GoProxy| proxy.asked().iter().any(|path| path.contains("secret"));
    assert!(!secret(&public), "its name is nobody's business");
    configure(&environment, &format!("[registry.go]\nprivate = {{\"corp.example/*\" = \"{}\"}}\n", private.url()));
    fetch(&environment, &project).success();
    assert!(secret(&private) && !secret(&public), "the control: its own proxy is asked");
}

#[test]
fn without_any_proxy_what_to_write_is_told() {
    let (_repo, _mirror, environment) = online();
    let module = GoModule::new("example.com/word", "v1.0.0");
    // A folder of Go's settings in the project is nobody's setting.
    let project = project(&[&module]).file("go.env", "GOPROXY=http://127.0.0.1:1\n");
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("nothing says which module proxy has example.com/word"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("go env -w GOPROXY=https://HOST") && ran.stderr.contains("[registry.go]"),
        "{}",
        ran.stderr
    );
}

#[test]
fn bodies_without_end_and_broken_sums_end() {
    let (_repo, _mirror, environment) = online();
    let module = GoModule::new("example.com/word", "v1.0.0");
    let proxy = GoProxy::serve(&[&module]);
    configure(&environment, &proxies(&proxy.url()));
    proxy.mirror.fault(&module.place(), Fault::Endless);
    let project = project(&[&module]);
    let ran = fetch(&environment, &project);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("example.com/word"), "{}", ran.stderr);
    project.write("go.sum", "example.com/word v1.0.0 h1:short\n");
    let ran = fetch(&environment, &project).failure(3);
    assert!(ran.stderr.contains("go.sum:1: `h1:short` is no sum"), "{}", ran.stderr);
    project.write("go.sum", "<<<<<<< HEAD\n");
    let ran = fetch(&environment, &project).failure(3);
    assert!(ran.stderr.contains("go.sum:1: `<<<<<<< HEAD` is left of a merge"), "{}", ran.stderr);
}
