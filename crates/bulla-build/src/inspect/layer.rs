//! Lists a foreign layer without unpacking it.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read},
};

use bulla_model::{CleanPath, Hasher, oci};

use super::{
    Entry, InspectError, Layer, Limits, Listing, What,
    attributes::Attributes,
    packages,
    padded::{Padded, Progress},
    place::Place,
};

/// The most bytes of a header that tells a long name; names are at most 4,095.
const MAX_EXTENSION: u64 = 1 << 20;
/// The greatest window of zstd, as a power of two: more memory than this is not given to a stranger.
const MAX_WINDOW: u32 = 26;

/// What is left of the limits.
pub(crate) struct Budget {
    plain: u64,
    entries: u64,
    names: u64,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { plain: limits.plain, entries: limits.entries, names: limits.names }
    }

    fn take(&mut self, entry: &Entry) -> Result<(), InspectError> {
        let target = match &entry.what {
            What::Symlink(target) | What::Hardlink(target) => target.len(),
            _ => 0,
        };
        let attributes = entry.attributes.iter().map(String::len).sum::<usize>();
        let attributes = attributes + entry.capabilities.as_ref().map_or(0, String::len);
        let names = (entry.path.as_bytes().len() + target + attributes) as u64;
        self.entries = self.entries.checked_sub(1).ok_or(InspectError::Limit { what: "entries" })?;
        self.names = self.names.checked_sub(names).ok_or(InspectError::Limit { what: "bytes in names" })?;
        Ok(())
    }
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: Hasher,
    limit: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        if self.hasher.length() > self.limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than the limit"));
        }
        Ok(count)
    }
}

/// Reads a layer through, and checks both its digests.
pub(super) fn list(place: &Place, layer: &Layer, budget: &mut Budget) -> Result<Listing, InspectError> {
    let mut listing = Listing { plain_size: 0, entries: Vec::new(), packages: BTreeMap::new() };
    let mut left = packages::MAX_STATUS;
    let plain_size = walk(place.stream(&layer.descriptor)?, layer, budget, &mut |mut entry, _, content| {
        if let What::File(size) = entry.what {
            let mut bytes = Hashing { inner: content, hasher: Hasher::new(), limit: u64::MAX };
            if size <= left && packages::is_status(&entry.path) {
                left -= size;
                let mut text = Vec::new();
                bytes.read_to_end(&mut text)?;
                listing.packages.insert(entry.path.clone(), packages::read(&text));
            } else {
                io::copy(&mut bytes, &mut io::sink())?;
            }
            entry.digest = Some(bytes.hasher.finish());
        }
        listing.entries.push(entry);
        Ok(())
    })?;
    Ok(Listing { plain_size, ..listing })
}

/// Is given each entry of a layer, the bytes of its file, and the time of its last change.
pub(crate) type Visit<'a> = dyn FnMut(Entry, u64, &mut dyn Read) -> io::Result<()> + 'a;

/// Reads a layer through, hands out its entries, and checks both its digests; gives the size of the uncompressed bytes. What was
/// handed out is only to be believed when no error comes.
pub(crate) fn walk(
    packed: impl Read,
    layer: &Layer,
    budget: &mut Budget,
    visit: &mut Visit<'_>,
) -> Result<u64, InspectError> {
    let digest = layer.descriptor.digest;
    let fail = |source| InspectError::Layer { digest, source };
    let mut packed = Hashing { inner: packed, hasher: Hasher::new(), limit: u64::MAX };
    let plain = {
        let inner = inflate(layer, &mut packed)?;
        let mut plain = Hashing { inner, hasher: Hasher::new(), limit: budget.plain };
        let listed = visit_entries(layer, &mut plain, budget, visit).and_then(|()| {
            // The archive's end is before the stream's.
            io::copy(&mut plain, &mut io::sink()).map_err(fail).map(drop)
        });
        // The archive's reader makes its own error of the limit's.
        if plain.hasher.length() > plain.limit {
            return Err(InspectError::Limit { what: "uncompressed bytes" });
        }
        listed.map(|()| plain.hasher)?
    };
    io::copy(&mut packed, &mut io::sink()).map_err(fail)?;
    let found = packed.hasher.finish();
    if found != digest {
        return Err(InspectError::Digest { what: "the blob", expected: digest, found });
    }
    let plain_size = plain.length();
    let found = plain.finish();
    if found != layer.diff_id.0 {
        return Err(InspectError::Digest { what: "the uncompressed layer", expected: layer.diff_id.0, found });
    }
    budget.plain = budget.plain.saturating_sub(plain_size);
    Ok(plain_size)
}

fn inflate<'a>(layer: &Layer, packed: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>, InspectError> {
    let digest = layer.descriptor.digest;
    let media_type = layer.descriptor.media_type.as_str();
    match media_type {
        oci::LAYER_TAR => Ok(Box::new(packed)),
        oci::LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Ok(Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 * 1024, packed))))
        }
        oci::LAYER_ZSTD => {
            let fail = |source| InspectError::Layer { digest, source };
            let mut decoder = zstd::Decoder::new(packed).map_err(fail)?;
            decoder.window_log_max(MAX_WINDOW).map_err(fail)?;
            Ok(Box::new(decoder))
        }
        _ => Err(InspectError::MediaType { digest, media_type: media_type.chars().take(200).collect() }),
    }
}

/// The names and numbers that a `pax` or GNU header gives to the entry after it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    attributes: Attributes,
}

fn visit_entries(
    layer: &Layer,
    plain: &mut dyn Read,
    budget: &mut Budget,
    visit: &mut Visit<'_>,
) -> Result<(), InspectError> {
    let digest = layer.descriptor.digest;
    let fail = |source| InspectError::Layer { digest, source };
    let progress = Progress::default();
    let mut content_end = 0;
    let mut archive = tar::Archive::new(Padded::new(plain, &progress));
    let mut extension = Extension::default();
    // Entries are taken raw: the reader would otherwise hold names of any length in memory.
    for raw in archive.entries().map_err(fail)?.raw(true) {
        let mut raw = raw.map_err(fail)?;
        content_end = raw.raw_file_position().saturating_add(raw.size());
        let kind = raw.header().entry_type();
        if kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink() {
            let bytes = extension_bytes(&mut raw).map_err(fail)?;
            match kind {
                tar::EntryType::GNULongName => extension.path = Some(text(&bytes)),
                tar::EntryType::GNULongLink => extension.link = Some(text(&bytes)),
                _ => extension.read_pax(&bytes).map_err(fail)?,
            }
            continue;
        }
        if kind.is_pax_global_extensions() {
            continue;
        }
        if let Some(entry) = entry_of(layer, &raw, std::mem::take(&mut extension))? {
            budget.take(&entry)?;
            let time = raw.header().mtime().map_err(fail)?;
            visit(entry, time, &mut raw).map_err(fail)?;
        }
    }
    if progress.lacks(content_end) {
        return Err(fail(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

fn extension_bytes(raw: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    raw.take(MAX_EXTENSION + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_EXTENSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a header for a long name has more than 1 MiB"));
    }
    Ok(bytes)
}

/// Cuts a GNU name at its NUL.
fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

impl Extension {
    fn read_pax(&mut self, bytes: &[u8]) -> io::Result<()> {
        for record in tar::PaxExtensions::new(bytes) {
            let record = record?;
            let value = record.value_bytes();
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = number(),
                b"gid" => self.gid = number(),
                keyword => self.attributes.take(keyword, value)?,
            }
        }
        Ok(())
    }
}

/// Reads an entry; `None` for the root itself.
fn entry_of(
    layer: &Layer,
    raw: &tar::Entry<'_, impl Read>,
    extension: Extension,
) -> Result<Option<Entry>, InspectError> {
    let digest = layer.descriptor.digest;
    let fail = |source| InspectError::Layer { digest, source };
    let header = raw.header();
    let name = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let Some(path) = CleanPath::from_archive(&name).map_err(|source| InspectError::Name { digest, source })? else {
        return Ok(None);
    };
    let link = || extension.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default();
    let (path, what) = match header.entry_type() {
        tar::EntryType::Directory => (path, What::Directory),
        tar::EntryType::Symlink => (path, What::Symlink(link().into())),
        tar::EntryType::Link => (path, What::Hardlink(link().into())),
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            let size = header.entry_size().map_err(fail)?;
            whiteout(&path).map_or((path, What::File(size)), |hidden| hidden)
        }
        _ => (path, What::Special),
    };
    let (capabilities, attributes) = extension.attributes.finish();
    Ok(Some(Entry {
        path,
        what,
        mode: header.mode().map_err(fail)? & 0o7777,
        uid: extension.uid.map_or_else(|| header.uid(), Ok).map_err(fail)?,
        gid: extension.gid.map_or_else(|| header.gid(), Ok).map_err(fail)?,
        digest: None,
        capabilities,
        attributes,
    }))
}

/// Reads the name of a whiteout (image specification, `layer.md`, "Whiteouts"): what it hides, or the opaque directory.
fn whiteout(path: &CleanPath) -> Option<(CleanPath, What)> {
    let hidden = path.name().strip_prefix(b".wh.")?;
    let parent = path.parent();
    if hidden == b".wh..opq" {
        return Some((parent?, What::Opaque));
    }
    let hidden = CleanPath::parse(hidden).ok()?;
    match parent {
        Some(parent) => Some((parent.join(&hidden).ok()?, What::Whiteout)),
        None => Some((hidden, What::Whiteout)),
    }
}
