//! Gives every target its seeds, and what comes of them by fixed mutations: the same ones on every machine, in no time that
//! matters. It finds what breaks at once; `fuzz/run` looks further. `BULLA_FUZZ_ROUNDS` asks for more rounds.

#![expect(clippy::print_stderr, reason = "the input of a failure has to be seen")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use bulla_fuzz::{TARGETS, Target};

/// How many mutations a target is given when nothing else was asked for.
const ROUNDS: u64 = 400;
/// The longest input.
const LONGEST: usize = 64 << 10;

/// A generator of numbers that look random (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
    }

    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len());
        start..(start + 1 + self.below(32)).min(bytes.len())
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut files: Vec<_> =
        fs_err::read_dir(folder).expect("each target has seeds").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.into_iter().map(|file| fs_err::read(file).expect("a seed")).collect()
}

fn mutate(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
    const TELLING: [&[u8]; 12] = [
        b"\0",
        b"\xff",
        b"\n",
        b" ",
        b"/../",
        b"-1",
        b"99999999999999999999",
        b"{",
        b"[",
        b"\"",
        b":",
        b"\xe2\x80\xae",
    ];
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let part = numbers.part(&bytes);
        match numbers.below(6) {
            0 => bytes.iter_mut().skip(part.start).take(1).for_each(|byte| *byte ^= 1 << numbers.below(8)),
            1 => drop(bytes.drain(part)),
            2 => bytes.truncate(part.start),
            3 => {
                let copy = bytes[part.clone()].to_vec();
                let many = copy.repeat(1 + numbers.below(40));
                drop(bytes.splice(part.end..part.end, many));
            }
            4 => drop(bytes.splice(part, TELLING[numbers.below(TELLING.len())].iter().copied())),
            _ => {
                let other = &seeds[numbers.below(seeds.len())];
                let taken = other[numbers.part(other)].to_vec();
                drop(bytes.splice(part, taken));
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn give(target: Target, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
        eprintln!("the input was: \"{}\"", bytes.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn drive(name: &str) {
    let target = bulla_fuzz::target(name).expect("a target");
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| give(target, seed));
    give(target, b"");
    let rounds = std::env::var("BULLA_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..rounds {
        give(target, &mutate(&mut numbers, &seeds));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                drive(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_driven() {
            let driven = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), driven);
        }
    };
}

targets! {
    spec workspace lock tree path glob inrelease release keyring packages solve relation version apt deb data
    scripts library archive document layer normalise source patch description sources signature image_signature evidence
    key_file policy git_pack git_object git_talk git_signed git_modules url request address served reference challenge manifest capability
    statement packed bundle npm_lock pnpm_lock yarn_lock yarn_zip npm_package secret go_sum go_zip cargo_lock
    crate_file requirements uv_lock poetry_lock pylock simple_index wheel maven_path gradle_lock gradle_metadata
    apt_path pypi_offer inventory copyright provenance difference keyless list rule
}

#[test]
fn fuzzing_knows_every_target() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("run");
    let listed = std::process::Command::new(run).arg("--list").output().expect("it lists its targets");
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().collect::<Vec<_>>(), names);
}
