//! A front end of more than three hundred packages, of which one alone may run code when it is installed; and a smaller one by pnpm.

use bulla_testkit::{DebianRepo, Mirror, Project, Release, TestEnvironment, javascript::client_archive, npm::real_npm};

use crate::world::{build, example, project, skopeo};

const FILES: [&str; 11] = [
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vite.config.ts",
    "eslint.config.js",
    "nginx.conf",
    "index.html",
    "src/main.tsx",
    "src/App.tsx",
    "src/seal.ts",
    "src/seal.test.ts",
];

/// An example whose packages are among those of the first, and an environment with an empty store that has fetched all that it needs: the servers
/// are gone.
pub(crate) fn fetched(name: &str) -> Option<(Project, TestEnvironment)> {
    if let Err(why) = bulla_testkit::clients() {
        bulla_testkit::skipped(name, &why);
        return None;
    }
    let own = ["package-lock.json", "eslint.config.js", "src/seal.test.ts"];
    let of_pnpm = ["pnpm-lock.yaml", "tools/package.json", "tools/package-lock.json"];
    let files: Vec<&str> = match name {
        "vite-site-pnpm" => FILES.into_iter().filter(|file| !own.contains(file)).chain(of_pnpm).collect(),
        _ => FILES.into(),
    };
    if name == "vite-site-pnpm" {
        client_archive("pnpm", "9.15.9")?;
    }
    let mut repo = DebianRepo::real(&["nodejs", "npm", "nginx-light"])?;
    repo.publish_release(&Release::default());
    let packages = real_npm(&example("vite-site").join("package-lock.json"))?;
    let (packages, mirror) = (Mirror::serve(packages), Mirror::serve(repo.root()));
    let environment = TestEnvironment::with_mirror(env!("CARGO_BIN_EXE_bulla"), &repo, &mirror);
    let config = fs_err::read_to_string(environment.config()).expect("the configuration");
    environment.write_config(&format!("{config}[registry.npm]\nnpmrc = false\nregistry = \"{}/\"\n", packages.url()));
    let project = project(name, &files);
    environment.run(&project, &["fetch"]).success();
    Some((project, environment))
}

/// Builds an example twice, and looks at its page.
fn built(name: &str, lock: &str) -> Option<Project> {
    let (project, environment) = fetched(name)?;
    let before = project.read(lock);
    let digest = build(&environment, &project);
    assert_eq!(project.read(lock), before, "the lock file is as it was");
    let again = environment.run(&project, &["build", "--no-cache"]).success();
    assert_eq!(again.stdout.trim_end(), digest);
    skopeo(&project, "65532");
    if let Some(page) = crate::nginx::served(&project) {
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("<title>Seals</title>"), "{page}");
        assert!(page.contains("/assets/index-"), "what Vite made is in it: {page}");
    }
    Some(project)
}

#[test]
fn a_front_end_is_built_twice_the_same_by_the_ordinary_tools_and_is_served() {
    let Some(project) = built("vite-site", "package-lock.json") else { return };
    assert!(project.read("package-lock.json").matches("\"integrity\"").count() > 250, "it is a large one");
}

#[test]
fn a_front_end_by_pnpm_is_so_too() {
    built("vite-site-pnpm", "pnpm-lock.yaml");
}
