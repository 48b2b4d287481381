//! Paths and patterns.

use super::{Scalar, wrong};
use crate::{
    path::CleanPath,
    spec::{AbsolutePath, Glob, Name},
};

/// A folder beneath the spec's own; `None` is that itself.
#[derive(Debug, Clone)]
pub(in crate::spec) struct SourcePath(pub(in crate::spec) Option<CleanPath>);

impl Scalar for SourcePath {
    const NAME: &'static str = "SourcePath";
    const ABOUT: &'static str = "A folder relative to the spec, without `..`; `.` is the spec's own folder";

    fn read(text: &str) -> Result<Self, String> {
        match CleanPath::from_archive(text.as_bytes()) {
            Ok(path) if !text.chars().any(char::is_control) => Ok(Self(path)),
            _ if text.starts_with('/') => wrong(
                format_args!("`{text}` is absolute, and a source lies within the project"),
                "write the path relative to the folder that the spec is in, such as `.`",
            ),
            _ if text.split('/').any(|part| part == "..") => wrong(
                format_args!("`{text}` leads out of the project"),
                "a source lies in the folder of the spec or beneath it; put the spec further up",
            ),
            _ => wrong(format_args!("`{text}` is not a path"), "write a relative path, such as `.` or `src`"),
        }
    }
}

/// A source, or something in it: `NAME` or `NAME/PATH`.
#[derive(Debug, Clone)]
pub(in crate::spec) struct SourceFile {
    pub(in crate::spec) source: Name,
    pub(in crate::spec) path: Option<CleanPath>,
}

impl Scalar for SourceFile {
    const NAME: &'static str = "SourceFile";
    const ABOUT: &'static str = "The name of a source, or of a file or folder in it: NAME or NAME/PATH";

    fn read(text: &str) -> Result<Self, String> {
        let (source, path) = text.split_once('/').map_or((text, None), |(source, path)| (source, Some(path)));
        let help = "write the name of a source, and behind a `/` the path in it: `site/public`";
        let Ok(source) = Name::parse(source) else {
            return wrong(format_args!("`{text}` does not begin with the name of a source"), help);
        };
        match path.map(|path| CleanPath::parse(path.strip_suffix('/').unwrap_or(path))).transpose() {
            Ok(path) => Ok(Self { source, path }),
            Err(error) => wrong(error, help),
        }
    }
}

/// A lock file: relative to where steps run, or absolute beneath `/src`.
#[derive(Debug, Clone)]
pub(in crate::spec) enum LockFile {
    /// Relative to where steps run.
    Beneath(CleanPath),
    /// `/src/NAME/…`, without its first slash.
    Absolute(CleanPath),
}

impl Scalar for LockFile {
    const NAME: &'static str = "LockFile";
    const ABOUT: &'static str = "A lock file of a source: relative to `workdir`, or absolute beneath `/src`";

    fn read(text: &str) -> Result<Self, String> {
        let help =
            "write its path relative to `workdir`, such as `package-lock.json`, or `/src/NAME/package-lock.json`";
        let path = match text.strip_prefix('/') {
            Some(rest) => CleanPath::parse(rest).map(Self::Absolute),
            None => CleanPath::parse(text.strip_prefix("./").unwrap_or(text)).map(Self::Beneath),
        };
        match path {
            Ok(path) if !text.chars().any(char::is_control) => Ok(path),
            _ => wrong(format_args!("`{text}` is no path of a lock file"), help),
        }
    }
}

impl Scalar for AbsolutePath {
    const NAME: &'static str = "AbsolutePath";
    const ABOUT: &'static str =
        "An absolute path in a stage or image, without `..`, doubled slashes or a slash at the end";
    const PATTERN: Option<&'static str> = Some("^/");

    fn read(text: &str) -> Result<Self, String> {
        let path = Self::parse(text).ok().filter(|_| !text.chars().any(char::is_control));
        path.ok_or_else(|| {
            let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
            let better = format!("/{}", parts.collect::<Vec<_>>().join("/"));
            match Self::parse(&better) {
                Ok(_) if text.ends_with('/') => {
                    format!("`{text}` ends with a slash\nwrite the path itself, not the folder that something goes into: `{better}` or `{better}/NAME`")
                }
                Ok(_) if !text.starts_with('/') => format!("`{text}` is not absolute\nwrite `{better}`, or what it is"),
                Ok(_) => format!("`{text}` is not a clean path\nwrite `{better}`"),
                Err(_) => format!("`{text}` is not a clean absolute path\nwrite a path such as `/usr/bin/app`, without `..`"),
            }
        })
    }
}

impl Scalar for Glob {
    const NAME: &'static str = "Glob";
    const ABOUT: &'static str = "A pattern for files: `*`, `?` and `[a-z]` within a name, `**` for any number of names";

    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| format!("`{text}` is not a pattern for files\n{error}"))
    }
}
