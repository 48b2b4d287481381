//! Whom the client believes.

use bulla_model::Fault as _;
use bulla_net::{Authority, Client, NetConfig, NetError};
use bulla_testkit::{Mirror, TestAuthority};

use crate::{client, get, quick, url};

pub(crate) fn config(authority: &TestAuthority) -> NetConfig {
    let authorities = vec![Authority { name: "corporate.pem".into(), pem: authority.pem().into_bytes() }];
    NetConfig { authorities, ..quick() }
}

pub(crate) fn trusting(authority: &TestAuthority) -> Client {
    Client::new(config(authority)).expect("a client")
}

fn secure(authority: &TestAuthority) -> (tempfile::TempDir, Mirror) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "sealed").expect("a file");
    let mirror = Mirror::serve_tls(folder.path(), authority);
    (folder, mirror)
}

#[test]
fn a_company_authority_is_believed_when_it_is_configured() {
    let authority = TestAuthority::new();
    let (_folder, mirror) = secure(&authority);
    let place = url(&format!("{}/file", mirror.url()));
    assert_eq!(get(&trusting(&authority), place).expect("trusted").bytes, b"sealed");
}

#[test]
fn an_authority_that_is_not_configured_is_not_believed() {
    let (authority, other) = (TestAuthority::new(), TestAuthority::new());
    let (_folder, mirror) = secure(&authority);
    let place = url(&format!("{}/file", mirror.url()));
    for client in [client(), trusting(&other)] {
        let error = get(&client, place.clone()).expect_err("not trusted");
        assert!(matches!(error, NetError::Tls { .. }), "{error:?}");
        assert!(error.hints()[0].contains("CA file"));
    }
    assert!(mirror.requests().is_empty(), "nothing was asked of it");
}

#[test]
fn a_certificate_for_another_name_is_not_believed() {
    let authority = TestAuthority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::serve_named(folder.path(), &authority, &["mirror.example"]);
    let error = get(&trusting(&authority), url(&format!("{}/file", mirror.url()))).expect_err("another name");
    assert!(matches!(error, NetError::Tls { .. }), "{error:?}");
}

#[test]
fn a_server_that_does_not_speak_tls_is_an_error() {
    let served = crate::serve(10);
    let place = url(&served.url().to_string().replacen("http:", "https:", 1));
    let error = get(&client(), place).expect_err("no TLS");
    assert!(matches!(error, NetError::Tls { .. } | NetError::Connect { .. }), "{error:?}");
}
