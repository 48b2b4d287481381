//! What an image's files say of packages, as `bulla sbom` reads them; and the documents that come of it.

use bulla_evidence::{
    inventory::{Limits, Scanner},
    licence::{Licence, of_copyright},
    sbom::{Format, Subject, compose},
};
use bulla_model::{CleanPath, Digest, Epoch, purl::Purl};

const LIMITS: Limits = Limits { document: 1 << 20, documents: 1 << 20, program: 1 << 20, packages: 1000 };
/// Paths by which files are known, each with the kind of reader that it has.
const PATHS: [&str; 18] = [
    "bin/program",
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d/a",
    "var/lib/dpkg/info/a.list",
    "var/lib/dpkg/status.d/a.md5sums",
    "usr/share/doc/a/copyright",
    "lib/apk/db/installed",
    "p/a.dist-info/METADATA",
    "p/a.dist-info/RECORD",
    "n/node_modules/a/package.json",
    "j/a-1.0.jar",
    "g/specifications/a-1.gemspec",
    "v/composer/installed.json",
    "d/a.deps.json",
    "etc/os-release",
    "var/lib/rpm/Packages",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
];

/// A file, after a letter that says at which path: `a` is the first.
pub(crate) fn file(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else { return };
    let path = PATHS[usize::from(which.wrapping_sub(b'a')) % PATHS.len()];
    let path: CleanPath = path.parse().expect("a clean path");
    let mut scanner = Scanner::new(LIMITS);
    scanner.file(path, content.len() as u64, &mut &*content).expect("memory can be read");
    let contents = scanner.finish();
    let text = serde_json::to_vec(&contents).expect("what a layer holds is JSON");
    assert_eq!(
        serde_json::from_slice::<bulla_evidence::inventory::LayerContents>(&text).ok().as_ref(),
        Some(&contents)
    );
    let subject = Subject {
        name: "x".to_owned(),
        manifest: Digest::of("x"),
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        created: Epoch::default(),
        supplier: None,
        layers: vec![Digest::of("layer")],
        built: false,
    };
    let bom = compose(subject, &[contents], None);
    assert!(bom.components.len() <= LIMITS.packages + 1);
    for format in Format::ALL {
        let document: serde_json::Value = serde_json::from_slice(&bom.write(format)).expect("documents are JSON");
        assert!(document.is_object());
    }
}

/// A copyright file, which is also what a package says of its licence and its URL.
pub(crate) fn copyright(bytes: &[u8]) {
    let said = [of_copyright(bytes), Licence::read(crate::text(bytes))];
    for licence in said.into_iter().filter(|licence| !licence.is_unknown()) {
        let expression = spdx::Expression::parse(&licence.expression);
        assert!(expression.is_ok(), "{} is an expression", licence.expression);
        assert!(licence.others.keys().all(|name| licence.expression.contains(name)));
    }
    if let Ok(purl) = crate::text(bytes).parse::<Purl>() {
        assert_eq!(purl.to_string().parse(), Ok(purl));
    }
}
