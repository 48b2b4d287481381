//! What members inherit, and what they may not loosen.

use std::collections::BTreeMap;

use bulla_model::{
    CleanPath, Epoch, Spec,
    spec::{Identity, Inherited, MemberSpec, OnRefusal, Setting, StageBase, Workspace},
};

const WORKSPACE: &str = "\
bulla: 1
members: [services/*, tools/builder, .]
ignore: [services/old-*]
settings:
  epoch: 1700000000
  on-refusal: fail
  limits: {memory: 4GiB, time: 30m, processes: 500, disk: 10GiB}
  debian:
    trixie: {suites: [trixie, trixie-security], components: [main, contrib]}
    bookworm: {}
  images: [registry.example/base, other.example/*/builder, 'oci:vendor/*']
  forbid: [root-user, toolchain, setuid, capabilities, unsigned, scripts, fake-identity]
";

const SPEC: &str = "\
bulla: 1
name: shop
sources:
  app: {path: .}
stages:
  build:
    from: {debian: trixie, packages: [gcc]}
    steps:
      - make
    outputs: {out: /src/app/out}
image:
  from: {debian: trixie, packages: [libc6]}
  copy:
    - {output: build.out, to: /app}
  user: 65532
";

fn path(text: &str) -> CleanPath {
    text.parse().expect("a clean path")
}

fn workspace(more: &str) -> Workspace {
    let text = format!("{WORKSPACE}{more}");
    Workspace::parse("bulla.workspace.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Evaluates a spec as that of `services/shop`, on 2026-06-15.
fn member(workspace: &Workspace, spec: &str) -> Result<MemberSpec, String> {
    let shop = path("services/shop");
    let now = Epoch::from_civil(2026, 6, 15, 3600).expect("a time");
    let inherited = Inherited { workspace, member: Some(&shop), now };
    Spec::parse_member("services/shop/bulla.yaml", spec.as_bytes(), &BTreeMap::new(), &inherited)
        .map_err(|errors| errors.to_string())
}

fn with(from: &str, to: &str) -> String {
    assert!(SPEC.contains(from), "{from}");
    SPEC.replacen(from, to, 1)
}

/// What is looser in each setting, with a part of what is said of it.
fn looser() -> Vec<(Setting, String, &'static str)> {
    let stage = |key: &str| with("    steps:", &format!("    {key}\n    steps:"));
    let image = |key: &str| format!("{SPEC}  {key}\n");
    vec![
        (Setting::OnRefusal, stage("on-refusal: record"), "bulla.yaml:8:17: a refusal in this stage fails no build"),
        (Setting::Memory, stage("limits: {memory: 5GiB}"), "has at most `4GiB` (bulla.workspace.yaml:7:20)"),
        (Setting::Time, stage("limits: {time: 31m}"), "bulla.yaml:8:20: the stage may use `31m`"),
        (Setting::Processes, stage("limits: {processes: 501}"), "has at most `500`"),
        (Setting::Disk, stage("limits: {disk: 11GiB}"), "has at most `10GiB`"),
        (Setting::Debian, with("debian: trixie", "debian: sid"), "the workspace has `bookworm`, `trixie`"),
        (
            Setting::Debian,
            with("trixie,", "trixie, suites: [trixie, trixie-backports],"),
            "the suite `trixie-backports`",
        ),
        (Setting::Debian, with("trixie,", "trixie, components: [non-free],"), "the component `non-free`"),
        (
            Setting::Debian,
            with("app: {path: .}", "app: {debian: sid, source-package: zlib}"),
            "packages come from `sid`",
        ),
        (
            Setting::Images,
            with("{debian: trixie, packages: [gcc]}", "{image: \"else.example/base/x:1\"}"),
            "`else.example/base/x` is started from, and the workspace allows `registry.example/base`",
        ),
        (
            Setting::Images,
            with("{debian: trixie, packages: [libc6]}", "{image: \"other.example/a/other:1\"}"),
            "`other.example/a/other` is started from",
        ),
        (
            Setting::Images,
            with("{debian: trixie, packages: [libc6]}", "{image: \"oci:elsewhere/base:1\"}"),
            "`oci:elsewhere/base` is started from",
        ),
        (Setting::RootUser, image("allow: {root-user: it binds port 80}"), "the workspace forbids `root-user`"),
        (Setting::Toolchain, image("allow: {toolchain: it compiles things}"), "forbids `toolchain`"),
        (
            Setting::Capabilities,
            image("allow: {capabilities: {/bin/ping: {grant: cap_net_raw+ep, reason: users ping}}}"),
            "forbids `capabilities`",
        ),
        (Setting::Setuid, image("allow: {setuid: {/bin/ping: users ping}}"), "forbids `setuid`"),
        (
            Setting::Unsigned,
            with("app: {path: .}", "app: {path: .}\n  z: {url: \"https://x.example/z.tar\", unsigned: no signature}")
                .replace("    steps:", "    workdir: /src/app\n    steps:"),
            "forbids `unsigned`",
        ),
        (Setting::Scripts, with("[libc6]", "[libc6], scripts: {run: it has to}"), "forbids `scripts`"),
        (Setting::FakeIdentity, stage("identity: fake"), "forbids `fake-identity`"),
    ]
}

#[test]
fn a_member_has_what_the_workspace_says_where_it_says_nothing() {
    let spec = member(&workspace(""), SPEC).expect("a spec").spec;
    let stage = &spec.stages["build"];
    assert_eq!(spec.epoch.map(Epoch::seconds), Some(1_700_000_000));
    assert_eq!((stage.on_refusal, stage.identity), (OnRefusal::Fail, Identity::Real));
    let limits = stage.limits;
    assert_eq!((limits.memory, limits.processes, limits.disk), (Some(4 << 30), Some(500), Some(10 << 30)));
    assert_eq!(limits.time.map(|time| time.as_secs()), Some(1800));
    let StageBase::Debian(debian) = &stage.base else { panic!("{:?}", stage.base) };
    assert_eq!(debian.release.suites, ["trixie", "trixie-security"]);
    assert_eq!(debian.release.components, ["main", "contrib"]);
    let bookworm = member(&workspace(""), &SPEC.replace("trixie", "bookworm")).expect("a spec").spec;
    let StageBase::Debian(debian) = &bookworm.stages["build"].base else { panic!() };
    assert_eq!(debian.release.suites, ["bookworm", "bookworm-updates", "bookworm-security"]);
}

#[test]
fn a_spec_that_is_in_no_workspace_and_one_without_settings_are_the_same() {
    let bare = Workspace::parse("w", "bulla: 1\nmembers: [services/*]\n").expect("a workspace");
    assert_eq!(member(&bare, SPEC).expect("a spec").spec, Spec::parse("bulla.yaml", SPEC).expect("a spec"));
    for (_, text, _) in looser() {
        assert!(member(&bare, &text).is_ok(), "without the setting nothing is looser: {text}");
    }
}

#[test]
fn nothing_is_loosened() {
    let workspace = workspace("");
    for (setting, text, part) in looser() {
        let message = member(&workspace, &text).expect_err(setting.word());
        assert!(message.contains(part), "{setting}: {message}");
        assert!(message.contains("only a waiver in bulla.workspace.yaml"), "{message}");
    }
}

#[test]
fn a_waiver_lets_one_member_be_looser_in_one_setting_until_its_last_day_is_over() {
    let waiver = |member: &str, setting: Setting, until: &str| {
        workspace(&format!(
            "waivers:\n  - member: {member}\n    setting: {setting}\n    reason: it has to be\n    until: {until}\n"
        ))
    };
    for (setting, text, _) in looser() {
        let good =
            member(&waiver("services/shop", setting, "2026-06-15"), &text).unwrap_or_else(|e| panic!("{setting}: {e}"));
        assert_eq!(good.waived.iter().map(|waiver| waiver.setting).collect::<Vec<_>>(), [setting]);
        assert!(good.idle.is_empty());
        let over = member(&waiver("services/shop", setting, "2026-06-14"), &text).expect_err("it is over");
        let told = format!("the waiver of `{setting}` ended on 2026-06-14 (bulla.workspace.yaml:14:13)");
        assert!(over.contains(&told), "{over}");
        member(&waiver("services/cart", setting, "2026-12-31"), &text).expect_err("it is another member's");
        let other = if setting == Setting::Images { Setting::Memory } else { Setting::Images };
        member(&waiver("services/shop", other, "2026-12-31"), &text).expect_err("it is of another setting");
    }
    let idle = member(&waiver("services/shop", Setting::Memory, "2026-12-31"), SPEC).expect("a spec");
    assert_eq!((idle.waived.len(), idle.idle.len()), (0, 1));
}

#[test]
fn a_member_may_be_stricter() {
    let workspace = workspace("");
    for text in [
        with(
            "    steps:",
            "    on-refusal: stop\n    limits: {memory: 1GiB, time: 30m}\n    identity: real\n    steps:",
        ),
        with("trixie,", "trixie, suites: [trixie], components: [main],"),
        with("{debian: trixie, packages: [gcc]}", "{image: \"registry.example/base/gcc:14\"}"),
        with("{debian: trixie, packages: [gcc]}", "{image: \"oci:vendor/gcc:14\"}"),
        with("{debian: trixie, packages: [gcc]}", "{image: \"other.example/team/builder:1\"}"),
        format!("epoch: 5\n{SPEC}"),
    ] {
        member(&workspace, &text).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn members_are_named_one_by_one_or_by_patterns() {
    let members = workspace("").members;
    for yes in ["services/shop", "tools/builder"] {
        assert!(members.contains(Some(&path(yes))), "{yes}");
    }
    assert!(members.contains(None));
    for no in ["services", "services/shop/inner", "services/old-shop", "tools/other", "other/services/shop"] {
        assert!(!members.contains(Some(&path(no))), "{no}");
    }
    assert!(members.may_be_beneath(None) && members.may_be_beneath(Some(&path("services"))));
    for no in ["services/shop", "services/old-x", "tools", "tools/builder"] {
        assert!(!members.may_be_beneath(Some(&path(no))), "{no}");
    }
    let deep = Workspace::parse("w", "bulla: 1\nmembers: ['**/app']\n").expect("a workspace").members;
    assert!(deep.contains(Some(&path("a/b/app"))) && deep.may_be_beneath(Some(&path("a/b"))));
}

#[test]
fn every_mistake_of_a_workspace_has_its_place() {
    for (from, to, told) in [
        ("members: [services/*, tools/builder, .]", "members: []", "2:10: the workspace has no members"),
        ("tools/builder", "../other", "2:23: `../other` leads out of the workspace"),
        ("tools/builder", "/etc", "2:23: `/etc` leads out of the workspace"),
        ("tools/builder", "'my tools'", "has white space in it"),
        ("tools/builder", "services/*", "the member `services/*` is listed twice"),
        ("tools/builder", "'services/['", "is not a pattern for folders"),
        ("on-refusal: fail", "on-refusal: fial", "did you mean `fail`"),
        ("memory: 4GiB", "memory: 4", "7:20: `4` has no unit that is clear"),
        ("processes: 500", "processes: 0", "`processes` is from 1"),
        ("suites: [trixie, trixie-security]", "suites: []", "the list of suites is empty"),
        ("root-user, ", "root-usr, ", "did you mean `root-user`?"),
        ("root-user, ", "debian, ", "`debian` is not one of them"),
        ("settings:", "setings:", "did you mean `settings`"),
        ("bulla: 1", "bulla: 2", "reads version 1"),
    ] {
        assert!(WORKSPACE.contains(from), "{from}");
        let errors = Workspace::parse("bulla.workspace.yaml", &WORKSPACE.replacen(from, to, 1)).expect_err(to);
        assert!(errors.to_string().contains(told), "{to}: {errors}");
    }
    let waiver = "waivers:\n  - {member: services/shop, setting: images, reason: it has to be, until: 2026-12-31}\n";
    for (from, to, told) in [
        ("2026-12-31", "2026-13-01", "`2026-13-01` is not a day"),
        ("2026-12-31", "2026-12-31T00:00:00Z", "is not a day"),
        (", until: 2026-12-31", "", "`until` is missing here"),
        (", reason: it has to be", "", "`reason` is missing here"),
        ("it has to be", "because", "`because` is no reason"),
        ("setting: images", "setting: imags", "did you mean `images`?"),
    ] {
        let text = format!("{WORKSPACE}{}", waiver.replace(from, to));
        let errors = Workspace::parse("bulla.workspace.yaml", &text).expect_err(to);
        assert!(errors.to_string().contains(told), "{to}: {errors}");
    }
    let twice = format!("{WORKSPACE}{waiver}{}", waiver.trim_start_matches("waivers:\n"));
    let errors = Workspace::parse("w", &twice).expect_err("twice").to_string();
    assert!(errors.contains("is waived twice") && errors.contains("first waived here"), "{errors}");
    assert!(Workspace::parse_bytes("w", b"bulla: 1\nmembers: [\xff]\n").is_err());
}

#[test]
fn a_remote_store_is_named_and_decides_nothing_of_a_spec() {
    let with = workspace("store: {remote: 'oci://r.example:5000/team/bulla', write-from: [main, '*']}\n");
    let store = with.store.clone().expect("a store");
    assert_eq!(store.remote.to_string(), "oci://r.example:5000/team/bulla");
    assert_eq!(store.write_from.expect("branches"), ["main", "*"]);
    assert_eq!(store.at.line, 13);
    let spec = |workspace| member(workspace, SPEC).map(|member| serde_json::to_string(&member.spec).expect("JSON"));
    assert_eq!(spec(&with), spec(&workspace("")));
    assert!(workspace("store: {remote: 'file:///srv/bulla'}\n").store.expect("a store").write_from.is_none());
    for (text, told) in [
        ("store: {}", "remote"),
        ("store: oci://r.example/x", "a map such as"),
        ("store: {remote: 'r.example/x'}", "expected `oci://HOST/NAME`"),
        ("store: {remote: 'oci://r.example/x:1'}", "its own tag"),
        ("store: {remote: 'file:///srv/../etc'}", "without `..`"),
        ("store: {remote: 'oci://ada:word@r.example/x'}", "is not the place"),
        ("store: {remote: 'oci://r.example/x', write-from: [main, main]}", "listed twice"),
        ("store: {remote: 'oci://r.example/x', write-from: ['ma*']}", "is no branch"),
        ("store: {remote: 'oci://r.example/x', signing-key: /etc/key}", "signing-key"),
    ] {
        let errors = Workspace::parse("bulla.workspace.yaml", &format!("{WORKSPACE}{text}\n")).expect_err(text);
        assert!(format!("{errors:?}").contains(told), "{text}: {errors:?}");
    }
}
