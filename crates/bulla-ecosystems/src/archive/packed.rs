//! What archives are packed in, undone within bounds.

use std::io::{self, Read};

use bulla_model::spec::Packing;

use super::{ArchiveError, Limits, bzip2};

/// The most memory that decompressing may take, in bytes; `xz -9` needs 65 MiB.
const MAX_MEMORY: u64 = 128 << 20;
/// The largest window of zstd, as a power of two: what `zstd --ultra -22` takes.
const MAX_WINDOW: u32 = 27;
/// What an entry may take in the archive beside its content: its head, the padding, and the heads of a long name.
const MAX_ENTRY_HEAD: u64 = 8 << 10;

/// Opens the stream within. It ends in an error when more comes out than may: more than the limits, or so much more than the
/// archive has bytes that it can only be meant to fill the disk.
pub(super) fn open<'a>(
    archive: &'a mut (dyn Read + 'a),
    packing: Packing,
    length: u64,
    limits: Limits,
) -> Result<Box<dyn Read + 'a>, ArchiveError> {
    let heads = limits.entries.saturating_add(8).saturating_mul(MAX_ENTRY_HEAD);
    let most = limits.bytes.saturating_add(heads);
    let likely = length.saturating_mul(limits.ratio).saturating_add(limits.unsuspicious);
    let mut archive = io::BufReader::with_capacity(1 << 16, archive);
    let magic = io::BufRead::fill_buf(&mut archive).map_err(ArchiveError::read)?;
    let expected: &[u8] = match packing {
        Packing::Tar | Packing::Zip => b"",
        Packing::TarGz => b"\x1f\x8b",
        Packing::TarXz => b"\xfd7zXZ\0",
        Packing::TarZst => b"\x28\xb5\x2f\xfd",
        Packing::TarBz2 => b"BZh",
    };
    // zstd has frames that are passed over, in front of which anything may stand.
    if !magic.starts_with(expected) && packing != Packing::TarZst {
        return Err(ArchiveError::NotAn { packing, reason: "it does not begin like one".to_owned() });
    }
    let stream: Box<dyn Read + 'a> = match packing {
        Packing::Tar | Packing::Zip => Box::new(archive),
        Packing::TarGz => Box::new(flate2::bufread::MultiGzDecoder::new(archive)),
        Packing::TarXz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_MEMORY, liblzma::stream::CONCATENATED)
                .map_err(|error| ArchiveError::read(error.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(archive, stream))
        }
        Packing::TarZst => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(archive).map_err(ArchiveError::read)?;
            decoder.window_log_max(MAX_WINDOW).map_err(ArchiveError::read)?;
            Box::new(decoder)
        }
        Packing::TarBz2 => Box::new(bzip2::Decoder::new(archive)),
    };
    Ok(Box::new(Capped { stream, left: most.min(likely) }))
}

/// A reader that fails when more comes out of it than may.
struct Capped<'a> {
    stream: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Capped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.left = (self.left.checked_sub(count as u64))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it unfolds to more than a source may hold"))?;
        Ok(count)
    }
}
