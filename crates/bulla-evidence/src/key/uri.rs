//! Names of keys on tokens (RFC 7512): which key, on which token, reached by which module. A name has no PIN: it stands in command lines and
//! settings, which others read.

use std::path::PathBuf;

/// The scheme.
const SCHEME: &str = "pkcs11:";
/// The most bytes of a name.
const MAX_URI: usize = 4096;

/// The name of a key on a token. What is not said may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenUri {
    /// The label of the token.
    pub token: Option<String>,
    /// Who made the token.
    pub manufacturer: Option<String>,
    /// The model of the token.
    pub model: Option<String>,
    /// The serial number of the token.
    pub serial: Option<String>,
    /// The number of the slot that the token is in.
    pub slot: Option<u64>,
    /// The label of the key.
    pub object: Option<String>,
    /// The identifier of the key.
    pub id: Option<Vec<u8>>,
    /// The file of the module: code that is run.
    pub module: Option<PathBuf>,
    /// The file that has the PIN.
    pub pin_source: Option<PathBuf>,
}

/// Says why a text is no name of a key on a token. It has nothing of the text but the names of its parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenUriError {
    /// It does not begin as one, or is too long.
    #[error("it is no URI `pkcs11:…` of at most {MAX_URI} bytes (RFC 7512)")]
    Scheme,
    /// A part is not `NAME=VALUE`, or is not written as it must be.
    #[error("its part {0} is not `name=value`, with what is no letter or digit as `%XX`")]
    Part(usize),
    /// A part is there that is not known.
    #[error(
        "`{0}` is not used here: token, manufacturer, model, serial, slot-id, object, id, type, and after `?` module-path and pin-source are"
    )]
    Unknown(String),
    /// A part is there twice.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
    /// The value of a part is none.
    #[error("the value of `{0}` {1}")]
    Value(&'static str, &'static str),
    /// The PIN is in it.
    #[error(
        "`pin-value` is not taken: whoever sees the processes of the machine sees a command line, and its PIN with it"
    )]
    Pin,
}

/// The parts that are known, before and after the `?`.
const PATH: [&str; 8] = ["token", "manufacturer", "model", "serial", "slot-id", "object", "id", "type"];
const QUERY: [&str; 2] = ["module-path", "pin-source"];

/// Says whether a text means to name a key on a token.
pub fn is_token(text: &[u8]) -> bool {
    text.starts_with(SCHEME.as_bytes())
}

impl TokenUri {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is none, says something that is not known, or has a PIN in it.
    pub fn parse(text: &str) -> Result<Self, TokenUriError> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= MAX_URI).ok_or(TokenUriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let mut seen = Vec::new();
        let parts =
            path.split(';').map(|part| (part, &PATH[..])).chain(query.split('&').map(|part| (part, &QUERY[..])));
        for (number, (part, known)) in parts.enumerate().filter(|(_, (part, _))| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(TokenUriError::Part(number + 1))?;
            if name == "pin-value" {
                return Err(TokenUriError::Pin);
            }
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(TokenUriError::Unknown(shown(name)));
            };
            if seen.contains(name) {
                return Err(TokenUriError::Twice(name));
            }
            seen.push(name);
            uri.set(name, decoded(value).ok_or(TokenUriError::Part(number + 1))?)?;
        }
        Ok(uri)
    }

    fn set(&mut self, name: &'static str, value: Vec<u8>) -> Result<(), TokenUriError> {
        let wrong = |problem| TokenUriError::Value(name, problem);
        if value.is_empty() {
            return Err(wrong("is empty"));
        }
        if name == "id" {
            self.id = Some(value);
            return Ok(());
        }
        let text = String::from_utf8(value).map_err(|_| wrong("is not UTF-8"))?;
        match name {
            "token" => self.token = Some(text),
            "manufacturer" => self.manufacturer = Some(text),
            "model" => self.model = Some(text),
            "serial" => self.serial = Some(text),
            "slot-id" => self.slot = Some(text.parse().map_err(|_| wrong("is no number"))?),
            "object" => self.object = Some(text),
            "type" if text == "private" || text == "public" => (),
            "type" => return Err(wrong("is neither `private` nor `public`")),
            "module-path" => self.module = Some(file(&text).map_err(wrong)?),
            _ => {
                let path = text.strip_prefix("file:").unwrap_or(&text);
                self.pin_source = Some(file(path.strip_prefix("//").unwrap_or(path)).map_err(wrong)?);
            }
        }
        Ok(())
    }
}

/// Takes the whole path of a file: what is relative would be found in whatever folder somebody is in.
fn file(text: &str) -> Result<PathBuf, &'static str> {
    match text {
        _ if text.contains('\0') => Err("has a byte that no path has"),
        _ if text.starts_with('/') => Ok(text.into()),
        _ if text.starts_with('|') => Err("is a command, and none is run for a PIN"),
        _ => Err("is not the path of a file from `/` on"),
    }
}

/// Gives the bytes of a value; `None` where it is not written as RFC 3986 has it.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?
            }
            _ if byte.is_ascii_graphic() && !b"\"<>\\^`{}#%".contains(&byte) => byte,
            _ => return None,
        });
    }
    Some(decoded)
}

/// Makes the name of a part fit for a message.
fn shown(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    name.chars().filter(plain).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_key_on_which_token() {
        // RFC 7512, section 3, and what tools write.
        let uri = TokenUri::parse(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
             serial=ab:12;slot-id=7;object=my-signing-key;type=private;id=%69%95%3E%5C%F4%BD%EC%91?\
             module-path=/usr/lib/x.so&pin-source=file:/etc/token_pin",
        );
        let expected = TokenUri {
            token: Some("The Software PKCS#11 Softtoken".into()),
            manufacturer: Some("Snake Oil, Inc.".into()),
            model: Some("1.0".into()),
            serial: Some("ab:12".into()),
            slot: Some(7),
            object: Some("my-signing-key".into()),
            id: Some(b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91".to_vec()),
            module: Some("/usr/lib/x.so".into()),
            pin_source: Some("/etc/token_pin".into()),
        };
        assert_eq!(uri, Ok(expected));
        assert_eq!(TokenUri::parse("pkcs11:"), Ok(TokenUri::default()));
        assert_eq!(TokenUri::parse("pkcs11:?pin-source=/p").map(|uri| uri.pin_source), Ok(Some("/p".into())));
        assert_eq!(TokenUri::parse("pkcs11:?pin-source=file:///p").map(|uri| uri.pin_source), Ok(Some("/p".into())));
    }

    #[test]
    fn what_is_no_name_is_refused_and_no_pin_is_taken_or_shown() {
        for (text, says) in [
            ("pkcs12:", "no URI"),
            ("pkcs11:token", "part 1"),
            ("pkcs11:token=a b", "part 1"),
            ("pkcs11:token=a;object=%4", "part 2"),
            ("pkcs11:token=%zz", "part 1"),
            ("pkcs11:token=%+1", "part 1"),
            ("pkcs11:token=ä", "part 1"),
            ("pkcs11:token=", "is empty"),
            ("pkcs11:token=%ff", "not UTF-8"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:slot-id=-1", "no number"),
            ("pkcs11:type=cert", "neither"),
            ("pkcs11:library-version=1", "`library-version` is not used"),
            ("pkcs11:module-path=/x.so", "`module-path` is not used"),
            ("pkcs11:?token=a", "`token` is not used"),
            ("pkcs11:?module-name=x", "`module-name` is not used"),
            ("pkcs11:?module-path=x.so", "from `/` on"),
            ("pkcs11:?module-path=./x.so", "from `/` on"),
            ("pkcs11:?module-path=/x%00.so", "no path has"),
            ("pkcs11:?pin-source=|pass", "a command"),
            ("pkcs11:?pin-source=%7Cpass", "a command"),
            ("pkcs11:?pin-source=https://a.example/", "from `/` on"),
        ] {
            let error = TokenUri::parse(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert_eq!(TokenUri::parse(&format!("pkcs11:token={}", "a".repeat(MAX_URI))), Err(TokenUriError::Scheme));
        for text in ["pkcs11:?pin-value=4711", "pkcs11:pin-value=4711", "pkcs11:?pin=4711", "pkcs11:id=1;4711"] {
            let error = TokenUri::parse(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
        }
        assert_eq!(TokenUri::parse("pkcs11:?pin-value=4711"), Err(TokenUriError::Pin));
        let hostile = TokenUri::parse("pkcs11:\u{1b}[31m=x").expect_err("unknown").to_string();
        assert!(!hostile.contains('\u{1b}'), "{hostile}");
    }
}
