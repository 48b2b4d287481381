//! Reads the page that a registry has of a package: JSON (PEP 691) or HTML (PEP 503). What it says is used to find files whose hashes
//! a lock file names, and for nothing else.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    super::{Hash, Place, unescaped},
    package,
};

/// What is accepted, in the order in which pip prefers it.
pub(super) const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
/// The most bytes of a page; the largest of the public registry have some ten million.
pub(super) const MAX_PAGE: u64 = 64 << 20;
/// The longest reference to a file.
const MAX_REFERENCE: usize = 4096;

/// A file that a page lists, and that has a hash which was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) hashes: Vec<Hash>,
    /// The Pythons that it is for, as the page says it.
    pub(super) requires_python: Option<String>,
    /// Whether it was withdrawn (PEP 592).
    pub(super) yanked: bool,
}

/// What a page says of a file beside its hashes.
#[derive(Debug, Default)]
struct Beside {
    requires_python: Option<String>,
    yanked: bool,
}

/// What a page has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) files: Vec<Listed>,
    /// How many files it lists in all, and how many of them with a hash that can pin.
    pub(super) listed: usize,
    pub(super) hashed: usize,
}

#[derive(Deserialize)]
struct Document {
    meta: Meta,
    files: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    filename: String,
    url: String,
    hashes: BTreeMap<String, String>,
    requires_python: Option<String>,
    /// `false`, `true` or a reason.
    yanked: Option<serde_json::Value>,
}

/// Reads the page of a package. Only files are kept of which a hash is wanted.
pub(super) fn read(bytes: &[u8], name: &str, wanted: &dyn Fn(&Hash) -> bool) -> Result<Page, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its page is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let mut page = Page::default();
    match text.as_bytes().first() {
        Some(b'{') => {
            let document: Document =
                serde_json::from_str(text).map_err(|error| format!("its page is no index: {error}"))?;
            if document.meta.api_version.split('.').next() != Some("1") {
                let version: String = document.meta.api_version.chars().take(20).collect();
                return Err(format!("its page is of version {version}; versions 1 are known"));
            }
            for entry in document.files {
                let hashes =
                    entry.hashes.iter().filter_map(|(algorithm, digits)| Hash::from_hex(algorithm, digits).ok());
                let yanked =
                    !matches!(entry.yanked, None | Some(serde_json::Value::Bool(false) | serde_json::Value::Null));
                let beside = Beside { requires_python: entry.requires_python, yanked };
                let hashes = hashes.collect();
                take(&mut page, name, (Some(entry.filename), beside), (&entry.url, None), hashes, wanted);
            }
        }
        Some(b'<') => {
            let mut base = None;
            tags(text, |tag, attributes| match tag {
                "base" if base.is_none() => base = attribute(attributes, "href"),
                "a" => {
                    let Some(href) = attribute(attributes, "href") else { return };
                    let (plain, fragment) = href.split_once('#').unwrap_or((&href, ""));
                    let words = fragment.split('&').filter_map(|word| word.split_once('='));
                    let hashes =
                        words.filter_map(|(algorithm, digits)| Hash::from_hex(algorithm, digits).ok()).collect();
                    let requires_python = attribute(attributes, "data-requires-python");
                    let beside = Beside { requires_python, yanked: attribute(attributes, "data-yanked").is_some() };
                    take(&mut page, name, (None, beside), (plain, base.as_deref()), hashes, wanted);
                }
                _ => {}
            });
        }
        _ => return Err("its page is neither JSON nor HTML".to_owned()),
    }
    Ok(page)
}

/// Makes a page of what was used of one, which says the same to the same lock file.
pub(super) fn kept(files: &[Listed]) -> Vec<u8> {
    let files = files.iter().map(|listed| {
        let url = match &listed.place {
            Place::Registry(path) if !path.starts_with('/') && !has_scheme(path) => format!("../{path}"),
            place => place.text().to_owned(),
        };
        let hashes: BTreeMap<&str, String> =
            listed.hashes.iter().map(|hash| (package::algorithm(hash), package::hex(hash))).collect();
        serde_json::json!({ "filename": listed.file, "url": url, "hashes": hashes })
    });
    let page = serde_json::json!({ "meta": { "api-version": "1.0" }, "files": files.collect::<Vec<_>>() });
    page.to_string().into_bytes()
}

fn take(
    page: &mut Page,
    name: &str,
    (file, beside): (Option<String>, Beside),
    (reference, base): (&str, Option<&str>),
    hashes: Vec<Hash>,
    wanted: &dyn Fn(&Hash) -> bool,
) {
    page.listed += 1;
    page.hashed += usize::from(!hashes.is_empty());
    if !hashes.iter().any(wanted) {
        return;
    }
    let Some(place) = place(name, reference, base) else { return };
    let last = || unescaped(reference.split(['?', '#']).next()?.rsplit('/').next()?);
    if let Some(file) = file.or_else(last) {
        let Beside { requires_python, yanked } = beside;
        page.files.push(Listed { file, place, hashes, requires_python, yanked });
    }
}

/// Finds out where a reference of a page leads (RFC 3986, 5.2): elsewhere, or to a place that is told from the registry's base.
fn place(name: &str, reference: &str, base: Option<&str>) -> Option<Place> {
    let reference = reference.split('#').next().unwrap_or_default().trim();
    let unclean = |b: u8| b <= b' ' || b == 0x7f || b"\\\"<>^`{|}".contains(&b);
    if reference.is_empty()
        || reference.len() > MAX_REFERENCE
        || reference.bytes().any(unclean)
        || reference.starts_with("//")
    {
        return None;
    }
    if has_scheme(reference) {
        return package::address(reference).ok().map(|(_, url)| Place::Registry(url));
    }
    if let Some(base) = base {
        // The folder that the page is said to lie in; few registries say so.
        let (_, url) = package::address(&format!("{}x", &base[..=base.rfind('/')?])).ok()?;
        let origin = url.match_indices('/').nth(2)?.0;
        let path = match reference.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => joined(&url[origin + 1..], reference),
        };
        return (!path.starts_with("../")).then(|| Place::Registry(format!("{}/{path}", &url[..origin])));
    }
    Some(Place::Registry(match reference.starts_with('/') {
        true => reference.to_owned(),
        false => joined(&format!("{name}/"), reference),
    }))
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?', '#']);
    end.is_some_and(|end| reference.as_bytes()[end] == b':')
}

/// Resolves a relative path beside another; what leads above stays in front.
fn joined(beside: &str, reference: &str) -> String {
    let (path, query) = reference.split_once('?').map_or((reference, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = beside.rsplit_once('/').map_or(Vec::new(), |(folder, _)| folder.split('/').collect());
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

/// Finds the tags of a page, without its comments.
fn tags<'a>(text: &'a str, mut found: impl FnMut(&str, &'a str)) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'<', rest.as_bytes()) {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let name = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let end = end_of_tag(rest);
        if (1..=8).contains(&name) {
            found(&rest[..name].to_ascii_lowercase(), &rest[name..end]);
        }
        rest = &rest[end..];
    }
}

/// Finds the `>` that ends a tag; one within quotes does not.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// Finds the value of an attribute.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '=' || c == '/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=') else {
            if name.is_empty() {
                return None;
            }
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(entities(value));
        }
        rest = after;
    }
}

/// Puts characters for the references to them.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|b| b == b';');
        let known = end.and_then(|end| character(&rest[1..end]).map(|c| (end, c)));
        let Some((end, character)) = known else {
            out.push('&');
            rest = &rest[1..];
            continue;
        };
        out.push(character);
        rest = &rest[end + 1..];
    }
    out + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        name => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn files(page: &str) -> Vec<(String, Place)> {
        let page = read(page.as_bytes(), "flask", &|_| true).expect("a page");
        page.files.into_iter().map(|listed| (listed.file, listed.place)).collect()
    }

    #[test]
    fn both_forms_of_a_page_say_the_same() {
        let json = format!(
            r#"{{"meta":{{"api-version":"1.3"}},"name":"flask","files":[
            {{"filename":"flask-3.0.0.tar.gz","url":"../../packages/a/flask-3.0.0.tar.gz","hashes":{{"sha256":"{DIGITS}","md5":"00"}}}}]}}"#
        );
        let html = format!(
            "<!DOCTYPE html><!-- <a href=no#sha256={DIGITS}> --><html><body><A class=x HREF = '../../packages/a/flask-3.0.0.tar.gz#sha256={DIGITS}' \
             data-requires-python='&gt;=3.8'>flask</A><a href='b/flask-3.0.0.zip'>x</a></body></html>"
        );
        let expected =
            [("flask-3.0.0.tar.gz".to_owned(), Place::Registry("../packages/a/flask-3.0.0.tar.gz".to_owned()))];
        assert_eq!(files(&json), expected);
        assert_eq!(files(&html), expected);
        let page = read(html.as_bytes(), "flask", &|_| true).expect("a page");
        assert_eq!((page.listed, page.hashed), (2, 1));
    }

    #[test]
    fn references_lead_where_a_browser_would_go() {
        for (reference, expected) in [
            ("x.whl", Some(Place::Registry("flask/x.whl".to_owned()))),
            ("./x.whl?a=b", Some(Place::Registry("flask/x.whl?a=b".to_owned()))),
            ("../x/x.whl", Some(Place::Registry("x/x.whl".to_owned()))),
            ("../../../x.whl", Some(Place::Registry("../../x.whl".to_owned()))),
            ("/files/x.whl", Some(Place::Registry("/files/x.whl".to_owned()))),
            ("https://files.example/x.whl", Some(Place::Registry("https://files.example/x.whl".to_owned()))),
            ("https://me:secret@files.example/x.whl", None),
            ("file:///etc/passwd", None),
            ("//files.example/x.whl", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(place("flask", reference, None), expected, "{reference}");
        }
        let with_base = |reference| place("flask", reference, Some("https://files.example/a/b/"));
        assert_eq!(with_base("../x.whl"), Some(Place::Registry("https://files.example/a/x.whl".to_owned())));
        assert_eq!(with_base("/x.whl"), Some(Place::Registry("https://files.example/x.whl".to_owned())));
        assert_eq!(with_base("../../../x.whl"), None);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for page in [
            "",
            "nothing",
            "{}",
            "[]",
            r#"{"meta":{"api-version":"2.0"},"files":[]}"#,
            r#"{"meta":{"api-version":"1.0"},"files":[{}]}"#,
        ] {
            assert!(read(page.as_bytes(), "flask", &|_| true).is_err(), "{page}");
        }
        assert_eq!(entities("&lt;&#62;&#x41;&amp;&nope;&"), "<>A&&nope;&");
    }
}
