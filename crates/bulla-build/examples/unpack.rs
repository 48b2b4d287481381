//! Measures how packages are unpacked into a store: `cargo run --release -p bulla-build --example unpack -- FOLDER THREADS FILE.deb…`.
//! For each package it tells how long decoding alone takes, and how long with writing and hashing. The folder is left as it was.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program for people who measure"
)]

use std::{
    fs::File,
    io::{Read, sink},
    time::{Duration, Instant, SystemTime},
};

use bulla_build::run::PackageWriter;
use bulla_ecosystems::debian::deb::{self, Limits, Sink, SinkError};
use bulla_model::{
    CleanPath, Epoch,
    tree::{Mode, Owner},
};
use bulla_store::{Options, Store};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().expect("a folder to measure in");
    let threads: usize = arguments.next().unwrap().to_str().unwrap().parse().expect("a number of threads");
    let home = tempfile::tempdir_in(folder).unwrap();
    let store = Store::open(Options::new(home.path().join("store"), home.path().join("key"), SystemTime::now)).unwrap();
    for file in arguments {
        let name = std::path::Path::new(&file).file_name().unwrap().to_string_lossy().into_owned();
        let decode = best(|| {
            deb::unpack(File::open(&file).unwrap(), Limits::default(), threads, &mut Nowhere).unwrap();
        });
        let whole = best(|| {
            let mut writer = PackageWriter(store.tree_builder().unwrap());
            deb::unpack(File::open(&file).unwrap(), Limits::default(), threads, &mut writer).unwrap();
            writer.0.finish(None).unwrap();
        });
        println!("{name:<60} decoded {:>8.0} ms, unpacked {:>8.0} ms", ms(decode), ms(whole));
    }
}

fn best(mut work: impl FnMut()) -> Duration {
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..3).map(|_| once()).min().unwrap()
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

struct Nowhere;

impl Sink for Nowhere {
    fn directory(&mut self, _: &CleanPath, _: Mode, _: Owner) -> Result<(), SinkError> {
        Ok(())
    }

    fn file(&mut self, _: &CleanPath, _: Mode, _: Owner, _: Epoch, content: &mut dyn Read) -> Result<(), SinkError> {
        std::io::copy(content, &mut sink())?;
        Ok(())
    }

    fn symlink(&mut self, _: &CleanPath, _: Owner, _: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }

    fn hardlink(&mut self, _: &CleanPath, _: &CleanPath) -> Result<(), SinkError> {
        Ok(())
    }
}
