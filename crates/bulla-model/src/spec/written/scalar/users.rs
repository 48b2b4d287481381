//! Users and owners.

use super::{Scalar, only, wrong};
use crate::spec::{Id, User};

/// Reads a number or name of a user or group.
fn id(text: &str) -> Option<Id> {
    if only(text, |c| c.is_ascii_digit()) {
        // The last number means "no change" to chown.
        return text.parse().ok().filter(|id| *id < u32::MAX).map(Id::Number);
    }
    let good = only(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-' || c == '.');
    (good && text.len() <= 32 && !text.starts_with(['-', '.'])).then(|| Id::Name(text.to_owned()))
}

impl Scalar for User {
    const NAME: &'static str = "User";
    const ABOUT: &'static str = "A user, perhaps with a group, by number or name: `65532`, `65532:65532`, `www-data`";
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        match (id(user), group.map(id)) {
            (Some(user), None) => Ok(Self { user, group: None }),
            (Some(user), Some(Some(group))) => Ok(Self { user, group: Some(group) }),
            _ => wrong(
                format_args!("`{text}` is not a user"),
                "write a number or a name, perhaps with a group: `65532:65532`",
            ),
        }
    }
}

/// An owner by number or by a name of `image.users`.
#[derive(Debug, Clone)]
pub(in crate::spec) struct OwnerText(pub(in crate::spec) User);

impl Scalar for OwnerText {
    const NAME: &'static str = "Owner";
    const ABOUT: &'static str =
        "An owner: UID, UID:GID, or a name of `image.users`; the group is the user's number without one";
    const LOOKS_LIKE_A_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        User::read(text).map(Self)
    }
}

/// The name of a user that is added.
#[derive(Debug, Clone)]
pub(in crate::spec) struct UserName(pub(in crate::spec) String);

impl Scalar for UserName {
    const NAME: &'static str = "UserName";
    const ABOUT: &'static str = "The name of a user: lower-case letters, digits, `-`, `_` and `.`, at most 32";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9_][a-z0-9_.-]{0,31}$");

    fn read(text: &str) -> Result<Self, String> {
        match id(text) {
            Some(Id::Name(name)) => Ok(Self(name)),
            _ => {
                wrong(format_args!("`{text}` is not the name of a user"), "use lower-case letters, digits, `-` and `_`")
            }
        }
    }
}
