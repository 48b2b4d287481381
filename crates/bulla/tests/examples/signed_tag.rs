use std::process::Command;

use bulla_testkit::{GitRepo, process, skipped};

use crate::world::{World, build, project, skopeo, unpack};

const MAKEFILE: &str = "greet: greet.c lib/words.h\n\tcc -O2 -o greet greet.c\n";
const GREET: &str = "#include <stdio.h>\n#include \"lib/words.h\"\nint main(void) { puts(WORDS); return 0; }\n";

#[test]
fn a_project_from_a_signed_tag_is_built_and_runs_and_none_by_another_key() {
    let Some(world) = World::get() else { return };
    let Some((folder, server)) = &world.git else { return };
    if !process::exists("ssh-keygen") {
        return skipped("the signed tag", "ssh-keygen is not installed");
    }
    let lib = GitRepo::init(folder.path().join("words.git"));
    lib.write("words.h", "#define WORDS \"Hello from a signed tag.\"\n");
    lib.commit("words");
    let repo = GitRepo::init(folder.path().join("greet.git"));
    repo.write("Makefile", MAKEFILE);
    repo.write("greet.c", GREET);
    repo.git(&["submodule", "add", "-q", &format!("{}/words.git", server.url()), "lib"]);
    repo.git(&["config", "-f", ".gitmodules", "submodule.lib.url", "../words.git"]);
    repo.commit("first");
    let key = folder.path().join("key");
    process::output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).expect("a key");
    let signing = format!("user.signingKey={}", key.display());
    repo.git(&["-c", "gpg.format=ssh", "-c", &signing, "tag", "-s", "-m", "a release", "v1.0"]);

    let project = project("signed-tag", &["keys/allowed-signers"]);
    let spec = project.read("bulla.yaml").replace("https://git.example", &server.url());
    project.write("bulla.yaml", spec);
    // The example's own key did not sign this.
    let ran = world.environment.run(&project, &["build"]).failure(5);
    assert!(ran.stderr.contains("is not among the allowed signers"), "{}", ran.stderr);
    let public = fs_err::read_to_string(key.with_extension("pub")).expect("a public key");
    let kind_and_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    project.write("keys/allowed-signers", format!("maintainer@git.example namespaces=\"git\" {kind_and_key}\n"));
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
