//! Where submodules are: `.gitmodules` (gitmodules(5)), of which only paths and URLs count.

use std::collections::BTreeMap;

use bulla_model::{
    CleanPath,
    git::{SshAddress, is_git_address},
    path::printable,
};

use super::GitError;

/// The most bytes of the file.
const MAX_BYTES: usize = 1 << 20;

/// Reads `.gitmodules`: the URL of each path, as it is written.
///
/// # Errors
/// When it is not written as git writes it, or names a path twice.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<CleanPath, String>, GitError> {
    let fail = |problem: &str| GitError::Module { path: ".gitmodules".into(), problem: problem.into() };
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_BYTES && !text.contains('\0'));
    let text = text.ok_or_else(|| fail("is no text"))?;
    let mut modules: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    let mut section = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            section = submodule(header).ok_or_else(|| fail("has a section that is not ended"))?;
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value_of(value, &mut lines).ok_or_else(|| fail("has a value that is not ended"))?;
        let Some(name) = &section else { continue };
        let module = modules.entry(String::clone(name)).or_default();
        // As for all of git's settings, the last counts.
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => module.0 = Some(value),
            "url" => module.1 = Some(value),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    for (path, url) in modules.into_values() {
        let (Some(path), Some(url)) = (path, url) else { continue };
        let path = CleanPath::from_archive(path.as_bytes()).ok().flatten();
        let path = path.ok_or_else(|| fail("names a path that is not clean"))?;
        if found.insert(path, url).is_some() {
            return Err(fail("names a path twice"));
        }
    }
    Ok(found)
}

/// Reads the rest of the head of a section: `Some(None)` for one that is of no submodule.
fn submodule(header: &str) -> Option<Option<String>> {
    let (section, name) = match header.split_once('"') {
        None => return header.contains(']').then_some(None),
        Some((section, rest)) => (section.trim(), rest),
    };
    let (mut text, mut escaped) = (String::new(), false);
    for (at, c) in name.char_indices() {
        match c {
            _ if escaped => {
                text.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                let ended = name.get(at + 1..)?.trim_start().starts_with(']');
                return ended.then(|| section.eq_ignore_ascii_case("submodule").then_some(text));
            }
            c => text.push(c),
        }
    }
    None
}

/// Reads a value (git-config(1), "Values"): quotes, escapes, comments, and lines that go on.
fn value_of<'a>(first: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut value, mut quoted) = (String::new(), false);
    // The length that spaces at the end do not count for.
    let mut kept = 0;
    let mut line = first.trim_start();
    loop {
        let mut goes_on = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => quoted = !quoted,
                '\\' => match chars.next() {
                    None => goes_on = true,
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(c @ ('"' | '\\')) => value.push(c),
                    Some(_) => return None,
                },
                '#' | ';' if !quoted => break,
                c => value.push(c),
            }
            if quoted || !c.is_whitespace() {
                kept = value.len();
            }
        }
        if !goes_on {
            value.truncate(kept);
            return (!quoted).then_some(value);
        }
        line = lines.next()?;
    }
}

/// Gives the address of a submodule, beside that of the repository that it is in.
///
/// # Errors
/// When it is none that may be asked: a file, a program, or an unencrypted one of an encrypted repository.
pub fn address(parent: &str, path: &CleanPath, url: &str) -> Result<String, GitError> {
    let fail = |problem: String| GitError::Module { path: path.to_string(), problem };
    let shown = printable(url.as_bytes().get(..url.len().min(200)).unwrap_or_default());
    let whole = match url.starts_with("./") || url.starts_with("../") {
        true => {
            beside(parent, url).ok_or_else(|| fail(format!("has the address `{shown}`, which leads above its host")))?
        }
        false => url.to_owned(),
    };
    if !is_git_address(&whole) {
        return Err(fail(format!("has the address `{shown}`: only `https`, `http` and `ssh` are asked")));
    }
    if whole.starts_with("http://") && !parent.starts_with("http://") {
        return Err(fail(format!("has the address `{shown}`, which would leave the encrypted connection")));
    }
    Ok(whole)
}

/// Resolves an address that is relative to another, as git does: the repository itself is the last folder.
fn beside(parent: &str, url: &str) -> Option<String> {
    let (host, path) = match parent.split_once("://") {
        Some((scheme, rest)) => {
            let slash = rest.find('/')?;
            (format!("{scheme}://{}", &rest[..slash]), &rest[slash + 1..])
        }
        None => {
            SshAddress::parse(parent)?;
            let (host, path) = parent.split_once(':')?;
            (host.to_owned(), path)
        }
    };
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for part in url.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    let between = if parent.contains("://") { "/" } else { ":" };
    let rooted = if between == ":" && path.starts_with('/') { "/" } else { "" };
    (!parts.is_empty()).then(|| format!("{host}{between}{rooted}{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CleanPath {
        CleanPath::parse(text).expect("a path")
    }

    #[test]
    fn paths_and_urls_are_read_as_git_reads_them() {
        let text = "# a comment\n[core]\n\turl = nothing\n[submodule \"a \\\"b\\\"\"]\n\tpath = lib/a\n\tURL = \"https://x.example/a;b\" ; c\n\
                    [Submodule \"c\"]\n path=lib/c/\n url = ../c\\\n.git\n update = !rm -rf /\n[submodule \"d\"]\n\tpath = d\n";
        let found = parse(text.as_bytes()).expect("well formed");
        let pairs: Vec<(String, &str)> = found.iter().map(|(path, url)| (path.to_string(), url.as_str())).collect();
        assert_eq!(pairs, [("lib/a".into(), "https://x.example/a;b"), ("lib/c".into(), "../c.git")]);
        for bad in [
            "[submodule \"a\n",
            "[submodule\n",
            "[submodule \"a\"]\npath = \"x\n",
            "[submodule \"a\"]\npath = ../x\nurl = y\n",
            "[submodule \"a\"]\npath = /x\nurl = y\n",
            "[submodule \"a\"]\npath = x\nurl = y\n[submodule \"b\"]\npath = x\nurl = z\n",
            "[submodule \"a\"]\npath = x\\",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn addresses_are_resolved_beside_the_repository() {
        let at = |parent, url| address(parent, &path("lib"), url);
        for (parent, url, whole) in [
            ("https://git.example/team/shop.git", "../lib.git", "https://git.example/team/lib.git"),
            ("https://git.example/team/shop.git/", "../../other/lib.git", "https://git.example/other/lib.git"),
            ("https://git.example/team/shop.git", "./lib.git", "https://git.example/team/shop.git/lib.git"),
            ("git@git.example:team/shop.git", "../lib.git", "git@git.example:team/lib.git"),
            ("ssh://git@git.example/team/shop.git", "../lib.git", "ssh://git@git.example/team/lib.git"),
            ("https://git.example/shop.git", "https://other.example/lib.git", "https://other.example/lib.git"),
            ("http://git.example/shop.git", "http://other.example/lib.git", "http://other.example/lib.git"),
        ] {
            assert_eq!(at(parent, url).expect(url), whole);
        }
        for url in [
            "file:///etc",
            "/etc",
            "../../../../lib.git",
            "ext::sh -c id",
            "http://git.example/lib.git",
            "git://git.example/lib",
            "-oProxyCommand=id:x",
            "../..",
            "https://me:word@git.example/x",
            "",
        ] {
            assert!(at("https://git.example/team/shop.git", url).is_err(), "{url}");
        }
    }
}
