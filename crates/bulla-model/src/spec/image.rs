//! The image that comes out: what it stands on, what is copied into it, and its configuration.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{AbsolutePath, Debian, Name, OutputRef, PackageRequest, Position, Release, Root, RootKind, Scripts};
use crate::{
    capability::Capabilities,
    oci::BaseReference,
    path::CleanPath,
    tree::{Mode, Owner},
};

pub use crate::image::Compression;

/// The image of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// What it stands on.
    pub base: Base,
    /// The users that are added to `/etc/passwd` and `/etc/group`.
    pub users: Vec<UserEntry>,
    /// What is copied into it, in this order; a later copy may replace files of an earlier one.
    pub copy: Vec<Copy>,
    /// The program that always runs, with its first arguments; empty when there is none.
    pub entrypoint: Vec<String>,
    /// The arguments, or the program where there is no entrypoint; empty when there are none.
    pub command: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Who runs it. Root only where [`Allow::root_user`] is set.
    pub user: User,
    /// Where it runs; `/` where the spec says nothing.
    pub workdir: AbsolutePath,
    /// The ports that it listens on.
    pub ports: Vec<Port>,
    /// The paths that hold data.
    pub volumes: Vec<AbsolutePath>,
    /// Labels of the image's configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// The signal that ends it: `SIGTERM`.
    pub stop_signal: Option<String>,
    /// What is allowed beyond the ordinary, each with a reason.
    pub allow: Allow,
    /// The most layers that it may have.
    pub layers: u32,
    /// How its layers are compressed.
    pub compression: Compression,
    /// Where it stands in the spec.
    #[serde(skip)]
    pub at: Position,
}

impl Image {
    /// Gives the packages that have to be locked for it.
    pub fn root(&self) -> Option<Root> {
        match &self.base {
            // Scripts want the programs that they are written for, and so the whole of a stage's root.
            Base::Debian { debian, scripts: Scripts::Run { .. } } => Some(Root::new(RootKind::Stage, debian.clone())),
            Base::Debian { debian, .. } => Some(Root::new(RootKind::Image, debian.clone())),
            Base::Scratch(scratch) => scratch.root(),
            Base::Image(_) => None,
        }
    }
}

/// What an image stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Packages of Debian, without the Essential set.
    Debian {
        /// The packages.
        debian: Debian,
        /// What is done about their maintainer scripts.
        scripts: Scripts,
    },
    /// An image of a registry or layout, whose layers stay as they are.
    Image(BaseReference),
    /// Nothing but what is asked for.
    Scratch(Scratch),
}

/// What an image from scratch has all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scratch {
    /// The release that certificates and time zones come from; set when one of them is.
    pub release: Option<Release>,
    /// Whether `/etc/ssl/certs/ca-certificates.crt` is there (package `ca-certificates`).
    pub certificates: bool,
    /// Whether `/usr/share/zoneinfo` is there (package `tzdata`).
    pub timezones: bool,
}

impl Scratch {
    fn root(&self) -> Option<Root> {
        let wanted = [(self.certificates, "ca-certificates"), (self.timezones, "tzdata")];
        let packages: Vec<_> =
            wanted.iter().filter(|(on, _)| *on).map(|(_, name)| PackageRequest::named(*name)).collect();
        let release = self.release.clone().filter(|_| !packages.is_empty())?;
        Some(Root::new(RootKind::Files, Debian { release, packages }))
    }
}

/// A user and its group of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserEntry {
    /// The name of the user and of its group.
    pub name: String,
    /// The numbers of both.
    pub owner: Owner,
    /// The home directory; it is not made.
    pub home: AbsolutePath,
    /// The shell; `/usr/sbin/nologin` where the spec says nothing.
    pub shell: AbsolutePath,
}

/// Something that is copied into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// What is copied.
    pub from: Origin,
    /// The path that it has in the image; not the folder it goes into. What a directory holds goes beneath it.
    pub to: AbsolutePath,
    /// The layer that it goes into; copies with the same name share one. `None` is the application's own, the last.
    pub layer: Option<Name>,
    /// Who owns it and all beneath it; `None` keeps the owners.
    pub owner: Option<Owner>,
    /// The permission bits (at most 0777) of each regular file in it; `None` keeps them. Directories keep theirs.
    #[serde(serialize_with = "octal")]
    pub mode: Option<Mode>,
    /// Where it stands in the spec.
    #[serde(skip)]
    pub at: Position,
}

fn octal<S: serde::Serializer>(mode: &Option<Mode>, serializer: S) -> Result<S::Ok, S::Error> {
    mode.map(|mode| format!("{mode:?}")).serialize(serializer)
}

/// Where a copy comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// An output of a stage.
    Output(OutputRef),
    /// A source, or what lies beneath a path of it.
    Source {
        /// The source.
        source: Name,
        /// The file or directory in it; `None` is all of it.
        path: Option<CleanPath>,
    },
}

impl Origin {
    /// Gives the stage that it comes from.
    pub const fn stage(&self) -> Option<&Name> {
        match self {
            Self::Output(output) => Some(&output.stage),
            Self::Source { .. } => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(output) => write!(f, "output {output}"),
            Self::Source { source, path: Some(path) } => write!(f, "source {source}/{path}"),
            Self::Source { source, path: None } => write!(f, "source {source}"),
        }
    }
}

/// A user or group by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(u32),
    /// A name of the image's `/etc/passwd` or `/etc/group`.
    Name(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Who runs the image, as it stands in the OCI configuration: `65532`, `65532:65532`, `www-data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user.
    pub user: Id,
    /// The group, where one is given.
    pub group: Option<Id>,
}

impl User {
    /// Says whether it is root, by number or by name.
    pub fn is_root(&self) -> bool {
        match &self.user {
            Id::Number(number) => *number == 0,
            Id::Name(name) => name == "root",
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.fmt(f)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

/// A port that the image listens on, written `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// The number; never 0.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// What an image may have beyond the ordinary. Each field is the reason, or has one; all go into the provenance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// Why it runs as root.
    pub root_user: Option<String>,
    /// Why it has a compiler or the like in it: see [`Spec::is_toolchain`](super::Spec::is_toolchain).
    pub toolchain: Option<String>,
    /// The files that keep their set-user-id and set-group-id bits, each with the reason; elsewhere the bits are dropped.
    pub setuid: BTreeMap<AbsolutePath, String>,
    /// The files that get capabilities. Left out of the canonical form where there are none, so that images without any keep
    /// their keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<AbsolutePath, Grant>,
}

/// What a file may do beyond the rights of its user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// The capabilities.
    #[serde(serialize_with = "as_text")]
    pub capabilities: Capabilities,
    /// Why it has them.
    pub reason: String,
}

fn as_text<S: serde::Serializer>(capabilities: &Capabilities, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(capabilities)
}
