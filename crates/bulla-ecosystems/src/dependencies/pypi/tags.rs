//! Which Pythons there may be in a stage, and which files run on them.
//!
//! A stage is Linux on x86-64 with glibc. Which Python it has is not known when a lock file is read, so a file is wanted when any
//! Python that may be there runs it.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

/// The oldest Python 3 that is thought of where nothing says which; the oldest that a supported Debian has.
pub(super) const OLDEST: u32 = 9;
/// The newest that is thought of.
const NEWEST: u32 = 63;
/// Patch releases that stand for all: where specifiers name one, it is most often among these.
const PATCHES: std::ops::RangeInclusive<u64> = 0..=30;

/// A set of minor versions of CPython 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pythons(u64);

impl Default for Pythons {
    fn default() -> Self {
        Self::from(OLDEST)
    }
}

impl Pythons {
    /// None at all.
    pub(super) const NONE: Self = Self(0);

    /// One that is known: `3.MINOR`.
    pub const fn exactly(minor: u32) -> Self {
        if minor > NEWEST { Self::NONE } else { Self(1 << minor) }
    }

    /// This one and all that come after.
    pub(super) const fn from(minor: u32) -> Self {
        if minor > NEWEST { Self::NONE } else { Self(u64::MAX << minor) }
    }

    /// Those of which a stage has packages of Debian, by the names and versions of its packages; all, where it has none of them.
    pub fn of_packages<'a>(packages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let minor = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
        let found = packages.into_iter().filter_map(|(name, version)| match name.strip_prefix("python3")? {
            "" | "-minimal" => minor(version.strip_prefix("3.")?),
            rest => {
                let rest = rest.strip_prefix('.')?;
                let rest = rest.strip_suffix("-minimal").unwrap_or(rest);
                rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| minor(rest)).flatten()
            }
        });
        let all = found.map(Self::exactly).fold(Self::NONE, Self::or);
        if all.is_empty() { Self::default() } else { all }
    }

    /// Names the one that it is, with a blank after it; nothing where there are several.
    pub(super) fn shown(self) -> String {
        let mut minors = self.minors();
        match (minors.next(), minors.next()) {
            (Some(one), None) => format!("3.{one} "),
            _ => String::new(),
        }
    }

    /// What both have.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What one of them has.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of the others are in it.
    pub(super) const fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// The minor versions, oldest first.
    pub(super) fn minors(self) -> impl Iterator<Item = u32> {
        (0..=NEWEST).filter(move |minor| self.0 & (1 << minor) != 0)
    }

    /// Reads what `requires-python` says; `None` when it is no list of specifiers.
    pub(super) fn requiring(text: &str) -> Option<Self> {
        if text.len() > 1024 {
            return None;
        }
        let specifiers = VersionSpecifiers::from_str(text).ok()?;
        let any = |minor: u32| {
            PATCHES.chain([99]).any(|patch| specifiers.contains(&Version::new([3, u64::from(minor), patch])))
        };
        Some((0..=NEWEST).filter(|minor| any(*minor)).fold(Self::NONE, |all, minor| all.or(Self(1 << minor))))
    }
}

/// Says which Pythons run a wheel on Linux, x86-64, glibc: what pip takes there (platform compatibility tags; PEP 425, 600).
pub(super) fn runs_on(python: &str, abi: &str, platform: &str) -> Pythons {
    if !platform.split('.').any(is_this_platform) {
        return Pythons::NONE;
    }
    let all = |python| abi.split('.').map(move |abi| one(python, abi));
    python.split('.').flat_map(all).fold(Pythons::NONE, Pythons::or)
}

fn is_this_platform(tag: &str) -> bool {
    match tag.strip_suffix("_x86_64") {
        Some("linux" | "manylinux1" | "manylinux2010" | "manylinux2014") => true,
        Some(rest) => rest.strip_prefix("manylinux_2_").is_some_and(|minor| minor.parse::<u16>().is_ok()),
        None => tag == "any",
    }
}

fn one(python: &str, abi: &str) -> Pythons {
    let minor = |digits: &str| match digits.len() {
        1..=2 if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u32>().ok(),
        _ => None,
    };
    if python == "py3" && abi == "none" {
        return Pythons::from(0);
    }
    match (python.strip_prefix("py3").and_then(minor), python.strip_prefix("cp3").and_then(minor)) {
        (Some(oldest), None) if abi == "none" => Pythons::from(oldest),
        (None, Some(oldest)) if abi == "abi3" => Pythons::from(oldest),
        (None, Some(exact)) if abi == "none" || abi == python => Pythons::exactly(exact),
        // Until 3.7 the interface had a letter more.
        (None, Some(exact)) if exact <= 7 && abi.strip_suffix('m') == Some(python) => Pythons::exactly(exact),
        _ => Pythons::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_run_where_pip_takes_them() {
        let eleven = Pythons::exactly(11);
        for (python, abi, platform) in [
            ("py3", "none", "any"),
            ("py2.py3", "none", "any"),
            ("py38", "none", "any"),
            ("cp311", "cp311", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
            ("cp311", "cp311", "linux_x86_64"),
            ("cp311", "none", "any"),
            ("cp37", "abi3", "manylinux_2_28_x86_64"),
            ("py3", "none", "manylinux1_x86_64"),
        ] {
            assert!(runs_on(python, abi, platform).covers(eleven), "{python}-{abi}-{platform}");
        }
        for (python, abi, platform) in [
            ("py2", "none", "any"),
            ("py312", "none", "any"),
            ("cp312", "cp312", "manylinux2014_x86_64"),
            ("cp311", "cp311", "manylinux2014_aarch64"),
            ("cp311", "cp311", "musllinux_1_2_x86_64"),
            ("cp311", "cp311", "win_amd64"),
            ("cp311", "cp311", "macosx_10_9_x86_64"),
            ("cp311", "cp311t", "manylinux2014_x86_64"),
            ("pp311", "pypy311_pp73", "manylinux2014_x86_64"),
            ("cp312", "abi3", "manylinux2014_x86_64"),
            ("cp3999", "abi3", "any"),
        ] {
            assert!(runs_on(python, abi, platform).and(eleven).is_empty(), "{python}-{abi}-{platform}");
        }
    }

    #[test]
    fn packages_of_debian_say_which_python_there_is() {
        let of = |packages: &[(&str, &str)]| Pythons::of_packages(packages.iter().copied());
        let eleven =
            [("libc6", "2.36"), ("python3", "3.11.2-1+b1"), ("python3-pip", "23.0.1"), ("python3.11", "3.11.2-6")];
        assert_eq!(of(&eleven), Pythons::exactly(11));
        assert_eq!(
            of(&[("python3", "3.13.5-1"), ("python3.14", "3.14.0-1")]),
            Pythons::exactly(13).or(Pythons::exactly(14))
        );
        assert_eq!(of(&[("python3-minimal", "3.9.2-3")]), Pythons::exactly(9));
        for unknown in [&[("libpython3.11", "3.11.2"), ("python3.x", "1"), ("python3", "4.0")][..], &[]] {
            assert_eq!(of(unknown), Pythons::default());
        }
    }

    #[test]
    fn what_a_lock_requires_bounds_the_pythons() {
        let minors = |text: &str| Pythons::requiring(text).expect("specifiers").minors().collect::<Vec<_>>();
        assert_eq!(minors(">=3.11.4, <3.13"), [11, 12]);
        assert_eq!(minors("==3.12.*"), [12]);
        assert_eq!(minors("==3.12.7"), [12]);
        assert_eq!(minors(">=3.60,!=3.61.*"), [60, 62, 63]);
        assert_eq!(minors("<3"), [0_u32; 0]);
        assert_eq!(Pythons::requiring("3.11 or so"), None);
    }
}
