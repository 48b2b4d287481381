//! The address of the repository that a checkout was cloned from, as it may be told to everyone.

/// The schemes of repositories that others may be able to reach.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "git"];
/// The most bytes of an address.
const MAX_ADDRESS: usize = 1024;

/// Gives an address without login, query and what stands behind a `#`; `None` where it is a folder, or is not plain text.
pub(super) fn shown(url: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c);
    if url.len() > MAX_ADDRESS || !url.chars().all(plain) {
        return None;
    }
    let url = url.split(['?', '#']).next()?;
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/')?;
            let host = authority.rsplit('@').next().filter(|host| !host.is_empty())?;
            SCHEMES.contains(&scheme).then(|| format!("{scheme}://{host}/{path}"))
        }
        // As scp has it: `git@host:team/shop.git`. A colon behind a slash is one of a path.
        None => {
            let (authority, path) = url.split_once(':').filter(|(authority, _)| !authority.contains('/'))?;
            let host = authority.rsplit('@').next().filter(|host| !host.is_empty())?;
            Some(format!("ssh://{host}/{}", path.trim_start_matches('/')))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_address_is_told_without_what_is_nobodys_business() {
        for (url, told) in [
            ("https://user:token@git.example/team/shop.git", Some("https://git.example/team/shop.git")),
            ("https://git.example:8443/shop?token=x#y", Some("https://git.example:8443/shop")),
            ("git@git.example:team/shop.git", Some("ssh://git.example/team/shop.git")),
            ("ssh://git@git.example/team/shop", Some("ssh://git.example/team/shop")),
            ("/home/me/shop", None),
            ("../shop", None),
            ("file:///home/me/shop", None),
            ("./a:b", None),
            ("https://git.example", None),
            ("https://@/x", None),
            ("https://git.example/\u{1b}[31m", None),
        ] {
            assert_eq!(shown(url).as_deref(), told, "{url}");
        }
    }
}
