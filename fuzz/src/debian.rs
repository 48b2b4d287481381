//! Lists of packages, relations between them, and the settings of apt.

use bulla_ecosystems::debian::{
    apt::{auth, settings::Settings, sources},
    packages::{Index, read_package},
    relation::{self, Request},
    solve::{Question, Source, solve as choose},
    version::Version,
};

use crate::text;

/// A list of packages, and each stanza by itself.
pub(crate) fn packages(bytes: &[u8]) {
    let Ok(index) = Index::parse(bytes.to_vec()) else { return };
    let names: Vec<String> = index.names().map(str::to_owned).collect();
    for name in names.iter().take(64) {
        for position in index.named(name).chain(index.providers(name)) {
            let _ = index.package(position);
        }
    }
    let _ = (index.essential().count(), read_package(text(bytes)));
}

/// What is asked for in the first line, and the list it is chosen from in the others.
pub(crate) fn solve(bytes: &[u8]) {
    let Some((wishes, list)) = text(bytes).split_once('\n') else { return };
    let requests: Vec<Request> = wishes.split_whitespace().filter_map(|wish| wish.parse().ok()).take(8).collect();
    let Ok(index) = Index::parse(list.as_bytes().to_vec()) else { return };
    let source = Source { index: &index, suites: &["trixie".to_owned()], not_automatic: false };
    let question = Question {
        foreign: Some("arm64"),
        sources: &[source],
        architecture: "amd64",
        requests: &requests,
        essential: false,
        provided: &["debconf"],
        excused: &[],
        locked: &[],
    };
    match choose(&question) {
        Ok(chosen) => {
            let again = choose(&question).expect("the same question has the same answer");
            assert_eq!(chosen, again);
        }
        Err(error) => crate::shown(&error),
    }
}

/// A relation field, and a request of the spec.
pub(crate) fn relation(bytes: &[u8]) {
    let text = text(bytes);
    for group in relation::parse(text, "amd64").into_iter().flatten() {
        let _ = format!("{group:?}");
    }
    if let Ok(request) = text.parse::<Request>() {
        let again: Request = request.to_string().parse().expect("what is written can be read");
        assert_eq!(again, request);
    }
}

/// Three versions, a line each, that must have an order.
pub(crate) fn version(bytes: &[u8]) {
    let versions: Vec<Version<'_>> = text(bytes).lines().take(3).filter_map(|line| Version::parse(line).ok()).collect();
    for a in &versions {
        assert_eq!(a.cmp(a), std::cmp::Ordering::Equal);
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            for c in &versions {
                assert!(!(a <= b && b <= c) || a <= c);
            }
        }
    }
}

/// The files of apt's own configuration; each text is read as each of them.
pub(crate) fn apt(bytes: &[u8]) {
    let text = text(bytes);
    let errors = [
        sources::deb822("debian.sources", text).err(),
        sources::one_line("sources.list", text).err(),
        auth::parse("auth.conf", text).err(),
    ];
    errors.iter().flatten().for_each(|error| assert!(!error.to_string().is_empty()));
    for login in auth::parse("auth.conf", text).unwrap_or_default() {
        let _ = login.is_for("https", "mirror.example", "/debian/");
    }
    if let Ok(mut settings) = Settings::parse("apt.conf", text) {
        let _ = (settings.proxy("https", "mirror.example"), settings.ca_info("mirror.example"));
        settings.merge(Settings::parse("apt.conf", text).expect("it was read before"));
    }
}
