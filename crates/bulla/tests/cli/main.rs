//! The real program, in a cleared environment with a temporary home.

mod apt;
mod apt_attacks;
mod build;
mod caches;
mod capabilities;
mod cargo;
mod cargo_attacks;
mod cargo_git;
mod check;
mod checklist;
mod checkout;
mod compare;
mod debian_sources;
mod diff;
mod doctor;
mod evidence;
mod evidence_admission;
mod evidence_clients;
mod evidence_clients_keyless;
mod evidence_keyless;
mod evidence_keys;
mod evidence_lists;
mod evidence_policy;
mod evidence_registry;
mod evidence_summary;
mod explain;
mod git;
mod git_attacks;
mod git_parts;
mod git_signed;
mod go;
mod go_attacks;
mod gradle;
mod init;
mod languages;
mod lock;
mod lock_attacks;
mod manual;
mod maven;
mod maven_attacks;
mod modules;
mod npm;
mod npm_attacks;
mod npm_git;
mod npm_large;
mod npm_real;
mod npm_scripts;
mod npm_several;
mod npm_stores;
mod output;
mod parts;
mod platforms;
mod pnpm;
mod poetry;
mod provenance;
mod proxy;
mod pypi;
mod pypi_attacks;
mod pypi_builds;
mod pypi_git;
mod referrers;
mod registry;
mod registry_attacks;
mod remote;
mod reproduce;
mod resume;
mod sbom;
mod settings;
mod shell;
mod stop;
mod store;
mod stores_asked;
mod urls;
mod watch;
mod why;
mod workspace;
mod workspace_attacks;
mod workspace_push;
mod workspace_since;
#[path = "../attacks/world.rs"]
#[allow(dead_code, reason = "the attacks use the rest of it")]
mod world;
mod yarn;

use bulla_testkit::{Deb, DebianRepo, Mirror, Project, Release, TestEnvironment};

/// An environment that knows no mirror.
fn offline() -> TestEnvironment {
    TestEnvironment::new(env!("CARGO_BIN_EXE_bulla"))
}

/// A spec whose stage and image want packages of the suite `trixie`.
fn spec(stage: &str, image: &str) -> String {
    format!(
        "bulla: 1
name: shop
sources:
  app: {{path: .}}
stages:
  build:
    from: {{debian: trixie, suites: [trixie], packages: [{stage}]}}
    steps:
      - make
    outputs: {{shop: /src/app/shop}}
image:
  from: {{debian: trixie, suites: [trixie], packages: [{image}]}}
  copy:
    - {{output: build.shop, to: /shop}}
  entrypoint: [/shop]
  user: 65532
"
    )
}

/// A project with that spec.
fn project() -> Project {
    Project::with_spec(&spec("make", "libshop"))
}

/// A signed repository with a few packages, published an hour ago.
fn repository() -> DebianRepo {
    let mut repo = DebianRepo::new("trixie");
    for deb in [
        Deb::new("base", "1").field("Essential", "yes"),
        Deb::new("make", "4.1").depends("libshop (>= 2)"),
        Deb::new("libshop", "2.0").file("usr/lib/libshop.so", 0o644, "2.0"),
        Deb::new("extra", "1").depends("libextra | libother"),
        Deb::new("libextra", "1"),
    ] {
        repo.add(&deb);
    }
    repo.publish(&Release::default());
    repo
}

/// A repository, its mirror, and an environment whose configuration names it.
fn online() -> (DebianRepo, Mirror, TestEnvironment) {
    let repo = repository();
    let mirror = Mirror::serve(repo.root());
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    (repo, mirror, environment)
}
