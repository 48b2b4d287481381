//! What `update-ca-certificates` makes: the bundle of all certificates, and a link to each.

use bulla_model::{CleanPath, tree::Owner};

use super::{
    Error,
    overlay::{Overlay, Stands, clean},
};

/// The most bytes of one certificate file and of the bundle.
pub(super) const MAX_FILE: u64 = 1 << 20;
const MAX_BUNDLE: usize = 64 << 20;

/// Writes `/etc/ssl/certs/ca-certificates.crt` and the links beside it, if the tree has certificates. All that are there
/// are taken, sorted by path, Debian's own first. The links by hash, which need X.509's names, are not made: a program that
/// takes the folder reads the bundle in it.
pub(super) fn lay(overlay: &mut Overlay<'_>) -> Result<(), Error> {
    let mut bundle = Vec::new();
    let certs = clean("etc/ssl/certs");
    for source in ["usr/share/ca-certificates", "usr/local/share/ca-certificates"] {
        for path in files(overlay, &clean(source)) {
            let content = overlay.read(&path, MAX_FILE).unwrap_or_default();
            if !content.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
                return Err(Error::Certificate { path });
            }
            bundle.extend_from_slice(&content);
            if bundle.last() != Some(&b'\n') {
                bundle.push(b'\n');
            }
            if bundle.len() > MAX_BUNDLE {
                return Err(Error::TooMuch { what: "certificates" });
            }
            if let Some(link) = link(&certs, &path) {
                overlay.symlink(&link, [b"/", path.as_bytes()].concat());
            }
        }
    }
    if !bundle.is_empty() {
        overlay.file(&clean("etc/ssl/certs/ca-certificates.crt"), 0o644, Owner::ROOT, bundle);
    }
    Ok(())
}

/// Lists the certificates of a directory, in the order of their bytes.
pub(super) fn files(overlay: &Overlay<'_>, directory: &CleanPath) -> Vec<CleanPath> {
    let beneath = overlay.shipped().map(|(path, _)| path).filter(|path| path.starts_with(directory));
    let mut files: Vec<CleanPath> = beneath
        .filter(|path| path.as_bytes().ends_with(b".crt") && overlay.stands(path) == Some(Stands::File))
        .cloned()
        .collect();
    files.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    files
}

/// Names the link as `update-ca-certificates` does: spaces and commas become `_`, parentheses `=`.
fn link(certs: &CleanPath, path: &CleanPath) -> Option<CleanPath> {
    let stem = path.name().strip_suffix(b".crt")?;
    let name = stem.iter().map(|byte| match byte {
        b' ' | b',' => b'_',
        b'(' | b')' => b'=',
        other => *other,
    });
    certs.join(&CleanPath::parse([name.collect::<Vec<u8>>(), b".pem".to_vec()].concat()).ok()?).ok()
}
