//! Downloads of what is seen for the first time, so that no digest tells whether they are right.

use std::io::Write;

use bulla_model::{Fault as _, Kind};
use bulla_net::{Client, Get, NetConfig, NetError, Reach, Url};
use bulla_testkit::Fault;

use crate::{client, quick, serve, url};

const SIZE: usize = 700_000;

/// Downloads into memory; gives the bytes and how often it was begun.
fn first(client: &Client, url: Url, reach: Reach, max_size: u64) -> Result<(Vec<u8>, usize), NetError> {
    let mut begun = 0;
    let open = || {
        begun += 1;
        Ok(Vec::new())
    };
    let (bytes, count) = client.get_into(&Get { urls: vec![url], reach, max_size, accept: None }, open, &|_| {})?;
    assert_eq!(bytes.len() as u64, count);
    Ok((bytes, begun))
}

#[test]
fn something_new_comes_whole() {
    let served = serve(SIZE);
    let found = first(&client(), served.url(), Reach::Configured, SIZE as u64).expect("fetched");
    assert_eq!(found, (served.bytes, 1));
}

#[test]
fn something_new_goes_on_where_it_was_cut_off_when_the_version_is_named() {
    let served = serve(SIZE);
    served.mirror.fault("/file", Fault::CutOff { after: 300_000, times: 2 });
    let (bytes, begun) = first(&client(), served.url(), Reach::Configured, 1 << 20).expect("fetched");
    assert_eq!((bytes == served.bytes, begun), (true, 1));
    assert!(served.mirror.requests()[1].header("if-range").is_some());
}

#[test]
fn the_halves_of_two_versions_are_never_put_together() {
    // The server says no version, or replaces the file while it is read: it is begun again.
    let served = serve(SIZE);
    served.mirror.fault("/file", Fault::CutOff { after: 300_000, times: 1 });
    served.mirror.fault("/file", Fault::NoRange);
    let (bytes, begun) = first(&client(), served.url(), Reach::Configured, 1 << 20).expect("fetched");
    assert_eq!((bytes == served.bytes, begun), (true, 2));
}

#[test]
fn what_is_larger_than_a_source_may_be_is_refused() {
    let served = serve(1000);
    let error = first(&client(), served.url(), Reach::Configured, 999).expect_err("too large");
    assert!(matches!(error, NetError::TooLarge { limit: 999, .. }), "{error:?}");
    served.mirror.fault("/file", Fault::Endless);
    let error = first(&client(), served.url(), Reach::Configured, 1 << 20).expect_err("without end");
    assert!(matches!(error, NetError::TooLarge { .. }), "{error:?}");
    served.mirror.heal();
    first(&client(), served.url(), Reach::Configured, 1000).expect("just as large as it may be");
}

#[test]
fn a_writer_that_fails_is_told_and_not_tried_again() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let served = serve(10);
    let get = Get { urls: vec![served.url()], reach: Reach::Configured, max_size: 1000, accept: None };
    let error = client().get_into(&get, || Ok(Full), &|_| {}).map(drop).expect_err("full");
    assert!(matches!(error, NetError::Sink { .. }), "{error:?}");
    assert_eq!(served.mirror.requests().len(), 1);
}

#[test]
fn this_machine_is_reached_where_the_user_allows_it_and_by_no_redirect_from_there() {
    let (allowed, other) = (serve(10), serve(1000));
    let error = first(&client(), allowed.url(), Reach::Public, 1000).expect_err("not allowed");
    assert!(matches!(error, NetError::Local { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Policy);

    let local_hosts = vec![format!("127.0.0.1:{}", allowed.mirror.address().port())];
    let client = Client::new(NetConfig { local_hosts, ..quick() }).expect("a client");
    assert_eq!(first(&client, allowed.url(), Reach::Public, 1000).expect("allowed").0, allowed.bytes);
    for place in [other.url().to_string(), "http://169.254.169.254/latest".to_owned()] {
        allowed.mirror.heal();
        allowed.mirror.fault("/file", Fault::Redirect(place.clone()));
        let error = first(&client, allowed.url(), Reach::Public, 1000).expect_err(&place);
        assert!(matches!(error, NetError::Local { .. }), "{place}: {error:?}");
    }
    assert!(other.mirror.requests().is_empty());
    allowed.mirror.heal();
    allowed.mirror.fault("/file", Fault::Redirect("/there".into()));
    allowed.mirror.fault("/there", Fault::Bytes(b"moved".to_vec()));
    assert_eq!(
        first(&client, url(&allowed.url().to_string()), Reach::Public, 1000).expect("the same host").0,
        b"moved"
    );
}
