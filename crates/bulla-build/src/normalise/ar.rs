//! ar: the time, owner and mode of each member, as `ar` writes them when it is asked for the same each time (ar(1), `D`).

use std::{fs::File, os::unix::fs::FileExt as _};

use super::Failure;

const MAGIC: u64 = 8;
/// The header of a member (ar(5)): name 16, time 12, user 6, group 6, mode 8, size 10, end 2; all of them text, filled up with spaces.
const HEADER: usize = 60;
/// Where the time begins in it.
const TIME: u64 = 16;
/// Time, user and group 0, and mode 644.
const SAME: &[u8; 32] = b"0           0     0     644     ";

pub(super) fn write(from: File, to: &File) -> Result<(), Failure> {
    let length = super::copy(from, to)?;
    let mut at = MAGIC;
    while at < length {
        let mut header = [0; HEADER];
        to.read_exact_at(&mut header, at).map_err(|_| cut_off(at))?;
        if !header.ends_with(b"`\n") {
            return Err(Failure::Unfit(format!("at byte {at} there is no member of an archive")));
        }
        let size = std::str::from_utf8(&header[48..58]).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
        let size = size.ok_or_else(|| Failure::Unfit(format!("the member at byte {at} has no length")))?;
        let is_index = header.starts_with(b"/ ") || header.starts_with(b"// ") || header.starts_with(b"/SYM64/");
        // The index and the table of long names have no owner; their fields stay empty where they are.
        if !is_index {
            to.write_all_at(SAME, at + TIME)?;
        } else if header[16..28].iter().any(|byte| *byte != b' ') {
            to.write_all_at(b"0           ", at + TIME)?;
        }
        let next = at.checked_add(HEADER as u64).and_then(|at| at.checked_add(size));
        let next = next.filter(|next| *next <= length).ok_or_else(|| cut_off(at))?;
        // A member of odd length is filled up to an even one.
        at = next + next % 2;
    }
    Ok(())
}

fn cut_off(at: u64) -> Failure {
    Failure::Unfit(format!("it ends within the member at byte {at}"))
}
