//! What the server was asked: gathered while it serves, told at the end, and brought together with who asked.
//!
//! Equal requests are counted once and every list is bounded, whatever a step does. What the server's process tells is
//! not trusted either: foreign code has talked to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bulla_sandbox::{Connected, Connection};

use crate::table::{number, take_number, take_text, text};

/// The most different requests for what is not there that are remembered.
const MAX_UNKNOWN: usize = 1000;
/// The most different requests for what is there.
const MAX_KNOWN: usize = 200_000;
/// The longest path that is remembered of what is not there.
pub(crate) const MAX_SHOWN: usize = 1024;
const MAX_METHOD: usize = 16;

/// What a server was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The requests in the order of their first time, equal ones counted once.
    pub served: Vec<Served>,
    /// Requests that are not in the list, because it is bounded.
    pub dropped: u64,
}

/// A request, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The method.
    pub method: String,
    /// The path, percent-decoded, with its query; or what was asked for instead of a path, cut at 1 KiB.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// The route of the table that answered; `None` for what is not there, which is a refusal.
    pub route: Option<usize>,
    /// How many bytes of bodies were sent.
    pub bytes: u64,
    /// How often it was asked.
    pub times: u64,
    /// When it was asked first, by the kernel's monotonic clock ([`bulla_sandbox::monotonic`]).
    pub at: Duration,
    /// The process that asked first, best effort: the one that made the connection. `None` when it is not known.
    pub by: Option<Arc<Connected>>,
}

impl Served {
    /// Says whether it was asked for something that is not there.
    pub const fn refused(&self) -> bool {
        self.route.is_none()
    }
}

/// A request as the server counts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) route: Option<usize>,
    pub(crate) method: String,
    /// Empty for what is in the table.
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) times: u64,
    /// The port that the first one came from, and when that connection was accepted.
    pub(crate) port: u16,
    pub(crate) accepted: Duration,
    pub(crate) at: Duration,
}

/// The requests of one server.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) list: Vec<Record>,
    pub(crate) dropped: u64,
    known: BTreeMap<(Option<usize>, String, String, u16), usize>,
    unknown: usize,
}

impl Records {
    /// Counts a request, and gives its number for the bytes that follow.
    pub(crate) fn add(&mut self, record: Record) -> Option<usize> {
        let path = if record.route.is_some() { String::new() } else { cut(&record.path, MAX_SHOWN) };
        let record = Record { method: cut(&record.method, MAX_METHOD), path, ..record };
        let key = (record.route, record.method.clone(), record.path.clone(), record.status);
        if let Some(number) = self.known.get(&key) {
            self.list[*number].times += 1;
            return Some(*number);
        }
        let full = if record.route.is_none() { self.unknown >= MAX_UNKNOWN } else { self.list.len() >= MAX_KNOWN };
        if full {
            self.dropped += 1;
            return None;
        }
        self.unknown += usize::from(record.route.is_none());
        self.known.insert(key, self.list.len());
        self.list.push(record);
        Some(self.list.len() - 1)
    }

    pub(crate) fn sent(&mut self, number: Option<usize>, bytes: u64) {
        if let Some(record) = number.and_then(|number| self.list.get_mut(number)) {
            record.bytes += bytes;
        }
    }
}

fn cut(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

/// Writes one record as one message.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let mut out = vec![b'R'];
    number(&mut out, record.route.map_or(u64::MAX, |route| route as u64));
    text(&mut out, &record.method);
    text(&mut out, &record.path);
    for value in [record.status.into(), record.bytes, record.times, record.port.into()] {
        number(&mut out, value);
    }
    for time in [record.accepted, record.at] {
        number(&mut out, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
    out
}

/// Writes the last message.
pub(crate) fn encode_end(dropped: u64) -> Vec<u8> {
    let mut out = vec![b'E'];
    number(&mut out, dropped);
    out
}

/// A message of the server's process.
#[derive(Debug, PartialEq, Eq)]
enum Message {
    Record(Record),
    End { dropped: u64 },
}

fn decode(bytes: &[u8]) -> Option<Message> {
    let (tag, mut rest) = bytes.split_first()?;
    let rest = &mut rest;
    let message = match tag {
        b'R' => {
            let route = Some(take_number(rest)?).filter(|route| *route != u64::MAX);
            let route = route.map(usize::try_from).transpose().ok()?;
            let (method, path) = (take_text(rest)?, take_text(rest)?);
            let (status, bytes) = (u16::try_from(take_number(rest)?).ok()?, take_number(rest)?);
            let (times, port) = (take_number(rest)?, u16::try_from(take_number(rest)?).ok()?);
            let (accepted, at) = (Duration::from_nanos(take_number(rest)?), Duration::from_nanos(take_number(rest)?));
            Message::Record(Record { route, method, path, status, bytes, times, port, accepted, at })
        }
        b'E' => Message::End { dropped: take_number(rest)? },
        _ => return None,
    };
    rest.is_empty().then_some(message)
}

/// What the caller has heard of its server so far.
#[derive(Debug, Default)]
pub struct Heard {
    records: Vec<Record>,
    dropped: u64,
    ended: bool,
}

impl Heard {
    /// Takes one message; `None` when it is not one, or one too many.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> Option<()> {
        match decode(bytes).filter(|_| !self.ended)? {
            Message::Record(record) => {
                let long = record.path.len() > MAX_SHOWN || record.method.len() > MAX_METHOD;
                if long || self.records.len() >= MAX_KNOWN + MAX_UNKNOWN {
                    return None;
                }
                self.records.push(record);
            }
            Message::End { dropped } => (self.dropped, self.ended) = (dropped, true),
        }
        Some(())
    }

    /// Says whether the last message has come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Makes the report: `path` gives the path of a route, `connections` are those that the sandbox saw. `None` when a record
    /// names a route that is not there.
    pub fn report<'a>(self, path: &dyn Fn(usize) -> Option<&'a str>, connections: &[Connection]) -> Option<Report> {
        let mut by_port: BTreeMap<u16, Vec<&Connection>> = BTreeMap::new();
        for connection in connections {
            by_port.entry(connection.port).or_default().push(connection);
        }
        // A port is used again; the last one that was asked for before the connection was accepted has it.
        let asked_by = |record: &Record| {
            let of_port = by_port.get(&record.port)?;
            let last = of_port.iter().filter(|connection| connection.at <= record.accepted).max_by_key(|one| one.at)?;
            Some(Arc::clone(&last.by))
        };
        let mut served = Vec::new();
        for record in self.records {
            let by = asked_by(&record);
            let Record { route, method, path: asked, status, bytes, times, at, .. } = record;
            let path = match route {
                Some(route) => path(route)?.to_owned(),
                None => asked,
            };
            served.push(Served { method, path, status, route, bytes, times, at, by });
        }
        served.sort_by_key(|one| one.at);
        Some(Report { served, dropped: self.dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(port: u16, accepted: u64) -> Record {
        Record {
            route: None,
            method: "GET".to_owned(),
            path: format!("/{port}/{accepted}"),
            status: 404,
            bytes: 1,
            times: 1,
            port,
            accepted: Duration::from_nanos(accepted),
            at: Duration::from_nanos(accepted + 1),
        }
    }

    fn connection(port: u16, at: u64, pid: u32) -> Connection {
        Connection { port, at: Duration::from_nanos(at), by: Arc::new(Connected { pid, ..Connected::default() }) }
    }

    fn heard(records: &[Record]) -> Heard {
        let mut heard = Heard::default();
        records.iter().for_each(|record| heard.take(&encode(record)).expect("a record"));
        heard.take(&encode_end(7)).expect("the end");
        heard
    }

    #[test]
    fn a_request_is_of_the_last_that_had_its_port_before() {
        let connections = [connection(5, 10, 1), connection(5, 20, 2), connection(6, 10, 3)];
        let records = [record(5, 25), record(5, 15), record(6, 12), record(6, 9), record(7, 50)];
        let report = heard(&records).report(&|_| None, &connections).expect("a report");
        let pids: Vec<_> =
            report.served.iter().map(|one| (one.path.as_str(), one.by.as_ref().map(|by| by.pid))).collect();
        let expected = [("/6/9", None), ("/6/12", Some(3)), ("/5/15", Some(1)), ("/5/25", Some(2)), ("/7/50", None)];
        assert_eq!(pids, expected);
        assert_eq!(report.dropped, 7);
    }

    #[test]
    fn what_a_damaged_process_tells_is_no_report() {
        assert_eq!(heard(&[]).take(&encode(&record(1, 1))), None, "after the end");
        let mut unended = Heard::default();
        assert_eq!(unended.take(b""), None);
        assert_eq!(unended.take(&[encode(&record(1, 1)), b"x".to_vec()].concat()), None, "too long");
        let message = encode(&record(1, 1));
        for cut in 0..message.len() {
            assert_eq!(unended.take(&message[..cut]), None, "cut at {cut}");
        }
        let long = Record { path: "x".repeat(MAX_SHOWN + 1), ..record(1, 1) };
        assert_eq!(unended.take(&encode(&long)), None);
        assert!(!unended.ended());
        let elsewhere = Record { route: Some(3), path: String::new(), ..record(1, 1) };
        assert_eq!(heard(&[elsewhere]).report(&|_| None, &[]), None, "a route that is not there");
    }

    #[test]
    fn equal_requests_are_counted_once_and_the_list_is_bounded() {
        let mut records = Records::default();
        for number in 0..2000 {
            let one = || Record { path: format!("/{number}"), ..record(1, number) };
            let (first, again) = (records.add(one()), records.add(one()));
            assert_eq!(first, again);
            records.sent(first, 5);
        }
        assert_eq!((records.list.len(), records.dropped), (MAX_UNKNOWN, 4000 - 2 * MAX_UNKNOWN as u64));
        assert!(records.list.iter().all(|one| one.bytes == 6 && one.times == 2));
        assert!(records.add(Record { route: Some(0), ..record(1, 1) }).is_some(), "what is there has its own room");
        let long = Record { path: "\u{e9}".repeat(1000), ..record(1, 1) };
        assert!(Records::default().add(long).is_some());
    }
}
