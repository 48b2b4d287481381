//! What clients do that mean well.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
    time::Duration,
};

use bulla_model::Digest;
use bulla_sandbox::Serve as _;
use bulla_serve::{Body, Error, Server, Table};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::{
    Case,
    world::{LARGE, World, large, route},
};

pub(crate) const CASES: &[Case] = &[
    ("curl_gets_what_is_there", curl_gets_what_is_there),
    ("requests_on_one_connection_are_answered_in_order", requests_on_one_connection_are_answered_in_order),
    ("many_at_once_get_the_right_bytes", many_at_once_get_the_right_bytes),
    ("what_was_asked_is_told_and_equal_ones_once", what_was_asked_is_told_and_equal_ones_once),
    ("the_first_that_is_not_there_is_told_at_once", the_first_that_is_not_there_is_told_at_once),
    ("what_lies_unread_at_the_end_counts", what_lies_unread_at_the_end_counts),
    ("a_blob_of_another_length_is_not_served", a_blob_of_another_length_is_not_served),
    ("a_server_without_blobs_serves_what_it_has", a_server_without_blobs_serves_what_it_has),
    ("a_server_may_be_given_another_socket", a_server_may_be_given_another_socket),
    ("a_table_that_cannot_be_served_is_refused", a_table_that_cannot_be_served_is_refused),
];

/// Runs curl; `None` where there is none.
fn curl(words: &[&str]) -> Option<Vec<u8>> {
    let curl = Path::new("/usr/bin/curl");
    if !curl.exists() {
        println!("SKIPPED: curl as a client, since it is not installed");
        return None;
    }
    let output =
        Command::new(curl).env_clear().args(["-sS", "--max-time", "60", "--noproxy", "*"]).args(words).output();
    let output = output.expect("curl runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

fn curl_gets_what_is_there(world: &World) {
    let served = world.serve();
    let (large_url, scoped) = (served.url("/npm/large.tgz"), served.url("/npm/@scope%2fname"));
    let Some(whole) = curl(&[&large_url]) else { return };
    assert_eq!(Digest::of(&whole), Digest::of(large()));
    let text = |words: &[&str]| String::from_utf8(curl(words).expect("it is there")).expect("text");
    assert_eq!(text(&[&scoped]), "{\"name\":\"@scope/name\"}\n");
    assert_eq!(curl(&["-r", "7-1000006", &large_url]).expect("there"), large()[7..1_000_007]);
    assert_eq!(curl(&["-r", "-5", &large_url]).expect("there"), large()[LARGE - 5..]);
    let head = text(&["-I", &large_url]);
    assert!(head.contains("200 OK") && head.contains(&format!("Content-Length: {LARGE}\r\n")), "{head}");
    let said =
        text(&["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", &scoped, "-o", "/dev/null", &large_url]);
    assert_eq!(said, "200 1\n200 0\n", "one connection for both");
    // A body that curl announces, and waits with.
    let said = text(&["-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect: 100-continue", "-d", "x=y", &scoped]);
    assert_eq!(said, "405");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), large()).expect("written");
    let data = format!("@{}", file.path().display());
    let said = text(&["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", &data, "-H", "Expect:", &scoped]);
    assert_eq!(said, "405", "one with five megabytes that nobody reads");
    let tag = format!("If-None-Match: \"{}\"", Digest::of(large()).hex());
    assert_eq!(text(&["-o", "/dev/null", "-w", "%{http_code}", "-H", &tag, &large_url]), "304");
    assert_eq!(text(&["-0", &scoped]), "{\"name\":\"@scope/name\"}\n", "the protocol before");
    assert_eq!(text(&["-H", "Accept: application/vnd.x+json", &served.url("/simple/x/")]), "{}");
    assert_eq!(text(&[&served.url("/simple/x/")]), "<a>");
    assert!(served.finish().served.iter().all(|one| one.refused() == (one.status == 405)));
}

fn requests_on_one_connection_are_answered_in_order(world: &World) {
    let served = world.serve();
    let one = |path: &str, end: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{end}\r\n");
    let mut all = String::new();
    for _ in 0..100 {
        all += &one("/go/github.com/!burnt!sushi/toml/@v/list", "");
        all += &one("/nothing", "");
        all += &one("/npm/large.tgz", "Range: bytes=0-99999\r\n");
        all += &one("/empty", "");
    }
    all += &one("/go/gone", "Connection: close\r\n");
    let said = served.raw(all.as_bytes());
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 200);
    assert_eq!(said.matches("HTTP/1.1 206 ").count(), 100);
    assert_eq!(said.matches("HTTP/1.1 404 ").count(), 100);
    assert!(said.ends_with("\r\n\r\ngone\n"), "the last one");
    // The answers tell their order by themselves, cut to pieces of any length.
    let mut stream = served.connect();
    let text = one("/npm/@scope%2Fname", "") + &one("/go/gone", "Connection: close\r\n");
    for byte in text.as_bytes() {
        stream.write_all(&[*byte]).expect("sent");
    }
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an end");
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("gone\n"), "{said}");
}

fn many_at_once_get_the_right_bytes(world: &World) {
    let served = world.serve();
    let right = Digest::of(large());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut stream = served.connect();
                for round in 0..4 {
                    stream.write_all(b"GET /npm/large.tgz HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).expect("a head");
                        head.extend(byte);
                    }
                    let mut body = vec![0; LARGE];
                    stream.read_exact(&mut body).expect("a body");
                    assert_eq!(Digest::of(&body), right, "round {round}");
                }
            });
        }
    });
    let report = served.finish();
    let [one] = &report.served[..] else { panic!("{report:?}") };
    assert_eq!((one.times, one.bytes, one.route), (64, 64 * LARGE as u64, Some(1)));
}

fn what_was_asked_is_told_and_equal_ones_once(world: &World) {
    let served = world.serve();
    for path in ["/go/gone", "/unknown%20one?x=%20y", "/go/gone", "/unknown%20one?x=%20y", "/unknown"] {
        let _ = served.get(path);
    }
    let _ = served.raw(b"PURGE /npm/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let report = served.finish();
    let told: Vec<_> = report
        .served
        .iter()
        .map(|one| (one.method.as_str(), one.path.as_str(), one.status, one.times, one.refused()))
        .collect();
    let expected = [
        ("GET", "/go/gone", 410, 2, false),
        ("GET", "/unknown one?x=%20y", 404, 2, true),
        ("GET", "/unknown", 404, 1, true),
        ("PURGE", "/npm/x", 405, 1, true),
    ];
    assert_eq!(told, expected);
    assert_eq!((report.dropped, report.served[0].bytes), (0, 10));
}

fn the_first_that_is_not_there_is_told_at_once(world: &World) {
    let served = world.serve();
    let told = |within: u64| {
        let time = Timespec::try_from(Duration::from_secs(within)).expect("a time");
        let refused = served.server.refused().expect("a sign");
        rustix::event::poll(&mut [PollFd::from_borrowed_fd(refused, PollFlags::IN)], Some(&time)).expect("asked") > 0
    };
    assert_eq!(served.get("/go/gone").0, "HTTP/1.1 410 Gone");
    assert!(!told(0), "what the lock knows to be gone is no refusal");
    assert_eq!(served.get("/unknown").0, "HTTP/1.1 404 Not Found");
    assert!(told(60));
}

fn what_lies_unread_at_the_end_counts(world: &World) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // Its client came and went before the server knew of either.
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /secret-plan HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
    drop(stream);
    let mut server = Server::start(&world.launcher, &world.table()).expect("a server");
    server.listen(listener.into()).expect("it takes its socket");
    let report = server.finish(&[]).expect("a report");
    assert_eq!(report.served.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["/secret-plan"]);
}

fn a_blob_of_another_length_is_not_served(world: &World) {
    let body = world.blob(b"as it was locked");
    let Body::Blob { digest, .. } = body else { panic!("a blob") };
    let table = Table { blobs: Some(world.blobs()), routes: vec![route("/a", body)], identity: None };
    let served = world.serve_table(&table);
    assert_eq!(served.get("/a").1, "as it was locked");
    let path = world.blobs().join(digest.hex());
    std::fs::write(&path, "as it was locked, and more").expect("changed");
    assert_eq!(served.get("/a").0, "HTTP/1.1 500 Not As Locked");
    std::fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", &path).expect("a link");
    assert_eq!(served.get("/a").0, "HTTP/1.1 500 Not As Locked");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(served.get("/a").0, "HTTP/1.1 500 Not As Locked");
    let report = served.finish();
    assert_eq!(report.served.iter().map(|one| (one.status, one.times)).collect::<Vec<_>>(), [(200, 1), (500, 3)]);
}

fn a_server_without_blobs_serves_what_it_has(world: &World) {
    let table = Table { blobs: None, routes: vec![route("/a", Body::Bytes(b"made".to_vec()))], identity: None };
    assert_eq!(world.serve_table(&table).get("/a").1, "made");
    // Ten thousand documents, as a large lock has them.
    let routes = (0..10_000).map(|number| route(&format!("/{number}"), Body::Bytes(number.to_string().into_bytes())));
    let served = world.serve_table(&Table { blobs: None, routes: routes.collect(), identity: None });
    assert_eq!(served.get("/9999").1, "9999");
}

fn a_server_may_be_given_another_socket(world: &World) {
    let mut served = world.serve();
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let first = served.address;
    served.address = other.local_addr().expect("bound");
    served.server.listen(other.into()).expect("it takes it");
    assert_eq!(served.get("/go/gone").1, "gone\n");
    assert!(std::net::TcpStream::connect(first).is_err(), "the first is closed");
}

fn a_table_that_cannot_be_served_is_refused(world: &World) {
    let table = Table { blobs: None, routes: vec![route("/a/../b", Body::Bytes(Vec::new()))], identity: None };
    assert!(matches!(Server::start(&world.launcher, &table), Err(Error::Route { .. })));
    let table = Table { blobs: Some("/no/such/folder".into()), routes: Vec::new(), identity: None };
    let error = Server::start(&world.launcher, &table).expect_err("it fails");
    assert!(format!("{error:?}").contains("NotFound"), "{error:?}");
}
