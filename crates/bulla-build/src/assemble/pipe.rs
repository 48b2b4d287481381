//! The way of a layer's chunks through the threads: one feeds, several compress or inflate, one takes them in order.
//!
//! Memory is bounded by the number of chunks under way, not by the length of the layer.

use std::{
    io::{self, Write},
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use bulla_model::image::Compression;

use super::codec::{CHUNK, Codec, ROOM};

/// The most threads that compress, and so with [`AHEAD`] the most memory: each chunk needs
/// twice [`ROOM`], so 70 MB in all.
const MAX_THREADS: usize = 5;
/// How many chunks are under way beside those that threads work on.
const AHEAD: usize = 2;

/// Memory for one chunk, one way. The memory of all is given back to a pool, so that its sum stays what is under way.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    used: usize,
}

impl Buffer {
    /// Gives what is in it.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Gives its first bytes to be filled; `None` where it has not so many.
    pub(super) fn fill(&mut self, length: usize) -> Option<&mut [u8]> {
        let bytes = self.bytes.get_mut(..length)?;
        self.used = length;
        Some(bytes)
    }

    fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(CHUNK - self.used);
        if let (Some(place), Some(part)) = (self.bytes.get_mut(self.used..self.used + count), bytes.get(..count)) {
            place.copy_from_slice(part);
        }
        self.used += count;
        count
    }
}

#[derive(Default)]
struct Pool(Mutex<Vec<Box<[u8]>>>);

impl Pool {
    fn take(&self) -> Buffer {
        let spare = self.0.lock().expect("no thread panics while it holds the pool").pop();
        Buffer { bytes: spare.unwrap_or_else(|| vec![0; ROOM].into()), used: 0 }
    }

    fn give(&self, buffer: Buffer) {
        self.0.lock().expect("no thread panics while it holds the pool").push(buffer.bytes);
    }
}

/// A chunk both ways.
pub(super) struct Chunk {
    plain: Buffer,
    packed: Buffer,
}

impl Chunk {
    /// Gives the bytes of the tar.
    pub(super) fn plain(&self) -> &[u8] {
        self.plain.as_slice()
    }

    /// Gives the compressed bytes.
    pub(super) fn packed(&self) -> &[u8] {
        self.packed.as_slice()
    }
}

/// What the taker gets, in the order in which it was fed.
pub(super) enum Item<'a> {
    Chunk(&'a Chunk),
    /// A mark that the feeder set between chunks.
    Mark(Mark),
}

/// A place between chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// What follows is a part that shall be kept; the number is the feeder's.
    Keep(usize),
    /// The part that was to be kept is complete.
    Kept,
}

enum Work {
    Compress(Buffer),
    /// Compressed bytes, and their uncompressed length.
    Inflate(Buffer, usize),
}

/// Work, and where its result goes.
type Job = (Work, SyncSender<io::Result<Chunk>>);

enum Queued {
    Chunk(Receiver<io::Result<Chunk>>),
    Mark(Mark),
}

/// The feeder's end of a pipe.
pub(super) struct Feeder<'a> {
    pool: &'a Pool,
    jobs: Sender<Job>,
    order: SyncSender<Queued>,
}

impl Feeder<'_> {
    /// Gives a buffer to be fed.
    pub(super) fn buffer(&self) -> Buffer {
        self.pool.take()
    }

    /// Feeds a compressed chunk whose uncompressed length is known.
    pub(super) fn inflate(&self, packed: Buffer, length: usize) -> io::Result<()> {
        self.work(Work::Inflate(packed, length))
    }

    /// Sets a mark after what was fed so far.
    pub(super) fn mark(&self, mark: Mark) -> io::Result<()> {
        self.order.send(Queued::Mark(mark)).map_err(|_| stopped())
    }

    fn work(&self, work: Work) -> io::Result<()> {
        let (reply, result) = sync_channel(1);
        // The bounded queue comes first: it is what makes the feeder wait.
        self.order.send(Queued::Chunk(result)).map_err(|_| stopped())?;
        self.jobs.send((work, reply)).map_err(|_| stopped())
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the layer's writer has stopped")
}

/// Cuts what is written to it into chunks.
pub(super) struct Chunker<'a> {
    feeder: &'a Feeder<'a>,
    buffer: Option<Buffer>,
}

impl<'a> Chunker<'a> {
    pub(super) fn new(feeder: &'a Feeder<'a>) -> Self {
        Self { feeder, buffer: None }
    }

    /// Feeds what is left as a last, shorter chunk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.buffer.take().map_or(Ok(()), |buffer| self.feeder.work(Work::Compress(buffer)))
    }
}

impl Write for Chunker<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let buffer = self.buffer.get_or_insert_with(|| self.feeder.buffer());
        let count = buffer.push(bytes);
        if buffer.used == CHUNK
            && let Some(full) = self.buffer.take()
        {
            self.feeder.work(Work::Compress(full))?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a pipe: `feed` in this thread, `take` in another.
///
/// # Errors
/// The taker's error when it has one, since the feeder's then only says that it was stopped; else the feeder's.
pub(super) fn run<E: From<io::Error> + Send>(
    compression: Compression,
    threads: usize,
    feed: impl FnOnce(&Feeder<'_>) -> Result<(), E>,
    mut take: impl FnMut(Item<'_>) -> Result<(), E> + Send,
) -> Result<(), E> {
    let threads = threads.clamp(1, MAX_THREADS);
    let (jobs, work) = channel();
    let (order, queue) = sync_channel(threads + AHEAD);
    let (work, pool) = (Mutex::new(work), Pool::default());
    let (work, pool) = (&work, &pool);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| labour(compression, pool, work));
        }
        let taker = scope.spawn(move || {
            while let Ok(queued) = queue.recv() {
                match queued {
                    Queued::Mark(mark) => take(Item::Mark(mark))?,
                    // No reply at all: the feeder stopped between its two sends, and says why itself.
                    Queued::Chunk(result) => match result.recv() {
                        Ok(chunk) => {
                            let chunk = chunk?;
                            take(Item::Chunk(&chunk))?;
                            pool.give(chunk.plain);
                            pool.give(chunk.packed);
                        }
                        Err(_) => break,
                    },
                }
            }
            Ok(())
        });
        let feeder = Feeder { pool, jobs, order };
        let fed = feed(&feeder);
        drop(feeder);
        taker.join().expect("the taker does not panic").and(fed)
    })
}

fn labour(compression: Compression, pool: &Pool, work: &Mutex<Receiver<Job>>) {
    let mut codec = Codec::new(compression);
    loop {
        let next = work.lock().expect("no thread panics while it waits for work").recv();
        let Ok((work, reply)) = next else { return };
        let chunk = match &mut codec {
            Ok(codec) => do_work(codec, pool, work),
            Err(error) => Err(io::Error::new(error.kind(), "no compressor can be made")),
        };
        // The taker may have stopped: then nobody wants the chunk.
        let _ = reply.send(chunk);
    }
}

fn do_work(codec: &mut Codec, pool: &Pool, work: Work) -> io::Result<Chunk> {
    match work {
        Work::Compress(plain) => {
            let mut packed = pool.take();
            packed.used = codec.compress(plain.as_slice(), &mut packed.bytes)?;
            Ok(Chunk { plain, packed })
        }
        Work::Inflate(packed, length) => {
            let mut plain = pool.take();
            let room = plain.fill(length).ok_or(io::ErrorKind::InvalidData)?;
            codec.inflate(packed.as_slice(), room)?;
            Ok(Chunk { plain, packed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(threads: usize, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut plain, mut packed) = (Vec::new(), Vec::new());
        run::<io::Error>(
            Compression::Gzip,
            threads,
            |feeder| {
                let mut chunker = Chunker::new(feeder);
                chunker.write_all(bytes)?;
                chunker.finish()
            },
            |item| {
                if let Item::Chunk(chunk) = item {
                    plain.extend(chunk.plain());
                    packed.extend(chunk.packed());
                }
                Ok(())
            },
        )
        .expect("piped");
        (plain, packed)
    }

    #[test]
    fn chunks_come_out_in_order_whatever_the_number_of_threads() {
        let bytes: Vec<u8> = (0..5 * CHUNK + 17).map(|n| (n / 1000) as u8).collect();
        let (plain, packed) = through(1, &bytes);
        assert_eq!(plain, bytes);
        for threads in [2, 8] {
            assert_eq!(through(threads, &bytes), (bytes.clone(), packed.clone()), "{threads} threads");
        }
    }

    #[test]
    fn an_error_at_either_end_ends_the_pipe() {
        let feed = |feeder: &Feeder<'_>| -> io::Result<()> { Chunker::new(feeder).write_all(&vec![0; 50 * CHUNK]) };
        let full = run::<io::Error>(Compression::Gzip, 2, feed, |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(full.expect_err("refused").kind(), io::ErrorKind::StorageFull);
        let lost = run::<io::Error>(Compression::Gzip, 2, |_| Err(io::ErrorKind::NotFound.into()), |_| Ok(()));
        assert_eq!(lost.expect_err("refused").kind(), io::ErrorKind::NotFound);
        let garbage = |feeder: &Feeder<'_>| {
            let mut buffer = feeder.buffer();
            buffer.push(b"garbage");
            feeder.inflate(buffer, 4)
        };
        let bad = run::<io::Error>(Compression::Gzip, 2, garbage, |_| Ok(()));
        assert_eq!(bad.expect_err("refused").kind(), io::ErrorKind::InvalidData);
    }
}
