//! The loop of the server's process: one thread, every connection in its turn.
//!
//! No client can hold it up. Connections are bounded: when there are too many, the one that has been at nothing for the
//! longest time makes room for the next. Each has only so much time for a head, for being idle, and without progress.

use std::{
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
}

impl Limits {
    /// Gives what fits into so many descriptors: each connection has two.
    pub(crate) fn within(files: u64) -> Self {
        const MOST: usize = 4096;
        let connections = usize::try_from(files.saturating_sub(64) / 2).unwrap_or(MOST).clamp(8, MOST);
        let seconds = Duration::from_secs;
        Self { connections, head: seconds(60), idle: seconds(600), stall: seconds(120), ending: seconds(10) }
    }
}

/// What the loop is told from outside of it, by its caller's socket.
pub(crate) struct Wires {
    /// Brings listening sockets, and ends when the run has.
    pub(crate) control: OwnedFd,
    /// Becomes readable with the first thing that is not there.
    pub(crate) refused: OwnedFd,
}

const CONTROL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const EVENTS: usize = 256;
/// How many connections are accepted in a turn.
const ACCEPTS: usize = 64;
const TICK: Duration = Duration::from_secs(1);
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
pub(crate) fn serve(desk: Desk, wires: Wires, limits: Limits) -> Result<(), Errno> {
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
        let tick = (self.slots.len() > self.free.len() || self.resting).then_some(TICK);
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
        for listener in fds {
            rustix::io::ioctl_fionbio(&listener, true)?;
            epoll::add(&self.epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
            self.listener = Some(listener);
        }
        Ok(true)
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, from)) => {
                    let from = from.and_then(|from| std::net::SocketAddr::try_from(from).ok());
                    let port = from.map_or(0, |from| from.port());
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

    /// Ends the connection that is the least worth keeping: one that is at nothing or still asks, the longest; else the one whose
    /// answer takes the longest.
    fn make_room(&mut self, now: Instant) {
        let of = |slot: &Slot| {
            let connection = slot.connection.as_ref()?;
            let works = connection.state == State::Answering;
            Some((!works, now.saturating_duration_since(connection.since)))
        };
        let worst = self.slots.iter().enumerate().filter_map(|(number, slot)| Some((of(slot)?, number))).max();
        if let Some((_, number)) = worst {
            self.end(number);
        }
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
        if now.saturating_duration_since(self.ticked) < TICK.min(self.limits.head) {
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
