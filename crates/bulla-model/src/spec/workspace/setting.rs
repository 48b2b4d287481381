//! The names of what can be bounded, as waivers and messages write them.

use std::fmt;

/// Something that a workspace can bound or forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// What happens at a refusal.
    OnRefusal,
    /// Memory of a step.
    Memory,
    /// Time of a step.
    Time,
    /// Processes of a step.
    Processes,
    /// What a step may write.
    Disk,
    /// Releases, suites and components of Debian.
    Debian,
    /// Images of registries to start from.
    Images,
    /// An image that runs as root.
    RootUser,
    /// A compiler in an image.
    Toolchain,
    /// Set-user-id bits in an image.
    Setuid,
    /// File capabilities in an image.
    Capabilities,
    /// A source that nothing vouches for.
    Unsigned,
    /// Maintainer scripts that run for an image.
    Scripts,
    /// A stage whose calls to change the user are answered and do nothing.
    FakeIdentity,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::OnRefusal,
        Self::Memory,
        Self::Time,
        Self::Processes,
        Self::Disk,
        Self::Debian,
        Self::Images,
        Self::RootUser,
        Self::Toolchain,
        Self::Setuid,
        Self::Capabilities,
        Self::Unsigned,
        Self::Scripts,
        Self::FakeIdentity,
    ];

    /// Those that `forbid` can name: words of a spec that are allowed or not.
    pub const FORBIDDABLE: [Self; 7] = [
        Self::RootUser,
        Self::Toolchain,
        Self::Setuid,
        Self::Capabilities,
        Self::Unsigned,
        Self::Scripts,
        Self::FakeIdentity,
    ];

    /// Gives its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnRefusal => "on-refusal",
            Self::Memory => "limits.memory",
            Self::Time => "limits.time",
            Self::Processes => "limits.processes",
            Self::Disk => "limits.disk",
            Self::Debian => "debian",
            Self::Images => "images",
            Self::RootUser => "root-user",
            Self::Toolchain => "toolchain",
            Self::Setuid => "setuid",
            Self::Capabilities => "capabilities",
            Self::Unsigned => "unsigned",
            Self::Scripts => "scripts",
            Self::FakeIdentity => "fake-identity",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
