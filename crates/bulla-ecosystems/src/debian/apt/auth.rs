//! `auth.conf`: who logs in where, in the manner of netrc (`apt_auth.conf(5)`).

use super::{AptError, bounded, quote};

/// A login for a part of a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `http` or `https` where the entry says so; without it an entry is for `https` alone.
    pub scheme: Option<String>,
    /// The host, and the port where the entry has one.
    pub host: String,
    /// What the path must start with, with a slash; empty where the entry is for the whole host.
    pub path: String,
    /// The name of the user.
    pub login: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("host", &self.host).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Login {
    /// Says whether a request may be sent with this login. The host must be the same, and the path must go on at a slash.
    pub fn is_for(&self, scheme: &str, host: &str, path: &str) -> bool {
        let scheme_fits = self.scheme.as_deref().unwrap_or("https").eq_ignore_ascii_case(scheme);
        let path_fits = path.strip_prefix(self.path.as_str()).is_some_and(|rest| {
            self.path.is_empty() || self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/')
        });
        scheme_fits && self.host.eq_ignore_ascii_case(host) && path_fits && !path.split('/').any(|part| part == "..")
    }
}

/// Reads a file of logins: `machine HOST login NAME password WORD`, on one line or several.
///
/// # Errors
/// When a word is out of place. The words that could be a password are never in the message.
pub fn parse(file: &str, text: &str) -> Result<Vec<Login>, AptError> {
    let mut logins: Vec<Login> = Vec::new();
    let lines = bounded(file, text)?.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(|(line, number)| line.split_ascii_whitespace().map(move |word| (word, number)));
    while let Some((word, number)) = words.next() {
        let mut value = || match words.next() {
            Some((value, _)) => Ok(value.to_owned()),
            None => Err(AptError::new(file, number, format!("nothing stands after {}", quote(word)))),
        };
        match (word, logins.last_mut()) {
            ("machine", _) => logins.push(machine(file, number, &value()?)?),
            ("login", Some(last)) => last.login = value()?,
            ("password", Some(last)) => last.password = value()?,
            ("login" | "password", None) => {
                return Err(AptError::new(file, number, format!("{} stands before any `machine`", quote(word))));
            }
            _ => return Err(AptError::new(file, number, "a word is not `machine`, `login` or `password`")),
        }
    }
    Ok(logins)
}

fn machine(file: &str, line: usize, text: &str) -> Result<Login, AptError> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme.to_owned()), rest),
        Some(_) => return Err(AptError::new(file, line, format!("{} is neither `http` nor `https`", quote(text)))),
        None => (None, text),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.is_empty() || host.contains('@') {
        return Err(AptError::new(file, line, "what stands after `machine` is not a host"));
    }
    let [host, path] = [host, path].map(str::to_owned);
    Ok(Login { scheme, host, path, login: String::new(), password: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_read_and_are_for_their_part_alone() {
        let text = "# ours\nmachine mirror.example/private login ann password s3cret\n\
            machine http://plain.example:8080\n login bob\n password x\n";
        let found = parse("auth.conf", text).expect("valid");
        let [first, second] = found.as_slice() else { panic!("two logins") };
        assert_eq!((first.login.as_str(), first.password.as_str()), ("ann", "s3cret"));
        assert!(first.is_for("https", "mirror.example", "/private/dists/x"));
        assert!(!first.is_for("http", "mirror.example", "/private/dists/x"), "never in the clear unless it says so");
        assert!(!first.is_for("https", "mirror.example", "/privateer"));
        assert!(!first.is_for("https", "mirror.example", "/private/../public"));
        assert!(!first.is_for("https", "mirror.example.evil.example", "/private"));
        assert!(second.is_for("http", "plain.example:8080", "/") && !second.is_for("http", "plain.example", "/"));
    }

    #[test]
    fn no_message_has_a_password() {
        for text in [
            "login x",
            "machine",
            "machine h password",
            "machine h s3cret",
            "machine ftp://h login a",
            "machine u:s3cret@h",
        ] {
            let error = parse("auth.conf", text).expect_err("not valid").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        let login = &parse("f", "machine h login a password s3cret").expect("valid")[0];
        assert!(!format!("{login:?}").contains("s3cret"));
    }
}
