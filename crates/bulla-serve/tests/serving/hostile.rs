//! What clients do that mean no good: none of it ends the server, or keeps it from the others.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use rustix::process::{Resource, Rlimit};

use crate::{
    Case,
    world::{LARGE, Served, World},
};

pub(crate) const CASES: &[Case] = &[
    ("what_is_no_request_is_refused_and_recorded", what_is_no_request_is_refused_and_recorded),
    ("ten_thousand_connections_starve_nobody", ten_thousand_connections_starve_nobody),
    ("clients_that_do_not_read_hold_nobody_up", clients_that_do_not_read_hold_nobody_up),
    ("the_records_are_bounded", the_records_are_bounded),
    ("a_server_that_is_killed_is_noticed", a_server_that_is_killed_is_noticed),
];

fn lives(served: &Served) {
    assert_eq!(served.get("/go/gone"), ("HTTP/1.1 410 Gone".to_owned(), "gone\n".to_owned()));
}

fn what_is_no_request_is_refused_and_recorded(world: &World) {
    let served = world.serve();
    let host = "Host: h\r\n";
    let cases = [
        (format!("GET /go/../npm/@scope/name HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /go/%2e%2e/npm/@scope/name HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /npm/@scope%252fname HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 404),
        (format!("GET /npm/@scope%2fname%00 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET http://registry.example/npm/@scope/name HTTP/1.1\r\n{host}\r\n"), 400),
        ("GET http://h/npm/@scope/name HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(), 403),
        (format!("CONNECT registry.example:443 HTTP/1.1\r\n{host}\r\n"), 403),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 403),
        ("GET /go/gone HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /go/gone HTTP/1.1\r\n{host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), 400),
        (format!("DELETE /npm/large.tgz HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 405),
        ("\u{16}\u{3}\u{1}\u{2}\n\n".to_owned(), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)), 431),
    ];
    for (text, status) in &cases {
        let said = served.raw(text.as_bytes());
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {said:?}");
        assert_eq!(
            said.matches("\r\nConnection: close\r\n").count(),
            1,
            "what follows is not read as a request: {said:?}"
        );
    }
    // What is sent after a body that nobody reads is not a request either.
    let smuggled = format!(
        "GET /go/gone HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhelloGET /npm/large.tgz HTTP/1.1\r\n{host}\r\n"
    );
    let said = served.raw(smuggled.as_bytes());
    assert!(said.starts_with("HTTP/1.1 410 ") && said.ends_with("gone\n"), "{said:?}");
    lives(&served);
    let report = served.finish();
    let refused = report.served.iter().filter(|one| one.refused());
    assert_eq!(refused.map(|one| one.times).sum::<u64>(), cases.len() as u64);
    let proxied = report.served.iter().find(|one| one.method == "CONNECT").expect("it is told");
    assert_eq!((proxied.path.as_str(), proxied.status), ("registry.example:443", 403));
    assert!(report.served.iter().all(|one| !one.path.contains(char::is_control) && one.path.len() <= 1024));
}

fn ten_thousand_connections_starve_nobody(world: &World) {
    const MANY: usize = 10_000;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most > MANY as u64 + 200);
    if !enough {
        println!("SKIPPED: ten thousand connections, since this user may not have so many descriptors");
        return;
    }
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit");
    let served = world.serve();
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..MANY {
        let mut stream = served.connect();
        // Some are silent, some have begun a head, and some are at a body and do not read it.
        let begun: &[u8] = match number % 10 {
            0..5 => b"",
            5..9 => b"GET /npm/lar",
            _ => b"GET /npm/large.tgz HTTP/1.1\r\nHost: h\r\n\r\n",
        };
        // It may have been ended already, to make room.
        let _ = stream.write_all(begun);
        held.push(stream);
        if number % 1000 == 0 {
            lives(&served);
        }
    }
    lives(&served);
    let mut last = held.pop().expect("there are many");
    last.write_all(b"GET /go/gone HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sent");
    drop(held);
    lives(&served);
    let report = served.finish();
    assert_eq!(report.served.iter().filter(|one| one.refused()).count(), 0);
}

fn clients_that_do_not_read_hold_nobody_up(world: &World) {
    let served = world.serve();
    let deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = served.connect();
            stream.write_all(b"GET /npm/large.tgz HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
            stream
        })
        .collect();
    lives(&served);
    // One of them reads after all, and gets everything.
    let mut stream = deaf.into_iter().next_back().expect("there are some");
    stream.shutdown(std::net::Shutdown::Write).expect("it says no more");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end");
    assert!(all.len() > LARGE, "{}", all.len());
}

fn the_records_are_bounded(world: &World) {
    let served = world.serve();
    let mut all = String::new();
    for number in 0..3000 {
        all += &format!("GET /unknown/{number}/{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1100));
    }
    all += "GET /go/gone HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut stream = served.connect();
    let mut reader = stream.try_clone().expect("a copy");
    let reading = std::thread::spawn(move || {
        let mut all = String::new();
        reader.read_to_string(&mut all).map(|_| all)
    });
    stream.write_all(all.as_bytes()).expect("sent");
    assert!(reading.join().expect("read").expect("read").ends_with("gone\n"));
    let report = served.finish();
    assert_eq!((report.served.len(), report.dropped), (1001, 2000), "and what is there still counts");
    assert!(report.served.iter().all(|one| one.path.len() <= 1024));
}

fn a_server_that_is_killed_is_noticed(world: &World) {
    let served = world.serve();
    lives(&served);
    let own = std::process::id().to_string();
    // The servers of other cases have ended with them: this process has the helper and one server.
    let all = Command::new("/usr/bin/pgrep").args(["-P", &own, "-f", "^bulla-serve"]).output();
    let Ok(all) = all else {
        println!("SKIPPED: the end of a killed server, since there is no pgrep");
        return;
    };
    let pids = String::from_utf8_lossy(&all.stdout).into_owned();
    let [pid] = pids.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{pids:?}") };
    let pid = rustix::process::Pid::from_raw(pid.parse().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let error = served.server.finish(&[]).expect_err("nobody knows what it was asked");
    assert_eq!(error.to_string(), "the server of the locked repository ended before its step");
}
