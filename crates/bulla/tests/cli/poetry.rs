//! Packages of Python that `poetry.lock` names, found by the unmodified Poetry in a step that has no network.

use bulla_testkit::{
    Project, PythonIndex,
    poetry::{self, poetry, poetry_deb},
    process,
};

use super::{
    modules::unpacked,
    pypi::{packages, project, python_world, tree, use_index},
    world::World,
};

pub(super) const INSTALL: &str = "mkdir -p /tmp && python3 -m venv --without-pip /tmp/venv && VIRTUAL_ENV=/tmp/venv poetry install --no-root \
    && cp -r /tmp/venv/lib/python3*/site-packages out";

/// A world that has Python and Poetry too.
pub(super) fn poetry_world(test: &str) -> Option<World> {
    let deb = poetry_deb(test)?;
    let mut world = python_world(test)?;
    world.publish(&deb);
    Some(world)
}

pub(super) fn with_poetry(step: &str, (manifest, lock): &(String, String)) -> Project {
    let files = [("pyproject.toml", manifest.clone()), ("poetry.lock", lock.clone())];
    let project = project("{pypi: poetry.lock}", &[step], &files);
    let spec = project.read("bulla.yaml").replace("packages: [tools, python3]", "packages: [tools, python3, poetry]");
    project.file("bulla.yaml", spec)
}

#[test]
fn poetry_install_in_a_step_gives_what_it_gives_with_a_network() {
    let test = "poetry install in a step";
    let Some(world) = poetry_world(test) else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let needed = [&packages[0], &packages[1]];
    // It is told of the step's repository in the place of its own first index.
    let own = poetry::project(&needed, None);
    let project = with_poetry(INSTALL, &own);
    world.digest(&project);
    let wanted = [
        "/packages/greeting/greeting-1.2-py3-none-any.whl",
        "/packages/wording/wording-2.0-py3-none-any.whl",
        "/simple/greeting/",
        "/simple/wording/",
    ];
    assert_eq!(index.asked(), wanted, "the source package is not needed where there is a wheel");
    assert_eq!(project.read("app/poetry.lock"), own.1, "the lock file is as it was");
    let inside = tree(&unpacked(&project).path().join("out"));
    // The same by the same Poetry, which has the index as a source.
    let online = tempfile::tempdir().expect("a folder");
    let (manifest, lock) = poetry::project(&needed, Some(index.url().trim_end_matches('/')));
    fs_err::write(online.path().join("pyproject.toml"), manifest).expect("a project");
    fs_err::write(online.path().join("poetry.lock"), lock).expect("a lock file");
    let venv = online.path().join("venv");
    let mut command =
        poetry::command(&poetry(test).expect("it was there"), online.path(), &venv).expect("an environment");
    process::output(command.current_dir(online.path()).args(["install", "--no-root"])).expect("with a network");
    assert!(!index.asked().is_empty(), "the control: with a network the index is asked");
    let library = fs_err::read_dir(venv.join("lib")).expect("an environment").flatten().next().expect("a Python");
    let outside = tree(&library.path().join("site-packages"));
    assert!(inside.contains_key("greeting.py"), "{:?}", inside.keys());
    assert_eq!(inside, outside);
}

#[test]
fn a_source_of_poetrys_is_answered_with_what_is_locked_and_nothing_else() {
    let test = "poetry with a source of its own";
    let Some(world) = poetry_world(test) else { return };
    let packages = packages();
    let index = PythonIndex::serve(&packages.iter().collect::<Vec<_>>());
    use_index(&world.environment, &index);
    let locked = poetry::project(&[&packages[1]], Some("https://index.example/root/simple"));
    world.build(&with_poetry(INSTALL, &locked), &[]).success();
    // A package that the lock file of the step does not have is told, by the process that asked.
    let more = poetry::project(&[&packages[0], &packages[1]], Some("https://index.example/root/simple"));
    let other = format!("cp poetry-more.lock poetry.lock && cp more.toml pyproject.toml && {INSTALL}");
    let project = with_poetry(&other, &locked).file("app/more.toml", &more.0).file("app/poetry-more.lock", &more.1);
    let ran = world.build(&project, &[]);
    assert_ne!(ran.code, Some(0));
    let told = "a client asked for greeting, which poetry.lock does not have. Run `poetry lock`, commit the file";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
}
