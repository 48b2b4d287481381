//! The configuration, and what the machine tells apt.

use bulla_testkit::{Fault, Mirror, Project, TestAuthority, TestEnvironment};

use crate::{online, project, repository};

#[test]
fn a_mistake_in_the_configuration_is_shown_at_its_line() {
    let (_repo, _mirror, environment) = online();
    environment.write_config("[registry.debian]\nmirors = [\"https://mirror.example\"]\n");
    let ran = environment.run(&project(), &["lock"]).failure(4);
    assert!(ran.stderr.contains("config.toml:2:1") && ran.stderr.contains("unknown field `mirors`"), "{}", ran.stderr);
}

#[test]
fn a_configuration_that_is_named_must_be_there() {
    let (_repo, _mirror, environment) = online();
    let ran = environment.set("BULLA_CONFIG", "/nonexistent/config.toml").run(&project(), &["lock"]).failure(4);
    assert!(ran.stderr.contains("/nonexistent/config.toml"), "{}", ran.stderr);
}

/// An environment whose configuration names no mirror, but a folder of apt's settings.
fn with_apt(files: &[(&str, &str)]) -> (TestEnvironment, Project) {
    let environment = TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"));
    let apt = files.iter().fold(Project::new(), |apt, (path, text)| apt.file(path, text));
    environment.write_config(&format!("[registry.debian]\napt-folder = \"{}\"\n", apt.root().display()));
    (environment, apt)
}

#[test]
fn mirrors_and_keys_come_from_apt_in_both_forms() {
    let repo = repository();
    let mirror = Mirror::serve(repo.root());
    let (url, key) = (mirror.url(), repo.keyring().display().to_string());
    let deb822 =
        format!("Types: deb\nURIs: {url}\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: {key}\n");
    let one_line = format!("# mine\ndeb [signed-by={key}] {url} trixie main\n");
    for (file, text) in [("sources.list.d/x.sources", deb822), ("sources.list", one_line)] {
        let (environment, _apt) = with_apt(&[(file, &text)]);
        environment.run(&project(), &["lock"]).success();
    }
}

#[test]
fn a_login_of_apt_goes_to_its_host() {
    let repo = repository();
    let mirror = Mirror::serve(repo.root());
    mirror.fault_everywhere(Fault::BasicAuth { login: "shop".into(), password: "hush".into() });
    let (url, key) = (mirror.url(), repo.keyring().display().to_string());
    let list = format!("deb [signed-by={key}] {url} trixie main\n");
    let login = format!("machine {url} login shop password hush\n");
    let (environment, _apt) = with_apt(&[("sources.list", &list), ("auth.conf.d/mine.conf", &login)]);
    let ran = environment.run(&project(), &["lock"]).success();
    assert!(!ran.stderr.contains("hush"));
    let (environment, _apt) = with_apt(&[("sources.list", &list)]);
    environment.run(&project(), &["lock"]).failure(4);
}

#[test]
fn an_authority_of_the_configuration_is_trusted() {
    let repo = repository();
    let authority = TestAuthority::new();
    let mirror = Mirror::serve_tls(repo.root(), &authority);
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    environment.run(&project(), &["lock"]).failure(4);
    let pem = environment.folder().join("authority.pem");
    fs_err::write(&pem, authority.pem()).expect("writing the authority");
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    environment.write_config(&format!("{config}\n[network]\nca-files = [\"{}\"]\n", pem.display()));
    environment.run(&project(), &["lock"]).success();
}

#[test]
fn a_broken_file_of_apt_is_told_where_it_matters() {
    let (environment, _apt) = with_apt(&[("sources.list", "deb file:///srv trixie main\n")]);
    let ran = environment.run(&project(), &["doctor"]).failure(4);
    assert!(ran.stdout.contains("sources.list, line 1"), "{}", ran.stdout);
    let failed = environment.run(&project(), &["lock"]).failure(4);
    assert!(failed.stderr.contains("sources.list, line 1"), "{}", failed.stderr);
}
