//! Logins in URLs, which nothing that is shown has.

/// Replaces logins in URLs by stars of the same length, so that no message and no log shows them, and places in the text stay.
pub fn without_logins(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (before, tail) = rest.split_at(start);
        out.push_str(before);
        let end = tail.find(['/', '?', '#', '"', '\'', '`', '\n', ' ']).unwrap_or(tail.len());
        let login = tail[..end].rfind('@').unwrap_or(0);
        out.extend(std::iter::repeat_n('*', login));
        rest = &tail[login..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::without_logins;

    #[test]
    fn logins_are_not_shown() {
        assert_eq!(
            without_logins("a = 'http://u:p@h/x'\nb = \"http://h/@\""),
            "a = 'http://***@h/x'\nb = \"http://h/@\""
        );
        assert_eq!(without_logins("://é@://"), "://**@://");
        assert_eq!(without_logins("{url: ftp://u:p@h?a@b}"), "{url: ftp://***@h?a@b}");
    }
}
