//! Images of registries that stages and images start from: unpacked into a tree of the store, with nothing in it that a layer
//! could harm by.
//!
//! Two passes. The first reads every layer through, compares both digests of each, and finds out what is left when all lie on each
//! other: whiteouts take away what is below them and nothing else; nothing goes through a symbolic link; devices are refused.
//! The second writes that into a tree, in which a file that several names share is one file.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use bulla_model::{
    CleanPath, DiffId, Digest, Epoch, Platform,
    capability::ATTRIBUTE,
    image::{BaseImage, BaseLayer},
    oci::{self, Descriptor, History, ImageConfig, Manifest},
    plan::PlannedImage,
    spec::AbsolutePath,
    tree::{Mode, Owner},
};
use bulla_store::StoredTree;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    BuildError,
    context::Context,
    outputs,
    record::{Action, FORMAT, keep},
    supply::{Need, Shared, Standing},
};
use crate::{
    event::{Activity, Ending, Event},
    inspect::{
        Entry, InspectError, Layer, Limits, What,
        layer::{Budget, walk},
    },
};

/// An image of a registry, unpacked.
pub(crate) struct Base {
    /// The layers and what made them.
    pub(crate) image: BaseImage,
    /// Its configuration.
    pub(crate) config: ImageConfig,
    /// What its layers come to.
    pub(crate) tree: StoredTree,
    /// Whether an earlier build unpacked it.
    pub(crate) cached: bool,
}

/// Where something that is copied to a path of an image comes to lie: through the image's links.
#[derive(Serialize, Deserialize)]
struct Place(String);

impl Shared for Place {
    fn trees(&self) -> Vec<Digest> {
        Vec::new()
    }
}

/// Gives the digest of the action that unpacks an image.
pub(crate) fn action(planned: &PlannedImage) -> Digest {
    Action::Base { format: FORMAT, manifest: planned.manifest }.digest()
}

#[derive(Serialize, Deserialize)]
struct BaseResult {
    tree: Digest,
    /// The uncompressed sizes of the layers.
    plain: Vec<u64>,
    /// How many entries have each extended attribute, of which the tree has none: what a capability gives works in no stage, and
    /// other attributes would be inputs that no manifest tells.
    #[serde(default)]
    attributes: BTreeMap<String, u64>,
}

/// The most names of attributes that are told.
const MAX_ATTRIBUTES: usize = 8;

impl BaseResult {
    /// Says which attributes are left out, where there are any.
    fn left_out(&self, reference: &str) -> Option<String> {
        let name = |name: &String| name.chars().take(80).collect::<String>();
        let mut told: Vec<String> =
            self.attributes.iter().take(MAX_ATTRIBUTES).map(|(key, n)| format!("{} ({n})", name(key))).collect();
        told.extend((self.attributes.len() > MAX_ATTRIBUTES).then(|| "…".to_owned()));
        let told = Some(told.join(", ")).filter(|told| !told.is_empty())?;
        Some(format!("files of {reference} have extended attributes, which steps do not see: {told}"))
    }
}

/// How much of an image is unpacked before it is refused. Layers unfold to a few times of what they are; the best that gzip can
/// do is a thousand times, with zeros.
fn limits(layers: &[Descriptor]) -> Limits {
    const FLOOR: u64 = 1 << 30;
    const TIMES: u64 = 200;
    const MOST: u64 = 64 << 30;
    let packed = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    let plain = packed.saturating_mul(TIMES).saturating_add(FLOOR).min(MOST);
    Limits { plain, layers: 128, ..Limits::default() }
}

/// Gives an image of the store, unpacked now or by an earlier build.
pub(crate) fn get(context: &Context<'_>, planned: &PlannedImage) -> Result<Base, BuildError> {
    context.need(Need::Image(planned.manifest))?;
    let reference = planned.reference.as_str();
    let image = Image { context, reference };
    let manifest: Manifest = image.document(&planned.manifest)?;
    let config: ImageConfig = image.document(&manifest.config.digest)?;
    image.check(&manifest, &config, planned.platform)?;
    let layers: Vec<Layer> = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(layer).collect();
    let title = format!("base {reference}: {} layers", layers.len());
    let action = action(planned);
    let (result, cached) = context.told(Activity::Root, &title, |_| {
        if let Some(result) = context.result::<BaseResult>(&action)?
            && context.there(&result.tree)?
        {
            return Ok(((result, true), Ending::Cached));
        }
        let result = image.unpack(&layers)?;
        if let Some(message) = result.left_out(reference) {
            context.observer.event(&Event::Warning { message: &message });
        }
        keep(context.store, &action, &result)?;
        Ok(((result, false), Ending::Done))
    })?;
    let tree = outputs::load(context, &result.tree)?;
    let layers = layers.iter().zip(&result.plain).map(|(layer, plain_size)| BaseLayer {
        descriptor: layer.descriptor.clone(),
        diff_id: layer.diff_id,
        plain_size: *plain_size,
    });
    let image = BaseImage {
        reference: reference.to_owned(),
        digest: planned.digest,
        layers: layers.collect(),
        history: history(&config),
    };
    Ok(Base { image, config, tree, cached })
}

/// Gives the path that something which is copied to a place of an image has in it. The image is read for that once: its own bytes
/// and the path decide it, so that it is kept as a result, which other stores have as well.
pub(crate) fn place(
    context: &Context<'_>,
    planned: &PlannedImage,
    to: &AbsolutePath,
    read: impl FnOnce() -> Result<StoredTree, BuildError>,
) -> Result<AbsolutePath, BuildError> {
    let text = to.to_string();
    let action = Action::Through { format: FORMAT, manifest: planned.manifest, to: &text }.digest();
    // What is no path is a miss.
    if let Some(known) = context.earlier::<Place>(&action, Standing::default())?
        && let Ok(place) = AbsolutePath::parse(&known.0)
    {
        return Ok(place);
    }
    let place = outputs::through(read()?.manifest(), to);
    context.keep(&action, &Place(place.to_string()), Standing::default())?;
    Ok(place)
}

fn layer((descriptor, diff_id): (&Descriptor, &DiffId)) -> Layer {
    Layer {
        descriptor: descriptor.clone(),
        diff_id: *diff_id,
        created_by: None,
        title: None,
        origins: Vec::new(),
        listing: None,
    }
}

/// Gives the history of an image. One that does not tell of every layer tells of none, and is replaced.
fn history(config: &ImageConfig) -> Vec<History> {
    let layers = config.rootfs.diff_ids.len();
    if config.history.iter().filter(|made| !made.empty_layer).count() == layers {
        return config.history.clone();
    }
    vec![History { created: config.created.clone(), ..History::default() }; layers]
}

/// An image that is being read.
struct Image<'a> {
    context: &'a Context<'a>,
    reference: &'a str,
}

/// What stands at a path when all layers lie on each other.
enum Stands {
    Directory(Mode, Owner),
    /// A file by the layer and the entry that has its bytes.
    File(Mode, Owner, (usize, usize)),
    Symlink(Owner, Box<[u8]>),
}

/// A name of a file, and what the file is.
type Named<'a> = (&'a CleanPath, Mode, Owner);
/// What is left when all layers lie on each other.
type Left = BTreeMap<CleanPath, Stands>;

impl Image<'_> {
    fn wrong(&self, source: InspectError) -> BuildError {
        BuildError::BaseImage { reference: self.reference.to_owned(), source }
    }

    fn document<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, BuildError> {
        let bytes = self.context.store.read_blob(digest, oci::MAX_MANIFEST)?;
        let bytes = bytes.ok_or_else(|| BuildError::Gone { what: format!("{digest} of {}", self.reference) })?;
        let read = serde_json::from_slice(&bytes);
        read.map_err(|source| self.wrong(InspectError::Document { name: digest.to_string(), source }))
    }

    fn check(&self, manifest: &Manifest, config: &ImageConfig, own: Platform) -> Result<(), BuildError> {
        let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != ids {
            return Err(self.wrong(InspectError::LayerCount { manifest: layers, config: ids }));
        }
        if layers > limits(&manifest.layers).layers {
            return Err(self.wrong(InspectError::Limit { what: "layers" }));
        }
        if config.os != own.os() || config.architecture != own.architecture() {
            let found: String = format!("{}/{}", config.os, config.architecture).chars().take(60).collect();
            let problem = format!("is for {}, and not for {}/{}", found.escape_debug(), own.os(), own.architecture());
            return Err(BuildError::BaseKind { reference: self.reference.to_owned(), problem });
        }
        Ok(())
    }

    fn open(&self, layer: &Layer) -> Result<std::fs::File, BuildError> {
        let digest = layer.descriptor.digest;
        let file = self.context.store.open_blob(&digest)?;
        file.ok_or_else(|| BuildError::Gone { what: format!("{digest} of {}", self.reference) })
    }

    fn limits(&self, layers: &[Layer]) -> Limits {
        limits(&layers.iter().map(|layer| layer.descriptor.clone()).collect::<Vec<_>>())
    }

    fn unpack(&self, layers: &[Layer]) -> Result<BaseResult, BuildError> {
        let mut left = Left::new();
        let (mut plain, mut attributes) = (Vec::new(), BTreeMap::new());
        let mut budget = Budget::new(&self.limits(layers));
        for (number, layer) in layers.iter().enumerate() {
            let mut entries = Vec::new();
            let size = walk(self.open(layer)?, layer, &mut budget, &mut |entry, _, _| {
                let capabilities = entry.capabilities.as_ref().map(|_| ATTRIBUTE);
                for name in entry.attributes.iter().map(String::as_str).chain(capabilities) {
                    *attributes.entry(name.to_owned()).or_default() += 1;
                }
                entries.push(entry);
                Ok(())
            });
            plain.push(size.map_err(|source| self.wrong(source))?);
            self.lay(&mut left, number, layer, &entries)?;
        }
        let tree = self.write(layers, &left)?;
        Ok(BaseResult { tree, plain, attributes })
    }

    /// Lays a layer over what is there (image specification, `layer.md`, "Applying Changesets").
    fn lay(&self, left: &mut Left, number: usize, layer: &Layer, entries: &[Entry]) -> Result<(), BuildError> {
        // Whiteouts are for what is below the layer, wherever in it they stand.
        for entry in entries {
            match entry.what {
                What::Whiteout => remove(left, &entry.path, true),
                What::Opaque => remove(left, &entry.path, false),
                _ => {}
            }
        }
        for (at, entry) in entries.iter().enumerate() {
            self.lay_entry(left, (number, at), entry).map_err(|problem| BuildError::BaseEntry {
                reference: self.reference.to_owned(),
                layer: layer.descriptor.digest,
                path: entry.path.clone(),
                problem,
            })?;
        }
        Ok(())
    }

    fn lay_entry(&self, left: &mut Left, place: (usize, usize), entry: &Entry) -> Result<(), &'static str> {
        let path = &entry.path;
        // The last number means nobody to the kernel.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let owner = || match (id(entry.uid), id(entry.gid)) {
            (Some(uid), Some(gid)) => Ok(Owner { uid, gid }),
            _ => Err("belongs to a user that there cannot be"),
        };
        let mode = Mode::new(entry.mode);
        let stands = match &entry.what {
            What::Whiteout | What::Opaque => return Ok(()),
            What::Special => return Err("is a device or a pipe"),
            What::Directory => Stands::Directory(mode, owner()?),
            What::File(_) if path.name().starts_with(b".wh.") => return Err("is no whiteout, and is named as one"),
            What::File(_) => Stands::File(mode, owner()?, place),
            What::Symlink(target) => Stands::Symlink(owner()?, target.clone()),
            What::Hardlink(target) => linked(left, target)?,
        };
        for above in path.ancestors().filter(|above| above != path) {
            match left.get(&above) {
                Some(Stands::Directory(..)) => {}
                Some(Stands::Symlink(..)) => return Err("lies beneath a symbolic link"),
                Some(Stands::File(..)) => return Err("lies beneath a file"),
                None => drop(left.insert(above, Stands::Directory(Mode::new(0o755), Owner::ROOT))),
            }
        }
        if !matches!(stands, Stands::Directory(..)) {
            remove(left, path, false);
        }
        left.insert(path.clone(), stands);
        Ok(())
    }

    /// Writes what is left into a tree of the store.
    fn write(&self, layers: &[Layer], left: &Left) -> Result<Digest, BuildError> {
        let mut builder = self.context.store.tree_builder()?;
        let mut files: BTreeMap<(usize, usize), Vec<Named<'_>>> = BTreeMap::new();
        for (path, stands) in left {
            match stands {
                Stands::Directory(mode, owner) => builder.directory(path, *mode, *owner)?,
                Stands::File(mode, owner, place) => files.entry(*place).or_default().push((path, *mode, *owner)),
                Stands::Symlink(..) => {}
            }
        }
        let wanted: BTreeSet<usize> = files.keys().map(|(number, _)| *number).collect();
        let mut budget = Budget::new(&self.limits(layers));
        for number in wanted {
            let Some(layer) = layers.get(number) else { continue };
            let mut at = 0;
            let mut failure = None;
            let walked = walk(self.open(layer)?, layer, &mut budget, &mut |_, time, bytes| {
                let names = files.get(&(number, at));
                at += 1;
                let Some([(first, mode, owner), more @ ..]) = names.map(Vec::as_slice) else { return Ok(()) };
                let time = Epoch::new(time).unwrap_or_default();
                let mut write = || {
                    builder.file(first, *mode, *owner, time, bytes)?;
                    more.iter().try_for_each(|(path, ..)| builder.hardlink(path, first))
                };
                write().map_err(|error| {
                    failure = Some(error);
                    io::Error::other("the tree cannot be written")
                })
            });
            match (failure, walked) {
                (Some(error), _) => return Err(error.into()),
                (None, walked) => walked.map_err(|source| self.wrong(source))?,
            };
        }
        for (path, stands) in left {
            if let Stands::Symlink(owner, target) = stands {
                builder.symlink(path, *owner, target)?;
            }
        }
        Ok(builder.finish(None)?.digest())
    }
}

/// Gives what a hard link stands for: what its target is when it is made.
fn linked(left: &Left, target: &[u8]) -> Result<Stands, &'static str> {
    let target = CleanPath::from_archive(target).ok().flatten().ok_or("is a link to what is outside of the image")?;
    match left.get(&target) {
        Some(Stands::File(mode, owner, place)) => Ok(Stands::File(*mode, *owner, *place)),
        Some(Stands::Symlink(owner, target)) => Ok(Stands::Symlink(*owner, target.clone())),
        Some(Stands::Directory(..)) => Err("is a hard link to a directory"),
        None => Err("is a hard link to what is not there"),
    }
}

/// Takes away what is beneath a path, and the path itself where that is said.
fn remove(left: &mut Left, path: &CleanPath, itself: bool) {
    let beneath: Vec<CleanPath> = left
        .range(path.clone()..)
        .map(|(found, _)| found)
        .take_while(|found| found.as_bytes().starts_with(path.as_bytes()))
        .filter(|found| found.starts_with(path) && (itself || *found != path))
        .cloned()
        .collect();
    for found in beneath {
        left.remove(&found);
    }
}
