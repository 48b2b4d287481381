//! The keys of a source.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{
    Codename, CommitText, Component, FileName, GitAddress, KeyFile, Reason, RefText, Sha256, SourcePath, Subfolder,
    Suite, UnpackWord, UrlText,
};
use crate::{
    spec::{Glob, PackageRequest},
    yaml::At,
};

/// Files that are built: a folder of the project (`path`), what a URL gives (`url`), a commit of a git repository (`git`), or a
/// source package of Debian (`debian`); one of the four. What does not lie in the project is pinned by digest in the lock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "the keys of a source, such as `{path: .}`")]
#[schemars(rename = "Source")]
pub(in crate::spec) struct SourceKeys {
    /// A folder of the project, relative to the spec; `.` is the spec's own folder. It cannot lie outside of that.
    #[schemars(extend("x-example" = "path: site"))]
    #[serde(default)]
    pub(in crate::spec) path: Option<At<SourcePath>>,
    /// A file or archive that is downloaded. An archive (`.tar`, `.tar.gz`, `.tar.xz`, `.tar.zst`, `.tar.bz2`, `.zip`) is
    /// unpacked. Say by `sha256` or `signature` why its bytes are the right ones.
    #[schemars(extend("x-example" = "url: https://download.example/redis-7.2.5.tar.gz"))]
    #[serde(default)]
    pub(in crate::spec) url: Option<At<UrlText>>,
    /// The SHA-256 of what the URL gives, in hexadecimal.
    #[schemars(extend("x-example" = "sha256: 5981179706f8391f03be91d951acafaeda91af7fac56beffb2701963103e423d"))]
    #[serde(default)]
    pub(in crate::spec) sha256: Option<At<Sha256>>,
    /// The URL of a detached signature, made with OpenPGP or minisign. It is verified when the lock is written.
    #[schemars(extend("x-example" = "signature: https://download.example/redis-7.2.5.tar.gz.asc"))]
    #[serde(default)]
    pub(in crate::spec) signature: Option<At<UrlText>>,
    /// The file of the project with the public keys that may have made the signature: OpenPGP or minisign for `url`; OpenPGP,
    /// or allowed signers of SSH (ssh-keygen(1)), for `git`, where the tag must be signed, or else the commit.
    #[schemars(extend("x-example" = "signed-by: keys/redis.asc"))]
    #[serde(default)]
    pub(in crate::spec) signed_by: Option<At<KeyFile>>,
    /// Why a `url` has neither `sha256` nor `signature`, or a `git` neither `commit` nor `signed-by`: then what comes first,
    /// over an encrypted connection, is believed, and pinned in the lock.
    #[schemars(extend("x-example" = "unsigned: the project publishes no digest and no signature"))]
    #[serde(default)]
    pub(in crate::spec) unsigned: Option<At<Reason>>,
    /// A git repository, of which one commit is taken: that of a `tag`, of a `branch`, or the `commit` itself. The lock pins the
    /// commit, and the SHA-256 of its files.
    #[schemars(extend("x-example" = "git: https://git.example/shop.git"))]
    #[serde(default)]
    pub(in crate::spec) git: Option<At<GitAddress>>,
    /// The tag that is taken of the repository. It moves only by `bulla lock --update NAME`.
    #[schemars(extend("x-example" = "tag: v1.4.2"))]
    #[serde(default)]
    pub(in crate::spec) tag: Option<At<RefText>>,
    /// The branch whose newest commit is taken. It moves only by `bulla lock --update NAME`.
    #[schemars(extend("x-example" = "branch: main"))]
    #[serde(default)]
    pub(in crate::spec) branch: Option<At<RefText>>,
    /// The commit that is taken.
    #[schemars(extend("x-example" = "commit: 3f786850e387550fdab836ed7e6dc881de23001b"))]
    #[serde(default)]
    pub(in crate::spec) commit: Option<At<CommitText>>,
    /// Whether the submodules of the repository are checked out too, and theirs: `false` by default, which leaves their folders
    /// empty. Each is pinned in the lock.
    #[schemars(extend("x-example" = "submodules: true"))]
    #[serde(default)]
    pub(in crate::spec) submodules: Option<At<bool>>,
    /// Whether what Git LFS keeps elsewhere is put in place of its pointers: `false` by default. It is asked for at the
    /// repository's own server, and hashed.
    #[schemars(extend("x-example" = "lfs: true"))]
    #[serde(default)]
    pub(in crate::spec) lfs: Option<At<bool>>,
    /// How what the URL gives is unpacked, where its name does not tell; `no` takes it as the file that it is.
    #[schemars(extend("x-example" = "unpack: tar.gz"))]
    #[serde(default)]
    pub(in crate::spec) unpack: Option<At<UnpackWord>>,
    /// The name of a file that is not unpacked: by default the last part of the URL.
    #[schemars(extend("x-example" = "file: data.csv"))]
    #[serde(default)]
    pub(in crate::spec) file: Option<At<FileName>>,
    /// How many folders are taken off the front of each name in the archive, as `tar --strip-components` does.
    #[schemars(extend("x-example" = "strip: 1"))]
    #[serde(default)]
    pub(in crate::spec) strip: Option<At<u32>>,
    /// The codename of the release of Debian that the source package is taken from, by its signed index.
    #[schemars(extend("x-example" = "debian: bookworm"))]
    #[serde(default)]
    pub(in crate::spec) debian: Option<At<Codename>>,
    /// The source package, as `apt-get source` unpacks it: with Debian's patches applied. A version, or the beginning of one,
    /// is written behind `=`.
    #[schemars(extend("x-example" = "source-package: redis"))]
    #[serde(default)]
    pub(in crate::spec) source_package: Option<At<PackageRequest>>,
    /// The suites to look in: by default the release, its `-updates` and its `-security`.
    #[schemars(extend("x-example" = "suites: [trixie, trixie-backports]"))]
    #[serde(default)]
    pub(in crate::spec) suites: Option<At<Vec<At<Suite>>>>,
    /// The components to look in: by default `main`.
    #[schemars(extend("x-example" = "components: [main, contrib]"))]
    #[serde(default)]
    pub(in crate::spec) components: Option<At<Vec<At<Component>>>>,
    /// The folder of what was unpacked that becomes the source; by default all of it.
    #[schemars(extend("x-example" = "subfolder: deps/jemalloc"))]
    #[serde(default)]
    pub(in crate::spec) subfolder: Option<At<Subfolder>>,
    /// What is left out: patterns relative to the source, in which `*`, `?` and `[a-z]` match within a name and `**`
    /// matches any number of names. A pattern that matches a folder matches all in it.
    #[schemars(extend("x-example" = "ignore: [docs/**, '**/*.o']"))]
    #[serde(default)]
    pub(in crate::spec) ignore: Vec<At<Glob>>,
}
