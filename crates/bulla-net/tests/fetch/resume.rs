//! Downloads that are cut off, and go on.

use bulla_net::NetError;
use bulla_testkit::Fault;

use crate::{client, fetch, fetch_onto, serve};

const SIZE: usize = 700_000;

#[test]
fn a_download_that_is_cut_off_goes_on_where_it_was() {
    let served = serve(SIZE);
    served.mirror.fault("/file", Fault::CutOff { after: 100_000, times: 2 });
    let (bytes, _) = fetch(&client(), &served.download()).expect("fetched");
    assert_eq!(bytes, served.bytes);
    let asked = served.mirror.requests();
    let ranges: Vec<_> = asked.iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned()), Some("bytes=200000-".to_owned())]);
    assert!(asked[1].header("if-range").is_some(), "the version is named");
}

#[test]
fn a_cut_at_any_place_is_mended() {
    for after in [0, 1, 65_535, 65_536, SIZE as u64 - 1] {
        let served = serve(SIZE);
        served.mirror.fault("/file", Fault::CutOff { after, times: 1 });
        let (bytes, most) = fetch(&client(), &served.download()).unwrap_or_else(|error| panic!("{after}: {error}"));
        assert_eq!((bytes.len(), most), (SIZE, SIZE as u64), "{after}");
    }
}

#[test]
fn a_mirror_that_breaks_off_again_and_again_but_gets_on_is_used_to_the_end() {
    let served = serve(3_000_000);
    served.mirror.fault("/file", Fault::CutOff { after: 300_000, times: 100 });
    fetch(&client(), &served.download()).expect("more attempts than without progress");
    assert!(served.mirror.requests().len() >= 10);
}

#[test]
fn a_mirror_that_breaks_off_at_once_is_given_up() {
    let served = serve(SIZE);
    served.mirror.fault("/file", Fault::CutOff { after: 0, times: 100 });
    let error = fetch(&client(), &served.download()).expect_err("cut off");
    assert!(matches!(error, NetError::CutOff { .. } | NetError::Connect { .. }), "{error:?}");
    assert_eq!(served.mirror.requests().len(), 4);
}

#[test]
fn what_an_earlier_run_left_is_used() {
    let served = serve(SIZE);
    let (bytes, _) = fetch_onto(&client(), &served.download(), served.bytes[..500_000].to_vec()).expect("fetched");
    assert_eq!(bytes, served.bytes);
    assert_eq!(served.mirror.requests()[0].header("range"), Some("bytes=500000-"));
}

#[test]
fn what_an_earlier_run_left_whole_is_not_asked_for_again() {
    let served = serve(SIZE);
    fetch_onto(&client(), &served.download(), served.bytes.clone()).expect("there already");
    assert!(served.mirror.requests().is_empty());
}

#[test]
fn a_wrong_beginning_is_thrown_away_once() {
    let served = serve(SIZE);
    let (bytes, _) = fetch_onto(&client(), &served.download(), vec![0xff; 500_000]).expect("fetched");
    assert_eq!(bytes, served.bytes);
    let longer = vec![0xff; SIZE + 5];
    fetch_onto(&client(), &served.download(), longer).expect("a beginning that is too long");
}

#[test]
fn a_server_without_ranges_gives_the_whole_again() {
    let served = serve(SIZE);
    served.mirror.fault("/file", Fault::NoRange);
    served.mirror.fault("/file", Fault::CutOff { after: 100_000, times: 1 });
    let (bytes, _) = fetch(&client(), &served.download()).expect("fetched");
    assert_eq!(bytes, served.bytes);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_taken() {
    let served = serve(SIZE);
    served.mirror.fault("/file", Fault::WrongRange);
    let (bytes, _) = fetch_onto(&client(), &served.download(), served.bytes[..1000].to_vec()).expect("the whole, then");
    assert_eq!(bytes, served.bytes);
    served.mirror.fault("/file", Fault::CutOff { after: 1000, times: 1 });
    fetch(&client(), &served.download()).expect("the whole after a cut, too");
}

#[test]
fn a_body_that_ends_early_without_a_length_is_cut_off() {
    let served = serve(1000);
    let half = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &served.bytes[..500]].concat();
    served.mirror.fault("/file", Fault::Garbage(half));
    let error = fetch(&client(), &served.download()).expect_err("cut off");
    assert!(matches!(error, NetError::CutOff { .. }), "{error:?}");
}

#[test]
fn a_mirror_goes_on_where_another_broke_off() {
    let (broken, good) = (serve(SIZE), serve(SIZE));
    broken.mirror.fault("/file", Fault::CutOff { after: 200_000, times: 1 });
    broken.mirror.fault("/file", Fault::NoRange);
    broken.mirror.fault("/file", Fault::CutOff { after: 200_000, times: 100 });
    let mut download = broken.download();
    download.urls.push(good.url());
    let (bytes, _) = fetch(&client(), &download).expect("fetched");
    assert_eq!(bytes, good.bytes);
    assert_eq!(good.mirror.requests()[0].header("range"), Some("bytes=200000-"));
    assert_eq!(good.mirror.requests()[0].header("if-range"), None, "the tag is the other mirror's");
}
