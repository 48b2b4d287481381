//! What a registry answers when it does not do what was asked (distribution specification, "Error Codes").

use std::io::Read;

use serde::Deserialize;
use ureq::http::Response;

use super::RegistryError;
use crate::{exchange, url::Url};

/// The most bytes of an error's body that are read.
const MAX_ERROR: u64 = 64 * 1024;
/// The most letters of a registry's own words that are shown.
const MAX_SHOWN: usize = 300;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Makes the error for a status that is not the wanted one.
pub(super) fn refused(host: &str, what: &str, url: &Url, response: Response<ureq::Body>) -> RegistryError {
    let status = response.status().as_u16();
    if matches!(status, 408 | 425 | 429 | 500..=599) {
        return exchange::bad_status(url, &response).into();
    }
    RegistryError::Refused { host: host.to_owned(), what: what.to_owned(), status, message: message(response) }
}

/// Reads what a registry says, and makes it harmless.
pub(super) fn message(response: Response<ureq::Body>) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is not said.
    let _ = response.into_body().into_reader().take(MAX_ERROR).read_to_end(&mut bytes);
    let Ok(found) = serde_json::from_slice::<Errors>(&bytes) else { return String::new() };
    let texts = found.errors.into_iter().take(3).map(|one| match one.code.as_str() {
        "" => one.message,
        code if one.message.is_empty() => code.to_owned(),
        code => format!("{code}: {}", one.message),
    });
    harmless(&texts.collect::<Vec<_>>().join("; "))
}

/// Escapes control characters, and cuts what is long.
pub(super) fn harmless(text: &str) -> String {
    text.chars().take(MAX_SHOWN).flat_map(|c| c.escape_debug()).filter(|c| !c.is_control()).collect()
}
