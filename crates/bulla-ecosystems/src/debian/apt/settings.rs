//! The few settings of `apt.conf(5)` that say how to reach a mirror: proxies and authorities.

use std::collections::BTreeMap;

use super::{AptError, bounded, quote};

/// How deep scopes may nest.
const MAX_DEPTH: usize = 32;

/// What was set, by the lower-case name (`acquire::http::proxy`). Later files win: [`Settings::merge`] them in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

/// What a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// None is to be used, though the environment may name one.
    Direct,
    /// The URL of the proxy.
    Url(String),
}

impl Settings {
    /// Reads a file such as `apt.conf.d/10proxy`.
    ///
    /// # Errors
    /// When a string, scope or statement is not closed.
    pub fn parse(file: &str, text: &str) -> Result<Self, AptError> {
        let mut settings = Self::default();
        let mut tokens = Tokens { file, rest: bounded(file, text)?, line: 1 };
        let mut scopes: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        while let Some(token) = tokens.next()? {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open if scopes.len() >= MAX_DEPTH => return Err(tokens.fail("the scopes are nested too deep")),
                Token::Open => scopes.push(std::mem::take(&mut words).into_iter().next().unwrap_or_default()),
                Token::Close => {
                    scopes.pop().ok_or_else(|| tokens.fail("a `}` closes nothing"))?;
                }
                Token::End => settings.set(&scopes, &std::mem::take(&mut words)),
            }
        }
        match (scopes.pop(), words.pop()) {
            (None, None) => Ok(settings),
            (Some(scope), _) => Err(tokens.fail(&format!("the scope {} is not closed", quote(&scope)))),
            (None, Some(_)) => Err(tokens.fail("the last statement is not ended by `;`")),
        }
    }

    fn set(&mut self, scopes: &[String], words: &[String]) {
        // One word alone is an item of a list; nothing that is read here is one.
        let [name, value, ..] = words else { return };
        let path: Vec<&str> =
            scopes.iter().map(String::as_str).chain([name.as_str()]).filter(|part| !part.is_empty()).collect();
        let path = path.join("::").to_ascii_lowercase();
        if path.starts_with("acquire::http") {
            self.values.insert(path, value.clone());
        }
    }

    /// Takes in what a later file sets.
    pub fn merge(&mut self, later: Self) {
        self.values.extend(later.values);
    }

    fn value(&self, scheme: &str, host: &str, name: &str) -> Option<&str> {
        let of_host = format!("acquire::{scheme}::{name}::{host}").to_ascii_lowercase();
        let of_host = self.values.get(&of_host).or_else(|| {
            let other = format!("acquire::{scheme}::{host}::{name}").to_ascii_lowercase();
            self.values.get(&other)
        });
        of_host.or_else(|| self.values.get(&format!("acquire::{scheme}::{name}"))).map(String::as_str)
    }

    /// Gives the proxy for a scheme (`http` or `https`) and host: that of the host, else of the scheme; `https` falls back to
    /// what is set for `http`.
    pub fn proxy(&self, scheme: &str, host: &str) -> Option<Proxy> {
        let found = self.value(scheme, host, "proxy");
        let found = found.or_else(|| if scheme == "https" { self.value("http", host, "proxy") } else { None });
        match found? {
            "" => None,
            "DIRECT" | "direct" | "false" => Some(Proxy::Direct),
            url => Some(Proxy::Url(url.to_owned())),
        }
    }

    /// Gives the path of the file of authorities for a host (`Acquire::https::CaInfo`).
    pub fn ca_info(&self, host: &str) -> Option<&str> {
        self.value("https", host, "cainfo").filter(|path| !path.is_empty())
    }
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

struct Tokens<'a> {
    file: &'a str,
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn fail(&self, problem: &str) -> AptError {
        AptError::new(self.file, self.line, problem)
    }

    fn take(&mut self, length: usize) -> String {
        let (front, rest) = self.rest.split_at(length);
        self.line += front.matches('\n').count();
        self.rest = rest;
        front.to_owned()
    }

    fn next(&mut self) -> Result<Option<Token>, AptError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            // `#include` and `#clear` are commands of apt itself; what they would read is not read here.
            if self.rest.starts_with("//") || self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| self.fail("a comment is not closed"))?;
                self.take(end + 2);
            } else {
                break;
            }
        }
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let single = match first {
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            ';' => Some(Token::End),
            _ => None,
        };
        if let Some(token) = single {
            self.take(1);
            return Ok(Some(token));
        }
        if first == '"' {
            let inside = self.rest.get(1..).unwrap_or_default();
            let end = inside.find('"').ok_or_else(|| self.fail("a string is not closed"))?;
            let word = self.take(end + 2);
            return Ok(Some(Token::Word(word.trim_matches('"').to_owned())));
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c)).unwrap_or(self.rest.len());
        let word = self.take(end);
        Ok(Some(Token::Word(word.trim_end_matches("::").to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn proxies_and_authorities_are_read() {
        let text = "// corporate\nAcquire::http::Proxy \"http://proxy.example:3128\"; /* x */\n\
            Acquire { https { CaInfo \"/etc/ssl/ours.pem\"; Verify-Peer \"true\"; };\n  http::Proxy { inner.example DIRECT; }; };\n\
            DPkg::Post-Invoke { \"rm -f x || true; }\"; };\n# end";
        let settings = Settings::parse("apt.conf", text).expect("valid");
        assert_eq!(settings.proxy("http", "m.example"), Some(Proxy::Url("http://proxy.example:3128".to_owned())));
        assert_eq!(settings.proxy("https", "m.example"), Some(Proxy::Url("http://proxy.example:3128".to_owned())));
        assert_eq!(settings.proxy("http", "inner.example"), Some(Proxy::Direct));
        assert_eq!(settings.ca_info("m.example"), Some("/etc/ssl/ours.pem"));
        let mut all = settings;
        all.merge(Settings::parse("b", "Acquire::https::Proxy \"DIRECT\"; Acquire::http::Proxy \"\";").expect("valid"));
        assert_eq!((all.proxy("https", "m.example"), all.proxy("http", "m.example")), (Some(Proxy::Direct), None));
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for text in ["A { b c;", "A \"x;", "}", "/* x", "A b", &"a {".repeat(100)] {
            assert!(Settings::parse("apt.conf", text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-z:]|[{};\"/*# \n]|é|Acquire::http::Proxy )*") {
            let _ = Settings::parse("f", &text);
        }
    }
}
