//! Packages that lock files have from git repositories, each by its commit. Their clients run git, which finds a repository of that commit alone
//! in a folder of the step: settings of git say so in place of each way in which the address can be written (git-config(1), `url.<base>.insteadOf`).

use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{
    Address, CleanPath, GitId,
    git::{SshAddress, is_git_address},
    login::without_logins,
};

use super::{
    collected::Refused,
    words::{Unserved, shortened},
};
use crate::dependencies::{Artifact, Client, Folder, Hash, Place};

/// Where the repositories lie in every sandbox, each by its commit.
const REPOSITORIES: &str = "run/bulla/git";
/// The settings, which stand in the place of the system's and include them.
const SETTINGS: &str = "run/bulla/gitconfig";
/// What stands for all addresses of archives of repositories.
pub(super) const ARCHIVES: &str = "/git-archives";
/// The name of the file of every repository.
const FILE: &str = "git";

/// A commit of a repository, as a lock file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitAddress {
    /// The host, with a port where one is named.
    host: String,
    /// The path, without a slash before it and `.git` behind.
    path: String,
    user: Option<String>,
    /// The address as it is written, without `git+`.
    written: String,
    pub(super) commit: GitId,
}

impl GitAddress {
    /// Reads an address with a fragment, where it is that of a repository: `git+https://…#COMMIT`, `https://….git#commit=COMMIT`.
    pub(super) fn of(resolved: &str) -> Option<Result<Self, Refused>> {
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
    pub(super) fn parse(place: &str, commit: &str) -> Result<Self, Refused> {
        let shown = shortened(&without_logins(place));
        let refuse = |what: String, why: Unserved| Err(Refused { what, address: Some(why) });
        let written = place.strip_prefix("git+").unwrap_or(place);
        let Ok(commit) = commit.parse() else {
            let what =
                format!("the git repository `{shown}` is named with `{}`, which is no whole commit", shortened(commit));
            return refuse(what, Unserved::Git);
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
            return refuse(format!("`{shown}` is no address of a git repository that can be asked"), Unserved::Git);
        }
        Ok(Self { host, path, user, written: written.to_owned(), commit })
    }

    /// Gives the name by which the repository is known, however it is reached.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
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
    fn spellings(&self) -> BTreeSet<String> {
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

/// The repositories of a lock file.
#[derive(Debug, Default)]
pub(super) struct Repositories(BTreeMap<String, Known>);

#[derive(Debug)]
struct Known {
    commit: GitId,
    line: u32,
    spellings: BTreeSet<String>,
    host: String,
    path: String,
}

impl Repositories {
    /// Takes a commit, and gives what is to be fetched.
    ///
    /// # Errors
    /// When another one of the same repository was taken.
    pub(super) fn add(&mut self, address: &GitAddress, line: u32) -> Result<Artifact, Refused> {
        let name = address.name();
        let fresh = || Known {
            commit: address.commit,
            line,
            spellings: BTreeSet::new(),
            host: address.host.clone(),
            path: address.path.clone(),
        };
        let known = self.0.entry(name.clone()).or_insert_with(fresh);
        if known.commit != address.commit {
            let what = format!(
                "another commit of the git repository `{}` is in line {}: a step can be given one of each",
                shortened(&name),
                known.line
            );
            return Err(Refused { what, address: Some(Unserved::Git) });
        }
        known.spellings.extend(address.spellings());
        Ok(Artifact {
            name,
            version: address.commit.to_string(),
            file: FILE.to_owned(),
            hashes: vec![Hash::GitCommit(*address.commit.as_bytes())],
            places: address.places(),
            line,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the folder in which they lie. Two with the same commit are one.
    pub(super) fn folder(&self, artifacts: &[Artifact]) -> Option<Folder> {
        let mut commits = BTreeSet::new();
        let of = |(place, artifact): (usize, &Artifact)| {
            (is_repository(artifact) && commits.insert(artifact.version.clone())).then_some(place)
        };
        let artifacts = artifacts.iter().enumerate().filter_map(of).collect();
        let target = CleanPath::parse(REPOSITORIES).expect("it is clean");
        (!self.is_empty()).then_some(Folder { target, artifacts })
    }

    /// Has git find them.
    pub(super) fn enforce(&self, client: &mut Client) {
        if self.is_empty() {
            return;
        }
        let mut parts = vec!["# Written by Bulla: repositories lie where what is locked of them does.\n[include]\n\tpath = /etc/gitconfig\n".to_owned()];
        for known in self.0.values() {
            let lines = known.spellings.iter().map(|one| format!("\tinsteadOf = {one}\n"));
            let lines: String = lines.collect();
            parts.push(format!("[url \"file:///{REPOSITORIES}/{}\"]\n{lines}", known.commit));
        }
        client.env.insert("GIT_CONFIG_SYSTEM".to_owned(), format!("/{SETTINGS}"));
        let place = CleanPath::parse(SETTINGS).expect("it is clean");
        client.files.insert(place, parts.join("\n").into_bytes());
    }

    /// Gives the line of the first, and of which host it is.
    pub(super) fn first_of(&self, host: &str) -> Option<u32> {
        self.0.values().find(|known| known.host == host).map(|known| known.line)
    }

    /// Gives the line of the first.
    pub(super) fn line(&self) -> Option<u32> {
        self.0.values().map(|known| known.line).min()
    }

    /// Gives the paths, beneath [`ARCHIVES`], at which clients look for archives of repositories, of hosts that they know by name. None is
    /// there; they take the repository then.
    pub(super) fn archives(&self) -> impl Iterator<Item = String> {
        self.0.values().flat_map(|Known { commit, path, .. }| {
            ["tar.gz/*", "repository/archive.tar.gz", "get/*.tar.gz", "archive/*.tar.gz"]
                .map(|below| format!("{ARCHIVES}/{path}/{}", below.replace('*', &commit.to_string())))
        })
    }

    /// Gives the hosts that they ask for them.
    pub(super) fn hosts_of_archives(&self) -> Vec<Address> {
        let hosts: BTreeSet<&str> = self.0.values().map(|known| known.host.as_str()).collect();
        let plain = hosts.into_iter().filter(|host| !host.contains(':') && host.contains('.'));
        let both = plain.flat_map(|host| [format!("https://{host}"), format!("https://codeload.{host}")]);
        let parsed = both.filter_map(|host| Address::parse(&format!("{host}/")).ok());
        parsed.map(|Address { origin, .. }| Address { origin, path: String::new() }).collect()
    }

    /// Says to the last words of a client what git did not find.
    pub(super) fn answer_to(&self, words: &str) -> Option<String> {
        if ["spawn git ENOENT", "git: not found", "syscall spawn git"].iter().any(|said| words.contains(said)) {
            return Some(
                "the lock file has packages of git repositories, and the stage has no git: add `git` to its `packages`"
                    .to_owned(),
            );
        }
        let (_, behind) = words.split_once("unable to access '")?;
        let asked = behind.split('\'').next()?;
        let known = self.0.values().any(|known| known.spellings.contains(asked.trim_end_matches('/')));
        (!known).then(|| {
            format!("git asked for {}, of which the lock file has no commit", shortened(&without_logins(asked)))
        })
    }
}

/// Says whether an artifact is a repository.
pub(super) fn is_repository(artifact: &Artifact) -> bool {
    matches!(artifact.places.first(), Some(Place::Git { .. }))
}

/// Makes one of the settings of two lock files; `None` where one address would be two repositories.
pub(super) fn joined(one: &str, other: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for part in one.split("\n\n").chain(other.split("\n\n")).map(str::trim_end) {
        let owner = part.lines().next().unwrap_or_default();
        for line in part.lines().filter(|line| line.starts_with("\tinsteadOf")) {
            if *owners.entry(line).or_insert(owner) != owner {
                return None;
            }
        }
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    Some(format!("{}\n", parts.join("\n\n")))
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

    #[test]
    fn settings_of_two_lock_files_are_joined_unless_one_address_would_be_two() {
        let settings = |place: &str, commit: &str| {
            let mut all = Repositories::default();
            all.add(&GitAddress::parse(place, commit).expect("an address"), 1).expect("one");
            let mut client = Client::default();
            all.enforce(&mut client);
            String::from_utf8(client.files.into_values().next().expect("settings")).expect("text")
        };
        let one = settings("https://host.example/a.git", COMMIT);
        let other = settings("https://host.example/b.git", COMMIT);
        assert_eq!(joined(&one, &one).as_deref(), Some(one.as_str()));
        let both = joined(&one, &other).expect("both");
        assert_eq!(both.matches("[include]").count(), 1);
        assert!(both.contains("= https://host.example/a.git\n") && both.contains("= https://host.example/b.git\n"));
        assert_eq!(joined(&one, &settings("https://host.example/a.git", &"1".repeat(40))), None);
    }
}
