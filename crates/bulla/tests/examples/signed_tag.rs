use std::process::Command;

use bulla_testkit::{GitRepo, Project, process, skipped};

use crate::world::{World, build, project, skopeo, unpack};

const MAKEFILE: &str = "greet: greet.c lib/words.h\n\tcc -O2 -o greet greet.c\n";
const GREET: &str = "#include <stdio.h>\n#include \"lib/words.h\"\nint main(void) { puts(WORDS); return 0; }\n";

/// The example, of repositories that are called like `name`, and the line of the key that signed its tag; the example's own key did not.
fn tagged(world: &World, name: &str) -> Option<(Project, String)> {
    let (folder, server) = world.git.as_ref()?;
    if !process::exists("ssh-keygen") {
        skipped("the signed tag", "ssh-keygen is not installed");
        return None;
    }
    let (folder, url) = (folder.path().join(name), format!("{}/{name}", server.url()));
    fs_err::create_dir_all(&folder).expect("a folder");
    let lib = GitRepo::init(folder.join("words.git"));
    lib.write("words.h", "#define WORDS \"Hello from a signed tag.\"\n");
    lib.commit("words");
    let repo = GitRepo::init(folder.join("greet.git"));
    repo.write("Makefile", MAKEFILE);
    repo.write("greet.c", GREET);
    repo.git(&["submodule", "add", "-q", &format!("{url}/words.git"), "lib"]);
    repo.git(&["config", "-f", ".gitmodules", "submodule.lib.url", "../words.git"]);
    repo.commit("first");
    let key = folder.join("key");
    process::output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).expect("a key");
    let signing = format!("user.signingKey={}", key.display());
    repo.git(&["-c", "gpg.format=ssh", "-c", &signing, "tag", "-s", "-m", "a release", "v1.0"]);

    let project = project("signed-tag", &["keys/allowed-signers"]);
    let spec = project.read("bulla.yaml").replace("https://git.example", &url);
    project.write("bulla.yaml", spec);
    let public = fs_err::read_to_string(key.with_extension("pub")).expect("a public key");
    let kind_and_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Some((project, format!("maintainer@git.example namespaces=\"git\" {kind_and_key}\n")))
}

/// The example, with the key that signed its tag.
pub(crate) fn ready(world: &World) -> Option<Project> {
    let (project, signer) = tagged(world, "ready")?;
    project.write("keys/allowed-signers", signer);
    Some(project)
}

#[test]
fn a_project_from_a_signed_tag_is_built_and_runs_and_none_by_another_key() {
    let Some(world) = World::get() else { return };
    let Some((project, signer)) = tagged(world, "tagged") else { return };
    let ran = world.environment.run(&project, &["build"]).failure(5);
    assert!(ran.stderr.contains("is not among the allowed signers"), "{}", ran.stderr);
    project.write("keys/allowed-signers", signer);
    let digest = build(&world.environment, &project);
    skopeo(&project, "65532");
    if let Some((root, _folder)) = unpack(&project)
        && process::is_root()
    {
        let said =
            process::output(Command::new("chroot").args(["--userspec=65532:65532"]).arg(&root).arg("/usr/bin/greet"));
        assert_eq!(said.expect("it runs"), "Hello from a signed tag.\n");
    }
    let why = world.environment.run(&project, &["why", "/usr/bin/greet"]).success().stdout;
    assert!(why.contains("step") && why.contains("make"), "{why}");
    let again = world.environment.run(&project, &["build", "--locked"]).success();
    assert_eq!(again.stdout.trim_end(), digest, "an unchanged project has the same image");
}
