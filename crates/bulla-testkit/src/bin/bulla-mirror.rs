//! Serves a repository of real packages of this machine's release on loopback, until it is ended by a signal:
//!
//!     bulla-mirror FOLDER PORT PACKAGE...
//!
//! The repository is made in the folder when there is none, and stays there, with a `config.toml` for Bulla that names the
//! mirror and its key. Benchmarks and examples use it where tests would use [`bulla_testkit::Mirror`] itself.

use std::{path::Path, process::ExitCode};

use bulla_testkit::{DebianRepo, Mirror, Release, debian, environment};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, port, packages @ ..] = arguments.as_slice() else { return usage() };
    let Ok(port) = port.parse::<u16>() else { return usage() };
    let folder = match std::path::absolute(folder) {
        Ok(folder) => folder,
        Err(_) => return usage(),
    };
    let config = folder.join("config.toml");
    if !config.is_file() && make(&folder, packages).is_none() {
        return ExitCode::FAILURE;
    }
    let mirror = Mirror::serve_at(&folder, port);
    let text = environment::configuration(&[&mirror.url()], &folder.join("test-key.asc"));
    fs_err::write(&config, text).expect("writing the configuration");
    say(&format!("{} (BULLA_CONFIG={})", mirror.url(), config.display()));
    loop {
        std::thread::park();
    }
}

fn make(folder: &Path, packages: &[String]) -> Option<()> {
    let suite = debian::codename()?;
    let mut repo = DebianRepo::at(folder, &suite);
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    repo.add_real(&packages)?;
    repo.keyring();
    repo.publish_release(&Release::default());
    Some(())
}

fn usage() -> ExitCode {
    say("usage: bulla-mirror FOLDER PORT PACKAGE...");
    ExitCode::from(2)
}

#[expect(clippy::print_stdout, reason = "a program of its own")]
fn say(text: &str) {
    println!("{text}");
}
