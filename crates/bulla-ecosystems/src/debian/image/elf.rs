//! What the loader wants to know of a shared library.

use object::{
    Endianness,
    elf::{self as format, FileHeader32, FileHeader64},
    read::elf::{Dyn as _, FileHeader, ProgramHeader as _},
};

/// The most bytes of a soname; names of files have no more.
const MAX_SONAME: usize = 255;

/// A shared library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Library {
    /// The name that programs ask for, if it has one.
    pub(super) soname: Option<String>,
    /// The kind of the library in ld.so.cache (glibc's `ldconfig.h`).
    pub(super) flags: u32,
}

/// Reads the headers of a file; `None` when it is no shared library that glibc loads.
pub(super) fn read(bytes: &[u8]) -> Option<Library> {
    match bytes.get(4)? {
        1 => of::<FileHeader32<Endianness>>(bytes, flags32),
        2 => of::<FileHeader64<Endianness>>(bytes, flags64),
        _ => None,
    }
}

fn of<H: FileHeader<Endian = Endianness>>(bytes: &[u8], flags: fn(format::Machine) -> Option<u32>) -> Option<Library> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if header.e_type(endian) != format::ET_DYN {
        return None;
    }
    let flags = flags(header.e_machine(endian))?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let dynamic = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).ok().flatten())?;
    let value = |tag: format::DynamicTag| {
        let entries = dynamic.iter().take_while(|entry| entry.tag(endian) != format::DT_NULL);
        let entry = entries.into_iter().find(|entry| entry.tag(endian) == tag)?;
        let value: u64 = entry.d_val(endian).into();
        Some(value)
    };
    let soname = value(format::DT_SONAME).and_then(|offset| {
        let address = value(format::DT_STRTAB)?.checked_add(offset)?;
        let text = segments.iter().find_map(|segment| {
            let start: u64 = segment.p_vaddr(endian).into();
            let data = segment.data(endian, bytes).ok().filter(|_| segment.p_type(endian) == format::PT_LOAD)?;
            data.get(usize::try_from(address.checked_sub(start)?).ok()?..)
        })?;
        let end = text.iter().take(MAX_SONAME + 1).position(|byte| *byte == 0)?;
        std::str::from_utf8(text.get(..end)?).ok().filter(|name| !name.is_empty()).map(str::to_owned)
    });
    Some(Library { soname, flags })
}

fn flags64(machine: format::Machine) -> Option<u32> {
    match machine {
        format::EM_X86_64 => Some(0x0303),
        format::EM_AARCH64 => Some(0x0a03),
        _ => None,
    }
}

fn flags32(machine: format::Machine) -> Option<u32> {
    match machine {
        format::EM_386 => Some(0x0003),
        _ => None,
    }
}
