//! The signed index of a suite: `InRelease`, or `Release` with `Release.gpg`.
//!
//! [`verify_inrelease`] and [`verify_detached`] are the only ways to a [`Release`]: the signature is checked first, then what
//! it covers is read, then its dates are compared. Fields are those of Debian's repository format.

use std::collections::BTreeMap;

use bulla_model::{CleanPath, Digest, Epoch, Fault, Kind};

use super::{
    clearsign::{self, ClearsignError},
    control::{Fields, NotAField},
    keyring::{CLOCK_SKEW, Keyring, SignatureError, SignedWith},
};

/// The most bytes that `InRelease` or `Release` may have; Debian's largest has about 3 MB.
pub const MAX_RELEASE: u64 = 32 << 20;
/// The most bytes that `Release.gpg` may have.
pub const MAX_SIGNATURE: u64 = 256 << 10;
/// The most files that one index may name; Debian's largest names about 10,000.
const MAX_FILES: usize = 500_000;

/// The digest and size, in bytes, that an index gives for a file.
pub type FileSum = (Digest, u64);

/// The verified index of one suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The name that moves, such as `stable`; empty when the index has none.
    pub suite: String,
    /// The name that stays, such as `trixie`; empty when the index has none.
    pub codename: String,
    /// When the index was made.
    pub date: Epoch,
    /// When the index ceases to be good.
    pub valid_until: Option<Epoch>,
    /// Debian's names of architectures.
    pub architectures: Vec<String>,
    /// The components, without a directory in front.
    pub components: Vec<String>,
    /// Whether files can be had under the name of their digest.
    pub by_hash: bool,
    /// Whether packages come from here only when they are asked for (`NotAutomatic`, as for backports).
    pub not_automatic: bool,
    /// Whether packages of `all` are in the index of each architecture too.
    pub all_is_included: bool,
    /// The keys that made good signatures.
    pub signed_with: Vec<SignedWith>,
    /// The digest of the file that was signed, as it was got.
    pub digest: Digest,
    files: BTreeMap<CleanPath, FileSum>,
}

/// Says why an index of a suite was refused. The suite is named by who asks.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The file is not one signed message.
    #[error("reading the signed index")]
    Clearsign(#[from] ClearsignError),
    /// No signature is good.
    #[error("checking who signed the index")]
    Signature(#[from] SignatureError),
    /// The text that was signed is not a paragraph of fields.
    #[error("reading the fields of the index")]
    Control(#[from] NotAField),
    /// A field is absent, twice there, or not what it should be.
    #[error("the field `{field}` of the index is {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// `Valid-Until` is past.
    #[error("the index expired at {valid_until}, and it is {now} now")]
    Expired {
        /// The end of its validity.
        valid_until: Epoch,
        /// The time that it was compared with.
        now: Epoch,
    },
    /// The index is from the future.
    #[error("the index is dated {date}, and it is only {now} now")]
    NotYetValid {
        /// The date of the index.
        date: Epoch,
        /// The time that it was compared with.
        now: Epoch,
    },
    /// The index is older than one that was seen before.
    #[error("the index was rolled back: it is dated {date}, but one of {remembered} was seen before")]
    RolledBack {
        /// The date of the index.
        date: Epoch,
        /// The newest date seen.
        remembered: Epoch,
    },
    /// The file has more bytes than any index.
    #[error("the index is larger than {MAX_RELEASE} bytes")]
    TooLarge,
}

impl Fault for ReleaseError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotYetValid { .. } => Kind::Environment,
            _ => Kind::Integrity,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Clearsign(ClearsignError::Unsigned) => "a portal or proxy may have answered instead of the mirror",
            Self::Signature(SignatureError::UnknownKeys { .. }) => {
                "if the repository is to be trusted, name the file of its public keys in the configuration (`Signed-By` in \
                 the sources that apt reads), after comparing the fingerprint with the one its owner publishes"
            }
            Self::Signature(SignatureError::ExpiredKey { .. }) => {
                "the owner of the repository publishes a renewed key; for Debian it comes with a newer version of Bulla"
            }
            Self::Expired { .. } => {
                "the mirror is stale, or the clock of this machine is wrong; try another mirror or compare the clock"
            }
            Self::NotYetValid { .. } => "the clock of this machine may be behind",
            Self::RolledBack { .. } => {
                "the mirror is behind, or somebody replays an old index; `--allow-downgrade` accepts it"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// The dates that an index is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates<'a> {
    /// The time at which the index must be good.
    pub now: Epoch,
    /// The newest date that was seen of the same suite, by the primary key that signed it; empty where going back is allowed.
    /// Another archive may have a suite of the same name, and its own time.
    pub seen: &'a BTreeMap<String, Epoch>,
}

impl Dates<'static> {
    /// Nothing was seen before.
    pub const fn first(now: Epoch) -> Self {
        const NOTHING: &BTreeMap<String, Epoch> = &BTreeMap::new();
        Self { now, seen: NOTHING }
    }
}

/// Verifies an `InRelease` file and reads it.
///
/// # Errors
/// When it is not one message with at least one good signature by a key of the keyring, is not an index, or its dates do
/// not fit.
pub fn verify_inrelease(bytes: &[u8], keyring: &Keyring, dates: Dates<'_>) -> Result<Release, ReleaseError> {
    if bytes.len() as u64 > MAX_RELEASE {
        return Err(ReleaseError::TooLarge);
    }
    let message = clearsign::parse(bytes)?;
    let signed_with = keyring.check(&message.signatures, &message.hashed, dates.now)?;
    accept(&message.text, Digest::of(bytes), signed_with, dates)
}

/// Verifies a `Release` file with its detached signatures (`Release.gpg`) and reads it.
///
/// # Errors
/// As [`verify_inrelease`].
pub fn verify_detached(
    bytes: &[u8],
    signature: &[u8],
    keyring: &Keyring,
    dates: Dates<'_>,
) -> Result<Release, ReleaseError> {
    if bytes.len() as u64 > MAX_RELEASE {
        return Err(ReleaseError::TooLarge);
    }
    let signatures = clearsign::signatures(signature)?;
    let signed_with = keyring.check(&signatures, bytes, dates.now)?;
    let text = std::str::from_utf8(bytes)
        .map_err(|_| ReleaseError::Field { field: "Release", problem: "not UTF-8".to_owned() })?;
    accept(text, Digest::of(bytes), signed_with, dates)
}

fn accept(text: &str, digest: Digest, signed_with: Vec<SignedWith>, dates: Dates<'_>) -> Result<Release, ReleaseError> {
    let release = parse(text, digest, signed_with)?;
    let Dates { now, seen } = dates;
    if release.date.seconds() > now.seconds() + CLOCK_SKEW {
        return Err(ReleaseError::NotYetValid { date: release.date, now });
    }
    if let Some(valid_until) = release.valid_until.filter(|until| *until < now) {
        return Err(ReleaseError::Expired { valid_until, now });
    }
    let newest = release.signed_with.iter().filter_map(|key| seen.get(&key.primary)).max().copied();
    match newest.filter(|remembered| release.date < *remembered) {
        Some(remembered) => Err(ReleaseError::RolledBack { date: release.date, remembered }),
        None => Ok(release),
    }
}

/// The fields that are read.
const KNOWN: [&str; 11] = [
    "Suite",
    "Codename",
    "Date",
    "Valid-Until",
    "Architectures",
    "Components",
    "SHA256",
    "Acquire-By-Hash",
    "NotAutomatic",
    "No-Support-for-Architecture-all",
    "Origin",
];

fn parse(text: &str, digest: Digest, signed_with: Vec<SignedWith>) -> Result<Release, ReleaseError> {
    let text = text.trim_matches('\n');
    let mut found: BTreeMap<&'static str, &str> = BTreeMap::new();
    for field in Fields::new(text) {
        let field = field?;
        if let Some(name) = KNOWN.into_iter().find(|name| field.is(name))
            && found.insert(name, field.value).is_some()
        {
            return Err(ReleaseError::Field { field: name, problem: "there twice".to_owned() });
        }
    }
    let get = |name: &str| found.get(name).copied().unwrap_or_default();
    let words = |name: &str| get(name).split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_yes = |name: &str| get(name).eq_ignore_ascii_case("yes");
    let date = |field: &'static str| {
        found
            .get(field)
            .map(|text| parse_date(text).ok_or_else(|| wrong(field, format!("not a date: `{}`", shorten(text)))))
            .transpose()
    };
    Ok(Release {
        suite: get("Suite").to_owned(),
        codename: get("Codename").to_owned(),
        date: date("Date")?.ok_or_else(|| wrong("Date", "absent".to_owned()))?,
        valid_until: date("Valid-Until")?,
        architectures: words("Architectures"),
        // The security archive writes `updates/main` for what lies in `main`.
        components: words("Components").iter().map(|c| c.rsplit('/').next().unwrap_or(c).to_owned()).collect(),
        by_hash: is_yes("Acquire-By-Hash"),
        not_automatic: is_yes("NotAutomatic"),
        all_is_included: words("No-Support-for-Architecture-all").iter().any(|word| word == "Packages")
            || !words("Architectures").iter().any(|word| word == "all"),
        signed_with,
        digest,
        files: parse_files(found.get("SHA256").copied().ok_or_else(|| wrong("SHA256", "absent".to_owned()))?)?,
    })
}

fn wrong(field: &'static str, problem: String) -> ReleaseError {
    ReleaseError::Field { field, problem }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Reads the lines `digest size path`.
fn parse_files(field: &str) -> Result<BTreeMap<CleanPath, FileSum>, ReleaseError> {
    let mut files = BTreeMap::new();
    for line in field.lines().filter(|line| !line.trim().is_empty()) {
        let bad = |what: &str| wrong("SHA256", format!("not a list of files: {what} in `{}`", shorten(line)));
        let mut words = line.split_ascii_whitespace();
        let (Some(digest), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("there are not three words"));
        };
        let digest = Digest::from_hex(digest).map_err(|_| bad("a bad digest"))?;
        let size = size.parse().map_err(|_| bad("a bad size"))?;
        let path = CleanPath::parse(path).map_err(|_| bad("a path that leads elsewhere"))?;
        if files.insert(path, (digest, size)).is_some_and(|other| other != (digest, size)) {
            return Err(bad("a second digest for the same path"));
        }
        if files.len() > MAX_FILES {
            return Err(bad("more files than an index has"));
        }
    }
    Ok(files)
}

impl Release {
    /// Gives the files of a folder, each by its name in it.
    pub fn files_of<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, FileSum)> + 'a {
        let inside = move |path: &'a CleanPath| path.as_str()?.strip_prefix(folder)?.strip_prefix('/');
        let all = self.files.iter().filter_map(move |(path, sum)| Some((inside(path)?, *sum)));
        all.filter(|(name, _)| !name.contains('/'))
    }

    /// Gives the digest and size of a file, whose path is relative to the directory of the index.
    pub fn file(&self, path: &str) -> Option<FileSum> {
        self.files.get(&CleanPath::parse(path).ok()?).copied()
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads a date such as `Sat, 11 Jul 2026 10:16:37 UTC` (RFC 5322, in UTC only).
pub fn parse_date(text: &str) -> Option<Epoch> {
    let rest = text.split_once(',').map_or(text, |(_, rest)| rest);
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let [day, month, year, time, zone] = *words.as_slice() else { return None };
    if !["UTC", "GMT", "+0000", "Z"].contains(&zone) {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let clock: Vec<u64> = time.split(':').map(number).collect::<Option<_>>()?;
    let [hour, minute, second] = *clock.as_slice() else { return None };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Epoch::from_civil(number(year)?, month, number(day)?, hour * 3600 + minute * 60 + second)
}

fn number(text: &str) -> Option<u64> {
    (text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: X\nSuite: stable\nCodename: trixie\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
        Architectures: all amd64\nComponents: updates/main contrib\nAcquire-By-Hash: yes\nSHA256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n";

    fn read(text: &str) -> Result<Release, ReleaseError> {
        parse(text, Digest::of(text), vec![])
    }

    #[test]
    fn the_fields_are_read() {
        let release = read(TEXT).expect("valid");
        assert_eq!((release.suite.as_str(), release.codename.as_str()), ("stable", "trixie"));
        assert_eq!(release.date.rfc3339(), "2026-07-11T10:16:37Z");
        assert_eq!(release.components, ["main", "contrib"]);
        assert_eq!(release.file("main/binary-amd64/Packages"), Some((Digest::of(b""), 0)));
        assert!(release.by_hash && !release.not_automatic && !release.all_is_included);
    }

    #[test]
    fn an_index_that_is_not_one_is_refused() {
        for (from, to) in [
            ("Date:", "Dote:"),
            ("UTC", "CET"),
            ("11 Jul", "31 Feb"),
            ("SHA256", "SHA1"),
            ("e3b0", "E3B0"),
            ("main/binary", "../binary"),
            ("main/binary", "/binary"),
            (" 0 main", " -1 main"),
            (" 0 main", " main"),
            ("Origin: X", "Suite: x"),
            ("Origin: X", "nothing"),
            ("Origin: X\n", "Origin: X\n\n"),
        ] {
            assert!(read(&TEXT.replace(from, to)).is_err(), "{from} -> {to}");
        }
        let twice = format!("{TEXT} {} 1 main/binary-amd64/Packages\n", Digest::of(b"x").hex());
        assert!(read(&twice).is_err());
    }

    #[test]
    fn dates_are_compared() {
        let release = format!("Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n{TEXT}");
        let check = |now: &str, not_before: Option<(&str, &str)>| {
            let time = |text: &str| parse_date(text).expect("a date");
            let signed_with = ["A", "B"].map(|key| SignedWith { fingerprint: "F".into(), primary: key.into() });
            let seen = not_before.map(|(key, date)| (key.to_owned(), time(date))).into_iter().collect();
            accept(&release, Digest::of(b""), signed_with.to_vec(), Dates { now: time(now), seen: &seen })
        };
        assert!(check("12 Jul 2026 00:00:00 UTC", None).is_ok());
        assert!(check("12 Jul 2026 00:00:00 UTC", Some(("A", "11 Jul 2026 10:16:37 UTC"))).is_ok());
        assert!(
            check("12 Jul 2026 00:00:00 UTC", Some(("C", "11 Jul 2026 10:16:38 UTC"))).is_ok(),
            "of another archive"
        );
        let back = check("12 Jul 2026 00:00:00 UTC", Some(("B", "11 Jul 2026 10:16:38 UTC")));
        assert!(matches!(back, Err(ReleaseError::RolledBack { .. })));
        assert!(matches!(check("1 Aug 2026 00:00:00 UTC", None), Err(ReleaseError::Expired { .. })));
        assert!(matches!(check("1 Jul 2026 00:00:00 UTC", None), Err(ReleaseError::NotYetValid { .. })));
    }
}
