//! Whole specs: what a good one means.

use bulla_model::{
    Platform, Spec,
    spec::{AbsolutePath, Base, Command, Name, Scripts, StageBase, StagePlatform},
};

const SHOP: &str = "\
bulla: 1
name: shop
epoch: 2026-01-02
sources:
  app: {path: ., ignore: [docs/**]}
params:
  VERSION: {default: 1.10}
stages:
  build:
    from: {debian: trixie, packages: [nodejs, npm, gcc=4:12.*]}
    env: {ZIP: 0755, ANSWER: no, RELEASE: 'v${VERSION} $${X}'}
    steps:
      - run: npm ci
        sees: [package.json, lib/*.js, /src/app/x]
      - npm run build
      - [gcc, '-Wl,-O1', -o, x]
      - |
        if true; then
          echo yes
        fi
    outputs: {dist: /src/app/dist, modules: /src/app/node_modules}
  test:
    stage: build
    steps:
      - npm test
image:
  from: {debian: trixie, packages: [nodejs]}
  users:
    - {name: shop, uid: 1000}
  copy:
    - {output: build.dist, to: /app/dist, mode: 0644, owner: shop}
    - {output: build.modules, to: /app/node_modules, layer: dependencies}
    - {source: app/public, to: /}
  entrypoint: [node, /app/dist/main.js]
  user: 65532
  ports: [8080, 53/udp]
  labels: {version: '${VERSION}'}
";

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn a_whole_spec_means_what_it_says() {
    let spec = Spec::parse("bulla.yaml", SHOP).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(spec.epoch.map(|epoch| epoch.rfc3339()).as_deref(), Some("2026-01-02T00:00:00Z"));
    let build = &spec.stages["build"];
    assert_eq!(build.workdir, AbsolutePath::parse("/src/app").expect("clean"));
    assert_eq!(build.env["ZIP"], "0755");
    assert_eq!(build.env["ANSWER"], "no");
    assert_eq!(build.env["RELEASE"], "v1.10 ${X}");
    let StageBase::Debian(debian) = &build.base else { panic!("{:?}", build.base) };
    assert_eq!(debian.release.suites, ["trixie", "trixie-updates", "trixie-security"]);
    assert_eq!(debian.packages[2].to_string(), "gcc=4:12.*");
    assert_eq!((debian.packages[2].at.line, debian.packages[2].at.column), (10, 52));
    assert_eq!(build.steps[2].run, Command::Arguments(["gcc", "-Wl,-O1", "-o", "x"].map(str::to_owned).to_vec()));
    assert_eq!(build.steps[3].run, Command::Shell("if true; then\n  echo yes\nfi\n".to_owned()));
    let seen = build.steps[0].sees.as_ref().expect("sees");
    assert_eq!(seen.len(), 3);
    assert!(seen[1].files.as_ref().is_some_and(|glob| glob.matches(&"lib/a.js".parse().expect("clean"))));

    let test = &spec.stages["test"];
    assert_eq!((&test.base, &test.workdir, &test.env), (&StageBase::Stage(name("build")), &build.workdir, &build.env));
    assert_eq!(spec.order(), [&name("build"), &name("test")]);
    assert_eq!(spec.shipped().into_iter().collect::<Vec<_>>(), [&name("build")]);
    assert_eq!(spec.roots().keys().collect::<Vec<_>>(), ["image", "stage.build"]);

    let image = &spec.image;
    assert!(matches!(&image.base, Base::Debian { scripts: Scripts::Native, .. }));
    assert_eq!(image.copy[0].mode.map(bulla_model::tree::Mode::bits), Some(0o644));
    assert_eq!(image.copy[0].owner.map(|owner| (owner.uid, owner.gid)), Some((1000, 1000)));
    assert_eq!(image.copy[2].to, AbsolutePath::ROOT);
    assert_eq!(image.labels["version"], "1.10");
    assert_eq!(image.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080/tcp", "53/udp"]);
}

#[test]
fn a_param_that_is_set_is_used_and_an_unknown_one_is_an_error() {
    let set = [("VERSION".to_owned(), "2.0".to_owned())].into();
    let spec = Spec::parse_with("bulla.yaml", SHOP, &set).expect("a spec");
    assert_eq!((spec.params["VERSION"].as_str(), spec.image.labels["version"].as_str()), ("2.0", "2.0"));
    let set = [("VERISON".to_owned(), "2.0".to_owned())].into();
    let errors = Spec::parse_with("bulla.yaml", SHOP, &set).expect_err("an unknown param").to_string();
    assert!(errors.contains("--set VERISON") && errors.contains("`VERSION`"), "{errors}");
}

#[test]
fn aliases_stand_for_what_they_name() {
    let text = SHOP.replace("from: {debian: trixie, packages: [nodejs]}", "from: {debian: &r trixie, packages: [*r]}");
    let spec = Spec::parse("bulla.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(matches!(&spec.image.base, Base::Debian { debian, .. } if debian.packages[0].name == "trixie"));
}

#[test]
fn line_ends_of_windows_a_byte_order_mark_and_quoted_keys_change_nothing() {
    let spec = Spec::parse("bulla.yaml", SHOP).expect("a spec");
    let same = |text: &str| Spec::parse("bulla.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(same(&SHOP.replace('\n', "\r\n")), spec);
    assert_eq!(same(&format!("\u{feff}{SHOP}")).params, spec.params);
    assert_eq!(same(&SHOP.replace("name: shop\nepoch", "'name': \"shop\"\n\"epoch\"")), spec);
    assert_eq!(same(&format!("--- # a spec\n{SHOP}...\n")).roots(), spec.roots());
}

#[test]
fn a_stage_may_bring_in_outputs_and_an_image_from_scratch_gets_what_it_asks_for() {
    let text = "\
bulla: 1
name: tool
sources:
  lib: {path: lib}
  tool: {path: tool}
stages:
  lib:
    from: {debian: bookworm, packages: [gcc], suites: [bookworm, bookworm-backports], components: [main, contrib]}
    workdir: /src/lib
    steps:
      - run: [make, -j2]
        sees: [src, '/src/tool/*.h', .]
        env: {V: 1}
        name: the library
      - run: make check
        sees: []
    outputs: {all: /out}
    owners: {/out: 10:20, /out/var: shop}
    identity: fake
    limits: {memory: 2GiB, time: 1h30m, processes: 100, disk: 10GiB}
    on-refusal: stop
  tool:
    stage: lib
    workdir: /src/tool
    copy:
      - {output: lib.all, to: /opt/lib}
    steps:
      - make
    outputs: {tool: /src/tool/tool}
image:
  from: {scratch: {certificates: true, timezones: true}}
  users:
    - {name: shop, uid: 1000, gid: 1001, home: /home/shop}
  copy:
    - {output: tool.tool, to: /tool}
  user: shop
  allow:
    setuid: {/tool: it pings the hosts of its user}
    capabilities: {/tool: {grant: cap_net_raw+ep, reason: it pings the hosts of its user}}
";
    let spec = Spec::parse("bulla.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let lib = &spec.stages["lib"];
    let seen = lib.steps[0].sees.as_ref().expect("sees");
    let matches =
        |at: usize, path: &str| seen[at].files.as_ref().is_none_or(|glob| glob.matches(&path.parse().expect("clean")));
    assert_eq!(seen.iter().map(|seen| seen.source.as_str()).collect::<Vec<_>>(), ["lib", "tool", "lib"]);
    assert!(
        matches(0, "src/a/b.c")
            && !matches(0, "doc/x")
            && matches(1, "a.h")
            && !matches(1, "b/a.h")
            && matches(2, "any")
    );
    assert_eq!(lib.steps[1].sees.as_deref(), Some([].as_slice()));
    assert_eq!(lib.limits.time.map(|time| time.as_secs()), Some(5400));
    assert_eq!(lib.limits.memory, Some(2 << 30));
    let owners: Vec<String> = lib.owners.iter().map(|(path, o)| format!("{path} {}:{}", o.uid, o.gid)).collect();
    assert_eq!(owners, ["/out 10:20", "/out/var 1000:1001"]);
    assert_eq!(spec.stages["tool"].workdir, AbsolutePath::parse("/src/tool").expect("clean"));
    let image = &spec.roots()["image"];
    assert_eq!(
        image.debian.packages.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["ca-certificates", "tzdata"]
    );
    assert_eq!(image.debian.release.codename, "bookworm");
    assert_eq!(spec.shipped().len(), 2);
    let granted = spec.image.allow.capabilities.values().next().expect("a grant");
    assert_eq!(
        (granted.capabilities.to_string().as_str(), granted.reason.as_str()),
        ("cap_net_raw=ep", "it pings the hosts of its user")
    );
    // What a spec has that says nothing of capabilities is what it was before there were any.
    let plain = serde_json::to_string(&bulla_model::spec::Allow::default()).expect("JSON");
    assert_eq!(plain, r#"{"root_user":null,"toolchain":null,"setuid":{}}"#);
}

#[test]
fn a_step_names_its_secrets_and_where_it_finds_them() {
    let keys = "sees: [package.json, lib/*.js, /src/app/x]\n";
    let secrets = "        secrets:\n          - token\n          - {id: github, env: GH_TOKEN}\n          - {id: github, target: /root/.netrc}\n";
    assert!(SHOP.contains(keys));
    let spec = Spec::parse("bulla.yaml", &SHOP.replace(keys, &format!("{keys}{secrets}"))).expect("a spec");
    let shown: Vec<String> = spec.stages["build"].steps[0].secrets.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["token at /run/secrets/token", "github in $GH_TOKEN", "github at /root/.netrc"]);
    assert_eq!(spec.secrets().into_iter().map(Name::as_str).collect::<Vec<_>>(), ["github", "token"]);
    // What has none is written as it always was.
    let without = Spec::parse("bulla.yaml", SHOP).expect("a spec");
    assert!(!serde_json::to_string(&without).expect("JSON").contains("secrets"));
}

const TWO: &str = "\
bulla: 1
name: two
platforms: [linux/arm64, linux/amd64]
sources:
  app: {path: .}
stages:
  docs:
    from: {debian: bookworm, packages: [make]}
    steps:
      - make docs
    outputs: {docs: /src/app/docs}
  build:
    from: {debian: bookworm, packages: ['gcc:cross=4:12.*', 'build-essential:cross', 'zlib1g-dev:target', make]}
    platform: cross
    copy:
      - {output: docs.docs, to: /docs}
    steps:
      - make CC=$TARGETTRIPLET-gcc
    outputs: {app: /src/app/app}
  strip:
    stage: build
    steps:
      - make strip
  check:
    from: {debian: bookworm, packages: [zlib1g]}
    platform: target
    copy:
      - {output: build.app, to: /app}
    steps:
      - /app
image:
  from: {debian: bookworm, packages: [zlib1g]}
  copy:
    - {output: build.app, to: /app}
  user: 65532
";

#[test]
fn a_spec_for_two_platforms_asks_for_the_packages_of_each() {
    let spec = Spec::parse("bulla.yaml", TWO).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(spec.platforms.iter().collect::<Vec<_>>(), [&Platform::LinuxAmd64, &Platform::LinuxArm64]);
    assert_eq!(spec.stages["strip"].platform, StagePlatform::Cross, "as the stage that it goes on from");
    let roots = spec.roots();
    let names: Vec<&str> = roots.keys().map(String::as_str).collect();
    let both = ["stage.build", "stage.build.arm64", "stage.check", "stage.check.arm64", "stage.docs"];
    assert_eq!(names, [&["emulation", "image", "image.arm64"], &both[..]].concat());
    let asked = |name: &str| {
        let root = &roots[name];
        let resolved = root.debian.packages.iter().map(|request| request.resolved(root.native, root.target));
        (root.native.debian(), resolved.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(asked("stage.build"), ("amd64", "gcc=4:12.* build-essential zlib1g-dev make".to_owned()));
    let cross = "gcc-aarch64-linux-gnu=4:12.* crossbuild-essential-arm64 zlib1g-dev:arm64 make";
    assert_eq!(asked("stage.build.arm64"), ("amd64", cross.to_owned()));
    assert_eq!(asked("stage.check.arm64"), ("arm64", "zlib1g".to_owned()));
    assert_eq!(asked("image.arm64"), ("arm64", "zlib1g".to_owned()));
    assert_eq!(asked("emulation"), ("amd64", "qemu-user-static".to_owned()));
    let trixie = Spec::parse("bulla.yaml", &TWO.replace("bookworm", "trixie")).expect("a spec");
    assert_eq!(trixie.roots()["emulation"].debian.packages[0].name, "qemu-user");
    let alone = Spec::parse("bulla.yaml", &TWO.replace("platforms: [linux/arm64, linux/amd64]\n", "")).expect("a spec");
    assert_eq!(alone.roots().len(), 4, "one for each stage with packages, and the image");
}
