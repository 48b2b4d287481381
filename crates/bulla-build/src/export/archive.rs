//! Writes an image as one file: an OCI layout in a tar, or what `docker load` reads.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use bulla_model::{
    CleanPath, Digest, Epoch, Platform, Tree,
    oci::{self, LayoutMarker},
    tar::{self, FileCapabilities},
    tree::Node,
};
use bulla_store::Store;
use serde::Serialize;

use super::{ExportError, check_name, layout, tagged};
use crate::assemble::{Joined, LayerInfo};

/// The kinds of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveKind {
    /// `oci-archive`: an OCI layout in a tar.
    Oci,
    /// `docker-archive`: configuration, layers and `manifest.json`, as `docker save` writes them.
    Docker,
}

/// Writes the image to a file, which is there whole or not at all.
///
/// # Errors
/// When the file cannot be written, or a blob is missing from the store.
pub fn archive(
    store: &Store,
    image: &Joined,
    kind: ArchiveKind,
    file: &Path,
    names: &[String],
) -> Result<(), ExportError> {
    whole(file, |out| archive_to(store, image, kind, out, names))
}

/// Writes a file beside its place, and puts it there when it is whole.
fn whole(file: &Path, write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>) -> Result<(), ExportError> {
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new()
        .prefix(".bulla-")
        .permissions(layout::readable())
        .tempfile_in(folder)
        .map_err(ExportError::io("writing in", folder))?;
    let mut writer = BufWriter::with_capacity(1 << 20, draft.as_file_mut());
    write(&mut writer)?;
    writer.flush().map_err(ExportError::io("writing", file))?;
    drop(writer);
    draft.persist(file).map_err(|error| ExportError::io("writing", file)(error.error))?;
    Ok(())
}

/// Writes an OCI layout directory as one file, which is there whole or not at all: `oci-layout`, `index.json` and these blobs.
///
/// # Errors
/// When a blob is missing, or the file cannot be written.
pub fn pack(layout: &Path, blobs: &[(Digest, u64)], file: &Path) -> Result<(), ExportError> {
    let mut files = Files::default();
    for name in ["oci-layout", "index.json"] {
        let path = layout.join(name);
        files.bytes(name, std::fs::read(&path).map_err(ExportError::io("reading", path))?);
    }
    for (digest, size) in blobs {
        files.add(&format!("blobs/sha256/{}", digest.hex()), *digest, *size, Content::Blob(*digest));
    }
    files.tree.complete();
    let mut open = |path: &CleanPath, _: &Node| -> io::Result<Box<dyn Read>> {
        match files.contents.get(path) {
            Some(Content::Bytes(bytes)) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            Some(Content::Blob(digest)) => {
                Ok(Box::new(std::fs::File::open(layout.join("blobs/sha256").join(digest.hex()))?))
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    };
    whole(file, |out| {
        tar::write_part(&mut *out, &files.tree, &FileCapabilities::new(), Epoch::default(), &mut open)
            .map_err(ExportError::Archive)?;
        out.write_all(&tar::END).map_err(ExportError::io("writing", file))
    })
}

/// Writes the image to a stream. The same image under the same names gives the same bytes.
///
/// # Errors
/// When the stream cannot be written, or a blob is missing from the store.
pub fn archive_to(
    store: &Store,
    image: &Joined,
    kind: ArchiveKind,
    out: &mut dyn Write,
    names: &[String],
) -> Result<(), ExportError> {
    names.iter().try_for_each(|name| check_name(name))?;
    let mut files = Files::default();
    match kind {
        ArchiveKind::Oci => oci_files(&mut files, image, names),
        ArchiveKind::Docker => docker_files(&mut files, image, names),
    }
    // A layer's own error inside the archive has lost its type; what is missing is said before anything is written.
    for content in files.contents.values() {
        if let Content::Blob(digest) | Content::Inflated(digest) = content
            && !store.has_blob(digest)?
        {
            return Err(ExportError::Missing { digest: *digest });
        }
    }
    let mut open = |path: &CleanPath, _: &Node| files.open(store, path);
    tar::write_part(out, &files.tree, &FileCapabilities::new(), Epoch::default(), &mut open)
        .map_err(ExportError::Archive)?;
    out.write_all(&tar::END).map_err(ExportError::io("writing", "the end of the archive"))
}

enum Content {
    Bytes(Vec<u8>),
    Blob(Digest),
    /// A zstd layer that is written uncompressed, since older engines do not read it.
    Inflated(Digest),
}

#[derive(Default)]
struct Files {
    tree: Tree,
    contents: BTreeMap<CleanPath, Content>,
}

impl Files {
    fn add(&mut self, name: &str, digest: Digest, size: u64, content: Content) {
        let path = CleanPath::parse(name).expect("names of archives are fixed texts and hexadecimal digits");
        self.tree.insert(path.clone(), Node::file(0o644, digest, size));
        self.contents.insert(path, content);
    }

    fn bytes(&mut self, name: &str, bytes: Vec<u8>) {
        self.add(name, Digest::of(&bytes), bytes.len() as u64, Content::Bytes(bytes));
    }

    fn open(&self, store: &Store, path: &CleanPath) -> io::Result<Box<dyn Read>> {
        let blob = |digest: &Digest| {
            let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{digest} is not in the store"));
            store.open_blob(digest).map_err(io::Error::other)?.ok_or_else(missing)
        };
        match self.contents.get(path) {
            Some(Content::Bytes(bytes)) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
            Some(Content::Blob(digest)) => Ok(Box::new(blob(digest)?)),
            Some(Content::Inflated(digest)) => Ok(Box::new(zstd::Decoder::new(blob(digest)?)?)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn oci_files(files: &mut Files, image: &Joined, names: &[String]) {
    for blob in layout::described(image) {
        files.add(&format!("blobs/sha256/{}", blob.digest.hex()), blob.digest, blob.size, Content::Blob(blob.digest));
    }
    files.bytes("oci-layout", oci::encode(&LayoutMarker::default()));
    files.bytes("index.json", layout::top_index(image, names));
    files.tree.complete();
}

/// An entry of `manifest.json` (Docker's image specification 1.2, "Combined Image JSON").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Such an archive has an image for one platform: that of the machine, where it is among them.
fn docker_files(files: &mut Files, image: &Joined, names: &[String]) {
    let Some(image) = image.part_for(Platform::BUILD) else { return };
    let config = format!("{}.json", image.config.digest.hex());
    files.add(&config, image.config.digest, image.config.size, Content::Blob(image.config.digest));
    let layers = image.layers.iter().map(|layer| docker_layer(files, layer)).collect();
    let mut repo_tags: Vec<String> = names.iter().map(|name| tagged(name)).collect();
    repo_tags.sort();
    repo_tags.dedup();
    files.bytes("manifest.json", oci::encode(&[DockerImage { config, repo_tags, layers }]));
}

fn docker_layer(files: &mut Files, layer: &LayerInfo) -> String {
    let plain = layer.diff_id.0;
    if layer.media_type == oci::LAYER_ZSTD {
        let name = format!("{}.tar", plain.hex());
        files.add(&name, plain, layer.plain_size, Content::Inflated(layer.digest));
        return name;
    }
    let name = format!("{}.tar.gz", layer.digest.hex());
    files.add(&name, layer.digest, layer.size, Content::Blob(layer.digest));
    name
}
