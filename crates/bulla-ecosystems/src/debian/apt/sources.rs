//! `sources.list` and `*.list` (one line a repository) and `*.sources` (deb822), as in `sources.list(5)`.

use super::{AptError, bounded, quote};
use crate::debian::{
    control::{Field, Fields, paragraphs},
    relation::{is_name, is_suite},
};

/// Some suites at some mirrors that hold the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The bases, each a URL with `http` or `https`, without a slash at the end.
    pub uris: Vec<String>,
    /// The directories beneath `dists`.
    pub suites: Vec<String>,
    /// The components.
    pub components: Vec<String>,
    /// The architectures that it is limited to; none where it is not.
    pub architectures: Vec<String>,
    /// Who may sign; `None` where the machine's own keys may.
    pub signed_by: Option<SignedBy>,
    /// The file and line that it is from, for messages.
    pub place: (String, usize),
}

/// Who may sign a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// A file of public keys, by its absolute path.
    Path(String),
    /// Fingerprints of keys that the machine has otherwise.
    Fingerprints(Vec<String>),
    /// An armored block of public keys, written out.
    Key(String),
}

/// Reads a file of deb822 paragraphs (`*.sources`).
///
/// Disabled and source-only paragraphs are left out.
///
/// # Errors
/// When a line is not a field, one is twice there, or a value is not what it should be.
pub fn deb822(file: &str, text: &str) -> Result<Vec<Repository>, AptError> {
    let mut repositories = Vec::new();
    for (line, paragraph) in paragraphs(bounded(file, text)?) {
        repositories.extend(Paragraph::read(file, paragraph, line)?.repository()?);
    }
    Ok(repositories)
}

struct Paragraph<'a> {
    file: &'a str,
    line: usize,
    fields: Vec<Field<'a>>,
}

impl<'a> Paragraph<'a> {
    fn read(file: &'a str, paragraph: &'a str, line: usize) -> Result<Self, AptError> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        for field in Fields::with_comments(paragraph, line) {
            let field = field.map_err(|e| {
                AptError::new(file, e.line, format!("{} is neither a field nor a comment", quote(&e.text)))
            })?;
            if fields.iter().any(|other| other.is(field.name)) {
                return Err(AptError::new(file, field.line, format!("{} is there twice", quote(field.name))));
            }
            fields.push(field);
        }
        Ok(Self { file, line, fields })
    }

    fn get(&self, name: &str) -> Option<Field<'a>> {
        self.fields.iter().copied().find(|field| field.is(name))
    }

    /// Gives the words of a field; comments between its lines are left out.
    fn words(&self, name: &str) -> Vec<(&'a str, usize)> {
        let Some(field) = self.get(name) else { return Vec::new() };
        let lines = field.value.lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_ascii_whitespace).map(|word| (word, field.line)).collect()
    }

    fn need(&self, name: &str) -> Result<Vec<(&'a str, usize)>, AptError> {
        let words = self.words(name);
        if words.is_empty() {
            return Err(AptError::new(self.file, self.line, format!("the paragraph has no `{name}`")));
        }
        Ok(words)
    }

    fn repository(&self) -> Result<Option<Repository>, AptError> {
        let enabled = self.words("Enabled").first().is_none_or(|(word, _)| !is_no(word));
        let kinds = if self.fields.is_empty() { Vec::new() } else { self.need("Types")? };
        if !enabled || !kinds.iter().any(|(kind, _)| *kind == "deb") {
            return Ok(None);
        }
        let mut draft = Draft::new(self.file, self.line);
        for (uri, line) in self.need("URIs")? {
            draft.uri(uri, line)?;
        }
        for (suite, line) in self.need("Suites")? {
            draft.suite(suite, line)?;
        }
        for (component, line) in self.need("Components")? {
            draft.component(component, line)?;
        }
        for (architecture, line) in self.words("Architectures") {
            draft.architecture(architecture, line)?;
        }
        if let Some(field) = self.get("Signed-By") {
            draft.signed_by(field.value, field.line)?;
        }
        Ok(Some(draft.repository))
    }
}

fn is_no(word: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"].iter().any(|no| word.eq_ignore_ascii_case(no))
}

/// Reads a file of one-line entries (`sources.list`, `*.list`): `deb [option=value …] URI SUITE COMPONENT…`.
///
/// # Errors
/// When a line is not an entry, or a value is not what it should be.
pub fn one_line(file: &str, text: &str) -> Result<Vec<Repository>, AptError> {
    let mut repositories = Vec::new();
    for (line, number) in bounded(file, text)?.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        repositories.extend(entry(file, line, number)?);
    }
    Ok(repositories)
}

fn entry(file: &str, line: &str, number: usize) -> Result<Option<Repository>, AptError> {
    let refuse = |problem: String| AptError::new(file, number, problem);
    let (kind, rest) =
        line.split_once([' ', '\t']).ok_or_else(|| refuse(format!("{} is not an entry", quote(line))))?;
    match kind {
        "deb" => {}
        "deb-src" => return Ok(None),
        _ => return Err(refuse(format!("{} is neither `deb` nor `deb-src`", quote(kind)))),
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']').ok_or_else(|| refuse("the options are not closed by `]`".to_owned()))?,
        None => ("", rest),
    };
    let mut draft = Draft::new(file, number);
    for option in options.split_ascii_whitespace() {
        match option.split_once('=') {
            Some(("arch", value)) => {
                for architecture in value.split(',') {
                    draft.architecture(architecture, number)?;
                }
            }
            Some(("signed-by", value)) => draft.signed_by(value, number)?,
            // Also `trusted=yes`: an index is always verified.
            Some(_) => {}
            None => return Err(refuse(format!("the option {} is not `name=value`", quote(option)))),
        }
    }
    let mut words = rest.split_ascii_whitespace();
    draft.uri(words.next().unwrap_or_default(), number)?;
    draft.suite(words.next().unwrap_or_default(), number)?;
    for component in words {
        draft.component(component, number)?;
    }
    if draft.repository.components.is_empty() {
        return Err(refuse("no component is named".to_owned()));
    }
    Ok(Some(draft.repository))
}

/// A repository that is being read.
struct Draft<'a> {
    file: &'a str,
    repository: Repository,
}

impl<'a> Draft<'a> {
    fn new(file: &'a str, line: usize) -> Self {
        let repository = Repository {
            uris: Vec::new(),
            suites: Vec::new(),
            components: Vec::new(),
            architectures: Vec::new(),
            signed_by: None,
            place: (file.to_owned(), line),
        };
        Self { file, repository }
    }

    fn refuse(&self, line: usize, value: &str, what: &str) -> AptError {
        AptError::new(self.file, line, format!("{} is not {what}", quote(value)))
    }

    fn uri(&mut self, uri: &str, line: usize) -> Result<(), AptError> {
        let after = ["http://", "https://"].iter().find_map(|scheme| {
            let front = uri.get(..scheme.len())?;
            front.eq_ignore_ascii_case(scheme).then(|| uri.get(scheme.len()..)).flatten()
        });
        let host = after.and_then(|after| after.split('/').next());
        if host.is_none_or(str::is_empty) || !uri.bytes().all(|b| b.is_ascii_graphic()) || uri.contains(['?', '#']) {
            return Err(self.refuse(
                line,
                &without_password(uri),
                "a base that can be used: it must be `http://` or `https://`",
            ));
        }
        self.repository.uris.push(uri.trim_end_matches('/').to_owned());
        Ok(())
    }

    fn suite(&mut self, suite: &str, line: usize) -> Result<(), AptError> {
        if suite.ends_with('/') {
            return Err(self.refuse(
                line,
                suite,
                "a suite that can be used: repositories without `dists` are not supported",
            ));
        }
        if !is_suite(suite) {
            return Err(self.refuse(line, suite, "a suite"));
        }
        self.repository.suites.push(suite.to_owned());
        Ok(())
    }

    fn component(&mut self, component: &str, line: usize) -> Result<(), AptError> {
        // The security archive once had its components in a directory.
        let name = component.rsplit('/').next().unwrap_or(component);
        if !is_name(name) {
            return Err(self.refuse(line, component, "a component"));
        }
        self.repository.components.push(name.to_owned());
        Ok(())
    }

    fn architecture(&mut self, architecture: &str, line: usize) -> Result<(), AptError> {
        if !is_name(architecture) {
            return Err(self.refuse(line, architecture, "an architecture"));
        }
        self.repository.architectures.push(architecture.to_owned());
        Ok(())
    }

    fn signed_by(&mut self, value: &str, line: usize) -> Result<(), AptError> {
        let value = value.trim();
        let signed_by = if value.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
            // A line with a dot alone stands for an empty one (`deb822(5)`).
            let lines = value.lines().map(str::trim).map(|line| if line == "." { "" } else { line });
            SignedBy::Key(lines.collect::<Vec<_>>().join("\n") + "\n")
        } else if value.starts_with('/') && !value.contains(char::is_whitespace) {
            SignedBy::Path(value.to_owned())
        } else {
            let words = value.split([',', ' ', '\n', '\t']).filter(|word| !word.is_empty());
            let keys: Vec<String> = words.map(|word| word.trim_end_matches('!').to_uppercase()).collect();
            let is_fingerprint = |key: &String| key.len() >= 40 && key.bytes().all(|b| b.is_ascii_hexdigit());
            if keys.is_empty() || !keys.iter().all(is_fingerprint) {
                return Err(self.refuse(line, value, "an absolute path, a fingerprint or a key"));
            }
            SignedBy::Fingerprints(keys)
        };
        self.repository.signed_by = Some(signed_by);
        Ok(())
    }
}

/// Takes what may be a password out of a URL, for a message.
fn without_password(uri: &str) -> String {
    match uri.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCES: &str = "# mirrors of ours
Types: deb deb-src
URIs: http://mirror.example/debian/
# a comment
 https://other.example/debian
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
Enabled: no
URIs: nonsense
Suites: x
Components: y

Types: deb-src
URIs: http://mirror.example/src
Suites: trixie
Components: main

Types: deb
URIs: http://third.example
Suites: stable
Components: main
Architectures: amd64 arm64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDME
 -----END PGP PUBLIC KEY BLOCK-----
";

    #[test]
    fn paragraphs_are_read() {
        let found = deb822("debian.sources", SOURCES).expect("valid");
        let [first, second] = found.as_slice() else { panic!("two repositories: {found:?}") };
        assert_eq!(first.uris, ["http://mirror.example/debian", "https://other.example/debian"]);
        assert_eq!((first.suites.len(), first.components.len()), (2, 2));
        assert_eq!(first.signed_by, Some(SignedBy::Path("/usr/share/keyrings/archive.gpg".to_owned())));
        assert_eq!(first.place, ("debian.sources".to_owned(), 1));
        assert_eq!(second.architectures, ["amd64", "arm64"]);
        let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(second.signed_by, Some(SignedBy::Key(key.to_owned())));
    }

    #[test]
    fn one_line_entries_are_read() {
        let text = "# x\ndeb [arch=amd64,i386 signed-by=/k.gpg trusted=yes] http://mirror.example/debian/ trixie main contrib # y\n\
            deb-src http://mirror.example/debian trixie main\n\n\
            deb\thttp://mirror.example/security stable/updates updates/main";
        let found = one_line("sources.list", text).expect("valid");
        let [first, second] = found.as_slice() else { panic!("two repositories: {found:?}") };
        assert_eq!((first.uris[0].as_str(), first.architectures.len()), ("http://mirror.example/debian", 2));
        assert_eq!(first.signed_by, Some(SignedBy::Path("/k.gpg".to_owned())));
        assert_eq!((second.suites[0].as_str(), second.components[0].as_str()), ("stable/updates", "main"));
    }

    #[test]
    fn an_error_names_file_line_and_value() {
        let error = one_line("a.list", "\ndeb file:///mirror trixie main").expect_err("no scheme that can be used");
        assert_eq!(
            error.to_string(),
            "reading a.list, line 2: `file:///mirror` is not a base that can be used: it must be `http://` or `https://`"
        );
        let error = deb822("b.sources", &SOURCES.replace("trixie-updates", "../x")).expect_err("no suite");
        assert_eq!(error.to_string(), "reading b.sources, line 6: `../x` is not a suite");
        let error = one_line("c.list", "deb ftp://user:secret@mirror.example trixie main").expect_err("no scheme");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for line in [
            "deb",
            "rpm http://m.example x y",
            "deb [arch=amd64 http://m.example x y",
            "deb [arch] http://m.example x y",
        ] {
            assert!(one_line("f", line).is_err(), "{line}");
        }
        for line in
            ["deb http://m.example ./", "deb http:// x y", "deb http://m.example x", "deb http://m.example/?q x y"]
        {
            assert!(one_line("f", line).is_err(), "{line}");
        }
        for (from, to) in
            [("URIs:", "URLs:"), ("Suites:", "Types:"), ("Signed-By: /usr", "Signed-By: usr"), ("URIs", "no")]
        {
            assert!(deb822("f", &SOURCES.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(deb |\\[|\\]|[a-z:/=\n #]|Types: deb\n|URIs: http://m.example\n|Suites: x\n)*") {
            let _ = one_line("f", &text);
            let _ = deb822("f", &text);
        }
    }
}
