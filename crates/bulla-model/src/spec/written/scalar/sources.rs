//! What names and describes a source that is not in the project.

use super::{Scalar, wrong};
use crate::{
    digest::Digest,
    git::{self, GitId},
    path::CleanPath,
    spec::Packing,
};

/// The most bytes of a URL.
const MAX_URL: usize = 2000;

/// A URL that is downloaded. What can be in its host is checked by who downloads it.
#[derive(Debug, Clone)]
pub(in crate::spec) struct UrlText(pub(in crate::spec) String);

impl Scalar for UrlText {
    const NAME: &'static str = "Url";
    const ABOUT: &'static str = "An `https://` or `http://` URL without a login";
    const PATTERN: Option<&'static str> = Some("^https?://[^/?#]+");

    fn read(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong(
                format_args!("`{text}` is not a URL"),
                "write it in full: `https://download.example/x.tar.gz`",
            );
        };
        if !["https", "http"].contains(&scheme) {
            return wrong(
                format_args!("`{scheme}` is not fetched"),
                "only `https` and `http` are; a folder of the project is written `path: FOLDER`",
            );
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return wrong(
                "the URL has a login in it",
                "delete it here, and put it into `auth.conf` in your configuration, for its host",
            );
        }
        if text.contains('#') {
            return wrong(
                format_args!("`{text}` has a fragment, which no server is sent"),
                "delete the part from `#` on",
            );
        }
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
        if host.is_empty() || !plain || text.len() > MAX_URL {
            return wrong(
                format_args!("`{}` is not a URL", text.chars().take(200).collect::<String>()),
                "write it in at most 2000 plain characters, others as %XX",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// A SHA-256.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Sha256(pub(in crate::spec) Digest);

impl Scalar for Sha256 {
    const NAME: &'static str = "Sha256";
    const ABOUT: &'static str = "A SHA-256: 64 hexadecimal digits";
    const PATTERN: Option<&'static str> = Some("^(sha256:)?[0-9A-Fa-f]{64}$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        let help = match digits.len() {
            32 | 40 | 128 => "it looks like an MD5, SHA-1 or SHA-512; `sha256sum FILE` gives the SHA-256",
            _ => "write its 64 hexadecimal digits, as `sha256sum FILE` gives them",
        };
        Digest::from_hex(&digits).map(Self).or_else(|_| wrong(format_args!("`{text}` is not a SHA-256"), help))
    }
}

/// The address of a git repository. What can be in its host is checked by who asks it.
#[derive(Debug, Clone)]
pub(in crate::spec) struct GitAddress(pub(in crate::spec) String);

impl Scalar for GitAddress {
    const NAME: &'static str = "GitAddress";
    const ABOUT: &'static str =
        "The address of a git repository: `https://…`, `http://…`, `ssh://…` or `USER@HOST:PATH`, without a password";
    const PATTERN: Option<&'static str> = Some("^((https?|ssh)://[^/?#]+/|([^@:/]+@)?[^@:/]+:[^/])");

    fn read(text: &str) -> Result<Self, String> {
        if git::is_git_address(text) {
            return Ok(Self(text.to_owned()));
        }
        let rest = text.split_once("://").filter(|(scheme, _)| scheme.starts_with("http")).map(|(_, rest)| rest);
        if rest.is_some_and(|rest| rest.split('/').next().unwrap_or_default().contains('@')) {
            return wrong(
                "the URL has a login in it",
                "delete it here, and put it into `auth.conf` in your configuration, for its host",
            );
        }
        wrong(
            format_args!("`{}` is not the address of a git repository", text.chars().take(200).collect::<String>()),
            "write `https://HOST/PATH`, `ssh://HOST/PATH` or `USER@HOST:PATH`; a folder of the project is written `path: FOLDER`",
        )
    }
}

/// The name of a tag or branch.
#[derive(Debug, Clone)]
pub(in crate::spec) struct RefText(pub(in crate::spec) String);

impl Scalar for RefText {
    const NAME: &'static str = "GitRef";
    const ABOUT: &'static str = "The name of a tag or branch, without `refs/tags/` or `refs/heads/`";
    const PATTERN: Option<&'static str> = Some(r"^[!-~]+$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        if git::is_ref_name(text) && !text.starts_with("refs/") {
            return Ok(Self(text.to_owned()));
        }
        wrong(
            format_args!(
                "`{}` names no tag or branch",
                text.chars().take(200).flat_map(char::escape_default).collect::<String>()
            ),
            "write the name alone, such as `v1.2` or `main`",
        )
    }
}

/// The id of a commit.
#[derive(Debug, Clone)]
pub(in crate::spec) struct CommitText(pub(in crate::spec) GitId);

impl Scalar for CommitText {
    const NAME: &'static str = "GitCommit";
    const ABOUT: &'static str = "The id of a commit: 40 hexadecimal digits";
    const PATTERN: Option<&'static str> = Some("^[0-9A-Fa-f]{40}$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let help = match text.len() {
            64 => "it looks like an id of a repository with SHA-256, which are not supported yet",
            _ => "write all of its 40 hexadecimal digits, as `git rev-parse COMMIT` gives them",
        };
        text.to_ascii_lowercase()
            .parse()
            .map(Self)
            .or_else(|_| wrong(format_args!("`{text}` is not the id of a commit"), help))
    }
}

/// How something is unpacked.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct UnpackWord(pub(in crate::spec) Option<Packing>);

impl Scalar for UnpackWord {
    const NAME: &'static str = "Unpack";
    const ABOUT: &'static str = "`no`, `tar`, `tar.gz`, `tar.xz`, `tar.zst`, `tar.bz2` or `zip`";
    const PATTERN: Option<&'static str> = Some(r"^(no|false|tar|tar\.(gz|xz|zst|bz2)|zip)$");
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        if ["no", "false"].contains(&text) {
            return Ok(Self(None));
        }
        let packing = Packing::ALL.into_iter().find(|packing| packing.word() == text);
        packing.map_or_else(
            || {
                wrong(
                    format_args!("`{text}` is no way to unpack something"),
                    "write `no`, `tar`, `tar.gz`, `tar.xz`, `tar.zst`, `tar.bz2` or `zip`",
                )
            },
            |packing| Ok(Self(Some(packing))),
        )
    }
}

/// The name of a file, without folders.
#[derive(Debug, Clone)]
pub(in crate::spec) struct FileName(pub(in crate::spec) CleanPath);

impl Scalar for FileName {
    const NAME: &'static str = "FileName";
    const ABOUT: &'static str = "The name of a file, without a folder";
    const PATTERN: Option<&'static str> = Some("^[^/]+$");

    fn read(text: &str) -> Result<Self, String> {
        let path = CleanPath::parse(text).ok().filter(|_| !text.contains('/') && !text.chars().any(char::is_control));
        path.map_or_else(
            || wrong(format_args!("`{text}` is not the name of a file"), "write a name without `/`"),
            |path| Ok(Self(path)),
        )
    }
}

/// A file of the project with keys in it.
#[derive(Debug, Clone)]
pub(in crate::spec) struct KeyFile(pub(in crate::spec) CleanPath);

impl Scalar for KeyFile {
    const NAME: &'static str = "KeyFile";
    const ABOUT: &'static str = "A file of the project, relative to the spec, without `..`";

    fn read(text: &str) -> Result<Self, String> {
        inside(text).map(Self).ok_or_else(|| {
            format!("`{text}` is not a file of the project\nput the keys beside the spec, and write the path relative to it: `keys/redis.asc`")
        })
    }
}

/// A folder of what was unpacked.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Subfolder(pub(in crate::spec) CleanPath);

impl Scalar for Subfolder {
    const NAME: &'static str = "Subfolder";
    const ABOUT: &'static str = "A folder within what is unpacked, without `..`";

    fn read(text: &str) -> Result<Self, String> {
        inside(text).map(Self).ok_or_else(|| {
            format!(
                "`{text}` is not a folder of what is unpacked\nwrite its relative path, such as `src`, without `..`"
            )
        })
    }
}

/// Reads a relative path that stays inside.
fn inside(text: &str) -> Option<CleanPath> {
    let path = CleanPath::from_archive(text.as_bytes()).ok().flatten()?;
    (!text.chars().any(char::is_control)).then_some(path)
}
