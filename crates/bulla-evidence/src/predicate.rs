//! What statements can state: the types of predicates, and the short names by which people ask for them.

/// Provenance of SLSA, version 1.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// The short names of types, as cosign has them.
const NAMES: [(&str, &str); 9] = [
    ("slsaprovenance1", SLSA_PROVENANCE),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("testresult", "https://in-toto.io/attestation/test-result/v0.1"),
    ("vsa", crate::summary::SUMMARY),
    ("svr", crate::reproduction::RESULT),
];

/// What a group of types is asked for by, and what their names begin with.
const GROUPS: [(&str, &[&str]); 4] = [
    ("provenance", &["https://slsa.dev/provenance/v"]),
    ("sbom", &["https://spdx.dev/Document", "https://cyclonedx.org/bom"]),
    ("vulnerabilities", &["https://in-toto.io/attestation/vulns/v", "https://cosign.sigstore.dev/attestation/vuln/v"]),
    ("vex", &["https://openvex.dev/ns"]),
];

/// Gives the type that a short name stands for; a URI stands for itself. `None` where it is neither.
pub fn of_name(name: &str) -> Option<&str> {
    let known = NAMES.iter().find(|(short, _)| *short == name).map(|(_, uri)| *uri);
    known.or_else(|| is_uri(name).then_some(name))
}

/// Gives the short name of a type.
pub fn name_of(predicate_type: &str) -> Option<&'static str> {
    NAMES.iter().find(|(_, uri)| *uri == predicate_type).map(|(short, _)| *short)
}

/// Says whether a type is one that a word asks for: a group (`sbom`), a short name or a URI.
pub fn is_meant(word: &str, predicate_type: &str) -> bool {
    match GROUPS.iter().find(|(group, _)| *group == word) {
        Some((_, beginnings)) => beginnings.iter().any(|beginning| predicate_type.starts_with(beginning)),
        None => of_name(word) == Some(predicate_type),
    }
}

/// Gives the types that a word asks for, the most usual first: of a group those that it has today.
pub fn usual(word: &str) -> Vec<&str> {
    match word {
        "provenance" => vec![SLSA_PROVENANCE],
        "sbom" => vec!["https://spdx.dev/Document", "https://cyclonedx.org/bom"],
        "vulnerabilities" => {
            vec!["https://in-toto.io/attestation/vulns/v0.2", "https://cosign.sigstore.dev/attestation/vuln/v1"]
        }
        "vex" => vec!["https://openvex.dev/ns"],
        word => of_name(word).into_iter().collect(),
    }
}

/// Says whether a word asks for a type, or a group of them.
pub fn is_word(word: &str) -> bool {
    GROUPS.iter().any(|(group, _)| *group == word) || of_name(word).is_some()
}

/// Lists the words that ask for types, for people.
pub fn words() -> String {
    let groups = GROUPS.iter().map(|(group, _)| *group);
    groups.chain(NAMES.iter().map(|(short, _)| *short)).collect::<Vec<_>>().join(", ")
}

fn is_uri(text: &str) -> bool {
    let names =
        text.strip_prefix("urn:").is_some_and(|rest| rest.split_once(':').is_some_and(|(_, name)| !name.is_empty()));
    let scheme = text.split_once("://").map(|(scheme, rest)| (scheme, !rest.is_empty()));
    let scheme = scheme.or(names.then_some(("urn", true)));
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    scheme.is_some_and(|(scheme, rest)| rest && !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric()))
        && text.len() <= 1024
        && plain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_types() {
        assert_eq!(of_name("spdxjson"), Some("https://spdx.dev/Document"));
        assert_eq!(of_name("https://example.org/x"), Some("https://example.org/x"));
        assert_eq!(name_of(SLSA_PROVENANCE), Some("slsaprovenance1"));
        for bad in ["", "x", "://", "https://", "https://a b", "sbom"] {
            assert_eq!(of_name(bad), None, "{bad}");
        }
        assert!(
            is_meant("sbom", "https://cyclonedx.org/bom/v1.6") && is_meant("sbom", "https://spdx.dev/Document/v2.3")
        );
        assert!(is_meant("provenance", "https://slsa.dev/provenance/v0.2"));
        assert!(!is_meant("provenance", "https://slsa.dev/verification_summary/v1"));
        assert!(
            is_meant("spdxjson", "https://spdx.dev/Document") && !is_meant("spdxjson", "https://cyclonedx.org/bom")
        );
        assert!(is_word("vex") && !is_word("nothing"));
    }
}
