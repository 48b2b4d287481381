//! Who is let in, and where logins go.

use bulla_model::{Fault as _, Kind, oci};
use bulla_net::{
    Authority, NetConfig, NetError, Reach, Secret,
    oci::{Login, RegistryConfig, RegistryError},
};
use bulla_testkit::{FakeRegistry, RegistryFault, TestAuthority};

use crate::{
    PASSWORD, USER, bytes, described, fetch, index, open, password, quick, reference, registries, send, shop,
    with_login,
};

#[test]
fn a_token_is_got_with_the_login_once_and_used_for_all() {
    let registry = FakeRegistry::start();
    registry.require_token(USER, PASSWORD);
    registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    let blob = bytes(1000);
    registry.put_blob("team/shop", &blob);
    let repository = open(&with_login(&registry, password()), &registry).expect("a registry");
    repository.manifest("1").expect("let in");
    assert_eq!(fetch(&repository, &described(&blob)).expect("let in"), blob);
    assert_eq!(registry.count("GET", "/token"), 1);
    let asked = registry.requests();
    let token = asked.iter().find(|request| request.target.starts_with("/token")).expect("a token was asked for");
    assert!(token.target.contains("service=test") && token.target.contains("scope=repository%3Ateam%2Fshop%3Apull"));
    let with_password = asked.iter().filter(|one| one.header("authorization").is_some_and(|v| v.starts_with("Basic")));
    assert!(with_password.into_iter().all(|one| one.target.starts_with("/token")), "the login goes nowhere else");
}

#[test]
fn a_registry_without_a_token_service_gets_the_login_itself() {
    let registry = FakeRegistry::start();
    registry.require_login(USER, PASSWORD);
    let repository = open(&with_login(&registry, password()), &registry).expect("a registry").for_pushing();
    send(&repository, &bytes(10)).expect("let in");
    assert!(registry.requests()[0].header("authorization").is_none(), "it is not sent before it is asked for");
}

#[test]
fn who_has_no_login_is_told_where_one_goes() {
    let registry = FakeRegistry::start();
    registry.require_login(USER, PASSWORD);
    let error = shop(&registry).manifest("1").expect_err("not let in");
    assert!(matches!(&error, RegistryError::Denied { with_login: false, .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Environment);
    assert!(error.hints()[0].contains("docker login"), "{:?}", error.hints());
}

#[test]
fn a_wrong_login_is_not_tried_for_ever_and_not_shown() {
    let registry = FakeRegistry::start();
    registry.require_token(USER, "another");
    let registries = with_login(&registry, password());
    let error = open(&registries, &registry).and_then(|shop| shop.manifest("1")).expect_err("not let in");
    assert!(matches!(&error, RegistryError::Denied { with_login: true, .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {registries:?}").contains(PASSWORD));
    assert!(registry.requests().len() < 6, "{:?}", registry.requests());
}

#[test]
fn a_registry_that_says_401_for_ever_is_given_up() {
    let registry = FakeRegistry::start();
    registry.require_token(USER, PASSWORD);
    registry.shut();
    let repository = open(&with_login(&registry, password()), &registry).expect("a registry").for_pushing();
    let blob = bytes(100);
    let errors = [
        repository.manifest("1").expect_err("shut"),
        fetch(&repository, &described(&blob)).expect_err("shut"),
        send(&repository, &blob).expect_err("shut"),
        repository.put_manifest("1", oci::INDEX, &index()).expect_err("shut"),
        repository.tags().expect_err("shut"),
    ];
    for error in errors {
        assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    }
    assert!(registry.requests().len() < 30, "{}", registry.requests().len());
}

#[test]
fn a_token_that_ran_out_is_renewed_once() {
    let registry = FakeRegistry::start();
    registry.require_token(USER, PASSWORD);
    registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    let blob = bytes(1000);
    registry.put_blob("team/shop", &blob);
    let repository = open(&with_login(&registry, password()), &registry).expect("a registry").for_pushing();
    repository.manifest("1").expect("let in");
    let challenge = ("WWW-Authenticate", format!("Bearer realm=\"{}/token\",service=\"test\"", registry.url()));
    for (method, part) in [("GET", "/manifests/"), ("GET", "/blobs/"), ("PUT", "/blobs/uploads/")] {
        registry.fault(method, part, 1, RegistryFault::Status(401));
        registry.fault(method, part, 1, RegistryFault::Header(challenge.0, challenge.1.clone()));
    }
    repository.manifest("1").expect("let in again");
    assert_eq!(fetch(&repository, &described(&blob)).expect("let in again"), blob);
    send(&repository, &bytes(500)).expect("let in again");
    assert_eq!(registry.count("GET", "/token"), 4);
}

#[test]
fn a_redirect_of_a_blob_carries_no_login_and_the_right_origin_has_it() {
    let (first, second) = (FakeRegistry::start(), FakeRegistry::start());
    first.require_token(USER, PASSWORD);
    let blob = bytes(5000);
    first.put_blob("team/shop", &blob);
    let digest = second.put_blob("team/shop", &blob);
    let place = format!("{}/v2/team/shop/blobs/{digest}", second.url());
    let repository = open(&with_login(&first, password()), &first).expect("a registry");
    // The control: the same request, answered by the registry itself, has the token.
    fetch(&repository, &described(&blob)).expect("from the registry");
    let own = first.requests().into_iter().find(|one| one.target.contains("/blobs/")).expect("asked for");
    assert!(own.header("authorization").is_some_and(|value| value.starts_with("Bearer ")));
    first.fault("GET", "/blobs/", 9, RegistryFault::Redirect(place));
    assert_eq!(fetch(&repository, &described(&blob)).expect("from elsewhere"), blob);
    let there = second.requests();
    assert!(there.iter().any(|one| one.target.contains("/blobs/")), "it went there");
    assert!(there.iter().all(|one| one.header("authorization").is_none()), "without the token");
}

#[test]
fn an_upload_to_another_origin_carries_no_login_and_no_redirect_is_followed_with_a_body() {
    let (first, second) = (FakeRegistry::start(), FakeRegistry::start());
    first.require_token(USER, PASSWORD);
    let place = format!("{}/v2/team/shop/blobs/uploads/0", second.url());
    let repository = open(&with_login(&first, password()), &first).expect("a registry").for_pushing();
    send(&repository, &bytes(64)).expect("at home");
    assert!(first.requests().iter().any(|one| one.method == "PUT" && one.header("authorization").is_some()), "control");
    first.fault("POST", "/uploads/", 9, RegistryFault::Header("Location", place.clone()));
    send(&repository, &bytes(65)).expect_err("there is no such upload");
    assert!(second.count("PUT", "/uploads/0") > 0, "it went there");
    assert!(second.requests().iter().all(|one| one.header("authorization").is_none()), "without the token");
    first.heal();
    first.fault("PUT", "/uploads/", 9, RegistryFault::Redirect(place));
    second.forget_requests();
    let error = send(&repository, &bytes(66)).expect_err("a redirect");
    assert!(matches!(error, RegistryError::Net(NetError::Redirect { .. })), "{error:?}");
    assert!(second.requests().is_empty());
}

#[test]
fn a_token_service_elsewhere_gets_no_login_without_encryption() {
    let (registry, thief) = (FakeRegistry::start(), FakeRegistry::start());
    thief.require_token(USER, PASSWORD);
    let repository = |realm: &str| {
        registry.require_token_of(realm, USER, PASSWORD);
        open(&with_login(&registry, password()), &registry).expect("a registry").manifest("1")
    };
    for realm in [format!("{}/token", thief.url()), "http://r.example/token".into(), "file:///etc/passwd".into()] {
        let error = repository(&realm).expect_err("refused");
        assert!(matches!(&error, RegistryError::Challenge { .. }), "{realm}: {error:?}");
        assert_eq!(error.kind(), Kind::Policy);
    }
    assert!(thief.requests().is_empty());
    // The control: at the registry's own origin it is followed.
    registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    repository(&format!("{}/token", registry.url())).expect("let in");
}

#[test]
fn a_token_service_elsewhere_gets_the_login_over_tls() {
    let authority = TestAuthority::new();
    let registry = FakeRegistry::start();
    let service = FakeRegistry::start_tls(&authority);
    service.require_token(USER, PASSWORD);
    registry.require_token_of(&format!("{}/token", service.url()), USER, PASSWORD);
    registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    let authorities = vec![Authority { name: "test".into(), pem: authority.pem().into() }];
    let logins = std::sync::Arc::new(crate::One(registry.address(), password()));
    let config = RegistryConfig { logins, ..RegistryConfig::default() };
    let registries = registries(NetConfig { authorities, ..quick() }, config);
    open(&registries, &registry).expect("a registry").manifest("1").expect("let in");
    assert!(service.requests()[0].header("authorization").is_some_and(|value| value.starts_with("Basic ")));
}

#[test]
fn a_registry_on_loopback_that_is_encrypted_is_found() {
    let authority = TestAuthority::new();
    let registry = FakeRegistry::start_tls(&authority);
    registry.put_manifest("team/shop", "1", oci::INDEX, &index());
    let authorities = vec![Authority { name: "test".into(), pem: authority.pem().into() }];
    let found = registries(NetConfig { authorities, ..quick() }, RegistryConfig::default());
    open(&found, &registry).expect("a registry").manifest("1").expect("there");
    // One that nobody vouches for is refused, and not asked without encryption after all.
    let unknown = registries(quick(), RegistryConfig::default());
    open(&unknown, &registry).expect_err("not trusted");
}

#[test]
fn a_refresh_token_is_posted_and_never_sent_to_the_registry() {
    let registry = FakeRegistry::start();
    registry.require_token(USER, PASSWORD);
    let repository = open(&with_login(&registry, Login::Identity(Secret::new("long-lived"))), &registry);
    // The service of the test knows passwords alone; what matters is how it was asked.
    repository.and_then(|shop| shop.manifest("1")).expect_err("not let in");
    assert_eq!(registry.count("POST", "/token"), 1);
    assert!(registry.requests().iter().all(|one| one.header("authorization").is_none()));
}

#[test]
fn a_spec_cannot_name_a_registry_of_this_machine_unless_the_configuration_does() {
    let registry = FakeRegistry::start();
    let open = |config: RegistryConfig| {
        let shop = reference(&registry.address(), "team/shop");
        registries(quick(), config).repository(&shop, Reach::Public).map(drop)
    };
    let error = open(RegistryConfig::default()).expect_err("refused");
    assert!(matches!(&error, RegistryError::Local { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Policy);
    assert!(error.hints()[0].contains("[registry.oci]"), "{:?}", error.hints());
    assert!(registry.requests().is_empty());
    // The control: named, it is asked.
    open(RegistryConfig { local: vec![registry.address()], ..RegistryConfig::default() }).expect("asked");
    assert_eq!(registry.requests().len(), 1);
    let metadata = bulla_model::oci::Reference::parse("169.254.169.254/latest/meta-data").expect("a reference");
    let error =
        registries(quick(), RegistryConfig::default()).repository(&metadata, Reach::Public).expect_err("refused");
    assert!(matches!(error, RegistryError::Local { .. }), "{error:?}");
}

#[test]
fn a_registry_that_is_not_configured_as_insecure_is_not_asked_in_the_clear() {
    // The machine's own address that is not loopback, where it has one.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let address = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|found| found.ip());
    let Ok(std::net::IpAddr::V4(own)) = address else {
        return bulla_testkit::skipped("a registry without encryption", "this machine has no address but loopback");
    };
    let listener = std::net::TcpListener::bind((own, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let seen = std::thread::spawn(move || {
        let mut first = Vec::new();
        for stream in listener.incoming().take(1).flatten() {
            use std::io::Read;
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(1)));
            let _ = stream.take(3).read_to_end(&mut first);
        }
        first
    });
    let net = NetConfig { retries: 0, ..quick() };
    let shop = reference(&format!("{own}:{port}"), "team/shop");
    registries(net, RegistryConfig::default()).repository(&shop, Reach::Configured).expect_err("no encryption");
    assert_eq!(seen.join().expect("no panic").first(), Some(&0x16), "it began with a handshake, and not with `GET`");
}

#[test]
fn a_mirror_is_read_with_its_own_login_and_never_pushed_to() {
    let (registry, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    let bytes = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let index = "application/vnd.oci.image.index.v1+json";
    let digest = mirror.put_manifest("cache/team/shop", "1", index, bytes);
    mirror.require_login("ada", "correct-horse");
    let logins = std::sync::Arc::new(crate::One(mirror.address(), password()));
    let mirrors = [(registry.address(), format!("{}/cache", mirror.address()))].into();
    let registries = registries(quick(), RegistryConfig { mirrors, logins, ..RegistryConfig::default() });
    let shop = reference(&registry.address(), "team/shop");
    // Even where a spec may not lead: the configuration does.
    let repository = registries.repository(&shop, Reach::Public).expect("the mirror");
    assert_eq!(repository.manifest("1").expect("it has it").descriptor.digest, digest);
    assert!(registry.requests().is_empty());
    let before = mirror.requests().len();
    let pushed = registries.repository_to_push(&shop).expect("the registry");
    pushed.resolve("1").expect("an answer");
    assert_eq!(mirror.requests().len(), before);
    assert!(!registry.requests().is_empty());
}
