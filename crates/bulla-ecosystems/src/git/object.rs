//! Commits, tags and trees, as git writes them (gitformat-commit, git-mktag(1), "Tree objects" of Pro Git 10.2). What git itself
//! would not have written is refused: an object that two readers read differently could be signed as the one and used as the other.

use bulla_model::{GitId, path::printable};

use super::GitError;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A commit.
    Commit,
    /// A directory.
    Tree,
    /// The content of a file.
    Blob,
    /// An annotated tag.
    Tag,
}

impl Kind {
    /// Gives the word that stands before the length, where an id is made.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its files.
    pub tree: GitId,
    /// The line of who committed it: name, address, time.
    pub committer: Person,
    /// The signature, where it has one.
    pub signature: Option<Vec<u8>>,
    /// What the signature is over: the commit without it.
    pub payload: Vec<u8>,
}

/// An annotated tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it is on.
    pub object: GitId,
    /// Of which kind that is.
    pub kind: Kind,
    /// Its name.
    pub name: Vec<u8>,
    /// The line of who made it; very old tags have none.
    pub tagger: Option<Person>,
    /// The signature, where it has one.
    pub signature: Option<Vec<u8>>,
    /// What the signature is over: the tag without it.
    pub payload: Vec<u8>,
}

/// Who made an object, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Name and address, made printable.
    pub name: String,
    /// Seconds since 1970.
    pub seconds: u64,
}

/// The most bytes of a commit or tag.
const MAX_TEXT: usize = 4 << 20;
/// The most bytes of a name that is kept.
const MAX_NAME: usize = 200;

/// Takes the lines off the front of an object.
struct Headers<'a> {
    what: &'static str,
    id: GitId,
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn new(what: &'static str, id: GitId, bytes: &'a [u8]) -> Result<Self, GitError> {
        let headers = Self { what, id, rest: bytes };
        // To programs in C a NUL ends the text, and to others it does not.
        match bytes {
            _ if bytes.len() > MAX_TEXT => {
                Err(GitError::TooLarge { what: "larger commits or tags", limit: MAX_TEXT as u64 })
            }
            _ if bytes.contains(&0) => Err(headers.fail("it has a NUL byte in it")),
            _ => Ok(headers),
        }
    }

    fn fail(&self, problem: &'static str) -> GitError {
        GitError::Object { what: self.what, id: self.id, problem }
    }

    /// Takes the next line; `None` at the empty line before the message.
    fn next(&mut self) -> Result<Option<&'a [u8]>, GitError> {
        let end = self.rest.iter().position(|b| *b == b'\n').ok_or_else(|| self.fail("a line has no end"))?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Ok((!line.is_empty()).then_some(line))
    }

    fn need(&mut self, key: &str, problem: &'static str) -> Result<&'a [u8], GitError> {
        let line = self.next()?.ok_or_else(|| self.fail(problem))?;
        let value = line.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
        value.ok_or_else(|| self.fail(problem))
    }

    fn id(&self, text: &[u8]) -> Result<GitId, GitError> {
        let id = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        id.ok_or_else(|| self.fail("an id in it is none"))
    }

    fn person(&self, line: &[u8]) -> Result<Person, GitError> {
        let fail = || self.fail("the line of who made it is none");
        let end = line.iter().rposition(|b| *b == b'>').ok_or_else(fail)?;
        let (name, when) = line.split_at(end + 1);
        let when = std::str::from_utf8(when).ok().and_then(|when| when.strip_prefix(' ')).ok_or_else(fail)?;
        let seconds = when.split(' ').next().and_then(|seconds| seconds.parse().ok()).ok_or_else(fail)?;
        let text = String::from_utf8_lossy(name);
        let name = text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        Ok(Person { name, seconds })
    }
}

impl Commit {
    /// Reads a commit.
    ///
    /// # Errors
    /// When it is not one that git would have written.
    pub fn parse(id: GitId, bytes: &[u8]) -> Result<Self, GitError> {
        let mut headers = Headers::new("commit", id, bytes)?;
        let tree = headers.need("tree", "it does not begin with its tree")?;
        let tree = headers.id(tree)?;
        let mut line = headers.next()?;
        while let Some(parent) = line.and_then(|line| line.strip_prefix(b"parent ")) {
            headers.id(parent)?;
            line = headers.next()?;
        }
        line.filter(|line| line.starts_with(b"author ")).ok_or_else(|| headers.fail("it has no author"))?;
        let committer = headers.need("committer", "it has no committer")?;
        let committer = headers.person(committer)?;
        let (signature, payload) = Self::split(bytes, &mut headers)?;
        Ok(Self { tree, committer, signature, payload })
    }

    /// Takes the header `gpgsig` with the lines that go on with it out of the rest of the headers.
    fn split(bytes: &[u8], headers: &mut Headers<'_>) -> Result<(Option<Vec<u8>>, Vec<u8>), GitError> {
        let at = |headers: &Headers<'_>| bytes.len() - headers.rest.len();
        let mut signature: Option<(Vec<u8>, std::ops::Range<usize>)> = None;
        let mut open = false;
        loop {
            let start = at(headers);
            let Some(line) = headers.next()? else { break };
            if let Some(more) = line.strip_prefix(b" ") {
                if let Some((text, range)) = signature.as_mut().filter(|_| open) {
                    text.extend_from_slice(more);
                    text.push(b'\n');
                    range.end = at(headers);
                }
                continue;
            }
            open = false;
            let key = line.split(|b| *b == b' ').next().unwrap_or_default();
            match key {
                b"gpgsig" if signature.is_none() => {
                    let mut text = line.get(b"gpgsig ".len()..).unwrap_or_default().to_vec();
                    text.push(b'\n');
                    signature = Some((text, start..at(headers)));
                    open = true;
                }
                b"gpgsig" => return Err(headers.fail("it has two signatures")),
                b"tree" | b"parent" | b"author" | b"committer" => {
                    return Err(headers.fail("it has a header twice, or where it does not belong"));
                }
                _ => {}
            }
        }
        Ok(match signature {
            None => (None, bytes.to_vec()),
            Some((text, range)) => {
                let (before, after) = (bytes.get(..range.start), bytes.get(range.end..));
                (Some(text), [before.unwrap_or_default(), after.unwrap_or_default()].concat())
            }
        })
    }
}

/// What signatures behind a tag begin with.
const ARMORS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----\n",
    b"-----BEGIN SSH SIGNATURE-----\n",
    b"-----BEGIN PGP MESSAGE-----\n",
    b"-----BEGIN SIGNED MESSAGE-----\n",
];

impl Tag {
    /// Reads an annotated tag.
    ///
    /// # Errors
    /// When it is not one that git would have written.
    pub fn parse(id: GitId, bytes: &[u8]) -> Result<Self, GitError> {
        let mut headers = Headers::new("tag", id, bytes)?;
        let object = headers.need("object", "it does not begin with what it is on")?;
        let object = headers.id(object)?;
        let kind = match headers.need("type", "it does not say what it is on")? {
            b"commit" => Kind::Commit,
            b"tree" => Kind::Tree,
            b"blob" => Kind::Blob,
            b"tag" => Kind::Tag,
            _ => return Err(headers.fail("it is on nothing that git has")),
        };
        let name = headers.need("tag", "it has no name")?.to_vec();
        let mut tagger = None;
        while let Some(line) = headers.next()? {
            match line.strip_prefix(b"tagger ") {
                Some(line) if tagger.is_none() => tagger = Some(headers.person(line)?),
                // Git writes no other header into tags of SHA-1, and one that looks like a header of a commit would mislead.
                _ => return Err(headers.fail("it has a header that tags have not")),
            }
        }
        // The signature is what follows the last line that begins one, as git takes it.
        let message = bytes.len() - headers.rest.len();
        let starts = |at: &usize| {
            let line = bytes.get(*at..).unwrap_or_default();
            (*at == message || bytes.get(at - 1) == Some(&b'\n')) && ARMORS.iter().any(|armor| line.starts_with(armor))
        };
        let at = (message..bytes.len()).rev().find(starts);
        let (payload, signature) = bytes.split_at(at.unwrap_or(bytes.len()));
        let signature = at.map(|_| signature.to_vec());
        Ok(Self { object, kind, name, tagger, signature, payload: payload.to_vec() })
    }

    /// Gives the name, made printable.
    pub fn shown(&self) -> String {
        printable(self.name.get(..self.name.len().min(MAX_NAME)).unwrap_or_default())
    }
}

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) mode: EntryMode,
    pub(super) name: &'a [u8],
    pub(super) id: GitId,
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryMode {
    Directory,
    File { executable: bool },
    Symlink,
    Submodule,
}

/// Reads the entries of a tree: in git's order, each name once.
pub(super) fn entries(id: GitId, bytes: &[u8]) -> Result<Vec<Entry<'_>>, GitError> {
    let fail = |problem| GitError::Object { what: "tree", id, problem };
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let nul = rest.iter().position(|b| *b == 0).ok_or_else(|| fail("it is cut off"))?;
        let (head, tail) = rest.split_at(nul);
        let (raw, after) =
            tail.get(1..).and_then(|tail| tail.split_at_checked(20)).ok_or_else(|| fail("it is cut off"))?;
        let space = head.iter().position(|b| *b == b' ').ok_or_else(|| fail("an entry has no mode"))?;
        let (mode, name) = (&head[..space], &head[space + 1..]);
        let mode = match mode {
            b"40000" => EntryMode::Directory,
            // The second was written by the first versions of git, and is taken for the first by all.
            b"100644" | b"100664" => EntryMode::File { executable: false },
            b"100755" => EntryMode::File { executable: true },
            b"120000" => EntryMode::Symlink,
            b"160000" => EntryMode::Submodule,
            _ => return Err(fail("an entry has a mode that git does not write")),
        };
        let entry = Entry { mode, name, id: GitId::from_bytes(raw.try_into().map_err(|_| fail("it is cut off"))?) };
        if entries.last().is_some_and(|last| order(last, &entry).is_ge()) {
            return Err(fail("its entries are not in order, or one is there twice"));
        }
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// Compares as git orders: directories as if their names ended in `/`.
fn order(one: &Entry<'_>, other: &Entry<'_>) -> std::cmp::Ordering {
    let key = |entry: &Entry<'_>| if entry.mode == EntryMode::Directory { b"/".as_slice() } else { b"" };
    one.name.iter().chain(key(one)).cmp(other.name.iter().chain(key(other)))
}
