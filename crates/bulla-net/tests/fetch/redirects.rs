//! Redirects to where the client must not go.

use bulla_model::{Fault as _, Kind};
use bulla_net::{Get, NetError, Reach};
use bulla_testkit::{Fault, Mirror, TestAuthority};

use crate::{client, get, serve, trust, url};

#[test]
fn a_redirect_to_another_mirror_is_followed() {
    let (first, second) = (serve(10), serve(1000));
    first.mirror.fault("/file", Fault::Redirect(second.url().to_string()));
    assert_eq!(get(&client(), first.url()).expect("fetched").bytes, second.bytes);
}

#[test]
fn a_relative_redirect_is_followed() {
    let served = serve(1000);
    served.mirror.fault("/old/name", Fault::Redirect("../file".into()));
    let old = url(&format!("{}/old/name", served.mirror.url()));
    assert_eq!(get(&client(), old).expect("fetched").bytes, served.bytes);
}

#[test]
fn a_redirect_to_a_file_or_another_scheme_is_refused() {
    let served = serve(10);
    for place in [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://mirror.example/x",
        "data:text/plain,x",
        "gopher://127.0.0.1/x",
    ] {
        served.mirror.heal();
        served.mirror.fault("/file", Fault::Redirect(place.into()));
        let error = get(&client(), served.url()).expect_err(place);
        assert!(matches!(error, NetError::Redirect { .. }), "{place}: {error:?}");
        assert_eq!(error.kind(), Kind::Policy);
    }
    assert_eq!(served.mirror.requests().len(), 5, "it is not asked again");
}

#[test]
fn a_redirect_out_of_the_encrypted_connection_is_refused() {
    let authority = TestAuthority::new();
    let plain = serve(1000);
    let folder = tempfile::tempdir().expect("a folder");
    let secure = Mirror::serve_tls(folder.path(), &authority);
    secure.fault("/file", Fault::Redirect(plain.url().to_string()));
    let error = get(&trust::trusting(&authority), url(&format!("{}/file", secure.url()))).expect_err("downgrade");
    assert!(matches!(error, NetError::Redirect { .. }), "{error:?}");
    assert!(plain.mirror.requests().is_empty());
}

#[test]
fn redirects_in_a_circle_end() {
    let served = serve(10);
    served.mirror.fault("/file", Fault::Redirect("/file".into()));
    let error = get(&client(), served.url()).expect_err("a circle");
    assert!(matches!(error, NetError::Redirect { .. }), "{error}");
    assert_eq!(served.mirror.requests().len(), 6);
}

#[test]
fn a_url_of_a_spec_never_leads_to_this_machine() {
    let served = serve(10);
    let port = served.mirror.address().port();
    let metadata = "http://169.254.169.254/latest/meta-data".to_owned();
    let here = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"]
        .map(|host| format!("http://{host}:{port}/file"));
    for place in here.into_iter().chain([metadata]) {
        let ask = Get { urls: vec![url(&place)], reach: Reach::Public, max_size: 1000, accept: None };
        let error = client().get_bytes(&ask).expect_err(&place);
        assert!(matches!(error, NetError::Local { .. }), "{place}: {error:?}");
    }
    assert!(served.mirror.requests().is_empty());
}

#[test]
fn a_name_that_resolves_to_this_machine_is_refused_too() {
    // The machine's own name stands for an address of loopback on many machines; where it does not, nothing is shown.
    let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") else { return };
    let name = name.trim();
    let served = serve(10);
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(&(name, 80)).map(Iterator::collect::<Vec<_>>);
    if !addresses.is_ok_and(|found| found.iter().any(|address| address.ip().is_loopback())) {
        return bulla_testkit::skipped("look-up of a name that leads home", "the host's name is not on loopback");
    }
    let Ok(place) = bulla_net::Url::parse(&format!("http://{name}:{}/file", served.mirror.address().port())) else {
        return;
    };
    let ask = Get { urls: vec![place], reach: Reach::Public, max_size: 1000, accept: None };
    let error = client().get_bytes(&ask).expect_err("home");
    assert!(matches!(error, NetError::Local { .. }), "{error:?}");
}
