//! The platforms that an image can be built for, in OCI's and in Debian's words.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An operating system and processor, as in an OCI image index. Only what Bulla can build is a value. The order is that of
/// manifests in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Platform {
    /// `linux/amd64`: Debian's `amd64`.
    #[serde(rename = "linux/amd64")]
    LinuxAmd64,
    /// `linux/arm64`: Debian's `arm64`.
    #[serde(rename = "linux/arm64")]
    LinuxArm64,
}

/// A platform that Bulla cannot build for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform that Bulla builds for; it is `linux/amd64` or `linux/arm64`")]
pub struct UnknownPlatform(String);

impl Platform {
    /// All of them, in their order.
    pub const ALL: [Self; 2] = [Self::LinuxAmd64, Self::LinuxArm64];
    /// The platform of the machine that builds: the sandbox knows the system calls of no other.
    pub const BUILD: Self = Self::LinuxAmd64;

    /// Gives the processor in OCI's words (Go's `GOARCH`).
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
            Self::LinuxArm64 => "arm64",
        }
    }

    /// Gives the operating system in OCI's words (Go's `GOOS`).
    pub const fn os(self) -> &'static str {
        "linux"
    }

    /// Gives the name of Debian's architecture.
    pub const fn debian(self) -> &'static str {
        self.architecture()
    }

    /// Gives the name of the architecture in names of tools and of folders with libraries (Debian Policy, 9.1.1):
    /// `aarch64-linux-gnu-gcc`.
    pub const fn triplet(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "x86_64-linux-gnu",
            Self::LinuxArm64 => "aarch64-linux-gnu",
        }
    }

    /// Gives the name that `uname -m` and the kernel's documents have for the processor.
    pub const fn machine(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "x86_64",
            Self::LinuxArm64 => "aarch64",
        }
    }

    /// Gives the platform of one of Debian's architectures; `None` for `all` and those that Bulla does not build for.
    pub fn of_debian(architecture: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.debian() == architecture)
    }

    /// Says whether it is that of the machine that builds.
    pub fn is_build(&self) -> bool {
        *self == Self::BUILD
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os(), self.architecture())
    }
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|platform| platform.to_string() == text);
        found.ok_or_else(|| UnknownPlatform(text.chars().take(100).flat_map(char::escape_debug).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_read_back_and_another_is_refused() {
        for platform in Platform::ALL {
            assert_eq!(platform.to_string().parse(), Ok(platform));
            assert_eq!(Platform::of_debian(platform.debian()), Some(platform));
        }
        for bad in ["", "amd64", "linux", "linux/arm/v7", "linux/amd64 ", "windows/amd64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        assert_eq!(Platform::of_debian("all"), None);
    }
}
