//! What is otherwise around the steps of a second run, whose image is compared with the first one's.
//!
//! A second run is always later, and finds no result, no cache and no folder of the first. What else may differ from machine to machine
//! is fixed by the sandbox; a second run has it otherwise on purpose, so that what depends on it is found out where it can still be
//! mended. The paths of sources are those that the spec says, and nothing else can be meant by them: they stay.

use std::{collections::BTreeSet, fmt, str::FromStr};

use bulla_sandbox::Request;

/// Something around a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variation {
    /// The time zone, where the spec says none.
    Zone,
    /// The locale, where the spec says none.
    Locale,
    /// The host's name.
    HostName,
    /// The user's name, where the spec says none.
    User,
    /// The mask of permissions of new files.
    Umask,
    /// The number of processors: one.
    Processors,
    /// The order in which directories list their entries: the root is a copy, and no overlay.
    DirectoryOrder,
}

impl Variation {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Zone, Self::Locale, Self::HostName, Self::User, Self::Umask, Self::Processors, Self::DirectoryOrder];

    /// Those that a second run has where nobody asks for others. The mask of permissions is not among them: the modes of all that a step makes
    /// follow it, and they are what the image is to have.
    pub const USUAL: [Self; 6] =
        [Self::Zone, Self::Locale, Self::HostName, Self::User, Self::Processors, Self::DirectoryOrder];

    /// Gives its name in evidence and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Locale => "locale",
            Self::HostName => "host-name",
            Self::User => "user",
            Self::Umask => "umask",
            Self::Processors => "processors",
            Self::DirectoryOrder => "directory-order",
        }
    }

    fn apply(self, request: &mut Request) {
        let mut other = |name: &str, usual: Option<&str>, value: &str| {
            if request.env.get(name).map(String::as_str) == usual {
                request.env.insert(name.to_owned(), value.to_owned());
            }
        };
        match self {
            // In the form that needs no data (POSIX.1-2024, "Environment Variables"): fourteen hours ahead, a day that UTC has not yet.
            Self::Zone => other("TZ", Some("UTC"), "AHEAD-14"),
            Self::Locale => other("LC_ALL", Some("C.UTF-8"), "POSIX"),
            Self::User => other("USER", Some("root"), "somebody"),
            Self::HostName => request.hostname = "elsewhere".to_owned(),
            Self::Umask => request.umask = 0o077,
            Self::Processors => request.limits.cpus = Some(1),
            // Before a root is made.
            Self::DirectoryOrder => {}
        }
    }
}

impl fmt::Display for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no variation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such variation; there are {}", Variation::ALL.map(Variation::name).join(", "))]
pub struct NoVariation;

impl FromStr for Variation {
    type Err = NoVariation;

    fn from_str(text: &str) -> Result<Self, NoVariation> {
        Self::ALL.into_iter().find(|variation| variation.name() == text).ok_or(NoVariation)
    }
}

/// Puts a step into other surroundings.
pub(crate) fn apply(variations: Option<&BTreeSet<Variation>>, request: &mut Request) {
    variations.into_iter().flatten().for_each(|variation| variation.apply(request));
}
