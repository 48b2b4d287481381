//! The loop of the server's process: one thread, every connection in its turn.
//!
//! No client can hold it up. Connections are bounded: when there are too many, the one that has been at nothing for the
//! longest time makes room for the next. Each has only so much time for a head, for being idle, and without progress.

use std::{
    cmp::Reverse,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
    io::Errno,
    net::SocketFlags,
};

use crate::{
    connection::{Connection, Desk, State, Wants},
    record,
};

/// What a client may take up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at one time.
    pub(crate) connections: usize,
    /// The time for one head, from its first byte.
    pub(crate) head: Duration,
    /// The time between requests. Clients keep connections for a while, and end them themselves.
    pub(crate) idle: Duration,
    /// The time in which at least one byte of an answer must go.
    pub(crate) stall: Duration,
    /// The time in which the client must end after the last answer.
    pub(crate) ending: Duration,
    /// How often all of that is looked at.
    pub(crate) tick: Duration,
}

impl Limits {
    /// Gives what fits into so many descriptors: each connection has two.
    pub(crate) fn within(files: u64) -> Self {
        const MOST: usize = 4096;
        let connections = usize::try_from(files.saturating_sub(64) / 2).unwrap_or(MOST).clamp(8, MOST);
        let seconds = Duration::from_secs;
        Self {
            connections,
            head: seconds(60),
            idle: seconds(600),
            stall: seconds(120),
            ending: seconds(10),
            tick: seconds(1),
        }
    }
}

/// What the loop is told from outside of it, by its caller's socket.
pub(crate) struct Wires {
    /// Brings listening sockets that do not wait, and ends when the run has.
    pub(crate) control: OwnedFd,
    /// Becomes readable with the first thing that is not there.
    pub(crate) refused: OwnedFd,
}

const CONTROL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const EVENTS: usize = 256;
/// How many connections are accepted in a turn.
const ACCEPTS: usize = 64;
/// The kernel doubles it.
const SEND_BUFFER: usize = 512 << 10;
/// How many turns, and how long, there are for what still lies in connections when the run has ended.
const LAST_TURNS: usize = 100_000;
const LAST_TIME: Duration = Duration::from_secs(5);

struct Engine {
    epoll: OwnedFd,
    listener: Option<OwnedFd>,
    /// Connections by their number; a number is used again with another generation.
    slots: Vec<Slot>,
    free: Vec<usize>,
    limits: Limits,
    desk: Desk,
    wires: Wires,
    told: bool,
    /// Whether the listener rests until the next tick, since the kernel has no room for a connection.
    resting: bool,
    ticked: Instant,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// Serves until the caller says that the run has ended, then tells what was asked.
pub(crate) fn serve(desk: Desk, wires: Wires, listener: Option<OwnedFd>, limits: Limits) -> Result<(), Errno> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &wires.control, EventData::new_u64(CONTROL), EventFlags::IN)?;
    let mut engine = Engine {
        epoll,
        listener: None,
        slots: Vec::new(),
        free: Vec::new(),
        limits,
        desk,
        wires,
        told: false,
        resting: false,
        ticked: Instant::now(),
    };
    if let Some(listener) = listener {
        engine.attend(listener)?;
    }
    let mut events = Vec::with_capacity(EVENTS);
    while engine.wait(&mut events, None)? {
        engine.sweep();
    }
    engine.finish(&mut events)?;
    engine.tell()
}

impl Engine {
    /// Does what is ready; gives `false` when nothing more will come from the caller.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, within: Option<Duration>) -> Result<bool, Errno> {
        let tick = (self.slots.len() > self.free.len() || self.resting).then_some(self.limits.tick);
        let timeout = within.or(tick).and_then(|time| Timespec::try_from(time).ok());
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(errno) => return Err(errno),
        }
        let now = Instant::now();
        for event in events.iter() {
            match event.data.u64() {
                CONTROL => {
                    if !self.control()? {
                        return Ok(false);
                    }
                }
                LISTENER => self.accept(now),
                key => self.turn(key, now),
            }
        }
        if self.desk.refused && !self.told {
            self.told = true;
            let _ = rustix::io::write(&self.wires.refused, &1_u64.to_ne_bytes());
        }
        Ok(true)
    }

    /// Takes a listening socket in the place of the one before.
    fn control(&mut self) -> Result<bool, Errno> {
        let received = bulla_sandbox::receive(&self.wires.control);
        let Some(fds) = received.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? else {
            return Ok(false);
        };
        fds.into_iter().try_for_each(|listener| self.attend(listener))?;
        Ok(true)
    }

    fn attend(&mut self, listener: OwnedFd) -> Result<(), Errno> {
        epoll::add(&self.epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, from)) => {
                    let from = from.and_then(|from| std::net::SocketAddr::try_from(from).ok());
                    let port = from.map_or(0, |from| from.port());
                    // What waits in the kernel for a client that does not read is bounded as well.
                    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER);
                    let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
                    if self.slots.len() - self.free.len() >= self.limits.connections {
                        self.make_room(now);
                    }
                    self.add(Connection::new(socket, port, bulla_sandbox::monotonic(), now));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => (),
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.make_room(now);
                    self.rest(true);
                    return;
                }
                Err(_) => return self.rest(true),
            }
        }
    }

    fn add(&mut self, connection: Connection) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let Some(slot) = self.slots.get_mut(number) else { return };
        slot.generation = slot.generation.wrapping_add(1);
        let data = EventData::new_u64(key(number, slot.generation));
        match epoll::add(&self.epoll, &connection.socket, data, EventFlags::IN) {
            Ok(()) => slot.connection = Some(connection),
            Err(_) => self.free.push(number),
        }
    }

    fn turn(&mut self, key: u64, now: Instant) {
        let number = (key & 0xffff_ffff) as usize;
        let Some(slot) = self.slots.get_mut(number).filter(|slot| u64::from(slot.generation) == key >> 32) else {
            return;
        };
        let Some(connection) = &mut slot.connection else { return };
        let wants = connection.step(&mut self.desk, now);
        let flags = match wants {
            Wants::In => EventFlags::IN,
            Wants::Out => EventFlags::OUT,
            Wants::End => return self.end(number),
        };
        if wants != connection.wants {
            connection.wants = wants;
            if epoll::modify(&self.epoll, &connection.socket, EventData::new_u64(key), flags).is_err() {
                self.end(number);
            }
        }
    }

    fn end(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(number)
            && slot.connection.take().is_some()
        {
            self.free.push(number);
        }
    }

    /// Ends the connections that are the least worth keeping: those that are at nothing or still ask, the longest; else those whose
    /// answer takes the longest. Of many a few at a time, since each has to be looked at for it.
    fn make_room(&mut self, now: Instant) {
        let of = |slot: &Slot| {
            let connection = slot.connection.as_ref()?;
            let works = connection.state == State::Answering;
            Some((!works, now.saturating_duration_since(connection.since), Reverse(connection.accepted)))
        };
        let mut all: Vec<_> =
            self.slots.iter().enumerate().filter_map(|(number, slot)| Some((of(slot)?, number))).collect();
        let few = (all.len() / 256).max(1);
        if all.len() > few {
            all.select_nth_unstable_by(few, |one, other| other.cmp(one));
        }
        all.into_iter().take(few).for_each(|(_, number)| self.end(number));
    }

    fn rest(&mut self, rest: bool) {
        let Some(listener) = &self.listener else { return };
        let flags = if rest { EventFlags::empty() } else { EventFlags::IN };
        let _ = epoll::modify(&self.epoll, listener, EventData::new_u64(LISTENER), flags);
        self.resting = rest;
    }

    /// Ends, once a second, what has taken too long.
    fn sweep(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.ticked) < self.limits.tick {
            return;
        }
        self.ticked = now;
        if self.resting {
            self.rest(false);
        }
        let over: Vec<usize> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.connection.as_ref().is_some_and(|one| self.is_over(one, now)))
            .map(|(number, _)| number)
            .collect();
        over.into_iter().for_each(|number| self.end(number));
    }

    fn is_over(&self, connection: &Connection, now: Instant) -> bool {
        let in_state = now.saturating_duration_since(connection.since);
        match connection.state {
            State::Idle => in_state > self.limits.idle,
            State::Asking => in_state > self.limits.head,
            State::Answering => now.saturating_duration_since(connection.progress) > self.limits.stall,
            State::Ending => in_state > self.limits.ending,
        }
    }

    /// Reads what the step sent before it ended: each connection is asked once more, and those that nobody accepted yet.
    fn finish(&mut self, events: &mut Vec<epoll::Event>) -> Result<(), Errno> {
        let _ = epoll::delete(&self.epoll, &self.wires.control);
        let start = Instant::now();
        for _ in 0..LAST_TURNS {
            // A client that is gone has its connection end; one that is there and silent is not waited for.
            if !self.wait(events, Some(Duration::ZERO))? || events.is_empty() || start.elapsed() > LAST_TIME {
                break;
            }
        }
        Ok(())
    }

    fn tell(&self) -> Result<(), Errno> {
        let send = |message: &[u8]| loop {
            match rustix::io::write(&self.wires.control, message) {
                Err(Errno::INTR) => (),
                done => return done.map(drop),
            }
        };
        for one in &self.desk.records.list {
            send(&record::encode(one))?;
        }
        send(&record::encode_end(self.desk.records.dropped))
    }
}

fn key(number: usize, generation: u32) -> u64 {
    // A generation of all ones would look like the listener's key for the last two numbers, which no connection has.
    u64::from(generation) << 32 | (number as u64 & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener, TcpStream},
        thread::JoinHandle,
    };

    use rustix::{
        event::EventfdFlags,
        net::{AddressFamily, RecvFlags, Shutdown, SocketType},
    };

    use bulla_model::Origin;

    use super::*;
    use crate::{
        authority::Authority,
        record::Heard,
        table::{Body, Index, Route, Table},
    };

    /// A server in a thread of the test, which has less patience than the real one.
    struct Running {
        address: SocketAddr,
        control: OwnedFd,
        thread: JoinHandle<Result<(), Errno>>,
    }

    #[expect(clippy::disallowed_methods, reason = "a test has a network")]
    fn start(limits: Limits) -> Running {
        let body = Body::Bytes(vec![b'x'; 40 << 20]);
        let content_type = "text/plain".to_owned();
        let route = Route { origin: None, path: "/large".to_owned(), accept: None, status: 200, content_type, body };
        let small = Route { path: "/small".to_owned(), body: Body::Bytes(b"small".to_vec()), ..route.clone() };
        let origin = Origin::parse("files.example", true).expect("an origin");
        let identity = Some(Authority::new([&origin]).expect("an authority").identity);
        let tls = Route { origin: Some(origin), ..small.clone() };
        let table = Table { routes: vec![route, small, tls], blobs: None, identity };
        let index = Index::read(table.seal().expect("sealed")).expect("a table");
        let (control, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("sockets");
        let refused = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).expect("a sign");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a setting");
        let wires = Wires { control: theirs, refused };
        let thread = std::thread::spawn(move || {
            serve(Desk::new(index, None).expect("a desk"), wires, Some(listener.into()), limits)
        });
        Running { address, control, thread }
    }

    impl Running {
        #[expect(clippy::disallowed_methods, reason = "a test is a client")]
        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.address).expect("it listens");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a setting");
            stream
        }

        fn small(&self) {
            let mut stream = self.connect();
            stream.write_all(b"GET /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sent");
            let mut all = String::new();
            stream.read_to_string(&mut all).expect("an end");
            assert!(all.ends_with("small"), "{all}");
        }

        fn finish(self) -> Heard {
            rustix::net::shutdown(&self.control, Shutdown::Write).expect("told");
            let mut heard = Heard::default();
            while !heard.ended() {
                let mut buffer = vec![0; 8192];
                let (count, _) =
                    rustix::net::recv(&self.control, buffer.as_mut_slice(), RecvFlags::empty()).expect("heard");
                heard.take(&buffer[..count]).expect("a message");
            }
            self.thread.join().expect("no panic").expect("no error");
            heard
        }
    }

    /// Gives what comes until the server ends the connection, in whatever way.
    fn rest(mut stream: TcpStream) -> usize {
        let (mut all, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return all,
                Ok(count) => all += count,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
                Err(error) => panic!("the server keeps it: {error}"),
            }
        }
    }

    const CONNECT: &[u8] = b"CONNECT files.example:443 HTTP/1.1\r\nHost: h\r\n\r\n";
    const PATIENT: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    fn patient() -> Limits {
        Limits { connections: 8, head: PATIENT, idle: PATIENT, stall: PATIENT, ending: PATIENT, tick: SHORT }
    }

    #[test]
    fn a_client_that_takes_too_long_is_ended() {
        let cases: [(&str, &[u8], Limits); 4] = [
            ("asks byte by byte", b"GET /small HTTP/1.1\r\nX: ", Limits { head: SHORT, ..patient() }),
            ("is connected and says nothing", CONNECT, Limits { head: SHORT, ..patient() }),
            ("says nothing", b"", Limits { idle: SHORT, ..patient() }),
            ("reads nothing", b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n", Limits { stall: SHORT, ..patient() }),
        ];
        for (what, begun, limits) in cases {
            let server = start(limits);
            let mut stream = server.connect();
            stream.write_all(begun).expect("sent");
            // Bytes that come one by one are no reason to wait longer; the server ends it while they come.
            while what == "asks byte by byte" && stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if what == "reads nothing" {
                std::thread::sleep(Duration::from_secs(1));
            }
            assert!(rest(stream) < 40 << 20, "{what}");
            server.small();
            drop(server.finish());
        }
    }

    #[test]
    fn a_client_that_goes_on_after_the_last_answer_is_ended() {
        let server = start(Limits { ending: SHORT, ..patient() });
        let mut stream = server.connect();
        stream.write_all(b"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999\r\n\r\n").expect("sent");
        while stream.write_all(&[b'x'; 1024]).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.small();
        drop(server.finish());
    }

    #[test]
    fn who_has_been_at_nothing_for_the_longest_makes_room() {
        let server = start(patient());
        let mut works = server.connect();
        works.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").expect("sent");
        let mut begun = [0];
        works.read_exact(&mut begun).expect("it has begun");
        let silent: Vec<TcpStream> = (0..7).map(|_| server.connect()).collect();
        // There is room for eight: the next two end the first two that say nothing.
        server.small();
        server.small();
        let mut silent = silent.into_iter();
        assert_eq!(rest(silent.next().expect("the first")), 0);
        let mut last = silent.next_back().expect("the last");
        last.write_all(b"GET /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sent");
        assert!(rest(last) > 5, "the newest is served");
        works.shutdown(std::net::Shutdown::Write).expect("it says no more");
        assert!(rest(works) > 40 << 20, "and so is the one that works");
        drop(server.finish());
    }

    #[test]
    fn an_end_of_the_caller_ends_the_server() {
        let server = start(patient());
        let _open = server.connect();
        let report = server.finish().report(&|_| None, &[]);
        assert_eq!(report.map(|report| report.served.len()), Some(0));
    }
}
