//! The logins of `~/.netrc`, as curl, pip, Go and others read it: `machine HOST login NAME password WORD`.
//!
//! An entry is for its host, on any port. `default` is not used: it would send a login to whoever is asked. A login goes to another
//! machine over HTTPS alone, unless the caller knows that the user lets it go in the clear.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulla_net::{Secret, Url};

pub(super) use super::packages::settings as text;
use crate::{environment::Environment, error::Result};

/// The logins of a user, by host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Netrc(Vec<(String, Secret)>);

impl Netrc {
    /// Reads the file that `$NETRC` names, else `~/.netrc`.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(crate) fn read(environment: &Environment) -> Result<Self> {
        Ok(match environment.netrc() {
            Some(path) => text(&path)?.map(|text| Self::parse(&text)).unwrap_or_default(),
            None => Self::default(),
        })
    }

    /// Reads the text of such a file. What is none of it is passed over, as the others do it.
    fn parse(text: &str) -> Self {
        let mut all = Vec::new();
        let mut entry = Entry::default();
        let mut words = Words(text);
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => {
                    entry.end(&mut all);
                    entry.host = words.next();
                }
                "default" => entry.end(&mut all),
                "login" => entry.login = words.next(),
                "password" => entry.password = words.next(),
                "account" => drop(words.next()),
                "macdef" => words.skip_macro(),
                _ => {}
            }
        }
        entry.end(&mut all);
        Self(all)
    }

    /// Gives the value of `Authorization` for an address; the first entry of its host counts. `in_clear` says whether the user lets it
    /// go to another machine without encryption.
    pub(crate) fn login(&self, url: &Url, in_clear: bool) -> Option<&Secret> {
        if !url.is_secure() && !in_clear && !is_this_machine(url.host()) {
            return None;
        }
        self.0.iter().find(|(host, _)| host.eq_ignore_ascii_case(url.host())).map(|(_, login)| login)
    }
}

/// Says whether a host is this machine by its name.
pub(super) fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.starts_with("127.") && host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// An entry while it is read.
#[derive(Default)]
struct Entry {
    host: Option<String>,
    login: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn end(&mut self, all: &mut Vec<(String, Secret)>) {
        let Self { host, login, password } = std::mem::take(self);
        if let (Some(host), Some(password)) = (host, password) {
            all.push((host, basic(&login.unwrap_or_default(), &password)));
        }
    }
}

/// Gives the value of `Authorization` for a name and a word (RFC 7617).
fn basic(name: &str, word: &str) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{name}:{word}"))))
}

/// The words of such a file: separated by white space, in quotation marks where they have some. What begins with `#` is a comment.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// A macro ends at an empty line.
    fn skip_macro(&mut self) {
        let end = self.0.find("\n\n").or_else(|| self.0.find("\n\r\n"));
        self.0 = end.map_or("", |end| &self.0[end..]);
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.as_bytes().first()? {
                b'#' => self.0 = self.0.find('\n').map_or("", |end| &self.0[end..]),
                b'"' => break,
                _ => {
                    let end = self.0.find(char::is_whitespace).unwrap_or(self.0.len());
                    let (word, rest) = self.0.split_at(end);
                    self.0 = rest;
                    return Some(word.to_owned());
                }
            }
        }
        let mut word = String::new();
        let mut letters = self.0.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(word);
                }
                '\\' => word.extend(letters.next().map(|(_, letter)| letter)),
                letter => word.push(letter),
            }
        }
        self.0 = "";
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(netrc: &Netrc, address: &str) -> Option<Secret> {
        netrc.login(&Url::parse(address).expect("an address"), false).cloned()
    }

    #[test]
    fn an_entry_is_for_its_host_alone() {
        let netrc = Netrc::parse(
            "# mine\nmachine pypi.example login me password word # and more\n  machine other.example\n\tlogin you\n\tpassword \"a \\\"b\" account x\n\
             machine half.example login me\nmacdef init\nmachine macro.example login a password b\n\nmachine last.example password p\n\
             machine pypi.example login second password other\ndefault login any password body\n",
        );
        assert_eq!(login(&netrc, "https://pypi.example/simple/"), Some(basic("me", "word")));
        assert_eq!(login(&netrc, "https://PYPI.example:8443/x"), Some(basic("me", "word")));
        assert_eq!(login(&netrc, "https://other.example/"), Some(basic("you", "a \"b")));
        assert_eq!(login(&netrc, "https://last.example/"), Some(basic("", "p")));
        for none in [
            "https://half.example/",
            "https://macro.example/",
            "https://evil.example/",
            "https://pypi.example.evil.example/",
            "https://evil-pypi.example/",
            "https://example/",
        ] {
            assert_eq!(login(&netrc, none), None, "{none}");
        }
    }

    #[test]
    fn a_login_goes_in_the_clear_to_this_machine_alone() {
        let netrc = Netrc::parse(
            "machine a.example login m password w machine 127.0.0.1 login m password w machine 127.evil.example password w",
        );
        assert_eq!(login(&netrc, "http://a.example/"), None);
        assert_eq!(login(&netrc, "http://127.evil.example/"), None);
        assert_eq!(login(&netrc, "http://127.0.0.1:3141/"), Some(basic("m", "w")));
        let let_by_the_user = netrc.login(&Url::parse("http://a.example/").expect("an address"), true);
        assert_eq!(let_by_the_user, Some(&basic("m", "w")));
    }

    #[test]
    fn what_is_no_such_file_says_nothing() {
        for text in
            ["", "machine", "machine a", "password x", "login", "\"", "\"\\", "macdef", "machine a password", "#"]
        {
            assert!(Netrc::parse(text).0.is_empty(), "{text}");
        }
        let hidden = Netrc::parse("machine a.example login m password hidden-word");
        assert!(!format!("{hidden:?}").contains("hidden-word"));
    }
}
