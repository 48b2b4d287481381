//! The repositories of a lock file. Clients run git, which finds a repository of one commit alone in a folder of the step: settings of git say so in the
//! place of each way in which the address can be written (git-config(1), `url.<base>.insteadOf`).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

use bulla_model::{Address, CleanPath, GitId, login::without_logins};

use super::{GitAddress, Refusal, Unserved, shortened};
use crate::{
    archive::Sink,
    dependencies::{Artifact, ArtifactError, Client, Folder, Place, ReadSeek},
    git::{Bare, MAX_PACK},
};

/// Where the repositories lie in every sandbox, each by its commit.
const REPOSITORIES: &str = "run/bulla/git";
/// The settings, which stand in the place of the system's and include them.
const SETTINGS: &str = "run/bulla/gitconfig";
/// What the settings begin with.
const HEAD: &str =
    "# Written by Bulla: repositories lie where what is locked of them does.\n[include]\n\tpath = /etc/gitconfig\n";
/// What clients say where there is no git: npm, shells, uv, Poetry.
const NO_GIT: [&str; 5] = [
    "spawn git ENOENT",
    "syscall spawn git",
    "git: not found",
    "Git executable not found",
    "No such file or directory: 'git'",
];
/// What stands for all addresses of archives of repositories.
pub(in crate::dependencies) const ARCHIVES: &str = "/git-archives";

/// The repositories of a lock file.
#[derive(Debug, Default)]
pub(in crate::dependencies) struct Repositories(BTreeMap<String, Known>);

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
    pub(in crate::dependencies) fn add(&mut self, address: &GitAddress, line: u32) -> Result<Artifact, Refusal> {
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
            return Err(Refusal { what, why: Unserved::Commit });
        }
        known.spellings.extend(address.spellings());
        Ok(address.artifact(line))
    }

    pub(in crate::dependencies) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the folder in which they lie. Two with the same commit are one.
    pub(in crate::dependencies) fn folder(&self, artifacts: &[Artifact]) -> Option<Folder> {
        let mut commits = BTreeSet::new();
        let of = |(place, artifact): (usize, &Artifact)| {
            (is_repository(artifact) && commits.insert(artifact.version.clone())).then_some(place)
        };
        let artifacts = artifacts.iter().enumerate().filter_map(of).collect();
        let target = CleanPath::parse(REPOSITORIES).expect("it is clean");
        (!self.is_empty()).then_some(Folder { target, artifacts })
    }

    /// Has git find them.
    pub(in crate::dependencies) fn enforce(&self, client: &mut Client) {
        if self.is_empty() {
            return;
        }
        let mut parts = vec![HEAD.to_owned()];
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
    pub(in crate::dependencies) fn first_of(&self, host: &str) -> Option<u32> {
        self.0.values().find(|known| known.host == host).map(|known| known.line)
    }

    /// Gives the line of the first.
    pub(in crate::dependencies) fn line(&self) -> Option<u32> {
        self.0.values().map(|known| known.line).min()
    }

    /// Gives the paths, beneath [`ARCHIVES`], at which clients look for archives of repositories, of hosts that they know by name. None is
    /// there; they take the repository then.
    pub(in crate::dependencies) fn archives(&self) -> impl Iterator<Item = String> {
        self.0.values().flat_map(|Known { commit, path, .. }| {
            ["tar.gz/*", "repository/archive.tar.gz", "get/*.tar.gz", "archive/*.tar.gz"]
                .map(|below| format!("{ARCHIVES}/{path}/{}", below.replace('*', &commit.to_string())))
        })
    }

    /// Gives the hosts that they ask for them.
    pub(in crate::dependencies) fn hosts_of_archives(&self) -> Vec<Address> {
        let hosts: BTreeSet<&str> = self.0.values().map(|known| known.host.as_str()).collect();
        let plain = hosts.into_iter().filter(|host| !host.contains(':') && host.contains('.'));
        let both = plain.flat_map(|host| [format!("https://{host}"), format!("https://codeload.{host}")]);
        let parsed = both.filter_map(|host| Address::parse(&format!("{host}/")).ok());
        parsed.map(|Address { origin, .. }| Address { origin, path: String::new() }).collect()
    }

    /// Says to the last words of a client what git did not find.
    pub(in crate::dependencies) fn answer_to(&self, words: &str) -> Option<String> {
        if NO_GIT.iter().any(|said| words.contains(said)) {
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
pub(in crate::dependencies) fn is_repository(artifact: &Artifact) -> bool {
    matches!(artifact.places.first(), Some(Place::Git { .. }))
}

/// Says whether a file of clients has settings of git.
pub(in crate::dependencies) fn is_settings(text: &[u8]) -> bool {
    text.starts_with(HEAD.as_bytes())
}

/// Refuses a repository with submodules, for a client that would go for them: a step has no place where they are.
///
/// # Errors
/// When it has some, or cannot be read.
pub(in crate::dependencies) fn check_submodules(
    artifact: &Artifact,
    body: &mut dyn ReadSeek,
) -> Result<(), ArtifactError> {
    match bare(artifact, body)?.submodules().first() {
        None => Ok(()),
        Some(path) => Err(damaged(artifact, with_submodule(path))),
    }
}

/// Reads the repository that an artifact is.
fn bare(artifact: &Artifact, body: &mut dyn ReadSeek) -> Result<Bare, ArtifactError> {
    let mut bytes = Vec::new();
    body.take(MAX_PACK + 1).read_to_end(&mut bytes).map_err(|error| damaged(artifact, error.to_string()))?;
    let commit = artifact.version.parse().map_err(|_| damaged(artifact, "it is no commit".to_owned()))?;
    Bare::read(bytes, commit).map_err(|error| damaged(artifact, error.to_string()))
}

/// Says of a commit that it has a submodule.
pub(in crate::dependencies) fn with_submodule(path: &CleanPath) -> String {
    format!(
        "the commit has a submodule, `{path}`, which clients would go for: depend on a release of the package in a registry, or on a commit without \
         submodules"
    )
}

/// Lays the repository that an artifact is into a folder by the name of its commit.
///
/// # Errors
/// When it is none, or the sink fails.
pub(in crate::dependencies) fn unpack(
    artifact: &Artifact,
    body: &mut dyn ReadSeek,
    sink: &mut dyn Sink,
) -> Result<(), ArtifactError> {
    let files = bare(artifact, body)?.files().map_err(|error| damaged(artifact, error.to_string()))?;
    for (path, bytes) in files {
        let path = format!("{}/{path}", artifact.version);
        let clean = |path: &str| CleanPath::parse(path).expect("it is clean");
        let mut above = path.match_indices('/').map(|(at, _)| clean(&path[..at]));
        let kept = above.try_for_each(|folder| sink.directory(&folder));
        let kept = kept.and_then(|()| sink.file(&clean(&path), false, &mut bytes.as_slice()));
        kept.map_err(|error| damaged(artifact, error.to_string()))?;
    }
    Ok(())
}

fn damaged(artifact: &Artifact, what: String) -> ArtifactError {
    ArtifactError { artifact: format!("{} {}", artifact.name, artifact.version), what, source: None }
}

/// Makes one of the settings of two lock files; `None` where one address would be two repositories.
pub(in crate::dependencies) fn joined(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (one, other) = (std::str::from_utf8(one).ok()?, std::str::from_utf8(other).ok()?);
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
    Some(format!("{}\n", parts.join("\n\n")).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::{super::GitAddress, *};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn settings_of_two_lock_files_are_joined_unless_one_address_would_be_two() {
        let joined = |one: &str, other: &str| {
            super::joined(one.as_bytes(), other.as_bytes()).map(|both| String::from_utf8(both).expect("text"))
        };
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
