//! Mirrors that are slow, silent, endless, or answer with errors.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use bulla_model::{Fault as _, Kind};
use bulla_net::{Client, NetConfig, NetError};
use bulla_testkit::{Fault, hostile};

use crate::{client, fetch, get, quick, serve};

#[test]
fn errors_of_the_server_pass_when_it_recovers() {
    let served = serve(1000);
    served.mirror.fault("/file", Fault::Status { status: 500, times: 2, retry_after: None });
    assert_eq!(get(&client(), served.url()).expect("fetched").bytes, served.bytes);
    assert_eq!(served.mirror.requests().len(), 3);
}

#[test]
fn a_server_that_stays_broken_is_asked_a_few_times_only() {
    let served = serve(1000);
    served.mirror.fault("/file", Fault::Status { status: 503, times: 100, retry_after: None });
    let error = get(&client(), served.url()).expect_err("broken");
    assert!(matches!(error, NetError::Status { status: 503, .. }), "{error}");
    assert_eq!(served.mirror.requests().len(), 4);
}

#[test]
fn a_missing_file_is_not_asked_for_again() {
    let served = serve(1);
    let error = get(&client(), crate::url(&format!("{}/nothing", served.mirror.url()))).expect_err("missing");
    assert!(error.is_not_found() && error.to_string().contains("/nothing"), "{error}");
    assert_eq!(served.mirror.requests().len(), 1);
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept_when_it_is_bearable() {
    let served = serve(10);
    served.mirror.fault("/file", Fault::Status { status: 429, times: 1, retry_after: Some(1) });
    let start = Instant::now();
    get(&client(), served.url()).expect("fetched");
    assert!(start.elapsed() >= Duration::from_secs(1));
    served.mirror.fault("/file", Fault::Status { status: 503, times: 9, retry_after: Some(86_400) });
    let error = get(&client(), served.url()).expect_err("too long");
    assert!(matches!(error, NetError::Later { seconds: 86_400, .. }) && start.elapsed().as_secs() < 600, "{error}");
}

#[test]
fn a_mirror_that_trickles_is_given_up() {
    let served = serve(100_000);
    served.mirror.fault("/file", Fault::Slow { bytes_per_second: 100 });
    let start = Instant::now();
    let once = Client::new(NetConfig { retries: 0, ..quick() }).expect("a client");
    let error = fetch(&once, &served.download()).expect_err("slow");
    assert!(matches!(error, NetError::Stalled { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(error.kind(), Kind::Environment);
}

#[test]
fn a_mirror_that_is_only_slow_is_waited_for() {
    let served = serve(30_000);
    served.mirror.fault("/file", Fault::Slow { bytes_per_second: 12_000 });
    fetch(&client(), &served.download()).expect("fetched");
}

#[test]
fn a_mirror_that_says_nothing_is_given_up_and_the_next_is_asked() {
    let (silent, good) = (serve(1000), serve(1000));
    silent.mirror.fault("/file", Fault::Silent);
    let once = Client::new(NetConfig { retries: 0, ..quick() }).expect("a client");
    let mut download = silent.download();
    download.urls.push(good.url());
    fetch(&once, &download).expect("the second mirror gives it");
    assert_eq!(good.mirror.requests().len(), 1);
}

#[test]
fn a_body_without_end_is_stopped_at_the_size() {
    let served = serve(1000);
    served.mirror.fault("/file", Fault::Endless);
    let error = fetch(&client(), &served.download()).expect_err("endless");
    assert!(matches!(error, NetError::WrongSize { expected: 1000, .. }), "{error}");
    let error = get(&client(), served.url()).expect_err("endless");
    assert!(matches!(error, NetError::TooLarge { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Integrity);
}

#[test]
fn headers_without_end_are_refused() {
    let served = serve(10);
    served.mirror.fault("/file", Fault::HeaderFlood);
    let error = get(&client(), served.url()).expect_err("flooded");
    assert!(matches!(error, NetError::Protocol { .. }), "{error:?}");
}

#[test]
fn one_header_that_is_too_long_is_refused() {
    let served = serve(10);
    let answer = |length| format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(length));
    served.mirror.fault("/file", Fault::Garbage(answer(100_000).into()));
    let error = get(&client(), served.url()).expect_err("too long");
    assert!(matches!(error, NetError::Protocol { .. }), "{error:?}");
    served.mirror.heal();
    served.mirror.fault("/file", Fault::Garbage(answer(1000).into()));
    get(&client(), served.url()).expect("a header that is only long");
}

#[test]
fn a_head_that_trickles_is_given_up() {
    let served = serve(10);
    served.mirror.fault("/file", Fault::HeaderTrickle);
    let start = Instant::now();
    let once = Client::new(NetConfig { retries: 0, ..quick() }).expect("a client");
    let error = get(&once, served.url()).expect_err("slow");
    assert!(matches!(error, NetError::Connect { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn an_answer_that_is_not_http_is_refused() {
    let served = serve(10);
    for garbage in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 abc\r\n\r\n", "\0\0\0\0", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"]
    {
        served.mirror.heal();
        served.mirror.fault("/file", Fault::Garbage(garbage.into()));
        let error = get(&client(), served.url()).expect_err("garbage");
        assert!(matches!(error, NetError::Protocol { .. } | NetError::Connect { .. }), "{garbage}: {error:?}");
    }
}

#[test]
fn a_compressed_body_is_not_unfolded() {
    let served = serve(10);
    let bomb = hostile::gzip_bomb(64 << 20);
    served.mirror.fault("/file", Fault::Bytes(bomb.clone()));
    served.mirror.fault("/file", Fault::Headers(vec![("Content-Encoding".into(), "gzip".into())]));
    let body = get(&client(), served.url()).expect("the small, compressed bytes");
    assert_eq!(body.bytes, bomb);
    let asked = served.mirror.requests();
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn stopping_ends_a_download_that_waits() {
    let served = serve(1000);
    served.mirror.fault("/file", Fault::Silent);
    let mut config = quick();
    config.timeouts.response = Duration::from_secs(60);
    config.timeouts.stall = Duration::from_secs(60);
    let cancel = config.cancel.clone();
    let client = Client::new(config).expect("a client");
    let start = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| fetch(&client, &served.download()));
        thread::sleep(Duration::from_millis(300));
        cancel.store(true, Ordering::Relaxed);
        let error = waiting.join().expect("no panic").expect_err("stopped");
        assert!(matches!(error, NetError::Cancelled), "{error}");
        assert_eq!(error.kind(), Kind::Interrupted);
    });
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_mirror_that_is_not_there_is_named() {
    let port = bulla_testkit::docker::free_port();
    let error = get(&client(), crate::url(&format!("http://127.0.0.1:{port}/x"))).expect_err("no one listens");
    assert!(matches!(error, NetError::Connect { .. }) && error.to_string().contains("/x"), "{error:?}");
    assert!(!error.hints().is_empty());
}
