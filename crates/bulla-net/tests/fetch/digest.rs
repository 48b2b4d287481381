//! Other bytes than those that are pinned.

use bulla_model::{Digest, Fault as _, Kind};
use bulla_net::{Download, DownloadSink, Finish, NetError, SinkError};
use bulla_testkit::Fault;

use crate::{client, fetch, fetch_onto, serve};

#[test]
fn other_bytes_of_the_same_size_are_refused_with_both_digests() {
    let served = serve(1000);
    let other = vec![7; 1000];
    served.mirror.fault("/file", Fault::Bytes(other.clone()));
    let error = fetch(&client(), &served.download()).expect_err("other bytes");
    let text = error.to_string();
    for part in [served.url().to_string(), Digest::of(&served.bytes).to_string(), Digest::of(&other).to_string()] {
        assert!(text.contains(&part), "{part} in {text}");
    }
    assert_eq!(error.kind(), Kind::Integrity);
    assert_eq!(served.mirror.requests().len(), 1, "a liar is not asked again");
}

#[test]
fn another_mirror_is_asked_after_a_liar() {
    let (liar, good) = (serve(1000), serve(1000));
    liar.mirror.fault("/file", Fault::Bytes(vec![7; 1000]));
    let mut download = liar.download();
    download.urls.push(good.url());
    let (bytes, _) = fetch(&client(), &download).expect("the second mirror gives it");
    assert_eq!(bytes, good.bytes);
    assert_eq!(good.mirror.requests()[0].header("range"), None, "nothing of the liar's is kept");
}

#[test]
fn a_liar_that_breaks_off_does_not_spoil_the_next_mirror() {
    let (liar, good) = (serve(1000), serve(1000));
    liar.mirror.fault("/file", Fault::Bytes(vec![7; 1000]));
    liar.mirror.fault("/file", Fault::CutOff { after: 500, times: 100 });
    let mut download = liar.download();
    download.urls.push(good.url());
    let (bytes, _) = fetch(&client(), &download).expect("the second mirror gives it");
    assert_eq!(bytes, good.bytes);
}

#[test]
fn when_all_lie_every_mirror_is_named() {
    let (first, second) = (serve(1000), serve(1000));
    first.mirror.fault("/file", Fault::Bytes(vec![7; 1000]));
    second.mirror.fault("/file", Fault::Status { status: 404, times: 9, retry_after: None });
    let mut download = first.download();
    download.urls.push(second.url());
    let error = fetch(&client(), &download).expect_err("no good mirror");
    let text = error.to_string();
    assert!(text.contains(&first.mirror.url()) && text.contains(&second.mirror.url()), "{text}");
    assert_eq!(error.kind(), Kind::Integrity);
}

#[test]
fn another_size_is_refused_before_the_body() {
    let served = serve(1000);
    for lie in [vec![7; 999], vec![7; 1001]] {
        served.mirror.heal();
        served.mirror.fault("/file", Fault::Bytes(lie));
        let error = fetch_onto(&client(), &served.download(), Vec::new()).expect_err("another size");
        assert!(matches!(error, NetError::WrongSize { expected: 1000, .. }), "{error}");
    }
}

#[test]
fn a_length_that_is_a_lie_is_found_out() {
    let served = serve(1000);
    served.mirror.fault("/file", Fault::ContentLength(500));
    let error = fetch(&client(), &served.download()).expect_err("a lie");
    assert!(matches!(error, NetError::WrongSize { .. }), "{error}");
    served.mirror.heal();
    served.mirror.fault("/file", Fault::ContentLength(5000));
    let unknown = Download { size: None, ..served.download() };
    let error = fetch(&client(), &unknown).expect_err("a lie");
    assert!(matches!(error, NetError::CutOff { .. }), "{error}");
}

#[test]
fn a_download_without_a_mirror_says_so() {
    let served = serve(10);
    let error = fetch(&client(), &Download { urls: Vec::new(), ..served.download() }).expect_err("no mirror");
    assert!(matches!(error, NetError::NoMirror { .. }) && !error.hints().is_empty(), "{error}");
}

#[test]
fn a_disk_that_is_full_ends_it_at_once() {
    struct Full;
    impl DownloadSink for Full {
        fn have(&self) -> u64 {
            0
        }
        fn write(&mut self, _: &[u8]) -> Result<(), SinkError> {
            Err("no space left on device".into())
        }
        fn restart(&mut self) -> Result<(), SinkError> {
            Ok(())
        }
        fn finish(&mut self, _: &Digest) -> Result<Finish, SinkError> {
            Ok(Finish::Kept)
        }
    }
    let (first, second) = (serve(1000), serve(1000));
    let mut download = first.download();
    download.urls.push(second.url());
    let error = client().download(&download, &mut Full, &|_| {}).expect_err("full");
    assert!(matches!(error, NetError::Sink { .. }), "{error}");
    assert!(second.mirror.requests().is_empty(), "another mirror would not help");
}
