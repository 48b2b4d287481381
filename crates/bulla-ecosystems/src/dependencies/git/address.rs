//! How lock files write a commit of a git repository, and where that may be fetched from.

use std::collections::BTreeSet;

use bulla_model::{
    GitId,
    git::{SshAddress, is_git_address},
    login::without_logins,
};

use super::{Refusal, Unserved, shortened};
use crate::dependencies::{Artifact, Hash, Place};

/// The name of the file of every repository.
pub(in crate::dependencies) const FILE: &str = "git";

/// A commit of a repository, as a lock file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dependencies) struct GitAddress {
    /// The host, with a port where one is named.
    pub(super) host: String,
    /// The path, without a slash before it and `.git` behind.
    pub(super) path: String,
    user: Option<String>,
    /// The address as it is written, without `git+`.
    written: String,
    pub(in crate::dependencies) commit: GitId,
}

impl GitAddress {
    /// Reads an address with a fragment, where it is that of a repository: `git+https://…#COMMIT`, `https://….git#commit=COMMIT`.
    pub(in crate::dependencies) fn of(resolved: &str) -> Option<Result<Self, Refusal>> {
        let (place, fragment) = resolved.split_once('#').unwrap_or((resolved, ""));
        let bare = place.strip_prefix("git+").unwrap_or(place);
        let web = ["http://", "https://"].iter().any(|scheme| bare.starts_with(scheme));
        let is_git = match bare.contains("://") {
            true => !web || bare.len() < place.len() || bare.ends_with(".git") || fragment.contains("commit="),
            false => bare.split(':').next().is_some_and(|before| before.contains('@')) && bare.contains(':'),
        };
        let others = ["ftp://", "file://"].iter().any(|scheme| place.starts_with(scheme));
        if !is_git || others {
            return None;
        }
        // Newer clients have more to say: `commit=…&workspace=…`, `…::path:…`.
        let named = fragment.split('&').find_map(|pair| pair.strip_prefix("commit="));
        let commit = named.unwrap_or(fragment).split("::").next().unwrap_or_default();
        Some(Self::parse(place, commit))
    }

    /// Reads an address and a commit.
    ///
    /// # Errors
    /// When it is no address that can be asked, or has a login, or the commit is none.
    pub(in crate::dependencies) fn parse(place: &str, commit: &str) -> Result<Self, Refusal> {
        let shown = shortened(&without_logins(place));
        let refuse = |what: String, why: Unserved| Err(Refusal { what, why });
        let written = place.strip_prefix("git+").unwrap_or(place);
        let Ok(commit) = commit.parse() else {
            let what =
                format!("the git repository `{shown}` is named with `{}`, which is no whole commit", shortened(commit));
            return refuse(what, Unserved::Commit);
        };
        let web = ["https://", "http://", "git://"].iter().find_map(|scheme| written.strip_prefix(scheme));
        let (user, host, path) = match web {
            Some(rest) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                if host.contains('@') {
                    return refuse(format!("the address `{shown}` has a login in it"), Unserved::Login);
                }
                let https = written.strip_prefix("git://").map(|rest| format!("https://{rest}"));
                let good = is_git_address(https.as_deref().unwrap_or(written));
                (None, if good { host.to_ascii_lowercase() } else { String::new() }, path.to_owned())
            }
            None => {
                // Some write `ssh://git@HOST:PATH`.
                let odd = written.strip_prefix("ssh://").and_then(SshAddress::parse);
                match SshAddress::parse(written).or(odd) {
                    Some(SshAddress { user, host, port, path }) => {
                        let host = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
                        (user, host, path)
                    }
                    None => (None, String::new(), String::new()),
                }
            }
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+@=,%".contains(&b))
        };
        if host.is_empty() || !path.split('/').all(plain) {
            return refuse(format!("`{shown}` is no address of a git repository that can be asked"), Unserved::Commit);
        }
        Ok(Self { host, path, user, written: written.to_owned(), commit })
    }

    /// Gives the name by which the repository is known, however it is reached.
    pub(in crate::dependencies) fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Makes what is to be fetched, by the name of the repository and the commit.
    pub(in crate::dependencies) fn artifact(&self, line: u32) -> Artifact {
        Artifact {
            name: self.name(),
            version: self.commit.to_string(),
            file: FILE.to_owned(),
            hashes: vec![Hash::GitCommit(*self.commit.as_bytes())],
            places: self.places(),
            line,
        }
    }

    /// Gives where it may be fetched from.
    fn places(&self) -> Vec<Place> {
        let Self { host, path, written, commit, .. } = self;
        let of = |url: String| Place::Git { url, commit: *commit };
        let https = || of(format!("https://{host}/{path}.git"));
        match written.split_once("://") {
            Some(("https" | "http", _)) => vec![of(written.clone())],
            Some(("git", _)) => vec![https()],
            // What is open to all is there without SSH too, which a user has to allow.
            _ if SshAddress::parse(written).is_some_and(|ssh| ssh.port.is_some()) => vec![of(written.clone())],
            _ if SshAddress::parse(written).is_some() => vec![of(written.clone()), https()],
            _ => vec![
                of(format!(
                    "ssh://{}{host}/{path}.git",
                    self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"))
                )),
                https(),
            ],
        }
    }

    /// Gives the ways in which clients write it.
    pub(super) fn spellings(&self) -> BTreeSet<String> {
        let Self { host, path, user, written, .. } = self;
        let users: BTreeSet<&str> = ["git"].into_iter().chain(user.as_deref()).collect();
        let mut roots: Vec<String> =
            ["https", "http", "git", "ssh"].iter().map(|scheme| format!("{scheme}://{host}/")).collect();
        roots.extend(users.iter().map(|user| format!("ssh://{user}@{host}/")));
        let known = roots.iter().map(|root| format!("git+{root}")).collect::<Vec<_>>();
        roots.extend(known);
        if !host.contains(':') {
            roots.extend(users.iter().map(|user| format!("{user}@{host}:")));
        }
        let both = roots.iter().flat_map(|root| [format!("{root}{path}"), format!("{root}{path}.git")]);
        both.chain([written.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn each_way_to_write_an_address_is_the_same_repository() {
        let https = "git+https://host.example/acme/left.git";
        for address in [
            https,
            "https://host.example/acme/left.git",
            "git://host.example/acme/left.git",
            "git+ssh://git@host.example/acme/left.git",
            "git+ssh://git@host.example:acme/left.git",
            "ssh://git@HOST.example/acme/left",
            "git@host.example:acme/left.git",
        ] {
            for fragment in [COMMIT.to_owned(), format!("commit={COMMIT}&workspace=a"), format!("{COMMIT}::path:sub")] {
                let found = GitAddress::of(&format!("{address}#{fragment}")).expect("a repository").expect(address);
                assert_eq!(
                    (found.name().as_str(), found.commit.to_string().as_str()),
                    ("host.example/acme/left", COMMIT)
                );
                assert!(found.spellings().contains("https://host.example/acme/left.git"), "{address}");
                assert!(found.spellings().contains(address.strip_prefix("git+").unwrap_or(address)), "{address}");
            }
        }
        let port = GitAddress::of(&format!("git+http://host.example:8080/left#{COMMIT}")).expect("one").expect("good");
        assert_eq!(port.name(), "host.example:8080/left");
        assert!(!port.spellings().iter().any(|one| one.starts_with("git@")));
    }

    #[test]
    fn what_is_no_repository_is_left_to_others_and_what_is_none_that_can_be_asked_is_refused() {
        for other in [
            "https://npm.example/a/-/a-1.0.0.tgz",
            "https://npm.example/a.tgz#0123",
            "npm:a@1.0.0",
            "ftp://host.example/a.git",
            "file:../a.git",
        ] {
            assert!(GitAddress::of(other).is_none(), "{other}");
        }
        for (place, says) in [
            ("git+https://me:word@host.example/a.git", "has a login in it"),
            ("git+https://host.example/../a.git", "no address of a git repository"),
            ("git+https://host.example/a?b.git", "no address of a git repository"),
            ("git+https://host.example", "no address of a git repository"),
            ("git+https://host.example/a\"]\n[b.git", "no address of a git repository"),
            ("git+ssh://-oProxyCommand=x/a.git", "no address of a git repository"),
            ("git+file:///etc/a.git", "no address of a git repository"),
        ] {
            let refused = GitAddress::parse(place, COMMIT).expect_err(place);
            assert!(refused.what.contains(says), "{place}: {}", refused.what);
            assert!(!refused.what.contains("word"), "{}", refused.what);
        }
        for commit in ["", "main", "0123", &COMMIT.to_uppercase()] {
            assert!(GitAddress::parse("git+https://host.example/a.git", commit).is_err(), "{commit}");
        }
    }
}
