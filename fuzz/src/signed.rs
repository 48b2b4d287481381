//! What is read under a signature.

use std::sync::OnceLock;

use bulla_ecosystems::debian::{
    keyring::Keyring,
    release::{Dates, verify_detached, verify_inrelease},
};
use bulla_model::Epoch;
use bulla_testkit::debian::TestKey;

use crate::text;

fn dates() -> Dates<'static> {
    Dates::first(Epoch::new(1_800_000_000).expect("before 9999"))
}

/// A key that was made by this process, and a keyring that trusts it and Debian's.
fn trusted() -> &'static (TestKey, Keyring) {
    static TRUSTED: OnceLock<(TestKey, Keyring)> = OnceLock::new();
    TRUSTED.get_or_init(|| {
        let key = TestKey::new();
        let mut keyring = Keyring::parse(key.public().as_bytes()).expect("the key's own form");
        keyring.merge(Keyring::debian());
        (key, keyring)
    })
}

/// An `InRelease` file; and the same as signatures of another file. Neither can be good: nobody has the keys.
pub(crate) fn inrelease(bytes: &[u8]) {
    let (_, keyring) = trusted();
    for result in [verify_inrelease(bytes, keyring, dates()), verify_detached(b"Suite: x\n", bytes, keyring, dates())] {
        crate::shown(&result.expect_err("a signature by a key that this process keeps"));
    }
}

/// The text of an index, signed here: what a mirror of the user's own could sign.
pub(crate) fn release(bytes: &[u8]) {
    let (key, keyring) = trusted();
    let signed = key.clearsign(text(bytes));
    match verify_inrelease(signed.as_bytes(), keyring, dates()) {
        Ok(release) => drop(release.file("main/binary-amd64/Packages")),
        Err(error) => crate::shown(&error),
    }
}

/// A keyring of the user's configuration or of a `Signed-By` line.
pub(crate) fn keyring(bytes: &[u8]) {
    if let Ok(keyring) = Keyring::parse(bytes) {
        let names: Vec<String> = keyring.fingerprints().map(str::to_owned).collect();
        assert!(names.len() <= 10_000);
        let _ = verify_detached(b"Suite: x\n", bytes, &keyring.limited_to(&names), dates());
    }
}
