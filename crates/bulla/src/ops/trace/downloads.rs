//! What the lock knows of a source that was downloaded.

use bulla_model::lock::{DebianPin, Evidence, GitEvidence, GitPin, Lock, SourcePin, UrlPin};

use super::{Downloaded, DownloadedFrom, Ground, Link, Vouched, VouchedCommit, packages::signed_index};

impl Ground<'_> {
    /// Gives what the lock says of a source that does not lie in the project.
    pub(super) fn downloaded(&self, source: &str, path: String) -> Link {
        let Some(lock) = self.lock else {
            return Link::Unknown { why: format!("there is no lock that would say where the source {source} is from") };
        };
        let pin = lock.sources.iter().find(|(name, _)| name.as_str() == source).map(|(_, pin)| pin);
        let from = match pin {
            Some(SourcePin::Url(pin)) => of_url(pin),
            Some(SourcePin::Git(pin)) => of_git(pin),
            Some(SourcePin::Debian(pin)) => of_debian(lock, pin),
            None => {
                let why = format!("the lock does not have the source {source}: the image was built with another");
                return Link::Unknown { why };
            }
        };
        Link::Download(Box::new(Downloaded { source: source.to_owned(), path, from }))
    }
}

fn of_url(pin: &UrlPin) -> DownloadedFrom {
    let evidence = match &pin.evidence {
        Evidence::Digest => Vouched::Digest,
        Evidence::FirstUse => Vouched::FirstUse,
        Evidence::Signature { url, digest, key, signed_by } => {
            Vouched::Signature { url: url.clone(), digest: *digest, key: key.to_string(), signed_by: signed_by.clone() }
        }
    };
    DownloadedFrom::Url { url: pin.url.clone(), digest: pin.digest, evidence }
}

fn of_git(pin: &GitPin) -> DownloadedFrom {
    let evidence = match &pin.evidence {
        GitEvidence::Commit => VouchedCommit::Commit,
        GitEvidence::FirstUse => VouchedCommit::FirstUse,
        GitEvidence::Signature(signature) => VouchedCommit::Signature {
            object: signature.object,
            key: signature.key.to_string(),
            signed_by: signature.signed_by.clone(),
            signer: signature.signer.clone(),
            signed_at: signature.signed_at,
        },
    };
    let submodules = pin.submodules.iter().flatten();
    DownloadedFrom::Git {
        url: pin.url.clone(),
        asked: pin.asked.to_string(),
        commit: pin.commit,
        digest: pin.digest,
        submodules: submodules
            .map(|(path, module)| (path.to_string(), format!("{} {}", module.url, module.commit)))
            .collect(),
        evidence,
    }
}

fn of_debian(lock: &Lock, pin: &DebianPin) -> DownloadedFrom {
    DownloadedFrom::Debian {
        package: pin.package.to_string(),
        files: pin.files.iter().map(|(name, file)| (name.clone(), file.digest)).collect(),
        directory: pin.directory.clone(),
        registry: pin.registry.clone(),
        suite: pin.suite.clone(),
        component: pin.component.clone(),
        index: signed_index(lock, &pin.registry, &pin.suite),
    }
}
