//! What stands in for maintainer scripts, tried on real packages that apt downloads.

use std::{cell::RefCell, collections::BTreeMap, io::Read, path::Path, process::Command, rc::Rc};

use bulla_ecosystems::debian::{
    deb::{self, Limits, Package, Sink, SinkError},
    image::{self, Entry, Equivalents, Request},
};
use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    tree::{Mode, Node, Owner},
};

#[derive(Default)]
struct Memory {
    tree: Tree,
    files: Rc<RefCell<BTreeMap<CleanPath, Vec<u8>>>>,
}

impl Sink for Memory {
    fn directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) -> Result<(), SinkError> {
        self.tree.insert(path.clone(), Node::Directory { mode, owner, opaque: false });
        Ok(())
    }

    fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        owner: Owner,
        _: Epoch,
        content: &mut dyn Read,
    ) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        let node = Node::File { mode, owner, digest: Digest::of(&bytes), size: bytes.len() as u64 };
        self.tree.insert(path.clone(), node);
        self.files.borrow_mut().insert(path.clone(), bytes);
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, owner: Owner, target: &[u8]) -> Result<(), SinkError> {
        self.tree.insert(path.clone(), Node::Symlink { owner, target: target.into() });
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        self.tree.insert(path.clone(), Node::Hardlink { target: target.clone() });
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// Downloads packages with apt; `None`, and a word on why, where that cannot be.
fn download(names: &[&str], folder: &Path) -> Option<()> {
    let output = command("apt-get").arg("download").args(names).current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => skip(&error.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "a test says that it was skipped")]
fn skip(why: &str) -> Option<()> {
    eprintln!("skipped: apt cannot download the packages: {why}");
    None
}

fn image_of(names: &[&str]) -> Option<Result<Equivalents, image::Error>> {
    let folder = tempfile::tempdir().expect("a folder");
    download(names, folder.path())?;
    let mut memory = Memory::default();
    let mut packages: Vec<Package> = Vec::new();
    let mut debs: Vec<_> =
        fs_err::read_dir(folder.path()).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    debs.sort();
    for deb in debs {
        let file = fs_err::File::open(deb).expect("a package");
        packages.push(deb::unpack(file, Limits::default(), 2, &mut memory).expect("a real package"));
    }
    memory.tree.complete();
    let files = Rc::clone(&memory.files);
    let read = move |path: &CleanPath| files.borrow().get(path).cloned();
    let keep_set_id = std::collections::BTreeSet::new();
    let request = Request {
        tree: &memory.tree,
        read: &read,
        packages: &packages,
        users: &[],
        codename: "bookworm",
        keep_set_id: &keep_set_id,
        platform: bulla_model::Platform::LinuxAmd64,
    };
    Some(image::equivalents(&request))
}

fn find<'a>(made: &'a Equivalents, path: &str) -> &'a Entry {
    let (_, entry) = made.entries.iter().find(|(p, _)| p.to_string() == path).unwrap_or_else(|| panic!("no {path}"));
    entry
}

fn text(made: &Equivalents, path: &str) -> String {
    match find(made, path) {
        Entry::File { content, .. } => String::from_utf8_lossy(content).into_owned(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn ping_asks_for_its_capability_and_needs_no_script() {
    let Some(made) = image_of(&["iputils-ping"]) else { return };
    let made = made.expect("its script is known");
    let asked: Vec<String> =
        made.asked.iter().map(|asked| format!("{} {} {}", asked.package, asked.path, asked.capabilities)).collect();
    assert_eq!(asked, ["iputils-ping usr/bin/ping cap_net_raw=ep"]);
    assert!(!made.entries.iter().any(|(path, _)| path.to_string() == "usr/bin/ping"), "the file stays the package's");
}

#[test]
fn libc_certificates_and_openssl_need_no_script() {
    let names = ["libc6", "libgcc-s1", "gcc-12-base", "ca-certificates", "openssl", "libssl3", "zlib1g", "netbase"];
    let Some(made) = image_of(&names) else { return };
    let made = made.expect("no script is needed");
    assert!(text(&made, "etc/ssl/certs/ca-certificates.crt").matches("BEGIN CERTIFICATE").count() > 100);
    assert!(text(&made, "var/lib/dpkg/status.d/libc6").starts_with("Package: libc6\n"));
    assert!(text(&made, "usr/lib/os-release").contains("VERSION_ID=\"12\""));
    let Entry::File { content, .. } = find(&made, "etc/ld.so.cache") else { panic!("the cache is a file") };
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs_err::write(file.path(), content).expect("written");
    if let Ok(listed) = command("/sbin/ldconfig").arg("-p").arg("-C").arg(file.path()).output() {
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.contains("libc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6"), "{listed}");
        assert!(listed.contains("libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1"), "{listed}");
    }
}

#[test]
fn redis_has_its_user_and_directories() {
    let Some(made) = image_of(&["redis-server", "redis-tools", "libc6"]) else { return };
    let made = made.expect("no script is needed");
    let passwd = text(&made, "etc/passwd");
    let line = passwd.lines().find(|line| line.starts_with("redis:")).expect("the user");
    let uid: u32 = line.split(':').nth(2).and_then(|id| id.parse().ok()).expect("a number");
    assert_eq!(line, format!("redis:x:{uid}:{uid}::/var/lib/redis:/usr/sbin/nologin"));
    let redis = Owner { uid, gid: uid };
    let log = Owner { uid, gid: 4 };
    for (path, mode, owner) in [
        ("var/lib/redis", 0o750, redis),
        ("var/log/redis", 0o2750, log),
        ("run/redis", 0o2755, redis),
        ("etc/redis", 0o2770, redis),
    ] {
        assert_eq!(find(&made, path), &Entry::Directory { mode: Mode::new(mode), owner }, "{path}");
    }
    assert!(
        matches!(find(&made, "etc/redis/redis.conf"), Entry::File { owner, mode, .. } if *owner == redis && mode.bits() == 0o640)
    );
}

#[test]
fn nginx_has_its_site_and_modules() {
    let Some(made) = image_of(&["nginx-light", "nginx-common", "nginx", "libnginx-mod-http-echo", "libc6"]) else {
        return;
    };
    let made = made.expect("no script is needed");
    let link = |target: &str| Entry::Symlink { target: target.as_bytes().into() };
    assert_eq!(find(&made, "etc/nginx/sites-enabled/default"), &link("/etc/nginx/sites-available/default"));
    let module = "/usr/share/nginx/modules-available/mod-http-echo.conf";
    assert_eq!(find(&made, "etc/nginx/modules-enabled/50-mod-http-echo.conf"), &link(module));
    assert!(text(&made, "etc/passwd").contains("www-data:x:33:33:"));
    assert!(text(&made, "var/www/html/index.nginx-debian.html").contains("<html>"));
}

#[test]
fn packages_with_other_scripts_are_refused_by_name() {
    for name in ["postgresql-15", "mariadb-server", "exim4-config"] {
        let Some(made) = image_of(&[name]) else { return };
        let error = made.expect_err(name);
        assert!(matches!(&error, image::Error::NeedsScript { package, .. } if package == name), "{error}");
        assert!(bulla_model::Fault::hints(&error).iter().any(|hint| hint.contains("scripts: {run: REASON}")));
    }
}

#[test]
fn python_java_and_time_zones_need_no_script() {
    let python = ["python3-minimal", "python3.11-minimal", "libpython3.11-minimal", "libc6", "tzdata", "dash"];
    let java = ["openjdk-17-jre-headless", "ca-certificates-java", "java-common", "ca-certificates", "libglib2.0-0"];
    let Some(made) = image_of(&[python.as_slice(), java.as_slice()].concat()) else { return };
    let made = made.expect("no script is needed");
    let link = |target: &str| Entry::Symlink { target: target.as_bytes().into() };
    assert_eq!(find(&made, "etc/alternatives/java"), &link("/usr/lib/jvm/java-17-openjdk-amd64/bin/java"));
    assert_eq!(find(&made, "usr/bin/java"), &link("/etc/alternatives/java"));
    assert_eq!(find(&made, "etc/localtime"), &link("/usr/share/zoneinfo/Etc/UTC"));
    assert_eq!(find(&made, "usr/bin/sh"), &link("dash"));
    let Entry::File { content, .. } = find(&made, "etc/ssl/certs/java/cacerts") else { panic!("the store is a file") };
    assert!(content.starts_with(b"\xfe\xed\xfe\xed\0\0\0\x02"));
}
