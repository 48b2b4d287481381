//! zip: the times of members go, and they stand in the order of their names.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
};

use ::zip::{DateTime, ZipArchive, ZipWriter, extra_fields::ExtraField, result::ZipError};

use super::Failure;

pub(super) fn write(from: File, to: &File) -> Result<(), Failure> {
    let length = from.metadata()?.len();
    let bytes = from.try_clone()?;
    let mut archive = ZipArchive::new(BufReader::new(from))?;
    if archive.offset() != 0 {
        return Err(Failure::Unfit(format!("{} bytes stand before it, which would be lost", archive.offset())));
    }
    if told(&bytes, length, archive.comment().len() as u64)?.is_some_and(|told| usize::from(told) != archive.len()) {
        return Err(Failure::Unfit("two members have one name, and one of them would be lost".to_owned()));
    }
    let mut members: Vec<(u8, Vec<u8>, usize)> = Vec::with_capacity(archive.len());
    let mut sum = 0_u64;
    for index in 0..archive.len() {
        let mut member = archive.by_index_raw(index)?;
        let whole = io::copy(&mut member, &mut io::sink())? == member.compressed_size();
        let name = member.name_raw();
        if member.extra_data_fields().any(|field| matches!(field, ExtraField::Ntfs(_))) {
            let name = name.escape_ascii();
            return Err(Failure::Unfit(format!("its member `{name}` has its time in the form of NTFS too")));
        }
        if !whole {
            return Err(Failure::Unfit(format!("its member `{}` is cut off", name.escape_ascii())));
        }
        sum = sum.saturating_add(member.compressed_size());
        members.push((first(name), name.to_vec(), index));
    }
    // Members that share their bytes would make a small file a huge one.
    if sum > length {
        return Err(Failure::Unfit("its members are longer than itself".to_owned()));
    }
    members.sort();
    let comment = archive.comment().to_vec();
    let mut writer = ZipWriter::new(BufWriter::new(to));
    writer.set_raw_comment(comment.into_boxed_slice())?;
    for (_, _, index) in members {
        let member = archive.by_index_raw(index)?;
        writer.raw_copy_file_touch(member, DateTime::default(), None)?;
    }
    let mut file = writer.finish()?;
    Ok(file.flush()?)
}

/// Reads how many members the end of the archive tells of (APPNOTE 4.3.16); `None` where they are too many for it to tell.
fn told(bytes: &File, length: u64, comment: u64) -> Result<Option<u16>, Failure> {
    const END: u64 = 22;
    let Some(at) = length.checked_sub(END + comment) else { return Ok(None) };
    let mut count = [0; 2];
    bytes.read_exact_at(&mut count, at + 10)?;
    let count = u16::from_le_bytes(count);
    Ok((count != u16::MAX).then_some(count))
}

impl From<ZipError> for Failure {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::Io(error),
            other => Self::Unfit(other.to_string()),
        }
    }
}

/// What readers look for at the beginning stays there: the manifest of a jar (its specification, "The META-INF directory"), and the type of what
/// is built as ODF and EPUB are (ODF 1.3 part 2, section 3.3).
fn first(name: &[u8]) -> u8 {
    match name {
        b"mimetype" => 0,
        b"META-INF/" => 1,
        b"META-INF/MANIFEST.MF" => 2,
        _ => 3,
    }
}
