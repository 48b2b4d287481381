//! What a registry says of how one proves who one is: `WWW-Authenticate` (RFC 9110, section 11.6.1; RFC 6750).

/// A way to prove who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A name and a password with each request (RFC 7617).
    Basic,
    /// A token, which a service gives.
    Bearer {
        /// The address of the service.
        realm: String,
        /// What the service calls the registry.
        service: Option<String>,
    },
}

/// The most bytes of a header that are read.
const MAX_HEADER: usize = 8192;

/// Reads the challenges of a header that are known; others are passed over.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut reader = Reader { rest: header.get(..header.len().min(MAX_HEADER)).unwrap_or_default() };
    let mut found = Vec::new();
    while let Some((scheme, parameters)) = reader.challenge() {
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = get("realm")
        {
            found.push(Challenge::Bearer { realm, service: get("service") });
        }
    }
    found
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Reads a scheme and its parameters.
    fn challenge(&mut self) -> Option<(&'a str, Vec<(&'a str, String)>)> {
        self.skip(" \t,");
        let scheme = self.token()?;
        let mut parameters = Vec::new();
        loop {
            let before = self.rest;
            self.skip(" \t,");
            // A word that no `=` follows is the next scheme.
            match self.token().filter(|_| self.eat('=')) {
                Some(name) => match self.value() {
                    Some(value) => parameters.push((name, value)),
                    None => break,
                },
                None => {
                    self.rest = before;
                    break;
                }
            }
        }
        Some((scheme, parameters))
    }

    fn skip(&mut self, characters: &str) {
        self.rest = self.rest.trim_start_matches(|c| characters.contains(c));
    }

    fn eat(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut escaped = false;
        for (at, character) in self.rest.char_indices() {
            match character {
                _ if escaped => {
                    escaped = false;
                    value.push(character);
                }
                '\\' => escaped = true,
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Some(value);
                }
                _ => value.push(character),
            }
        }
        self.rest = "";
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
        let cases = [
            (
                r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:x:pull""#,
                vec![bearer("https://a.example/token", Some("r.example"))],
            ),
            (r#"bearer service = "x" , REALM=token"#, vec![]),
            (r#"bearer REALM=token, service="x""#, vec![bearer("token", Some("x"))]),
            (r#"Negotiate, Basic realm="a \"b\", c", Bearer realm="t""#, vec![Challenge::Basic, bearer("t", None)]),
            ("Basic", vec![Challenge::Basic]),
            (r#"Bearer realm="cut off"#, vec![]),
            ("Bearer", vec![]),
            ("", vec![]),
        ];
        for (header, expected) in cases {
            assert_eq!(challenges(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_fail_badly(header in ".{0,80}") {
            let _ = challenges(&header);
        }
    }
}
