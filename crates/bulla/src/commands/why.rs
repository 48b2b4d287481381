//! `bulla why`: where a file or package of an image comes from.

use std::{collections::BTreeMap, path::PathBuf};

use bulla_build::{
    inspect::{self, Entry, Flat, Image, Limits, What},
    source::OUTPUT_FOLDER,
};
use bulla_model::{CleanPath, Digest, Fault, Kind, Platform, path::printable};
use clap::Args;
use serde::Serialize;

use crate::{
    error::Result,
    neutral,
    ops::{
        self,
        trace::{Downloaded, DownloadedFrom, Ground, Link, Pinned, SignedIndex, Vouched, VouchedCommit, Wanted},
    },
    report,
    session::Session,
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  bulla why /usr/bin/hello         the layer, and the step, source or package that it comes from
  bulla why /bin/sh --json | jq .  for programs: one JSON object a chain
  bulla why libc6                  why a package is there: what asks for it, its pin, and who signed the index
  bulla why /etc/passwd --image shop.oci.tar";

/// Say where a file or package of the image comes from, down to the lock and the key that signed
///
/// Follows a file from its layer to the copy, the step or source, or the package; a package to its pin in the lock, its
/// suite, and the fingerprints of the keys whose signatures of the index were good; and a downloaded source to its pin, with
/// what vouches for it. It reads the image, the spec, the lock and what the store keeps of the build; nothing is run. What is not known any more is said to be unknown.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Options {
    /// The path in the image, with the slash in front; or the name of a package
    #[arg(value_name = "PATH|PACKAGE")]
    what: String,

    /// The OCI layout folder or oci-archive [default: bulla-out in the project's folder]
    #[arg(long, value_name = "PATH")]
    image: Option<PathBuf>,

    /// The platform, where the image is for several: linux/amd64 or linux/arm64 [default: that of this machine]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,

    /// Write one JSON object a chain
    #[arg(long)]
    json: bool,
}

/// What was asked for is not there.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("{} holds {count} images, and one can be asked about", path.display())]
    NotOne { path: PathBuf, count: usize },
    #[error("`{0}` is no path in an image")]
    NoPath(String),
    #[error("the image has no {0}")]
    File(String),
    #[error("neither the lock nor the image has a package `{0}`")]
    Package(String),
}

impl Fault for Missing {
    fn kind(&self) -> Kind {
        Kind::Spec
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotOne { count: 0, .. } => vec!["`bulla build` writes one there".into()],
            Self::File(_) => vec!["`bulla inspect --files` lists all that it has".into()],
            Self::Package(_) => {
                vec!["a path starts with a slash; `bulla inspect` lists the packages of each layer".into()]
            }
            _ => Vec::new(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(session: &Session, options: &Options) -> Result<()> {
    let place = options.image.clone().unwrap_or_else(|| session.project().join(OUTPUT_FOLDER));
    let image = one(&place, options.platform)?;
    let store = ops::store::open(session)?;
    // An image can be asked about without its project: then less is known.
    let project = ops::project::load(session, &BTreeMap::new()).ok();
    let lock = project.as_ref().and_then(|project| ops::lock::read(project).ok().flatten());
    let builds = match &project {
        Some(_) => ops::journal::read(&store, &ops::project::identity(session)?)?,
        None => Vec::new(),
    };
    let ground =
        Ground { image: &image, project: project.as_ref(), lock: lock.as_ref(), builds: &builds, store: &store };
    let traces =
        if options.what.contains('/') { file(&ground, &options.what)? } else { package(&ground, &options.what)? };
    for (number, trace) in traces.iter().enumerate() {
        let gap = if number > 0 && !options.json { "\n" } else { "" };
        session.print(&format!("{gap}{}", if options.json { report::json_line(trace) } else { text(trace) }))?;
    }
    Ok(())
}

fn one(place: &std::path::Path, platform: Option<Platform>) -> Result<Image> {
    let images = inspect::inspect(place, true, &Limits::default())?;
    let not_one = |count| Missing::NotOne { path: place.to_owned(), count };
    Ok(ops::platform::one_of(images, platform).map_err(not_one)?)
}

/// What was asked for, and the chain that leads from it.
#[derive(Debug, Serialize)]
struct Trace {
    image: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    chain: Vec<Link>,
}

fn file(ground: &Ground<'_>, text: &str) -> Result<Vec<Trace>> {
    let no_path = || Missing::NoPath(text.chars().take(300).collect());
    let asked = CleanPath::from_absolute(text).ok().flatten().ok_or_else(no_path)?;
    let flat = Flat::of(ground.image);
    let found = flat.get(&asked).or_else(|| flat.get(&flat.resolve(&asked)?));
    let (layer, entry) = found.ok_or_else(|| Missing::File(format!("/{asked}")))?;
    Ok(vec![Trace {
        image: ground.image.digest,
        path: Some(format!("/{}", entry.path)),
        package: None,
        what: Some(described(entry)),
        digest: flat.content(entry),
        chain: ground.file(&flat, layer, entry),
    }])
}

fn package(ground: &Ground<'_>, name: &str) -> Result<Vec<Trace>> {
    let chains = ground.package(name);
    if chains.is_empty() {
        return Err(Missing::Package(name.chars().take(300).collect()).into());
    }
    let trace = |chain| Trace {
        image: ground.image.digest,
        path: None,
        package: Some(name.to_owned()),
        what: None,
        digest: None,
        chain,
    };
    Ok(chains.into_iter().map(trace).collect())
}

fn described(entry: &Entry) -> String {
    let owner = format!("{:04o} {}:{}", entry.mode, entry.uid, entry.gid);
    match &entry.what {
        What::Directory => format!("directory, {owner}"),
        What::File(size) => format!("file, {owner}, {}", terminal::bytes(*size)),
        What::Symlink(target) => format!("link to {}", printable(target)),
        What::Hardlink(target) => format!("further name of /{}", printable(target)),
        What::Whiteout | What::Opaque | What::Special => "special file".to_owned(),
    }
}

fn text(trace: &Trace) -> String {
    let mut out = String::new();
    let mut say = |key: &str, value: &str| out.push_str(&format!("{key:<9} {}\n", neutral::line(value)));
    if let Some(path) = &trace.path {
        say("path", path);
    }
    if let (Some(what), digest) = (&trace.what, &trace.digest) {
        let digest = digest.map(|digest| format!(", {digest}")).unwrap_or_default();
        say("is", &format!("{what}{digest}"));
    }
    if let (Some(package), true) = (&trace.package, !trace.chain.iter().any(|link| matches!(link, Link::Layer { .. })))
    {
        say("package", package);
        say("layer", "in no layer of the image");
    }
    for link in &trace.chain {
        match link {
            Link::Layer { number, of, title, digest } => {
                let title = title.as_deref().unwrap_or("without a title");
                say("layer", &format!("{number} of {of}, {title}, {digest}"));
            }
            Link::Copy { from, path } => say("copy", &format!("{from}, there {path}")),
            Link::Step { stage, step, title } => say("step", &format!("{stage}/{step}: {title}")),
            Link::Source { source, path } => say("source", &format!("{source}, {path}")),
            Link::Download(downloaded) => lines_of_download(&mut say, downloaded),
            Link::Package(pinned) => lines_of(&mut say, pinned),
            Link::Derived { what } => say("made of", &format!("the packages: {what}")),
            Link::Unknown { why } => say("unknown", why),
        }
    }
    out
}

fn lines_of(say: &mut impl FnMut(&str, &str), pinned: &Pinned) {
    let Pinned { package, version, architecture, source, digest, path, registry, suite, component, index, roots } =
        pinned;
    say("package", &format!("{package} {version} ({architecture}), of the source {source}"));
    for (root, wanted) in roots {
        let why = match wanted {
            Wanted::Asked { request } => format!("the spec asks for `{request}`"),
            Wanted::Essential => "it is Essential".to_owned(),
            Wanted::Needed { by } => format!("needed: {}", by.join(" → ")),
            Wanted::Unknown => "which package needs it is not known: they are not all in the store".to_owned(),
        };
        say("wanted", &format!("in {root}: {why}"));
    }
    say("lock", &format!("{digest}, {path}"));
    say("suite", &format!("{suite}, {component} of {registry}"));
    lines_of_index(say, index.as_ref());
}

fn lines_of_download(say: &mut impl FnMut(&str, &str), downloaded: &Downloaded) {
    let Downloaded { source, path, from } = downloaded;
    say("source", &format!("{source}, there {path}"));
    match from {
        DownloadedFrom::Url { url, digest, evidence } => {
            say("url", url);
            say("lock", &digest.to_string());
            match evidence {
                Vouched::Digest => say("evidence", "the spec has its SHA-256"),
                Vouched::FirstUse => say("evidence", "none: it was believed when it was seen first"),
                Vouched::Signature { url, digest, key, signed_by } => {
                    say("evidence", &format!("the signature {url}, {digest}, by a key of {key}"));
                    say("signed by", &signed_by.join(", "));
                }
            }
        }
        DownloadedFrom::Git { url, asked, commit, digest, submodules, evidence } => {
            say("git", &format!("{url}, {asked}"));
            say("commit", &commit.to_string());
            say("lock", &digest.to_string());
            for (path, module) in submodules {
                say("submodule", &format!("{path}: {module}"));
            }
            match evidence {
                VouchedCommit::Commit => say("evidence", "the spec has the commit"),
                VouchedCommit::FirstUse => say("evidence", "none: it was believed when it was seen first"),
                VouchedCommit::Signature { object, key, signed_by, signer, signed_at } => {
                    let what = if object == commit { "commit" } else { "tag" };
                    say("evidence", &format!("the {what} {object} is signed, by a key of {key}"));
                    say("signed by", &signed_by.join(", "));
                    say("signer", &format!("{signer}, {}", signed_at.rfc3339()));
                }
            }
        }
        DownloadedFrom::Debian { package, files, directory, registry, suite, component, index } => {
            say("package", &format!("{package}, a source package"));
            for (name, digest) in files {
                say("lock", &format!("{digest}, {directory}/{name}"));
            }
            say("suite", &format!("{suite}, {component} of {registry}"));
            lines_of_index(say, index.as_ref());
        }
    }
}

fn lines_of_index(say: &mut impl FnMut(&str, &str), index: Option<&SignedIndex>) {
    match index {
        Some(index) => {
            say("index", &format!("InRelease of {}, {}", index.date, index.digest));
            let keys = if index.signed_by.is_empty() { "nobody".to_owned() } else { index.signed_by.join(", ") };
            say("signed by", &keys);
        }
        None => say("unknown", "the lock has no index of that suite"),
    }
}
