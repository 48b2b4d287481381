//! Proxies: plain HTTP in absolute form, HTTPS through a tunnel.

use bulla_net::{Client, Get, NetConfig, NetError, Proxies, ProxyAddress, Reach};
use bulla_testkit::{Fault, Mirror, TestAuthority};

use crate::{get, quick, serve, trust, url};

fn through(proxies: Proxies) -> Client {
    Client::new(NetConfig { proxies, ..quick() }).expect("a client")
}

fn proxy(mirror: &Mirror, login: &str) -> Option<ProxyAddress> {
    Some(ProxyAddress::parse(&format!("http://{login}{}", mirror.address())).expect("a proxy"))
}

#[test]
fn plain_http_goes_to_the_proxy_in_absolute_form() {
    let served = serve(1000);
    let client = through(Proxies { http: proxy(&served.mirror, "u:w@"), ..Proxies::default() });
    // No resolver knows this name: only the proxy is asked. Twice, to see the second request of one connection too.
    for _ in 0..2 {
        assert_eq!(get(&client, url("http://mirror.example/file")).expect("fetched").bytes, served.bytes);
    }
    for request in served.mirror.requests() {
        assert_eq!(request.target, "http://mirror.example/file");
        assert_eq!(request.header("host"), Some("mirror.example"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic dTp3"));
    }
    assert_eq!(served.mirror.most_connections(), 1, "the connection is used again");
}

#[test]
fn exceptions_and_loopback_are_asked_directly() {
    let (straight, proxying) = (serve(1000), serve(10));
    let client = through(Proxies { http: proxy(&proxying.mirror, ""), ..Proxies::default() });
    get(&client, straight.url()).expect("fetched");
    assert!(proxying.mirror.requests().is_empty());
}

#[test]
fn a_proxy_that_wants_a_login_says_so() {
    let served = serve(1000);
    served.mirror.fault("/file", Fault::Status { status: 407, times: 9, retry_after: None });
    let client = through(Proxies { http: proxy(&served.mirror, ""), ..Proxies::default() });
    let error = get(&client, url("http://mirror.example/file")).expect_err("refused");
    assert!(matches!(error, NetError::Status { status: 407, .. }), "{error}");
}

#[test]
fn a_proxy_is_not_a_way_home_for_strangers() {
    let served = serve(1000);
    let client = through(Proxies { http: proxy(&served.mirror, ""), ..Proxies::default() });
    for place in ["http://169.254.169.254/file", "http://localhost/file"] {
        let ask = Get { urls: vec![url(place)], reach: Reach::Public, max_size: 5000, accept: None };
        assert!(matches!(client.get_bytes(&ask), Err(NetError::Local { .. })), "{place}");
    }
    assert!(served.mirror.requests().is_empty());
}

#[test]
fn https_goes_through_a_tunnel_and_the_proxy_sees_nothing_of_it() {
    let authority = TestAuthority::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "sealed").expect("a file");
    let secure = Mirror::serve_named(folder.path(), &authority, &["mirror.example"]);
    let proxying = serve(10);
    proxying.mirror.tunnel_to(secure.address());
    let proxies = Proxies { https: proxy(&proxying.mirror, "u:w@"), ..Proxies::default() };
    let client = Client::new(NetConfig { proxies, ..trust::config(&authority) }).expect("a client");
    assert_eq!(get(&client, url("https://mirror.example/file")).expect("fetched").bytes, b"sealed");
    let asked = proxying.mirror.requests();
    assert_eq!((asked.len(), asked[0].target.as_str()), (1, "mirror.example:443"));
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic dTp3"));
    assert_eq!(secure.requests()[0].header("proxy-authorization"), None, "the origin does not see it");
}

#[test]
fn a_proxy_that_refuses_the_tunnel_is_named() {
    let proxying = serve(10);
    let client = through(Proxies { https: proxy(&proxying.mirror, ""), ..Proxies::default() });
    let error = get(&client, url("https://mirror.example/file")).expect_err("refused");
    assert!(matches!(error, NetError::Proxy { .. }), "{error:?}");
}
