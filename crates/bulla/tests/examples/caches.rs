use bulla_testkit::{Project, contains, debian};

use crate::world::{World, unpack};

const MAKEFILE: &str = "\
OBJECTS = build/main.o build/greet.o
program: $(OBJECTS)
\tcc -o $@ $(OBJECTS)
build/%.o: %.c greet.h
\tcc -O2 -c -o $@ $<
";

fn greeting(text: &str) -> String {
    format!("#include <stdio.h>\n#include \"greet.h\"\nvoid greet(void) {{ puts(\"{text}\"); }}\n")
}

/// What make compiled, of what the step said.
fn compiled(text: &str) -> Vec<&str> {
    ["main.c", "greet.c"].into_iter().filter(|name| text.contains(&format!(".o {name}"))).collect()
}

#[test]
fn make_compiles_again_only_what_changed_and_links_what_it_should() {
    let Some(world) = World::get() else { return };
    let release = debian::codename().expect("Debian");
    let spec = format!(
        "bulla: 1
name: incremental
sources:
  app: {{path: app}}
stages:
  build:
    from: {{debian: {release}, packages: [gcc, libc6-dev, make]}}
    cache: [/src/app/build]
    steps:
      - make program
    outputs: {{program: /src/app/program}}
image:
  from: {{debian: {release}, packages: [libc6]}}
  copy:
    - {{output: build.program, to: /usr/bin/program}}
  entrypoint: [/usr/bin/program]
  user: 65532
"
    );
    let project = Project::with_spec(&spec)
        .file("app/Makefile", MAKEFILE)
        .file("app/greet.h", "void greet(void);\n")
        .file("app/greet.c", greeting("the first"))
        .file("app/main.c", "#include \"greet.h\"\nint main(void) { greet(); }\n");
    let build = || world.environment.run(&project, &["build", "--progress", "plain"]).success();
    let first = build();
    assert_eq!(compiled(&first.stderr), ["main.c", "greet.c"]);
    project.write("app/greet.c", greeting("the second"));
    let second = build();
    assert_eq!(compiled(&second.stderr), ["greet.c"], "the other object comes out of the cache: {}", second.stderr);
    assert!(second.stderr.contains("Read from caches by build/1"), "{}", second.stderr);
    if let Some((root, _folder)) = unpack(&project) {
        let bytes = fs_err::read(root.join("usr/bin/program")).expect("the program");
        let has = |text: &str| contains(&bytes, text);
        assert!(has("the second") && !has("the first"), "what changed is in the program");
    }
    // A header that both include.
    project.write("app/greet.h", "/* changed */\nvoid greet(void);\n");
    assert_eq!(compiled(&build().stderr), ["main.c", "greet.c"]);
    // The control: with nothing in a cache, the same sources give the same image here, for this compiler is deterministic.
    let elsewhere = Project::new().tree(project.root());
    let cold = world.environment.run(&elsewhere, &["build", "--progress", "plain"]).success();
    assert_eq!(compiled(&cold.stderr), ["main.c", "greet.c"]);
    assert_eq!(cold.stdout, build().stdout);
    assert!(!cold.stderr.contains("Read from caches"));
}
