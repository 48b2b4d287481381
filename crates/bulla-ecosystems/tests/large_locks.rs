//! Lock files of 50,000 entries: all are read, in memory that is bounded. Each is read by a process of its own, whose most memory the
//! kernel knows; `BULLA_CLIENTS=1 cargo test --test large_locks -- --show-output` prints what docs/dependencies.md has.

#![expect(clippy::disallowed_methods, reason = "a test runs itself again on the machine that it is on")]
#![expect(clippy::print_stdout, reason = "what is measured is printed")]

use std::{fmt::Write as _, io, process::Command};

use bulla_ecosystems::dependencies::{self, Files, Stage};
use bulla_model::{CleanPath, Ecosystem};
use bulla_testkit::{archive::base64, skipped};

const MANY: usize = 50_000;
/// The most memory that reading one may take, beside the text itself.
const MOST: u64 = 512 << 20;
/// A variable by which this program knows which one to read.
const WHICH: &str = "BULLA_TEST_LARGE_LOCK";

const ALL: [(Ecosystem, &str); 10] = [
    (Ecosystem::Npm, "package-lock.json"),
    (Ecosystem::Npm, "pnpm-lock.yaml"),
    (Ecosystem::Npm, "yarn.lock"),
    (Ecosystem::Pypi, "requirements.txt"),
    (Ecosystem::Pypi, "uv.lock"),
    (Ecosystem::Pypi, "poetry.lock"),
    (Ecosystem::Pypi, "pylock.toml"),
    (Ecosystem::Cargo, "Cargo.lock"),
    (Ecosystem::Go, "go.sum"),
    (Ecosystem::Gradle, "gradle.lockfile"),
];

/// The files of a source.
struct Source(Vec<(String, String)>);

impl Files for Source {
    fn read(&self, path: &CleanPath, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let found = self.0.iter().find(|(name, _)| *name == path.to_string());
        match found {
            Some((_, text)) if text.len() as u64 > limit => Err(io::Error::other("it is too long")),
            found => Ok(found.map(|(_, text)| text.clone().into_bytes())),
        }
    }
}

/// Writes a lock file with so many entries, of which each is another.
fn text(file: &str) -> String {
    let sha512 = |at: usize| format!("sha512-{}", base64(&[&[0; 60][..], &(at as u32).to_be_bytes()].concat()));
    let (mut text, end) = match file {
        "package-lock.json" => ("{\"lockfileVersion\":3,\"packages\":{\"\":{}".to_owned(), "}}"),
        "pnpm-lock.yaml" => ("lockfileVersion: '9.0'\n\npackages:\n".to_owned(), ""),
        "yarn.lock" => ("# yarn lockfile v1\n\n".to_owned(), ""),
        "uv.lock" => ("version = 1\nrequires-python = \">=3.11\"\n".to_owned(), ""),
        "poetry.lock" => (String::new(), "[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.11\"\n"),
        "pylock.toml" => ("lock-version = \"1.0\"\n".to_owned(), ""),
        "Cargo.lock" => ("version = 4\n".to_owned(), ""),
        "gradle/verification-metadata.xml" => {
            ("<verification-metadata><components>\n".to_owned(), "</components></verification-metadata>")
        }
        _ => (String::new(), ""),
    };
    for at in 0..MANY {
        let next = (at + 1) % MANY;
        let hex = format!("{at:064x}");
        let _ = match file {
            "package-lock.json" => write!(
                text,
                ",\n\"node_modules/p{at}\":{{\"version\":\"1.0.0\",\"integrity\":\"{}\",\"dependencies\":{{\"p{next}\":\"^1\"}}}}",
                sha512(at)
            ),
            "pnpm-lock.yaml" => write!(text, "\n  p{at}@1.0.0:\n    resolution: {{integrity: {}}}\n", sha512(at)),
            "yarn.lock" => write!(
                text,
                "p{at}@^1:\n  version \"1.0.0\"\n  resolved \"https://registry.example/p{at}/-/p{at}-1.0.0.tgz\"\n  integrity {}\n\n",
                sha512(at)
            ),
            "requirements.txt" => writeln!(text, "p{at}==1.0 \\\n    --hash=sha256:{hex}"),
            "uv.lock" => write!(
                text,
                "\n[[package]]\nname = \"p{at}\"\nversion = \"1.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\n\
                 dependencies = [{{ name = \"p{next}\" }}]\n\
                 wheels = [{{ url = \"https://files.example/p{at}-1.0-py3-none-any.whl\", hash = \"sha256:{hex}\", size = 1 }}]\n"
            ),
            "poetry.lock" => write!(
                text,
                "[[package]]\nname = \"p{at}\"\nversion = \"1.0\"\noptional = false\npython-versions = \">=3.{}\"\ngroups = [\"main\"]\n\
                 files = [\n    {{file = \"p{at}-1.0-py3-none-any.whl\", hash = \"sha256:{hex}\"}},\n]\n\n",
                at % 12
            ),
            "pylock.toml" => write!(
                text,
                "\n[[packages]]\nname = \"p{at}\"\nversion = \"1.0\"\n\
                 wheels = [{{ url = \"https://files.example/p{at}-1.0-py3-none-any.whl\", hashes = {{ sha256 = \"{hex}\" }} }}]\n"
            ),
            "Cargo.lock" => writeln!(
                text,
                "\n[[package]]\nname = \"p{at}\"\nversion = \"1.0.0\"\nsource = \"sparse+https://registry.example/\"\nchecksum = \"{hex}\""
            ),
            "go.sum" => write!(
                text,
                "example.com/p{at} v1.0.0 h1:{0}\nexample.com/p{at} v1.0.0/go.mod h1:{0}\n",
                base64(&[&[0; 28][..], &(at as u32).to_be_bytes()].concat())
            ),
            "gradle.lockfile" => writeln!(text, "org.example:p{at}:1.0=runtimeClasspath"),
            _ => writeln!(
                text,
                "<component group=\"org.example\" name=\"p{at}\" version=\"1.0\"><artifact name=\"p{at}-1.0.jar\"><sha256 value=\"{hex}\"/></artifact></component>"
            ),
        };
    }
    text + end
}

/// Gives a number of kilobytes that the kernel says of this process, in bytes.
fn memory(key: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").expect("the kernel says it");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("it has the line");
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number") << 10
}

#[test]
#[ignore = "run by the other test, in a process of its own"]
fn one_is_read() {
    let Some(number) = std::env::var(WHICH).ok().and_then(|text| text.parse::<usize>().ok()) else { return };
    let (ecosystem, file) = ALL[number];
    let mut source = Source(vec![(file.to_owned(), text(file))]);
    if ecosystem == Ecosystem::Gradle {
        let beside = "gradle/verification-metadata.xml";
        source.0.push((beside.to_owned(), text(beside)));
    }
    let (before, size) = (memory("VmRSS:"), source.0.iter().map(|(_, text)| text.len()).sum::<usize>());
    let path = CleanPath::parse(file).expect("a path");
    let native = dependencies::read(ecosystem, &source, &path, &Stage::default()).expect("a lock file");
    let count = native.locked().artifacts.len();
    assert!(count >= MANY, "{count} entries were read");
    let took = memory("VmHWM:").saturating_sub(before);
    println!("MEASURED {file}: {count} files, {:.1} MB of text, {} MB of memory", size as f64 / 1e6, took >> 20);
    assert!(took < MOST, "{file} took {} MB", took >> 20);
}

#[test]
fn fifty_thousand_entries_of_each_kind_are_read_in_bounded_memory() {
    if let Err(why) = bulla_testkit::clients() {
        return skipped("lock files of 50,000 entries", &why);
    }
    for number in 0..ALL.len() {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "one_is_read", "--ignored", "--nocapture"]).env(WHICH, number.to_string());
        let output = command.output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        said.lines().filter_map(|line| line.split_once("MEASURED ")).for_each(|(_, line)| println!("{line}"));
    }
}
