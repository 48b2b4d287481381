//! One fixture for each mistake that somebody can make in a spec, with the message that it gets. `BULLA_REGENERATE=1`
//! writes the messages anew; the difference is then read by a person.

#![expect(clippy::disallowed_methods, reason = "fixtures are files, and a slow reader is measured")]

use std::{collections::BTreeMap, fs, path::Path};

use bulla_model::{Fault, Kind, Spec};
use proptest::prelude::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/spec");

fn message(text: &str) -> String {
    let errors = match Spec::parse("bulla.yaml", text) {
        Err(errors) => errors,
        Ok(_) => return "no mistake was found\n".to_owned(),
    };
    assert_eq!(errors.kind(), Kind::Spec);
    for error in &errors {
        assert!(text.get(error.span.clone()).is_some(), "{error}: {:?}", error.span);
        let shown = bulla_model::login::without_logins(&text[error.span.clone()]);
        assert!(shown.starts_with(error.text.as_str()) || error.text.contains("\\u{"), "{error}");
        assert!(!error.plain().contains(|c: char| c.is_control() && c != '\n'), "{error}");
    }
    format!("{errors}\n")
}

#[test]
fn every_mistake_has_its_message() {
    let regenerate = std::env::var_os("BULLA_REGENERATE").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(FOLDER).expect("the folder of fixtures") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let found = message(&fs::read_to_string(&path).expect("a fixture"));
        if found.starts_with("no mistake") {
            wrong.push(format!("{}: {found}", path.display()));
        }
        let expected_path = path.with_extension("txt");
        if regenerate {
            fs::write(&expected_path, &found).expect("written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if expected != found {
            wrong.push(format!("{}:\n{found}", path.file_name().unwrap_or_default().display()));
        }
    }
    assert!(count > 80, "only {count} fixtures found in {}", Path::new(FOLDER).display());
    assert!(wrong.is_empty(), "messages that changed:\n{}", wrong.join("\n"));
}

#[test]
fn a_hundred_megabytes_are_refused_before_they_are_read() {
    let text = "a: b\n".repeat(20 << 20);
    let message = message(&text);
    assert!(message.contains("104857600 bytes"), "{message}");
}

#[test]
fn exploding_anchors_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..30 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    assert!(message(&text).contains("more than 100000 values"));
    let mut nested = String::from("a0: &a0 [x]\n");
    for n in 1..100 {
        nested.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    assert!(message(&nested).contains("deep in one another"));
}

#[test]
fn small_texts_that_stand_for_large_ones_are_refused() {
    let alias = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(80_000));
    assert!(message(&alias).contains("counting each alias"));

    let good = include_str!("fixtures/spec/no-user.yaml").to_owned() + "  user: 65532\n";
    let labels: String = (0..50).map(|n| format!("    l{n}: '{}'\n", "${X}".repeat(100))).collect();
    let text = format!("{good}  labels:\n{labels}params:\n  X: {{default: {}}}\n", "x".repeat(100_000));
    assert!(message(&text).contains("when they are put in"));

    let mut stages = String::from("image:\n  from: {scratch: {}}\n  user: 1\nbulla: 1\nname: x\nstages:\n");
    stages.push_str("  s0:\n    from: {debian: trixie}\n    workdir: /w\n    steps:\n      - x\n    env:\n");
    stages.extend((0..20_000).map(|n| format!("      E{n}: x\n")));
    stages.extend((1..900).map(|n| format!("  s{n}:\n    stage: s{}\n    steps:\n      - x\n", n - 1)));
    assert!(message(&stages).contains("when they are put in"));
}

#[test]
fn large_specs_are_evaluated() {
    let mut text = String::from("image:\n  from: {scratch: {}}\n  user: 1\nbulla: 1\nname: x\nstages:\n");
    for n in 0..900 {
        let last = "from: {debian: trixie}\n    workdir: /w".to_owned();
        let base = if n == 899 { last } else { format!("stage: s{:03}", n + 1) };
        text.push_str(&format!("  s{n:03}:\n    {base}\n    outputs: {{o: /o}}\n    steps:\n"));
        text.push_str(&"      - a\n".repeat(50));
    }
    assert!(Spec::parse("bulla.yaml", &text).is_ok(), "{}", message(&text));
    let line: String = (0..30_000).map(|n| format!("/é{n}, ")).collect();
    let text = format!("{text}sources: {{a: {{path: ., ignore: [{}]}}}}\n", line.replace('/', ""));
    assert!(Spec::parse("bulla.yaml", &text).is_ok(), "{}", message(&text));
}

#[test]
fn deep_nesting_of_every_kind_is_refused() {
    for text in [
        "[".repeat(500_000),
        "{a: ".repeat(200_000),
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        (0..700).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
    ] {
        let message = message(&text);
        assert!(message.len() < 1000, "{message}");
    }
}

#[test]
fn many_values_are_refused_or_read_quickly() {
    for text in [
        format!("a: [{}]", "x, ".repeat(300_000)),
        (0..150_000).map(|n| format!("k{n}:\n")).collect(),
        format!("a: \"{}\"", "\\n".repeat(500_000)),
        format!("a: '{}'", "''".repeat(500_000)),
        format!("a: {}", "x ".repeat(500_000)),
        format!("a: {}", "&a ".repeat(300_000)),
        format!("a: |\n{}", " x\n".repeat(300_000)),
        "\u{e9}: 1\n".repeat(100_000),
        "#\n".repeat(500_000),
    ] {
        message(&text);
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_with_their_place() {
    let errors = Spec::parse_bytes("bulla.yaml", b"bulla: 1\nname: \xff\n", &BTreeMap::new()).expect_err("not UTF-8");
    assert!(errors.to_string().starts_with("bulla.yaml:2:7: the text is not UTF-8"), "{errors}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        let _ = Spec::parse("x", &text);
    }

    #[test]
    fn no_text_of_yaml_signs_makes_it_panic(text in "[-:?,\\[\\]{}#&*!|>'\"%@ \n\ta1é\r~<.]{0,120}") {
        let _ = Spec::parse("x", &text);
    }

    #[test]
    fn no_cut_or_changed_spec_makes_it_panic(cut in 0_usize..600, at in 0_usize..600, c in any::<char>()) {
        let text = include_str!("fixtures/spec/cycle.yaml");
        let mut text: String = text.chars().take(cut.max(10)).collect();
        let at = at.min(text.len());
        if text.is_char_boundary(at) {
            text.insert(at, c);
        }
        let _ = Spec::parse("x", &text);
    }
}
