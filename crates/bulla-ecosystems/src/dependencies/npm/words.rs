//! What the readers of lock files have in common: addresses, hashes, and how something wrong is shown.

use std::collections::BTreeSet;

use super::name;
pub(super) use crate::dependencies::git::shortened;
use crate::dependencies::{Hash, git};

/// Where an archive is, by what a lock file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// In the registry, at the path that its name and version have.
    Registry,
    /// At an address of its own.
    Url(&'a str),
}

/// Says where an archive is by its address. A registry's own path is looked for in the registry that is configured, whichever the
/// address names.
///
/// # Errors
/// When it is an address that cannot be served: what is wrong, and why.
pub(super) fn source<'u>(name: &str, version: &str, resolved: &'u str) -> Result<Source<'u>, (String, Unserved)> {
    let shown = shortened(&bulla_model::login::without_logins(resolved));
    let web = ["http://", "https://"].iter().find_map(|scheme| resolved.strip_prefix(scheme));
    let Some(rest) = web else {
        let what = format!("`{name}` comes from `{shown}`, which is no address of http or https");
        return Err((what, Unserved::Other));
    };
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return Err((format!("the address of `{name}` has a login in it"), Unserved::Login));
    }
    let path = path_of(resolved).unwrap_or_default();
    let own = name::archive_path(name, version);
    match path.strip_suffix(own.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('/')) {
        true => Ok(Source::Registry),
        false => Ok(Source::Url(resolved)),
    }
}

/// Why an address is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unserved {
    /// It is that of a git repository, or names no commit of it.
    Git,
    /// It has a login.
    Login,
    /// It is none of the web.
    Other,
    /// Nothing says what is there.
    Unpinned,
}

impl From<git::Unserved> for Unserved {
    fn from(why: git::Unserved) -> Self {
        match why {
            git::Unserved::Commit => Self::Git,
            git::Unserved::Login => Self::Login,
        }
    }
}

/// Reads `integrity` (W3C, "Subresource Integrity"): of several algorithms the strongest counts.
///
/// # Errors
/// When there is none, it is too weak, or means several things.
pub(super) fn hashes(name: &str, version: &str, integrity: Option<&str>) -> Result<Vec<Hash>, String> {
    let Some(integrity) = integrity else {
        return Err(format!("`{name}` {version} has no `integrity`: nothing says what its bytes are"));
    };
    let words = integrity.split_whitespace().filter_map(|word| {
        let (algorithm, rest) = word.split_once('-')?;
        Some((algorithm, rest.split('?').next().unwrap_or(rest)))
    });
    let words: Vec<(&str, &str)> = words.collect();
    for strong in ["sha512", "sha256"] {
        let of_it = words.iter().filter(|(algorithm, _)| *algorithm == strong);
        let hashes: Result<BTreeSet<Hash>, _> =
            of_it.map(|(algorithm, text)| Hash::from_base64(algorithm, text)).collect();
        let hashes = hashes.map_err(|error| format!("`{name}` {version}: {error}"))?;
        if hashes.len() > 1 {
            return Err(format!("`{name}` {version} has several `integrity` values of one algorithm"));
        }
        if !hashes.is_empty() {
            return Ok(hashes.into_iter().collect());
        }
    }
    Err(format!("`{name}` {version} has the `integrity` `{}`, which is too weak to pin by", shortened(integrity)))
}

/// Gives the host of an address, without its port.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(host.rsplit_once(':').map_or(host, |(host, _)| host))
}

/// Gives the path of an address, percent-decoded, without its first slash and without a query; `None` where it has none that is clean.
pub(super) fn path_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.split(['?', '#']).next()?.split_once('/')?.1;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let path = String::from_utf8(bytes).ok()?;
    let clean = !path.chars().any(char::is_control) && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    clean.then_some(path)
}

/// Gives the line, from 1, on which a merge left a conflict.
pub(super) fn conflict(text: &str) -> Option<u32> {
    let marks = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    text.lines().position(marks).map(|before| u32::try_from(before + 1).unwrap_or(u32::MAX))
}
