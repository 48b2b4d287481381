//! Unified diffs, applied as dpkg-source lets `patch` do it: with one folder taken off each name and no fuzz, but at another
//! place of the file when the lines are found there.

use bulla_model::CleanPath;

use super::SourceError;

/// The most bytes of a patch.
const MAX_PATCH: usize = 256 << 20;

/// A file before or after a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) executable: bool,
    pub(super) bytes: Vec<u8>,
}

/// A whole patch.
#[derive(Debug, Default)]
pub(super) struct Patch {
    files: Vec<FilePatch>,
}

/// What a patch does to one file.
#[derive(Debug)]
pub(super) struct FilePatch {
    pub(super) path: CleanPath,
    /// Whether there is no file before, or after.
    makes: bool,
    removes: bool,
    /// The mode that `git diff` names.
    executable: Option<bool>,
    hunks: Vec<Hunk>,
    line: usize,
}

#[derive(Debug)]
struct Hunk {
    /// The first line of it in the file as it was, counted from 1.
    first: usize,
    lines: Vec<(Sign, Vec<u8>)>,
    /// Whether it says that there is nothing before it.
    from_nothing: bool,
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Same,
    Gone,
    New,
}

impl Patch {
    /// Reads a patch. Text around the diffs is passed over.
    pub(super) fn parse(name: &str, text: &[u8]) -> Result<Self, SourceError> {
        if text.len() > MAX_PATCH {
            return Err(fails(name, 0, "it is too large"));
        }
        let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
        let mut reader = Reader { name, lines: &lines, at: 0 };
        let mut patch = Self::default();
        let mut git = Git::default();
        while let Some(line) = reader.peek() {
            if line.starts_with(b"diff --git ") {
                // What git said of a file without a diff: its mode alone changed, or it is empty.
                patch.files.extend(git.take());
                git = Git::read(line, reader.at + 1);
            } else if let Some(rest) = line.strip_prefix(b"new file mode ") {
                (git.makes, git.executable) = (true, Some(is_executable(rest)));
            } else if let Some(rest) = line.strip_prefix(b"new mode ") {
                git.executable = Some(is_executable(rest));
            } else if line.starts_with(b"deleted file mode ") {
                git.removes = true;
            } else if [b"rename from ".as_slice(), b"copy from ", b"GIT binary patch"]
                .iter()
                .any(|word| line.starts_with(word))
            {
                return Err(fails(
                    name,
                    reader.at + 1,
                    "it renames, copies or holds binary data, which `patch` does not do",
                ));
            } else if line.starts_with(b"--- ")
                && reader.lines.get(reader.at + 1).is_some_and(|next| next.starts_with(b"+++ "))
            {
                if let Some(file) = reader.file(&git)? {
                    patch.files.push(file);
                }
                git = Git::default();
                continue;
            }
            reader.at += 1;
        }
        patch.files.extend(git.take());
        Ok(patch)
    }

    pub(super) fn files(&self) -> &[FilePatch] {
        &self.files
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &CleanPath> {
        self.files.iter().map(|file| &file.path)
    }
}

/// What git says before a diff.
#[derive(Default)]
struct Git {
    path: Option<CleanPath>,
    makes: bool,
    removes: bool,
    executable: Option<bool>,
    line: usize,
}

impl Git {
    /// Reads `diff --git a/x b/x`; both names are the same, or it is a renaming.
    fn read(line: &[u8], number: usize) -> Self {
        let names = line.trim_ascii_end().strip_prefix(b"diff --git ").unwrap_or_default();
        let half = names.len() / 2;
        let path = match (names.get(..half), names.get(half..)) {
            (Some(left), Some([b' ', right @ ..])) => {
                let (left, right) = (without_first(left), without_first(right));
                left.filter(|left| Some(*left) == right).and_then(|path| CleanPath::parse(path).ok())
            }
            _ => None,
        };
        Self { path, line: number, ..Self::default() }
    }

    fn take(self) -> Option<FilePatch> {
        let Self { path, makes, removes, executable, line } = self;
        let says = makes || removes || executable.is_some();
        path.filter(|_| says).map(|path| FilePatch { path, makes, removes, executable, hunks: Vec::new(), line })
    }
}

fn is_executable(mode: &[u8]) -> bool {
    mode.trim_ascii().ends_with(b"755")
}

fn without_first(name: &[u8]) -> Option<&[u8]> {
    let slash = name.iter().position(|b| *b == b'/')?;
    let rest = name.get(slash..)?;
    let start = rest.iter().position(|b| *b != b'/')?;
    rest.get(start..)
}

struct Reader<'t> {
    name: &'t str,
    lines: &'t [&'t [u8]],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&[u8]> {
        self.lines.get(self.at).copied()
    }

    /// Reads the diff of a file; `None` when it has no hunk.
    fn file(&mut self, git: &Git) -> Result<Option<FilePatch>, SourceError> {
        let line = self.at + 1;
        let (old, new) = (self.header(b"--- "), self.header(b"+++ "));
        let mut hunks = Vec::new();
        while self.peek().is_some_and(|line| line.starts_with(b"@@ ")) {
            hunks.push(self.hunk()?);
        }
        if hunks.is_empty() {
            return Ok(None);
        }
        // Of two names the one that is no /dev/null; of two such the new one. A hunk from no lines at all makes a file too.
        let from_nothing = hunks.first().is_some_and(|hunk| hunk.from_nothing);
        let chosen = if new.nothing { &old } else { &new };
        let path = match (&chosen.path, &git.path) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.clone(),
            (None, None) => return Err(fails(self.name, line, "it names no file that lies in the package")),
        };
        Ok(Some(FilePatch {
            path,
            makes: old.nothing || git.makes || old.is_epoch || from_nothing,
            removes: new.nothing || git.removes || new.is_epoch,
            executable: git.executable,
            hunks,
            line,
        }))
    }

    fn header(&mut self, mark: &[u8]) -> Header {
        let line = self.peek().and_then(|line| line.strip_prefix(mark)).unwrap_or_default().trim_ascii_end();
        let (name, time) = match line.iter().position(|b| *b == b'\t') {
            Some(tab) => (line.get(..tab).unwrap_or_default(), line.get(tab + 1..).unwrap_or_default()),
            None => (line, b"".as_slice()),
        };
        let nothing = name == b"/dev/null";
        let header = Header {
            nothing,
            path: without_first(name).filter(|_| !nothing).and_then(|path| CleanPath::parse(path).ok()),
            is_epoch: time.starts_with(b"1970-01-01 00:00:00") || time.starts_with(b"Thu Jan  1 00:00:00 1970"),
        };
        self.at += 1;
        header
    }

    fn hunk(&mut self) -> Result<Hunk, SourceError> {
        let line = self.at + 1;
        let bad = |reason: &str| fails(self.name, line, reason);
        let head = self.peek().unwrap_or_default();
        let from_nothing = head.starts_with(b"@@ -0,0 ");
        let (first, mut old, mut new) = ranges(head).ok_or_else(|| bad("the head of a hunk is none"))?;
        self.at += 1;
        let mut lines: Vec<(Sign, Vec<u8>)> = Vec::new();
        while old > 0 || new > 0 {
            let text = self.peek().ok_or_else(|| bad("the hunk is cut off"))?;
            let (sign, rest) = match text.split_first() {
                Some((b' ', rest)) => (Sign::Same, rest),
                Some((b'-', rest)) => (Sign::Gone, rest),
                Some((b'+', rest)) => (Sign::New, rest),
                // Programs that take blanks off the ends of lines leave an empty one.
                Some((b'\n', _)) => (Sign::Same, text),
                Some((b'\\', _)) => {
                    without_end(&mut lines);
                    self.at += 1;
                    continue;
                }
                _ => return Err(bad("the hunk has a line without a sign")),
            };
            old = old
                .checked_sub(usize::from(sign != Sign::New))
                .ok_or_else(|| bad("the hunk is longer than its head says"))?;
            new = new
                .checked_sub(usize::from(sign != Sign::Gone))
                .ok_or_else(|| bad("the hunk is longer than its head says"))?;
            lines.push((sign, rest.to_vec()));
            self.at += 1;
        }
        if self.peek().is_some_and(|line| line.starts_with(b"\\")) {
            without_end(&mut lines);
            self.at += 1;
        }
        Ok(Hunk { first, lines, from_nothing, line })
    }
}

/// Takes the line feed off the last line.
fn without_end(lines: &mut [(Sign, Vec<u8>)]) {
    if let Some((_, last)) = lines.last_mut()
        && last.last() == Some(&b'\n')
    {
        last.pop();
    }
}

struct Header {
    nothing: bool,
    path: Option<CleanPath>,
    is_epoch: bool,
}

/// Reads `@@ -3,7 +3,8 @@`: the first old line, and how many lines old and new are.
fn ranges(head: &[u8]) -> Option<(usize, usize, usize)> {
    let text = std::str::from_utf8(head.strip_prefix(b"@@ -")?.split(|b| *b == b'@').next()?).ok()?;
    let (old, new) = text.trim().split_once(" +")?;
    let range = |text: &str| match text.split_once(',') {
        Some((first, count)) => Some((first.parse::<usize>().ok()?, count.parse::<usize>().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    };
    let ((first, old), (_, new)) = (range(old)?, range(new)?);
    // An empty range names the line before it.
    Some((if old == 0 { first + 1 } else { first }, old, new))
}

impl FilePatch {
    pub(super) fn fails(&self, patch: &str, reason: impl Into<String>) -> SourceError {
        fails(patch, self.line, reason)
    }

    /// Gives the file after the patch; `None` when it is gone.
    pub(super) fn apply(&self, patch: &str, before: Option<Text>) -> Result<Option<Text>, SourceError> {
        let (existed, executable) = (before.is_some(), before.as_ref().is_some_and(|text| text.executable));
        if !existed && !self.makes {
            return Err(self.fails(patch, format!("there is no {}", self.path)));
        }
        let bytes = before.map(|text| text.bytes).unwrap_or_default();
        let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
        // How far the last hunk lay from where it said, and the lines that are dealt with.
        let (mut offset, mut done) = (0_isize, 0_usize);
        for hunk in &self.hunks {
            let at = hunk
                .find(&lines, offset, done)
                .ok_or_else(|| fails(patch, hunk.line, format!("its lines are not in {}", self.path)))?;
            offset = at as isize + 1 - hunk.first as isize;
            out.extend(lines.get(done..at).unwrap_or_default().concat());
            done = at + hunk.old().count();
            for (_, line) in hunk.lines.iter().filter(|(sign, _)| *sign != Sign::Gone) {
                out.extend(line);
            }
        }
        out.extend(lines.get(done..).unwrap_or_default().concat());
        if self.removes && out.is_empty() {
            return Ok(None);
        }
        if self.removes && self.hunks.is_empty() {
            return Err(self.fails(patch, format!("{} is not empty, and is to be removed", self.path)));
        }
        Ok(Some(Text { executable: self.executable.unwrap_or(executable), bytes: out }))
    }
}

impl Hunk {
    /// The lines that must be there.
    fn old(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.lines.iter().filter(|(sign, _)| *sign != Sign::New).map(|(_, line)| line.as_slice())
    }

    /// Finds where the lines stand: where the hunk says, moved as far as the last one was, or else as near to that as can be.
    /// A hunk that has less context on one side is of that end of the file.
    fn find(&self, lines: &[&[u8]], offset: isize, done: usize) -> Option<usize> {
        let count = self.old().count();
        if count == 0 && lines.is_empty() {
            return Some(0);
        }
        let context = |mut signs: Box<dyn Iterator<Item = &Sign> + '_>| {
            let mut same = 0;
            while signs.next() == Some(&Sign::Same) {
                same += 1;
            }
            same
        };
        let prefix: usize = context(Box::new(self.lines.iter().map(|(sign, _)| sign)));
        let suffix: usize = context(Box::new(self.lines.iter().rev().map(|(sign, _)| sign)));
        let last = lines.len().checked_sub(count)?;
        let fits = |at: usize| {
            at >= done
                && at <= last
                && self.old().zip(lines.get(at..).unwrap_or_default()).all(|(old, line)| old == *line)
        };
        let guess = self.first.saturating_sub(1).checked_add_signed(offset).unwrap_or(0);
        if prefix < suffix && self.first <= 1 {
            return fits(0).then_some(0);
        }
        if suffix < prefix {
            return fits(last).then_some(last);
        }
        if count == 0 {
            return (guess <= lines.len() && guess >= done).then_some(guess);
        }
        let most = lines.len().max(guess);
        (0..=most).find_map(|away| {
            let after = guess.checked_add(away).filter(|at| fits(*at));
            after.or_else(|| guess.checked_sub(away).filter(|at| fits(*at)))
        })
    }
}

fn fails(patch: &str, line: usize, reason: impl Into<String>) -> SourceError {
    SourceError::Patch { patch: patch.to_owned(), line, reason: reason.into() }
}
