//! How [`super::super::Place::Registry`] says where something of cargo is: it has more to say than a path.

use std::fmt;

/// What stands before an address that is asked with the registry's login.
const LOGIN: &str = "with-login";

/// A document or a crate of a registry. As text: the index where it is not that of cargo's own registry, `with-login`, and the place, with
/// blanks between them; none of them has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoPlace {
    /// The address of the registry's sparse index, as lock files have it, with a slash at the end; `None` for cargo's own registry.
    pub index: Option<String>,
    /// A path of the index; or the whole address of a crate, which the registry's own `config.json` gave.
    pub path: String,
    /// Whether the registry wants a login for it (`auth-required` of its `config.json`).
    pub login: bool,
}

impl CargoPlace {
    /// Reads the text; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words: Vec<&str> = text.split(' ').collect();
        let path = words.pop().filter(|path| !path.is_empty())?.to_owned();
        let login = words.last() == Some(&LOGIN);
        if login {
            words.pop();
        }
        let index = words.pop().map(str::to_owned);
        words.is_empty().then_some(Self { index, path, login })
    }
}

impl fmt::Display for CargoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = &self.index {
            write!(f, "{index} ")?;
        }
        if self.login {
            write!(f, "{LOGIN} ")?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for index in [None, Some("https://index.example/".to_owned())] {
            for login in [false, true] {
                let place = CargoPlace { index: index.clone(), path: "config.json".to_owned(), login };
                assert_eq!(CargoPlace::parse(&place.to_string()), Some(place));
            }
        }
        for none in ["", " ", "a b c d", "a ", "a b c"] {
            assert_eq!(CargoPlace::parse(none), None, "{none}");
        }
    }
}
