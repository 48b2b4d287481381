//! Decompresses bzip2. It is written here because the decoders that are well kept have a licence of their own.
//!
//! A stream is a head and blocks; streams may follow one another. A block is, from the outside in: Huffman codes, run lengths of
//! zero, move to front, the Burrows-Wheeler transform, and run lengths of bytes. All sums are checked.

use std::io::{self, BufRead, Read};

/// The number that a block begins with (π), and that the end of a stream begins with (√π).
const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
/// The symbols of a code at most: 256 bytes less one, two for runs, and the end.
const MAX_SYMBOLS: usize = 258;
/// The longest code, in bits.
const MAX_LENGTH: u32 = 20;
/// How many symbols are coded by the same table.
const GROUP: usize = 50;
/// The most tables, and the most groups of symbols that a block can need, with some that are allowed and not used.
const MAX_TABLES: usize = 6;
const MAX_SELECTORS: usize = 32_767;

fn bad(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Reads bits, the highest first.
struct Bits<R> {
    reader: R,
    bits: u64,
    count: u32,
}

impl<R: BufRead> Bits<R> {
    /// Gives the next byte; `None` at the end.
    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.reader.fill_buf()?.first().copied();
        if byte.is_some() {
            self.reader.consume(1);
        }
        Ok(byte)
    }

    /// Gives up to 32 bits.
    fn take(&mut self, count: u32) -> io::Result<u32> {
        while self.count < count {
            let byte = self.byte()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.bits = self.bits << 8 | u64::from(byte);
            self.count += 8;
        }
        self.count -= count;
        let value = (self.bits >> self.count) & ((1 << count) - 1);
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    fn flag(&mut self) -> io::Result<bool> {
        Ok(self.take(1)? == 1)
    }

    fn align(&mut self) {
        self.count -= self.count % 8;
    }

    /// Says whether all has been read. Only to be asked where a byte begins.
    fn is_done(&mut self) -> io::Result<bool> {
        Ok(self.count == 0 && self.reader.fill_buf()?.is_empty())
    }
}

/// A Huffman code, canonical: for each length the last code of it, and where its symbols begin.
struct Code {
    limit: [u32; MAX_LENGTH as usize + 1],
    base: [u32; MAX_LENGTH as usize + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u32]) -> Self {
        let mut code = Self { limit: [0; 21], base: [0; 21], symbols: Vec::with_capacity(lengths.len()) };
        let mut next = 0_u32;
        for length in 1..=MAX_LENGTH {
            let at = length as usize;
            // Modulo, since codes that are over-full must do no harm: what they decode to is checked all the same.
            next = next.wrapping_mul(2);
            code.base[at] = u32::try_from(code.symbols.len()).unwrap_or(0).wrapping_sub(next);
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| **l == length) {
                code.symbols.push(u16::try_from(symbol).unwrap_or(0));
                next = next.wrapping_add(1);
            }
            code.limit[at] = next;
        }
        code
    }

    fn read<R: BufRead>(&self, bits: &mut Bits<R>) -> io::Result<u16> {
        let mut value = 0;
        for (limit, base) in self.limit.iter().zip(&self.base).skip(1) {
            value = value << 1 | bits.take(1)?;
            if value < *limit {
                let symbol = self.symbols.get(value.wrapping_add(*base) as usize);
                return symbol.copied().ok_or_else(|| bad("a code of a block stands for nothing"));
            }
        }
        Err(bad("a code of a block stands for nothing"))
    }
}

/// A block that is being given out.
#[derive(Default)]
struct Block {
    /// For each place the byte there, in the lowest eight bits, and the place that comes after it, in the others.
    table: Vec<u32>,
    at: usize,
    /// How many of the table were taken.
    taken: usize,
    last: Option<u8>,
    /// How often `last` came in a row; after four a count follows.
    row: u32,
    repeat: u32,
    sum: u32,
    expected: u32,
}

/// Where the decoder is.
enum State {
    /// A stream begins here. Only the first must.
    Stream {
        first: bool,
    },
    /// A block or the end of the stream begins here.
    Next,
    /// A block is given out.
    Block,
    Done,
}

/// Decompresses what it reads.
pub(super) struct Decoder<R> {
    bits: Bits<R>,
    state: State,
    block: Block,
    /// The most bytes of a block, before run lengths are undone.
    size: usize,
    sum: u32,
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(reader: R) -> Self {
        let bits = Bits { reader, bits: 0, count: 0 };
        Self { bits, state: State::Stream { first: true }, block: Block::default(), size: 0, sum: 0 }
    }

    fn begin_stream(&mut self, first: bool) -> io::Result<State> {
        if !first && self.bits.is_done()? {
            return Ok(State::Done);
        }
        if self.bits.take(24)? != 0x42_5a_68 {
            return Err(bad("it is no bzip2, or something else follows"));
        }
        let level = self.bits.take(8)?.checked_sub(u32::from(b'0')).filter(|level| (1..=9).contains(level));
        self.size = level.ok_or_else(|| bad("its head has no size of blocks"))? as usize * 100_000;
        self.sum = 0;
        Ok(State::Next)
    }

    fn next(&mut self) -> io::Result<State> {
        let mark = u64::from(self.bits.take(24)?) << 24 | u64::from(self.bits.take(24)?);
        let expected = self.bits.take(32)?;
        match mark {
            BLOCK => {
                self.block = read_block(&mut self.bits, self.size)?;
                self.block.expected = expected;
                Ok(State::Block)
            }
            END if expected == self.sum => {
                self.bits.align();
                Ok(State::Stream { first: false })
            }
            END => Err(bad("the sum of a stream is wrong")),
            _ => Err(bad("a block begins with something else")),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match self.state {
                State::Done => return Ok(0),
                State::Stream { first } => self.begin_stream(first)?,
                State::Next => self.next()?,
                State::Block => match self.block.give(buffer)? {
                    0 => {
                        if self.block.sum != self.block.expected {
                            return Err(bad("the sum of a block is wrong"));
                        }
                        self.sum = self.sum.rotate_left(1) ^ self.block.sum;
                        State::Next
                    }
                    count => return Ok(count),
                },
            };
        }
    }
}

impl Block {
    /// Gives bytes, with the run lengths undone; none at the end.
    fn give(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        let mut sum = !self.sum;
        for slot in buffer.iter_mut() {
            let byte = match self.last.filter(|_| self.repeat > 0) {
                Some(last) => {
                    self.repeat -= 1;
                    last
                }
                None => match self.take_run()? {
                    Some(byte) => byte,
                    None => break,
                },
            };
            *slot = byte;
            sum = sum << 8 ^ CRC[usize::from((sum >> 24) as u8 ^ byte)];
            count += 1;
        }
        self.sum = !sum;
        Ok(count)
    }

    /// Takes the next byte that is to be given out; after four equal ones their further number is taken first.
    fn take_run(&mut self) -> io::Result<Option<u8>> {
        if self.row == 4 {
            self.row = 0;
            let more = self.take().ok_or_else(|| bad("a block ends within a run"))?;
            let last = self.last.take();
            if more > 0 {
                self.last = last;
                self.repeat = u32::from(more) - 1;
                // A run that goes on past its count begins anew.
                self.row = 0;
                return Ok(last);
            }
        }
        let Some(byte) = self.take() else { return Ok(None) };
        self.row = if self.last == Some(byte) && self.row > 0 { self.row + 1 } else { 1 };
        self.last = Some(byte);
        Ok(Some(byte))
    }

    fn take(&mut self) -> Option<u8> {
        if self.taken == self.table.len() {
            return None;
        }
        let entry = *self.table.get(self.at)?;
        self.taken += 1;
        self.at = (entry >> 8) as usize;
        Some((entry & 0xff) as u8)
    }
}

/// Reads a block, and undoes all but the run lengths of bytes.
fn read_block<R: BufRead>(bits: &mut Bits<R>, size: usize) -> io::Result<Block> {
    if bits.flag()? {
        return Err(bad("a block is randomised, as no program has done for decades"));
    }
    let origin = bits.take(24)? as usize;
    let used = bytes_used(bits)?;
    let symbols = used.len() + 2;
    let tables = bits.take(3)? as usize;
    let count = bits.take(15)? as usize;
    if used.is_empty() || !(2..=MAX_TABLES).contains(&tables) || count == 0 || count > MAX_SELECTORS {
        return Err(bad("the head of a block makes no sense"));
    }
    let selectors = selectors(bits, tables, count)?;
    let codes = (0..tables).map(|_| code(bits, symbols)).collect::<io::Result<Vec<Code>>>()?;
    let bytes = bytes(bits, size, used, &selectors, &codes)?;
    if origin >= bytes.len() {
        return Err(bad("the origin of a block lies outside of it"));
    }
    let table = untransform(bytes);
    let at = table.get(origin).map_or(0, |entry| (entry >> 8) as usize);
    Ok(Block { table, at, ..Block::default() })
}

/// Which bytes a block has: a map of maps.
fn bytes_used<R: BufRead>(bits: &mut Bits<R>) -> io::Result<Vec<u8>> {
    let ranges = bits.take(16)?;
    let mut used = Vec::with_capacity(256);
    for range in (0..16_u8).filter(|range| ranges >> (15 - range) & 1 == 1) {
        let map = bits.take(16)?;
        used.extend((0..16_u8).filter(|at| map >> (15 - at) & 1 == 1).map(|at| range * 16 + at));
    }
    Ok(used)
}

fn selectors<R: BufRead>(bits: &mut Bits<R>, tables: usize, count: usize) -> io::Result<Vec<u8>> {
    let mut order: Vec<u8> = (0..6).take(tables).collect();
    let mut selectors = Vec::with_capacity(count);
    for _ in 0..count {
        let mut at = 0;
        while bits.flag()? {
            at += 1;
            if at >= tables {
                return Err(bad("a block names a table that it has not"));
            }
        }
        let table = order.remove(at);
        order.insert(0, table);
        selectors.push(table);
    }
    Ok(selectors)
}

fn code<R: BufRead>(bits: &mut Bits<R>, symbols: usize) -> io::Result<Code> {
    let mut lengths = Vec::with_capacity(MAX_SYMBOLS);
    let mut length = bits.take(5)?;
    for _ in 0..symbols {
        loop {
            if !(1..=MAX_LENGTH).contains(&length) {
                return Err(bad("a code of a block has an impossible length"));
            }
            if !bits.flag()? {
                break;
            }
            length = if bits.flag()? { length - 1 } else { length + 1 };
        }
        lengths.push(length);
    }
    Ok(Code::new(&lengths))
}

/// Undoes the Huffman codes, the run lengths of zero, and the moving to front.
fn bytes<R: BufRead>(
    bits: &mut Bits<R>,
    size: usize,
    used: Vec<u8>,
    selectors: &[u8],
    codes: &[Code],
) -> io::Result<Vec<u8>> {
    let end = used.len() + 1;
    let mut front = used;
    let mut bytes = Vec::new();
    let (mut run, mut weight) = (0_usize, 1_usize);
    for selector in selectors {
        let code = codes.get(usize::from(*selector)).ok_or_else(|| bad("a block names a table that it has not"))?;
        for _ in 0..GROUP {
            let symbol = usize::from(code.read(bits)?);
            if symbol <= 1 {
                // Digits of a number that counts in ones and twos, the lowest first.
                run += weight << symbol;
                weight <<= 1;
                if run > size {
                    return Err(bad("a block is larger than its stream says"));
                }
                continue;
            }
            if run > 0 {
                let byte = front.first().copied().ok_or_else(|| bad("a block has no bytes"))?;
                bytes.resize(bytes.len() + run, byte);
                (run, weight) = (0, 1);
            }
            if bytes.len() > size {
                return Err(bad("a block is larger than its stream says"));
            }
            if symbol == end {
                return Ok(bytes);
            }
            if symbol > end || symbol > front.len() {
                return Err(bad("a code of a block stands for nothing"));
            }
            let byte = front.remove(symbol - 1);
            front.insert(0, byte);
            bytes.push(byte);
            if bytes.len() > size {
                return Err(bad("a block is larger than its stream says"));
            }
        }
    }
    Err(bad("a block has no end"))
}

/// Undoes the Burrows-Wheeler transform: each place gets its byte and the place of the byte after it.
fn untransform(bytes: Vec<u8>) -> Vec<u32> {
    let mut counts = [0_u32; 256];
    for byte in &bytes {
        counts[usize::from(*byte)] += 1;
    }
    let mut start = 0;
    let mut starts = counts.map(|count| {
        let here = start;
        start += count;
        here
    });
    let mut table: Vec<u32> = bytes.iter().map(|byte| u32::from(*byte)).collect();
    for (at, byte) in (0_u32..).zip(&bytes) {
        let place = &mut starts[usize::from(*byte)];
        if let Some(entry) = table.get_mut(*place as usize) {
            *entry |= at << 8;
        }
        *place += 1;
    }
    table
}

/// The sums of single bytes, by the polynomial of Ethernet with the highest bit first.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000_0000 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    /// `hello\n`, as `bzip2` packs it.
    const HELLO: &[u8] = &[
        0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0xc1, 0xc0, 0x80, 0xe2, 0x00, 0x00, 0x01, 0x41,
        0x00, 0x00, 0x10, 0x02, 0x44, 0xa0, 0x00, 0x30, 0xcd, 0x00, 0xc3, 0x46, 0x29, 0x97, 0x17, 0x72, 0x45, 0x38,
        0x50, 0x90, 0xc1, 0xc0, 0x80, 0xe2,
    ];

    /// Packs with the usual program; `None` where there is none.
    fn encode(bytes: &[u8], level: &str) -> Option<Vec<u8>> {
        #[expect(clippy::disallowed_methods, reason = "the usual program is what is compared with")]
        let mut child =
            Command::new("bzip2").args(["-c", level]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut input = child.stdin.take()?;
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let packed = child.wait_with_output().ok()?.stdout;
        writer.join().ok()?.ok()?;
        Some(packed)
    }

    #[test]
    fn what_was_packed_comes_out_and_streams_follow_one_another() {
        assert_eq!(decode(HELLO).expect("good"), b"hello\n");
        assert_eq!(decode(&[HELLO, HELLO, HELLO].concat()).expect("three"), b"hello\nhello\nhello\n");
        for behind in [b"x".as_slice(), b"BZ", b"\0"] {
            assert!(decode(&[HELLO, behind].concat()).is_err(), "{behind:?}");
        }
    }

    #[test]
    fn runs_blocks_and_noise_are_as_the_usual_program_packs_them() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut texts: Vec<Vec<u8>> = vec![Vec::new(), vec![0; 1_000_000], (0..350_000).map(|_| noise()).collect()];
        texts.extend([3, 4, 5, 255, 258, 259, 260, 263, 1000].map(|count| vec![b'a'; count]));
        texts.push((0..1000_usize).flat_map(|n| vec![(n % 7) as u8; n % 13]).collect());
        texts.push(b"aaaaaaaab".repeat(5000));
        for text in texts {
            let Some(packed) = encode(&text, "-1") else {
                return bulla_testkit::skipped("bzip2 of other texts", "there is no bzip2 here");
            };
            assert!(decode(&packed).expect("good") == text, "{} bytes", text.len());
        }
    }

    #[test]
    fn a_missing_byte_is_noticed_and_a_changed_bit_too_or_it_means_nothing() {
        for cut in 0..HELLO.len() {
            assert!(decode(&HELLO[..cut]).is_err(), "{cut}");
        }
        for bit in 0..HELLO.len() * 8 {
            let mut changed = HELLO.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            // The size of blocks and a table that is not used are in no sum, and mean nothing for the text.
            assert!(decode(&changed).map_or(true, |text| text == b"hello\n"), "{bit}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let head = [&HELLO[..10], &bytes].concat();
            let _ = decode(&head);
        }
    }
}
