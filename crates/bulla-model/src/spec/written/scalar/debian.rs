//! Releases and packages of Debian.

use super::{Scalar, only, wrong};
use crate::{
    spec::{Name, PackageRequest, Position, Side},
    yaml::nearest,
};

/// The codename of a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::spec) struct Codename(pub(in crate::spec) String);

/// The releases that a slip of the pen is measured against.
const RELEASES: [(&str, &str); 6] =
    [("10", "buster"), ("11", "bullseye"), ("12", "bookworm"), ("13", "trixie"), ("14", "forky"), ("", "sid")];

impl Scalar for Codename {
    const NAME: &'static str = "Codename";
    const ABOUT: &'static str = "The codename of a release of Debian: `trixie`, `bookworm`";
    const PATTERN: Option<&'static str> = Some("^[a-z]{2,30}$");

    fn read(text: &str) -> Result<Self, String> {
        if let Some((_, name)) = RELEASES.iter().find(|(number, _)| *number == text) {
            return wrong(format_args!("`{text}` is a number, not a codename"), format_args!("write `{name}`"));
        }
        if ["stable", "oldstable", "oldoldstable", "testing", "unstable"].contains(&text) {
            let help = "write the codename, such as `trixie`, which stays the same release (`sid` for unstable)";
            return wrong(format_args!("`{text}` names another release from time to time"), help);
        }
        if !only(text, |c| c.is_ascii_lowercase()) || !(2..=30).contains(&text.len()) {
            return wrong(format_args!("`{text}` is not the codename of a release"), "write it as in `debian: trixie`");
        }
        let known = RELEASES.map(|(_, name)| name);
        match nearest(text, known) {
            Some(near) if !known.contains(&text) && text.len() > 4 && near.starts_with(text.get(..2).unwrap_or("")) => {
                wrong(format_args!("`{text}` is not a release of Debian"), format_args!("did you mean `{near}`?"))
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// The name of a suite.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Suite(pub(in crate::spec) String);

impl Scalar for Suite {
    const NAME: &'static str = "Suite";
    const ABOUT: &'static str = "A suite: `trixie`, `trixie-updates`, `trixie-backports`";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9.-]{0,62}$");

    fn read(text: &str) -> Result<Self, String> {
        word(text, "suite", "trixie-backports").map(Self)
    }
}

/// The name of a component.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Component(pub(in crate::spec) String);

impl Scalar for Component {
    const NAME: &'static str = "Component";
    const ABOUT: &'static str = "A component of the archive: `main`, `contrib`, `non-free`, `non-free-firmware`";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9.-]{0,62}$");

    fn read(text: &str) -> Result<Self, String> {
        word(text, "component", "contrib").map(Self)
    }
}

fn word(text: &str, what: &str, example: &str) -> Result<String, String> {
    let good = only(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
    match good && text.len() < 64 && !text.starts_with(['-', '.']) {
        true => Ok(text.to_owned()),
        false => {
            wrong(format_args!("`{text}` is not the name of a {what}"), format_args!("write it as in `{example}`"))
        }
    }
}

impl Scalar for PackageRequest {
    const NAME: &'static str = "Package";
    const ABOUT: &'static str =
        "A package, perhaps with its version, of which the end may be left open: `gcc`, `gcc=4:12.*`";
    const PATTERN: Option<&'static str> =
        Some(r"^[a-z0-9][a-z0-9+.-]+(:(target|cross))?(=[0-9][A-Za-z0-9.+~:-]*\*?)?$");

    fn read(text: &str) -> Result<Self, String> {
        let (front, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
        let sides = [Side::Target, Side::Cross];
        let of_word = |word: &str| sides.into_iter().find(|side| side.word() == Some(word));
        let side = front.split_once(':').and_then(|(name, word)| Some((name, of_word(word)?)));
        let (name, side) = side.unwrap_or((front, Side::Own));
        let good_name = only(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c))
            && (2..=200).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let good_version = |version: &str| {
            let exact = version.strip_suffix('*').unwrap_or(version);
            only(exact, |c| c.is_ascii_alphanumeric() || ".+~:-".contains(c))
                && exact.starts_with(|c: char| c.is_ascii_digit())
                && exact.len() <= 200
        };
        if good_name && version.is_none_or(good_version) {
            let version = version.map(str::to_owned);
            return Ok(Self { name: name.to_owned(), version, side, at: Position::default() });
        }
        let known = text.split([' ', '(', '>', '<', '=', ':']).next().unwrap_or_default();
        if front.contains(':') && text.starts_with(known) && !known.is_empty() {
            let help = "for the platform that is built for, write `NAME:target`, or for a tool that compiles for it `NAME:cross`";
            return wrong(format_args!("`{text}` is not a package"), help);
        }
        let help = match Name::near(known) {
            Some(near) => {
                format!("write `{near}`, or with a version `{near}=4:12.2.0-3`, or with its end open `{near}=4:12.*`")
            }
            None => "write the name, or with a version `gcc=4:12.2.0-3`, or with its end open `gcc=4:12.*`".to_owned(),
        };
        wrong(format_args!("`{text}` is not a package"), help)
    }
}
