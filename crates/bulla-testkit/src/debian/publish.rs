//! Writes the indexes of a repository and signs them, well or badly.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use bulla_model::{Digest, Epoch};

use super::{DebianRepo, TestKey};
use crate::archive;

/// How the index is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// By the repository's key.
    Good,
    /// Not at all: `InRelease` is the bare text.
    Unsigned,
    /// By a key that no one knows.
    OtherKey,
    /// By the right key, and changed afterwards.
    Changed,
}

/// What a published index says.
#[derive(Debug, Clone)]
pub struct Release {
    /// How it is signed.
    pub signing: Signing,
    /// Its date in seconds since 1970.
    pub date: u64,
    /// When it ends to be valid, in seconds since 1970.
    pub valid_until: Option<u64>,
    /// Whether indexes are also there by their digest.
    pub by_hash: bool,
    /// Added to the text of `Packages` after its digest was taken.
    pub packages_suffix: String,
    /// Added to the sizes that the release gives for the indexes.
    pub size_error: u64,
    /// Further fields.
    pub fields: Vec<(String, String)>,
    /// The codename, where it is another one than the suite.
    pub codename: Option<String>,
}

impl Default for Release {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            signing: Signing::Good,
            date: now - 3600,
            valid_until: None,
            by_hash: true,
            packages_suffix: String::new(),
            size_error: 0,
            fields: Vec::new(),
            codename: None,
        }
    }
}

impl Release {
    /// Makes an index with a fixed date, for tests that compare digests.
    pub fn dated(date: u64) -> Self {
        Self { date, ..Self::default() }
    }
}

/// Compresses bytes.
type Compress = fn(&[u8]) -> Vec<u8>;

/// The forms of an index.
const KINDS: [(&str, Compress); 3] = [("", <[u8]>::to_vec), (".gz", archive::gzip), (".xz", archive::xz)];

impl DebianRepo {
    /// Writes `InRelease`, `Release`, `Release.gpg` and `Packages` with `.gz` and `.xz` for the repository's suite.
    pub fn publish(&mut self, release: &Release) -> &mut Self {
        let sources: Vec<&str> = self.sources.values().map(String::as_str).collect();
        self.publish_suite(&self.suite, true, &sources.join("\n"), release);
        self
    }

    /// Publishes another suite (`trixie-security`) that has no packages, signed by the same key.
    pub fn publish_empty(&mut self, suite: &str, release: &Release) -> &mut Self {
        self.publish_suite(suite, false, "", release);
        self
    }

    /// Publishes the repository's suite, and those for its updates and security, which have no packages.
    pub fn publish_release(&mut self, release: &Release) -> &mut Self {
        for also in ["updates", "security"] {
            self.publish_suite(&format!("{}-{also}", self.suite), false, "", release);
        }
        self.publish(release)
    }

    fn publish_suite(&self, suite: &str, full: bool, sources: &str, release: &Release) {
        let root = self.root.join("dists").join(suite);
        let mut sums = String::new();
        for architecture in std::iter::once(&self.architecture).chain(&self.foreign) {
            let folder = format!("{}/binary-{architecture}", self.component);
            let packages = if full { self.packages_of(architecture) } else { String::new() };
            self.publish_list(&root, &folder, "Packages", &packages, release, &mut sums);
        }
        // Suites beside one that has sources have a list of them too, as in Debian.
        if !self.sources.is_empty() {
            self.publish_list(&root, &format!("{}/source", self.component), "Sources", sources, release, &mut sums);
        }
        self.sign(&root, &self.release_text(suite, release, &sums), release.signing);
    }

    fn publish_list(&self, root: &Path, folder: &str, name: &str, list: &str, release: &Release, sums: &mut String) {
        for (suffix, compress) in KINDS {
            let signed = compress(list.as_bytes());
            let digest = Digest::of(&signed);
            let size = signed.len() as u64 + release.size_error;
            sums.push_str(&format!(" {} {size} {folder}/{name}{suffix}\n", digest.hex()));
            let served = compress(format!("{list}{}", release.packages_suffix).as_bytes());
            write(&root.join(format!("{folder}/{name}{suffix}")), &served);
            if release.by_hash {
                write(&root.join(format!("{folder}/by-hash/SHA256/{}", digest.hex())), &served);
            }
        }
    }

    /// Gives the text of `Packages`.
    pub fn packages(&self) -> String {
        self.packages_of(&self.architecture)
    }

    /// Gives the list of an architecture: what is not of one of the others.
    fn packages_of(&self, architecture: &str) -> String {
        let is_of = |stanza: &str, other: &str| stanza.lines().any(|line| line == format!("Architecture: {other}"));
        let listed = |stanza: &&str| match architecture == self.architecture {
            true => !self.foreign.iter().any(|other| is_of(stanza, other)),
            false => is_of(stanza, architecture) || is_of(stanza, "all"),
        };
        self.stanzas.values().map(String::as_str).filter(listed).collect::<Vec<_>>().join("\n")
    }

    fn release_text(&self, suite: &str, release: &Release, sums: &str) -> String {
        let codename = release.codename.as_deref().unwrap_or(suite);
        let mut text = format!("Origin: Test\nLabel: Test\nSuite: {suite}\nCodename: {codename}\n");
        text.push_str(&format!("Date: {}\n", rfc2822(release.date)));
        if let Some(end) = release.valid_until {
            text.push_str(&format!("Valid-Until: {}\n", rfc2822(end)));
        }
        if release.by_hash {
            text.push_str("Acquire-By-Hash: yes\n");
        }
        for (field, value) in &release.fields {
            text.push_str(&format!("{field}: {value}\n"));
        }
        text.push_str(&format!(
            "Architectures: {}{}\nComponents: {}\nSHA256:\n{sums}",
            self.architecture,
            self.foreign.iter().map(|architecture| format!(" {architecture}")).collect::<String>(),
            self.component
        ));
        text
    }

    fn sign(&self, suite: &Path, text: &str, signing: Signing) {
        let other = TestKey::new();
        let key = if signing == Signing::OtherKey { &other } else { &self.key };
        let signed = match signing {
            Signing::Unsigned => text.to_owned(),
            Signing::Changed => key.clearsign(text).replacen("Label: Test", "Label: Tesu", 1),
            Signing::Good | Signing::OtherKey => key.clearsign(text),
        };
        write(&suite.join("InRelease"), signed.as_bytes());
        write(&suite.join("Release"), text.as_bytes());
        write(&suite.join("Release.gpg"), key.detached(text.as_bytes()).as_bytes());
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
    fs_err::write(path, bytes).expect("writing an index");
}

/// Writes a date as `Release` files have it: `Sat, 06 Jan 2024 10:00:00 UTC`.
pub(crate) fn rfc2822(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let iso = Epoch::new(seconds).expect("a date before the year 10000").rfc3339();
    let weekday = DAYS[usize::try_from(seconds / 86_400 % 7).expect("less than 7")];
    let month = MONTHS[iso[5..7].parse::<usize>().expect("a month") - 1];
    format!("{weekday}, {} {month} {} {} UTC", &iso[8..10], &iso[..4], &iso[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_release_files() {
        assert_eq!(rfc2822(0), "Thu, 01 Jan 1970 00:00:00 UTC");
        assert_eq!(rfc2822(1_704_535_200), "Sat, 06 Jan 2024 10:00:00 UTC");
    }
}
