//! What a build was made of: every source, base, index, package and dependency that was used, once each.

use std::collections::{BTreeMap, BTreeSet};

use bulla_build::run::{Built, SourceRecord};
use bulla_evidence::Resource;
use bulla_model::{
    Digest, Spec,
    lock::{DebianPin, Evidence, GitEvidence, GitPin, Lock, PackageKey, PackagePin, SourcePin, UrlPin},
    oci::BaseReference,
    plan::Plan,
    purl::Purl,
    spec::{Base, EMULATION, Name, StageBase, root_name},
};

/// The media type of the tree of a source: the digest is that of its canonical manifest.
const TREE: &str = "application/vnd.bulla.tree.v1";

/// Gives all of it, in the order of kinds, names and addresses.
pub(super) fn of(spec: &Spec, lock: &Lock, plans: &[Plan], built: &Built) -> Vec<Resource> {
    let mut all = Vec::new();
    for (name, record) in &built.sources {
        match lock.sources.get(name) {
            Some(pin) => all.extend(downloaded(lock, name, pin)),
            None => all.extend(local(name, record)),
        }
    }
    all.extend(bases(spec, lock, plans));
    all.extend(packages(spec, lock, plans));
    all.extend(dependencies(built));
    all
}

/// A source of the project, and the checkout that it lies in.
fn local(name: &Name, record: &SourceRecord) -> Vec<Resource> {
    let mut tree = Resource::new(name.as_str(), &record.digest).noting("kind", "source");
    tree.media_type = Some(TREE.to_owned());
    let mut all = vec![tree];
    if let Some((checkout, commit)) = record.checkout.as_ref().and_then(|state| Some((state, state.commit.as_ref()?))) {
        let mut commit = Resource { name: Some(name.to_string()), ..Resource::default() }
            .with_digest("gitCommit", commit)
            .noting("kind", "checkout")
            .noting("dirty", checkout.dirty);
        if let Some(origin) = &checkout.origin {
            commit = commit.at(format!("git+{origin}"));
        }
        if !checkout.folder.is_empty() {
            commit = commit.noting("folder", checkout.folder.as_str());
        }
        all.push(commit);
    }
    all
}

fn downloaded(lock: &Lock, name: &Name, pin: &SourcePin) -> Vec<Resource> {
    match pin {
        SourcePin::Url(pin) => vec![url(name, pin)],
        SourcePin::Git(pin) => vec![git(name, pin)],
        SourcePin::Debian(pin) => debian(lock, name, pin),
    }
}

fn url(name: &Name, pin: &UrlPin) -> Resource {
    let source = Resource::new(name.as_str(), &pin.digest).at(&pin.url).noting("kind", "source");
    match &pin.evidence {
        Evidence::Digest => source.noting("trusted-by", "digest"),
        Evidence::FirstUse => source.noting("trusted-by", "first use"),
        Evidence::Signature { signed_by, .. } => {
            source.noting("trusted-by", "signature").noting("signed-by", signed_by.clone())
        }
    }
}

fn git(name: &Name, pin: &GitPin) -> Resource {
    let commit = pin.commit.to_string();
    let source = Resource { name: Some(name.to_string()), ..Resource::default() }
        .at(format!("git+{}@{commit}", pin.url))
        .with_digest("gitCommit", &commit)
        .noting("kind", "source")
        .noting("archive-sha256", pin.digest.hex());
    match &pin.evidence {
        GitEvidence::Commit => source.noting("trusted-by", "digest"),
        GitEvidence::FirstUse => source.noting("trusted-by", "first use"),
        GitEvidence::Signature(signature) => {
            source.noting("trusted-by", "signature").noting("signed-by", signature.signed_by.clone())
        }
    }
}

fn debian(lock: &Lock, name: &Name, pin: &DebianPin) -> Vec<Resource> {
    let purl = Purl::new("deb", &pin.package.name, Some(&pin.package.version)).within("debian").with("arch", "source");
    let file = |(file, known): (&String, &bulla_model::lock::FilePin)| {
        let source = Resource::new(file, &known.digest).at(purl.to_string()).noting("kind", "source");
        let source = source.noting("source", name.as_str()).noting("trusted-by", "signature");
        source.noting("signed-by", signers(lock, &pin.registry, &pin.suite))
    };
    pin.files.iter().map(file).collect()
}

fn signers(lock: &Lock, registry: &str, suite: &str) -> Vec<String> {
    let of = |(key, _): &(&bulla_model::lock::IndexKey, _)| key.registry == registry && key.suite == suite;
    lock.indexes.iter().find(of).map(|(_, index)| index.signed_by.clone()).unwrap_or_default()
}

/// The images of registries and layouts that stages and the image start from.
fn bases(spec: &Spec, lock: &Lock, plans: &[Plan]) -> Vec<Resource> {
    let used: BTreeSet<&String> = plans.iter().flat_map(|plan| plan.images.keys()).collect();
    let mut all = Vec::new();
    for (key, pin) in lock.images.iter().filter(|(key, _)| used.contains(&key.to_string())) {
        let is = |base: &BaseReference| *base == key.reference;
        let stages = spec.stages.iter().filter(|(_, stage)| matches!(&stage.base, StageBase::Image(base) if is(base)));
        let mut users: Vec<String> = stages.map(|(name, _)| format!("stage.{name}")).collect();
        users.extend(matches!(&spec.image.base, Base::Image(base) if is(base)).then(|| "image".to_owned()));
        let mut base = Resource::new(&key.to_string(), &pin.digest)
            .at(image_url(&key.reference, &pin.digest))
            .noting("kind", "base")
            .noting("manifest-sha256", pin.manifest.hex())
            .noting("used-by", users);
        if let Some(signature) = &pin.signature {
            base = base.noting("signed-by", vec![signature.signed_by.to_string()]);
        }
        all.push(base);
    }
    all
}

/// Writes the package URL of an image of a registry ("oci"); an image of the project's own has none.
fn image_url(reference: &BaseReference, digest: &Digest) -> String {
    let Some(image) = reference.registry() else { return reference.to_string() };
    let name = image.repository().rsplit('/').next().unwrap_or_default();
    let purl = Purl::new("oci", name, Some(&digest.to_string()));
    let purl = purl.with("repository_url", &format!("{}/{}", image.host(), image.repository()));
    purl.with("tag", image.tag().unwrap_or_default()).to_string()
}

/// The packages of the roots that were used, and the signed indexes that name them.
fn packages(spec: &Spec, lock: &Lock, plans: &[Plan]) -> Vec<Resource> {
    let mut used = BTreeMap::<&PackageKey, (&PackagePin, BTreeSet<String>)>::new();
    let mut indexes = BTreeSet::new();
    // A root is called after the platform that it is for, where that is not the machine's.
    let of_plan = |plan: &Plan| {
        let roots = spec.roots_for(plan.platform).into_iter().filter(|(name, _)| plan.roots.contains_key(name));
        let emulator = plan.emulator.as_ref().map(|_| EMULATION.to_owned());
        roots.map(|(name, root)| root_name(&name, root.target)).chain(emulator).collect::<Vec<_>>()
    };
    let names: BTreeSet<String> = plans.iter().flat_map(of_plan).collect();
    for (name, root) in lock.roots.iter().filter(|(name, _)| names.contains(*name)) {
        for (key, pin) in lock.packages_of(root) {
            used.entry(key).or_insert_with(|| (pin, BTreeSet::new())).1.insert(name.clone());
            indexes.insert((&pin.registry, &pin.suite));
        }
    }
    let index = |(key, pin): (&bulla_model::lock::IndexKey, &bulla_model::lock::IndexPin)| {
        Resource::new(&format!("{} {} InRelease", key.registry, key.suite), &pin.digest)
            .noting("kind", "index")
            .noting("date", pin.date.rfc3339())
            .noting("signed-by", pin.signed_by.clone())
    };
    let signed = lock.indexes.iter().filter(|(key, _)| indexes.contains(&(&key.registry, &key.suite))).map(index);
    let package = |(key, (pin, users)): (&PackageKey, (&PackagePin, BTreeSet<String>))| {
        let purl = Purl::new("deb", &key.name, Some(&key.version)).within("debian").with("arch", &pin.architecture);
        Resource::new(&key.name, &pin.digest)
            .at(purl.to_string())
            .noting("kind", "package")
            .noting("suite", pin.suite.as_str())
            .noting("used-by", users.into_iter().collect::<Vec<_>>())
    };
    signed.chain(used.into_iter().map(package)).collect()
}

/// The packages of lock files that steps asked for, or that lay where they could read them.
fn dependencies(built: &Built) -> Vec<Resource> {
    let mut used = BTreeMap::<(&String, &Digest), (BTreeSet<String>, bool)>::new();
    for step in &built.steps {
        let at = format!("{}/{}", step.stage, step.step);
        for (all, pulled) in [(&step.record.pulled, true), (&step.record.laid, false)] {
            for pair in all {
                let (users, was_pulled) = used.entry(pair).or_default();
                users.insert(at.clone());
                *was_pulled |= pulled;
            }
        }
    }
    let one = |((purl, digest), (users, pulled)): ((&String, &Digest), (BTreeSet<String>, bool))| {
        let name = purl.split(['?', '@']).next().and_then(|purl| purl.split_once('/')).map_or("", |(_, name)| name);
        Resource::new(name, digest)
            .at(purl)
            .noting("kind", "dependency")
            .noting("used-by", users.into_iter().collect::<Vec<_>>())
            .noting("how", if pulled { "asked for" } else { "laid in a folder" })
    };
    used.into_iter().map(one).collect()
}
