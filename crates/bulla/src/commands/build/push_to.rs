//! The value of `--push`: a reference, in which `{name}` stands for the name of what is built.

use std::str::FromStr;

use bulla_model::{
    oci::{Reference, ReferenceError},
    spec::Name,
};

use crate::error::{CliError, Result};

/// What stands for the name that a spec has.
const NAME: &str = "{name}";

/// Where images are pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushTo(String);

/// Why a text is not where images can be pushed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PushToError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A spec may be a stranger's, and would choose who gets the image.
    #[error("`{NAME}` cannot be a part of the registry's host: write `HOST/{NAME}:TAG`")]
    Host,
}

impl FromStr for PushTo {
    type Err = PushToError;

    fn from_str(text: &str) -> std::result::Result<Self, PushToError> {
        if text.split('/').next().is_some_and(|host| host.contains(NAME)) {
            return Err(PushToError::Host);
        }
        Reference::parse(&text.replace(NAME, "name"))?;
        Ok(Self(text.to_owned()))
    }
}

impl PushTo {
    /// Says whether images of several names go to several places.
    pub(super) fn is_for_many(&self) -> bool {
        self.0.contains(NAME)
    }

    /// Gives the reference for the image of a spec.
    ///
    /// # Errors
    /// When the name is none that a repository or tag can have.
    pub(super) fn of(&self, name: &Name) -> Result<Reference> {
        let reference = Reference::parse(&self.0.replace(NAME, name.as_str()));
        reference.map_err(|error| CliError::Option(error.to_string()).into())
    }

    /// Writes what several images could be pushed to instead.
    pub(super) fn for_many(&self) -> String {
        match Reference::parse(&self.0) {
            Ok(reference) => {
                let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
                format!("{}/{NAME}{tag}", reference.name())
            }
            Err(_) => self.0.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_put_in_and_never_into_the_host() {
        let name: Name = "shop".parse().expect("a name");
        let of = |text: &str| text.parse::<PushTo>().map(|to| to.of(&name).expect("a reference").to_string());
        assert_eq!(of("r.example/team/{name}:1.4").as_deref(), Ok("r.example/team/shop:1.4"));
        assert_eq!(of("r.example:5000/all:{name}-1").as_deref(), Ok("r.example:5000/all:shop-1"));
        assert_eq!(of("r.example/shop").as_deref(), Ok("r.example/shop:latest"));
        for bad in ["{name}.example/x", "{name}/x", "r.example:{name}/x", "{name}", "r.example/{nome}", ""] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let one: PushTo = "r.example:5000/team:1.4".parse().expect("a place");
        assert!(!one.is_for_many() && one.for_many() == "r.example:5000/team/{name}:1.4");
        // A name that is good elsewhere may be none for a repository.
        let odd: Name = "a-".parse().expect("a name");
        assert!("r.example/{name}".parse::<PushTo>().expect("a place").of(&odd).is_err());
    }
}
