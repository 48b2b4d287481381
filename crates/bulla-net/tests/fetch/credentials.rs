//! Logins go to their origin and nowhere else.

use bulla_net::{Client, Credential, NetConfig, NetError, Secret, Url};
use bulla_testkit::Fault;

use crate::{Served, get, quick, serve, url};

const PASSWORD: &str = "correct-horse";

/// A login for a place; `auth.conf` without a path.
fn login(served: &Served, path: &str) -> Credential {
    Credential { origin: served.mirror.url(), path: path.into(), login: "user".into(), password: Secret::new(PASSWORD) }
}

fn with(credentials: Vec<Credential>) -> Client {
    Client::new(NetConfig { credentials, ..quick() }).expect("a client")
}

fn private(size: usize) -> Served {
    let served = serve(size);
    served.mirror.fault("/file", Fault::BasicAuth { login: "user".into(), password: PASSWORD.into() });
    served
}

#[test]
fn a_login_is_sent_to_its_origin() {
    let served = private(100);
    assert_eq!(get(&with(vec![login(&served, "/")]), served.url()).expect("let in").bytes, served.bytes);
}

#[test]
fn without_a_login_the_hint_says_where_one_goes() {
    let served = private(100);
    let error = get(&with(Vec::new()), served.url()).expect_err("not let in");
    assert!(matches!(error, NetError::Status { status: 401, .. }), "{error}");
    assert!(bulla_model::Fault::hints(&error)[0].contains("auth.conf"));
}

#[test]
fn a_login_for_another_port_or_path_is_not_sent() {
    let (served, other) = (serve(100), serve(100));
    get(&with(vec![login(&other, "/"), login(&served, "/elsewhere")]), served.url()).expect("public");
    assert!(served.mirror.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_redirect_drops_the_login() {
    let (first, second) = (serve(100), serve(100));
    first.mirror.fault("/file", Fault::Redirect(second.url().to_string()));
    // Not even the second origin's own login goes along: the first would choose what it is used for.
    get(&with(vec![login(&first, "/"), login(&second, "/")]), first.url()).expect("public");
    assert!(first.mirror.requests()[0].header("authorization").is_some());
    assert_eq!(second.mirror.requests()[0].header("authorization"), None);
}

#[test]
fn a_redirect_back_home_does_not_bring_the_login_back() {
    let (first, second) = (serve(100), serve(100));
    let home = format!("{}/private", first.mirror.url());
    first.mirror.fault("/file", Fault::Redirect(second.url().to_string()));
    second.mirror.fault("/file", Fault::Redirect(home));
    let _ = get(&with(vec![login(&first, "/")]), first.url());
    let asked = first.mirror.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("authorization"), None);
}

#[test]
fn no_message_shows_a_password() {
    let served = serve(100);
    served.mirror.fault("/file", Fault::Status { status: 403, times: 9, retry_after: None });
    let whole = served.url().to_string().replacen("http://", &format!("http://user:{PASSWORD}@"), 1);
    let (place, credential) = Url::parse_with_login(&whole).expect("a URL");
    let client = with(credential.into_iter().collect());
    let error = get(&client, place).expect_err("refused");
    assert!(served.mirror.requests()[0].header("authorization").is_some(), "it was sent");
    for text in [error.to_string(), format!("{error:?}"), format!("{client:?}")] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    let refused = Url::parse(&whole).expect_err("a login in a URL");
    assert!(!refused.to_string().contains(PASSWORD) && !format!("{refused:?}").contains(PASSWORD));
}

#[test]
fn a_token_in_a_query_is_not_shown() {
    let served = serve(100);
    let place = url(&format!("{}/nothing?X-Signature=hush", served.mirror.url()));
    let error = get(&with(Vec::new()), place).expect_err("missing");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    assert!(served.mirror.requests()[0].target.ends_with("?X-Signature=hush"), "but it is sent");
}
