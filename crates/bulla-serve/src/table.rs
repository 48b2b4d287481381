//! What is served, as plain data, and its form in the memory file that the process of the server gets.
//!
//! The file begins with the length of its index, then comes the index, then every body that is not a blob. Numbers are 8
//! bytes, little end first; texts have their length before them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    io::Write as _,
    os::fd::OwnedFd,
    path::PathBuf,
};

use bulla_model::{Digest, Origin, SecretBytes};
use rustix::fs::{MemfdFlags, SealFlags};
use zeroize::Zeroizing;

use crate::{authority::Identity, error::Error};

/// The longest path that is served, in bytes.
pub const MAX_PATH: usize = 4096;
const MAX_TYPE: usize = 256;

/// Everything that a client may ask for. What is not here does not exist.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The folder of the blobs: each is a regular file whose name is the hexadecimal SHA-256 of its bytes. It is all of the file
    /// system that the server sees. Not needed where no route has a blob.
    pub blobs: Option<PathBuf>,
    /// The routes. Of those with the same path, the first whose media type a client accepts counts, else the first without.
    pub routes: Vec<Route>,
    /// By what the server is believed to be the origins of its routes that speak TLS; without one nothing of these is served.
    pub identity: Option<Identity>,
}

/// One path, and what is answered to `GET` and `HEAD` of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Of whom a client asks it that takes this for a proxy; `None` for what is asked of the server itself.
    pub origin: Option<Origin>,
    /// The path, percent-decoded, beginning with `/`. Where it has a `?`, that query must be asked for, as it stands.
    pub path: String,
    /// The media type that the client must name as one that it accepts; `None` for whatever it accepts.
    pub accept: Option<String>,
    /// The status: 200, or what the lock knows not to be there (404, 410), which is no refusal.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The bytes.
    pub body: Body,
}

/// The bytes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A document that was made for this lock.
    Bytes(Vec<u8>),
    /// A blob of [`Table::blobs`], which was verified before.
    Blob {
        /// Its name.
        digest: Digest,
        /// Its length; a file of another length is not served.
        size: u64,
    },
}

impl Route {
    /// Gives what it is asked for by: its path, after its origin where it has one.
    pub(crate) fn name(&self) -> String {
        match &self.origin {
            Some(origin) => format!("{origin}{}", self.path),
            None => self.path.clone(),
        }
    }
}

impl Table {
    /// Checks what would break an answer.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for route in &self.routes {
            let fail = |what| Err(Error::Route { path: route.name(), what });
            if !route.path.starts_with('/') || route.path.len() > MAX_PATH {
                return fail("the path does not begin with a slash, or is longer than 4096 bytes");
            }
            if route.path.contains(char::is_control) || route.path.split('/').any(|part| [".", ".."].contains(&part)) {
                return fail("the path has a control character, `.` or `..` in it, which no client can ask for");
            }
            let plain = |text: &str| text.len() <= MAX_TYPE && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            if !plain(&route.content_type) || !route.accept.as_deref().is_none_or(plain) {
                return fail("its media type is not plain text of at most 256 bytes");
            }
            if !(200..600).contains(&route.status) || [204, 206, 304].contains(&route.status) {
                return fail("its status has no body of its own");
            }
            if route.origin.as_ref().is_some_and(Origin::is_tls) && self.identity.is_none() {
                return fail("there is no certificate for its host");
            }
            if matches!(route.body, Body::Blob { .. }) && self.blobs.is_none() {
                return fail("there is no folder of blobs");
            }
        }
        Ok(())
    }

    /// Writes the table to a memory file that cannot be changed any more.
    pub(crate) fn seal(&self) -> io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("bulla-table", flags)?);
        // The key of the certificate is in it for a moment.
        let mut index = Zeroizing::new(Vec::new());
        let (certificate, key) = match &self.identity {
            Some(identity) => (identity.certificate.as_slice(), identity.key.expose()),
            None => Default::default(),
        };
        bytes(&mut index, certificate);
        bytes(&mut index, key);
        number(&mut index, self.routes.len() as u64);
        let mut at = 0;
        for route in &self.routes {
            number(&mut index, route.origin.as_ref().map_or(0, |origin| if origin.is_tls() { 2 } else { 1 }));
            let authority = |origin: &Origin| format!("{}:{}", origin.host(), origin.port());
            text(&mut index, &route.origin.as_ref().map(authority).unwrap_or_default());
            text(&mut index, &route.path);
            text(&mut index, route.accept.as_deref().unwrap_or_default());
            number(&mut index, route.status.into());
            text(&mut index, &route.content_type);
            let (digest, place, length) = match &route.body {
                Body::Bytes(bytes) => {
                    let place = at;
                    at += bytes.len() as u64;
                    (Digest::of(bytes), Some(place), bytes.len() as u64)
                }
                Body::Blob { digest, size } => (*digest, None, *size),
            };
            text(&mut index, &digest.hex());
            number(&mut index, place.unwrap_or(u64::MAX));
            number(&mut index, length);
        }
        file.write_all(&(index.len() as u64).to_le_bytes())?;
        file.write_all(&index)?;
        for route in &self.routes {
            if let Body::Bytes(bytes) = &route.body {
                file.write_all(bytes)?;
            }
        }
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    }
}

/// A table as the server reads it.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) routes: Vec<Entry>,
    /// The routes of each path, in their order; those of other origins have these before their paths.
    pub(crate) paths: BTreeMap<String, Vec<usize>>,
    /// The origins that are known beside the server itself.
    pub(crate) origins: BTreeSet<Origin>,
    pub(crate) identity: Option<Identity>,
    pub(crate) file: File,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) accept: Option<String>,
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// The SHA-256 of the body, in hexadecimal: its entity tag, and the name of a blob.
    pub(crate) digest: String,
    pub(crate) place: Place,
    pub(crate) length: u64,
}

/// Where the bytes of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the table's file, at this place.
    Table(u64),
    /// In the blob of this route.
    Blob,
}

impl Index {
    /// Reads the table; `None` when it is not one.
    pub(crate) fn read(file: OwnedFd) -> Option<Self> {
        use std::os::unix::fs::FileExt as _;
        let file = File::from(file);
        let whole = file.metadata().ok()?.len();
        let mut length = [0; 8];
        file.read_exact_at(&mut length, 0).ok()?;
        let length = u64::from_le_bytes(length);
        let bodies = length.checked_add(8).filter(|end| *end <= whole)?;
        let mut index = Zeroizing::new(vec![0; usize::try_from(length).ok()?]);
        file.read_exact_at(&mut index, 8).ok()?;
        let mut rest = index.as_slice();
        let mut paths: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let (mut origins, mut routes) = (BTreeSet::new(), Vec::new());
        let (certificate, key) = (take_bytes(&mut rest)?.to_vec(), take_bytes(&mut rest)?.to_vec());
        let key = SecretBytes::new(key);
        let identity = (!certificate.is_empty()).then_some(Identity { certificate, key });
        for number in 0..take_number(&mut rest)? {
            let (kind, authority) = (take_number(&mut rest)?, take_text(&mut rest)?);
            let mut path = take_text(&mut rest)?;
            if kind != 0 {
                let origin = Origin::parse(&authority, kind == 2).ok()?;
                path.insert_str(0, &origin.to_string());
                origins.insert(origin);
            }
            paths.entry(path).or_default().push(usize::try_from(number).ok()?);
            let accept = Some(take_text(&mut rest)?).filter(|accept| !accept.is_empty());
            let status = u16::try_from(take_number(&mut rest)?).ok()?;
            let (content_type, digest) = (take_text(&mut rest)?, take_text(&mut rest)?);
            let (place, length) = (take_number(&mut rest)?, take_number(&mut rest)?);
            let place = match place {
                u64::MAX => Place::Blob,
                place => {
                    let place = bodies.checked_add(place)?;
                    place.checked_add(length).filter(|end| *end <= whole)?;
                    Place::Table(place)
                }
            };
            routes.push(Entry { accept, status, content_type, digest, place, length });
        }
        Some(Self { routes, paths, origins, identity, file })
    }
}

pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

pub(crate) fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

pub(crate) fn take_text(rest: &mut &[u8]) -> Option<String> {
    take_bytes(rest).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, body: Body) -> Route {
        Route {
            origin: None,
            path: path.to_owned(),
            accept: None,
            status: 200,
            content_type: "text/plain".to_owned(),
            body,
        }
    }

    #[test]
    fn a_table_is_read_back_and_cannot_be_changed() {
        let blob = Body::Blob { digest: Digest::of(b"blob"), size: 4 };
        let mut routes = vec![route("/a", Body::Bytes(b"one".to_vec())), route("/b", blob)];
        routes.push(Route { accept: Some("text/html".to_owned()), ..route("/a", Body::Bytes(b"three".to_vec())) });
        let table = Table { blobs: Some("/blobs".into()), routes, identity: None };
        table.check().expect("it can be served");
        let file = table.seal().expect("sealed");
        assert!(rustix::io::pwrite(&file, b"x", 0).is_err());
        let index = Index::read(file).expect("a table");
        assert_eq!(index.paths["/a"], [0, 2]);
        let Place::Table(place) = index.routes[2].place else { panic!("not in the table") };
        let mut bytes = [0; 5];
        std::os::unix::fs::FileExt::read_exact_at(&index.file, &mut bytes, place).expect("read");
        assert_eq!(&bytes, b"three");
        assert_eq!((index.routes[1].place, index.routes[1].length), (Place::Blob, 4));
        assert_eq!(index.routes[2].accept.as_deref(), Some("text/html"));
    }

    #[test]
    fn what_would_break_an_answer_is_refused() {
        let good = route("/a", Body::Bytes(Vec::new()));
        let bad = [
            Route { path: "a".to_owned(), ..good.clone() },
            Route { path: "/a/../b".to_owned(), ..good.clone() },
            Route { path: "/a\n".to_owned(), ..good.clone() },
            Route { content_type: "text/plain\r\nX: y".to_owned(), ..good.clone() },
            Route { accept: Some("\n".to_owned()), ..good.clone() },
            Route { status: 304, ..good.clone() },
            route("/a", Body::Blob { digest: Digest::of(b""), size: 0 }),
        ];
        for route in bad {
            let table = Table { routes: vec![good.clone(), route], ..Table::default() };
            assert!(table.check().is_err(), "{table:?}");
        }
    }
}
