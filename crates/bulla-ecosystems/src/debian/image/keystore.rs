//! What ca-certificates-java makes: the certificates as a key store of Java's own format, JKS version 2 (OpenJDK's
//! `sun.security.provider.JavaKeyStore`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_model::{CleanPath, tree::Owner};
use sha1::{Digest as _, Sha1};

use super::{
    Error,
    certificates::{MAX_FILE, files},
    overlay::{Overlay, clean},
};

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
/// The tag of a certificate that is trusted, as against a key.
const TRUSTED: u32 = 2;
/// The password that every Java has; it protects nothing, but the sum at the end depends on it.
const PASSWORD: &str = "changeit";
const SALT: &[u8] = b"Mighty Aphrodite";

/// Writes `/etc/ssl/certs/java/cacerts`: the certificates in the order of their names, each with the date 0.
pub(super) fn lay(overlay: &mut Overlay<'_>) -> Result<(), Error> {
    let mut entries = Vec::new();
    for path in files(overlay, &clean("usr/share/ca-certificates")) {
        let bad = || Error::Certificate { path: path.clone() };
        let text = overlay.read(&path, MAX_FILE).ok_or_else(bad)?;
        let der = der(&String::from_utf8_lossy(&text)).ok_or_else(bad)?;
        entries.push((alias(&path), der));
    }
    entries.sort();
    entries.dedup_by(|a, b| a.0 == b.0);
    let store = encode(&entries).ok_or(Error::TooMuch { what: "certificates" })?;
    overlay.file(&clean("etc/ssl/certs/java/cacerts"), 0o644, Owner::ROOT, store);
    Ok(())
}

/// Names a certificate as Debian does, in the small letters that the format wants.
fn alias(path: &CleanPath) -> String {
    let name = String::from_utf8_lossy(path.name()).to_ascii_lowercase();
    let stem = name.strip_suffix(".crt").unwrap_or(&name);
    format!("debian:{}.pem", stem.replace([' ', ','], "_").replace(['(', ')'], "="))
}

/// Gives the bytes of the first certificate of a text (RFC 7468).
fn der(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok().filter(|der| !der.is_empty())
}

/// Gives the password as its sum is made of it.
fn password() -> Vec<u8> {
    PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Writes the bytes of a key store; `None` when a length has no room in them.
fn encode(entries: &[(String, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let number = |bytes: &mut Vec<u8>, number: u32| bytes.extend_from_slice(&number.to_be_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        Some(())
    };
    number(&mut bytes, MAGIC);
    number(&mut bytes, VERSION);
    number(&mut bytes, u32::try_from(entries.len()).ok()?);
    for (alias, der) in entries {
        number(&mut bytes, TRUSTED);
        text(&mut bytes, alias)?;
        bytes.extend_from_slice(&0_u64.to_be_bytes());
        text(&mut bytes, "X.509")?;
        number(&mut bytes, u32::try_from(der.len()).ok()?);
        bytes.extend_from_slice(der);
    }
    let sum = Sha1::new().chain_update(password()).chain_update(SALT).chain_update(&bytes).finalize();
    bytes.extend_from_slice(&sum);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_the_layout_that_java_reads() {
        let bytes = encode(&[("debian:a.pem".to_owned(), vec![0x30, 0])]).expect("a store");
        let (body, sum) = bytes.split_at(bytes.len() - 20);
        let wanted = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x0cdebian:a.pem\0\0\0\0\0\0\0\0\0\x05X.509\0\0\0\x02\x30\0";
        assert_eq!(body, wanted);
        let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "1adbdf1fefbbc6f646d2f7029cc916ee60971812");
    }

    #[test]
    fn the_times_in_a_store_that_java_made_are_fixed_by_what_runs_in_a_root() {
        if !bulla_testkit::process::exists("perl") {
            return bulla_testkit::skipped("fixing the times of a key store", "there is no perl");
        }
        let entries = [("debian:a.pem".to_owned(), vec![0x30, 0]), ("debian:b.pem".to_owned(), vec![0x30; 300])];
        let fixed = encode(&entries).expect("a store");
        let (mut body, time) = (fixed[..fixed.len() - 20].to_vec(), [0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0]);
        for alias in ["debian:a.pem", "debian:b.pem"] {
            let at = body.windows(alias.len()).position(|part| part == alias.as_bytes()).expect("the alias");
            body[at + alias.len()..][..8].copy_from_slice(&time);
        }
        let sum = Sha1::new().chain_update(password()).chain_update(SALT).chain_update(&body).finalize();
        let folder = tempfile::tempdir().expect("a folder");
        let (script, file) = (folder.path().join("key-store.pl"), folder.path().join("cacerts"));
        fs_err::write(&script, crate::debian::configure::KEY_STORE).expect("writing the script");
        let after = |bytes: &[u8]| {
            fs_err::write(&file, bytes).expect("writing the store");
            #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
            let mut perl = std::process::Command::new("perl");
            // Without the modules that only the larger package has.
            perl.args([
                "-e",
                "my @base = grep { /perl-base$/ } @INC; @INC = @base if @base; my $s = shift; do $s or die $@ || $!",
            ]);
            bulla_testkit::process::output(perl.arg(&script).arg(&file)).expect("it runs");
            assert_eq!(fs_err::read_dir(folder.path()).expect("the folder").count(), 2, "nothing is left");
            fs_err::read(&file).expect("reading the store")
        };
        let made = [body.clone(), sum.to_vec()].concat();
        assert!(made != fixed && after(&made) == fixed && after(&fixed) == fixed);
        // What is no such store stays: another password, another format, nothing.
        for other in [[body, vec![0; 20]].concat(), b"0\x82".repeat(40), Vec::new()] {
            assert_eq!(after(&other), other);
        }
        fs_err::remove_file(&file).expect("removing it");
        #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
        let mut perl = std::process::Command::new("perl");
        bulla_testkit::process::output(perl.arg(&script).arg(&file)).expect("most roots have none");
    }

    #[test]
    fn only_a_whole_certificate_is_read() {
        let pem = "x\n-----BEGIN CERTIFICATE-----\nMA\n A=\n-----END CERTIFICATE-----\n";
        assert_eq!(der(pem), Some(vec![0x30, 0]));
        for bad in ["", "-----BEGIN CERTIFICATE-----\nMAA=", &pem.replace("MA", "!!")] {
            assert_eq!(der(bad), None, "{bad}");
        }
    }
}
