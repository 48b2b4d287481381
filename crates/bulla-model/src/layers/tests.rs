use proptest::prelude::*;

use super::*;
use crate::{Digest, Platform, tree::Owner};

fn path(text: &str) -> CleanPath {
    text.parse().expect("clean")
}

fn epoch(seconds: u64) -> Epoch {
    Epoch::new(seconds).expect("an epoch")
}

fn file(text: &str) -> Node {
    Node::file(0o644, Digest::of(text), text.len() as u64)
}

fn sized(size: u64) -> Node {
    Node::file(0o644, Digest::of(size.to_string()), size)
}

fn tree(entries: &[(&str, Node)]) -> Tree {
    entries.iter().map(|(name, node)| (path(name), node.clone())).collect()
}

fn package(name: &str, source: &str, time: u64, entries: &[(&str, Node)]) -> Input {
    let origin = Origin::Package { name: name.into(), version: "1".into(), source: source.into() };
    Input { origin, tree: tree(entries), time: epoch(time) }
}

fn copy(name: &str, layer: Option<&str>, entries: &[(&str, Node)]) -> Input {
    let origin = Origin::Copy { name: name.into(), layer: layer.map(ToOwned::to_owned) };
    Input { origin, tree: tree(entries), time: epoch(1000) }
}

fn derived(entries: &[(&str, Node)]) -> Input {
    Input { origin: Origin::Derived { name: "system files".into() }, tree: tree(entries), time: epoch(1000) }
}

fn plan(inputs: Vec<Input>) -> ImagePlan {
    ImagePlan { inputs, ..ImagePlan::new(Platform::LinuxAmd64, epoch(1000)) }
}

fn titles(plan: &ImagePlan) -> Vec<String> {
    cut(plan).expect("cut").layers.into_iter().map(|layer| layer.title).collect()
}

const BIG: u64 = 5 << 20;

#[test]
fn large_sources_get_layers_and_small_ones_share_one_and_the_application_is_last() {
    let plan = plan(vec![
        copy("build.dist", None, &[("app/main", file("x"))]),
        copy("build.modules", Some("dependencies"), &[("app/modules/m", file("x"))]),
        package("libc6", "glibc", 30, &[("usr/lib/libc.so", sized(BIG))]),
        package("libc-bin", "glibc", 30, &[("usr/bin/ldd", sized(10))]),
        package("nodejs", "nodejs", 20, &[("usr/bin/node", sized(BIG))]),
        package("tzdata", "tzdata", 90, &[("usr/share/zone", sized(10))]),
        package("base-files", "base-files", 10, &[("etc/debian_version", sized(10))]),
        derived(&[("etc/passwd", file("root"))]),
    ]);
    assert_eq!(titles(&plan), ["nodejs", "glibc", "packages", "system", "dependencies", "application"]);
}

#[test]
fn the_budget_is_kept_but_for_the_layers_that_the_spec_names() {
    let mut inputs: Vec<Input> = (0..30)
        .map(|n| package(&format!("p{n:02}"), &format!("s{n:02}"), n, &[(&format!("usr/lib/{n}"), sized(BIG + n))]))
        .collect();
    assert_eq!(titles(&plan(inputs.clone())).len(), 10);
    inputs.extend((0..12).map(|n| copy("x", Some(&format!("l{n}")), &[(&format!("app/{n}"), file("x"))])));
    assert_eq!(titles(&plan(inputs)).len(), 13);
}

#[test]
fn the_order_in_which_packages_are_given_does_not_matter() {
    let mut inputs = vec![
        package("b", "b", 5, &[("usr/b", sized(BIG))]),
        package("a", "a", 5, &[("usr/a", sized(3))]),
        package("c", "c", 4, &[("usr/c", sized(4))]),
    ];
    let names = |plan: &ImagePlan| -> Vec<Vec<String>> {
        let origin = |part: &Part| plan.inputs[part.input].origin.to_string();
        cut(plan).expect("cut").layers.iter().map(|layer| layer.parts.iter().map(origin).collect()).collect()
    };
    let before = names(&plan(inputs.clone()));
    inputs.reverse();
    assert_eq!(names(&plan(inputs)), before);
    assert_eq!(before, [vec!["b=1"], vec!["a=1", "c=1"]].map(|l| l.into_iter().map(str::to_owned).collect::<Vec<_>>()));
}

#[test]
fn a_layer_holds_every_directory_above_its_files_and_other_directories_only_once() {
    let plan = plan(vec![
        package(
            "a",
            "a",
            1,
            &[("usr", Node::directory(0o755)), ("usr/lib/a", file("a")), ("var/empty", Node::directory(0o700))],
        ),
        copy(
            "c",
            None,
            &[("usr/lib/c", file("c")), ("var/empty", Node::directory(0o755)), ("app", Node::directory(0o755))],
        ),
    ]);
    let layers = cut(&plan).expect("cut").layers;
    let skeleton = |n: usize| layers[n].skeleton.clone();
    let with = |entries: &[(&str, u32)]| -> Tree {
        entries.iter().map(|(name, mode)| (path(name), Node::directory(*mode))).collect()
    };
    assert_eq!(skeleton(0), with(&[("usr", 0o755), ("usr/lib", 0o755), ("var", 0o755), ("var/empty", 0o700)]));
    assert_eq!(skeleton(1), with(&[("app", 0o755), ("usr", 0o755), ("usr/lib", 0o755)]));
}

#[test]
fn a_copy_replaces_a_packages_file_and_hard_links_to_it_stay_files() {
    let linked = package(
        "p",
        "p",
        1,
        &[
            ("etc/a", Node::Hardlink { target: path("etc/conf") }),
            ("etc/b", Node::Hardlink { target: path("etc/conf") }),
            ("etc/conf", file("old")),
        ],
    );
    let settled = settle(&[linked, copy("c", None, &[("etc/conf", file("new"))])], &BTreeSet::new()).expect("settled");
    assert_eq!(settled.trees[0], tree(&[("etc/a", file("old")), ("etc/b", Node::Hardlink { target: path("etc/a") })]));
    assert_eq!(settled.trees[1], tree(&[("etc/conf", file("new"))]));
}

#[test]
fn a_delta_removes_and_replaces_what_packages_brought() {
    let first =
        package("p", "p", 1, &[("etc/x/y", file("1")), ("usr/doc/z", file("2")), ("var/l", Node::directory(0o755))]);
    let mut open = Node::directory(0o770);
    open.set_owner(Owner { uid: 5, gid: 5 });
    let delta = derived(&[("etc/x", file("now a file")), ("usr/doc", Node::Whiteout), ("var/l", open.clone())]);
    let settled = settle(&[first, delta], &BTreeSet::new()).expect("settled");
    assert!(settled.trees[0].is_empty());
    assert_eq!(settled.trees[1], tree(&[("etc/x", file("now a file"))]));
    assert_eq!(settled.directories.get(&path("var/l")), Some(&open));
    assert!(!settled.directories.contains_key(&path("usr/doc")));
}

#[test]
fn contradictions_are_errors_that_name_both_sides() {
    let error = |a: Input, b: Input| settle(&[a, b], &BTreeSet::new()).expect_err("a contradiction").to_string();
    let a = |entries: &[(&str, Node)]| package("a", "a", 1, entries);
    let b = |entries: &[(&str, Node)]| package("b", "b", 1, entries);
    assert_eq!(
        error(a(&[("x", file("1"))]), b(&[("x", file("2"))])),
        "packages a=1 and b=1 have different files at /x"
    );
    assert_eq!(
        error(a(&[("bin", Node::symlink("usr/bin"))]), copy("c", None, &[("bin/tool", file("1"))])),
        "c puts /bin/tool beneath /bin, which is a symbolic link in a=1"
    );
    assert_eq!(
        error(a(&[("x", file("1"))]), b(&[("x", Node::directory(0o755))])),
        "/x is a file in a=1 and a directory in b=1"
    );
    let foreign = CleanPath::parse(b"caf\xe9").expect("clean");
    let odd = Input { tree: [(foreign, file("1"))].into_iter().collect(), ..a(&[]) };
    assert!(error(odd, b(&[])).contains("`caf\\xe9`"));
    assert!(settle(&[a(&[("x", file("1"))]), b(&[("x", file("1"))])], &BTreeSet::new()).is_ok(), "the same file twice");
}

#[test]
fn set_id_bits_are_dropped_unless_the_plan_keeps_them() {
    let node = Node::file(0o4755, Digest::of("su"), 2);
    let input =
        package("p", "p", 1, &[("bin/ping", node.clone()), ("bin/su", node), ("var/mail", Node::directory(0o2775))]);
    let settled = settle(&[input], &[path("bin/ping")].into()).expect("settled");
    assert_eq!(settled.trees[0].get(&path("bin/su")), Some(&Node::file(0o755, Digest::of("su"), 2)));
    assert_eq!(settled.trees[0].get(&path("bin/ping")), Some(&Node::file(0o4755, Digest::of("su"), 2)));
    assert_eq!(settled.directories.get(&path("var/mail")), Some(&Node::directory(0o2775)));
    assert_eq!(settled.stripped, [path("bin/su")].into());
}

#[test]
fn the_time_of_a_part_is_its_own_but_never_after_the_epoch() {
    let plan = plan(vec![package("p", "p", 7, &[("a", file("a"))]), copy("c", None, &[("b", file("b"))])]);
    let times: Vec<u64> = cut(&plan).expect("cut").layers.iter().map(|layer| layer.time.seconds()).collect();
    assert_eq!(times, [7, 1000]);
    let earlier = ImagePlan { epoch: epoch(5), ..plan };
    assert!(cut(&earlier).expect("cut").layers.iter().all(|layer| layer.time == epoch(5)));
}

proptest! {
    #[test]
    fn no_file_is_in_two_layers_and_none_is_lost(
        inputs in proptest::collection::vec(proptest::collection::btree_map("[a-c](/[a-c]){0,2}", 0u64..4 << 20, 0..6), 0..8),
        budget in 0usize..5,
    ) {
        let inputs: Vec<Input> = inputs
            .iter()
            .enumerate()
            .map(|(n, files)| {
                let entries: Vec<(&str, Node)> = files.iter().map(|(name, size)| (name.as_str(), sized(*size))).collect();
                if n % 3 == 0 { copy("c", None, &entries) } else { package(&format!("p{n}"), &format!("s{n}"), n as u64, &entries) }
            })
            .collect();
        let wanted: BTreeSet<CleanPath> = inputs.iter().flat_map(|input| input.tree.iter().map(|(path, _)| path.clone())).collect();
        let plan = ImagePlan { budget, ..plan(inputs) };
        if let Ok(cut) = cut(&plan) {
            prop_assert!(cut.layers.len() <= budget.max(2));
            let mut seen = BTreeSet::new();
            for layer in &cut.layers {
                let mut here = BTreeSet::new();
                for (path, _) in layer.skeleton.iter() {
                    prop_assert!(here.insert(path.clone()));
                }
                for (path, _) in layer.parts.iter().flat_map(|part| part.tree.iter()) {
                    prop_assert!(here.insert(path.clone()), "{} is twice in one layer", path);
                    prop_assert!(seen.insert(path.clone()), "{} is in two layers", path);
                    prop_assert!(path.ancestors().all(|above| layer.skeleton.get(&above).is_some()), "{} lacks a directory", path);
                }
            }
            prop_assert_eq!(seen, wanted);
        }
    }
}
