//! URLs of configurations, locks and redirections.

use bulla_net::Url;

use crate::text;

/// A URL in the first line, and a path or redirection in the second.
pub(crate) fn url(bytes: &[u8]) {
    let (first, second) = text(bytes).split_once('\n').unwrap_or((text(bytes), "pool/x.deb"));
    let _ = Url::parse_with_login(first);
    let Ok(url) = Url::parse(first) else { return };
    assert_eq!(Url::parse(&url.to_string()).as_ref(), Ok(&url), "a URL has one form");
    if let Ok(beneath) = url.beneath(second) {
        assert_eq!(beneath.origin(), url.origin(), "a path stays at its mirror");
        assert!(beneath.path().starts_with(url.path().trim_end_matches('/')), "a path stays beneath its mirror");
    }
    if let Ok(joined) = url.join(second) {
        assert_eq!(Url::parse(&joined.to_string()).as_ref(), Ok(&joined));
        let _ = joined.shown();
    }
}
