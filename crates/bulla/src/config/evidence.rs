//! What is said of evidence: `[evidence]`.

use std::path::PathBuf;

use bulla_net::Url;
use serde::Deserialize;
use toml::Spanned;

use super::file::Marks;
use crate::ops::keys::Place;

/// What is said of evidence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// What provenance calls whoever builds here: a URI.
    pub builder: Option<String>,
    /// What summaries call whoever verifies here: a URI.
    pub verifier: Option<String>,
    /// The private key that signs what CI builds: a file, or the name of a key elsewhere.
    pub ci_key: Option<PathBuf>,
    /// The module that reaches tokens: code that is run.
    pub pkcs11_module: Option<PathBuf>,
    /// The instance that signs without a key.
    pub keyless: Keyless,
}

/// An instance of Sigstore, as far as it is said which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyless {
    /// Where certificates come from: the base address of Fulcio.
    pub fulcio: Option<Url>,
    /// Where signatures are logged: the base address of Rekor, version 2.
    pub rekor: Option<Url>,
    /// Where it is said when something was signed (RFC 3161): the whole address.
    pub timestamp: Option<Url>,
    /// The file with the authorities and logs that are trusted.
    pub trusted_root: Option<PathBuf>,
}

/// The most bytes of a builder's name.
const MAX_BUILDER: usize = 512;

/// The keys of the section.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct EvidenceKeys {
    builder: Option<Spanned<String>>,
    verifier: Option<Spanned<String>>,
    ci_key: Option<Spanned<PathBuf>>,
    pkcs11_module: Option<Spanned<PathBuf>>,
    keyless: KeylessKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct KeylessKeys {
    fulcio: Option<Spanned<String>>,
    rekor: Option<Spanned<String>>,
    timestamp: Option<Spanned<String>>,
    trusted_root: Option<Spanned<PathBuf>>,
}

impl EvidenceKeys {
    pub(super) fn mistakes(&self, marks: &mut Marks) {
        for (name, example) in [(&self.builder, "builders/release"), (&self.verifier, "verifiers/release")] {
            let Some(name) = name else { continue };
            let way_out = format!("write the URI by which others know it, as `https://ci.example/{example}`");
            marks.check(name, is_uri(name.get_ref()), "is no URI", &way_out);
        }
        let keyless = &self.keyless;
        for url in [&keyless.fulcio, &keyless.rekor, &keyless.timestamp].into_iter().flatten() {
            let way_out = "write the address of the service, as `https://fulcio.example`, without a login";
            marks.check(url, Url::parse(url.get_ref()).is_ok(), "is no address of a service", way_out);
        }
        if let Some(path) = &self.ci_key {
            // A URI that is wrong may have a PIN in it, and is told of without being shown, when it is used.
            let good = path.get_ref().is_absolute() || !matches!(Place::parse(path.get_ref()), Ok(Place::File(_)));
            let help = "write the path from `/` on, or the URI of a key elsewhere";
            marks.check(path, good, "is not an absolute path", help);
        }
        for path in [&self.pkcs11_module, &keyless.trusted_root].into_iter().flatten() {
            marks.check(path, path.get_ref().is_absolute(), "is not an absolute path", "write the path from `/` on");
        }
    }

    pub(super) fn over(self, weaker: Self) -> Self {
        let (keyless, under) = (self.keyless, weaker.keyless);
        Self {
            builder: self.builder.or(weaker.builder),
            verifier: self.verifier.or(weaker.verifier),
            ci_key: self.ci_key.or(weaker.ci_key),
            pkcs11_module: self.pkcs11_module.or(weaker.pkcs11_module),
            keyless: KeylessKeys {
                fulcio: keyless.fulcio.or(under.fulcio),
                rekor: keyless.rekor.or(under.rekor),
                timestamp: keyless.timestamp.or(under.timestamp),
                trusted_root: keyless.trusted_root.or(under.trusted_root),
            },
        }
    }

    pub(super) fn into_evidence(self) -> Evidence {
        let url = |url: Option<Spanned<String>>| Url::parse(url?.get_ref()).ok();
        Evidence {
            builder: self.builder.map(Spanned::into_inner),
            verifier: self.verifier.map(Spanned::into_inner),
            ci_key: self.ci_key.map(Spanned::into_inner),
            pkcs11_module: self.pkcs11_module.map(Spanned::into_inner),
            keyless: Keyless {
                fulcio: url(self.keyless.fulcio),
                rekor: url(self.keyless.rekor),
                timestamp: url(self.keyless.timestamp),
                trusted_root: self.keyless.trusted_root.map(Spanned::into_inner),
            },
        }
    }
}

/// Says whether a text has the form of a URI without a login (RFC 3986, section 3): provenance is for everyone.
fn is_uri(text: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let plain = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}@".contains(c);
    text.len() <= MAX_BUILDER
        && text.split_once(':').is_some_and(|(name, rest)| scheme(name) && !rest.is_empty())
        && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_uri;

    #[test]
    fn a_builder_is_a_uri_without_a_login() {
        for good in ["https://ci.example/builders/release", "urn:corp:ci:1"] {
            assert!(is_uri(good), "{good}");
        }
        for bad in ["ci", "https:", "1a:b", "https://u:p@ci.example", "urn:a b", ""] {
            assert!(!is_uri(bad), "{bad}");
        }
    }
}
