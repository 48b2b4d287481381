//! The proxy that a step has where a lock file has whole addresses: what it gives, and what nobody gets through it.

use std::io::{Cursor, Write as _};

use bulla_model::Digest;
use bulla_testkit::{
    Deb, Mirror, Project, Ran, TestEnvironment,
    debian::Compression,
    python::{python_deb, uv},
};

use super::world::{World, spec};

const SECURE: &str = "https://files.example/packages";
const PLAIN: &str = "http://plain.example:8080/packages";

/// A wheel made for a test.
struct Wheel {
    name: String,
    file: String,
    bytes: Vec<u8>,
}

impl Wheel {
    fn new(name: &str) -> Self {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let files = [
            (format!("{name}.py"), format!("SAYS = '{name} 1.0'\n")),
            (format!("{name}-1.0.dist-info/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")),
            (
                format!("{name}-1.0.dist-info/WHEEL"),
                "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
            ),
            (format!("{name}-1.0.dist-info/RECORD"), String::new()),
        ];
        for (path, text) in files {
            zip.start_file(path, zip::write::SimpleFileOptions::default()).expect("an entry");
            zip.write_all(text.as_bytes()).expect("memory");
        }
        let bytes = zip.finish().expect("memory").into_inner();
        Self { name: name.to_owned(), file: format!("{name}-1.0-py3-none-any.whl"), bytes }
    }
}

/// Writes a `uv.lock` that has wheels at addresses.
fn uv_lock(wheels: &[(&Wheel, &str)]) -> String {
    let mut needs: Vec<String> =
        wheels.iter().map(|(wheel, _)| format!("    {{ name = \"{}\" }},\n", wheel.name)).collect();
    needs.sort();
    let needs = needs.concat();
    let mut text = format!(
        "version = 1\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"app\"\nversion = \"1.0\"\nsource = {{ virtual = \".\" }}\ndependencies = [\n{needs}]\n\n[package.metadata]\nrequires-dist = [\n{needs}]\n"
    );
    for (Wheel { name, file, bytes }, at) in wheels {
        let (hash, size) = (Digest::of(bytes).hex(), bytes.len());
        text.push_str(&format!(
            "\n[[package]]\nname = \"{name}\"\nversion = \"1.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\nwheels = [\n    {{ url = \"{at}/{file}\", hash = \"sha256:{hash}\", size = {size} }},\n]\n"
        ));
    }
    text
}

/// What the tests share. The wheels are sources of the project too, so that the store has what the lock file pins.
struct Addresses {
    world: World,
    server: Mirror,
    _folder: tempfile::TempDir,
    wheels: Vec<Wheel>,
    lock: String,
}

impl Addresses {
    fn new(test: &str) -> Option<Self> {
        Self::with(test, vec![(Wheel::new("secure"), SECURE.to_owned()), (Wheel::new("plain"), PLAIN.to_owned())])
    }

    fn with(test: &str, wheels: Vec<(Wheel, String)>) -> Option<Self> {
        Some(Self::of(World::new(test)?, wheels))
    }

    fn of(world: World, wheels: Vec<(Wheel, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (wheel, _) in &wheels {
            fs_err::write(folder.path().join(&wheel.file), &wheel.bytes).expect("a wheel");
        }
        let server = Mirror::serve(folder.path());
        let before = fs_err::read_to_string(world.environment.config()).expect("a configuration");
        world.environment.write_config(&format!("{before}[network]\nlocal-hosts = [\"{}\"]\n", server.address()));
        let lock = uv_lock(&wheels.iter().map(|(wheel, at)| (wheel, at.as_str())).collect::<Vec<_>>());
        let wheels = wheels.into_iter().map(|(wheel, _)| wheel).collect();
        Self { world, server, _folder: folder, wheels, lock }
    }

    fn spec(&self, stage: &str, steps: &[&str]) -> String {
        let source = |Wheel { name, file, bytes }: &Wheel| {
            let (url, hash) = (self.server.url(), Digest::of(bytes).hex());
            format!("  {name}: {{url: {url}/{file}, sha256: {hash}, unpack: no}}\n")
        };
        let sources: String = self.wheels.iter().map(source).collect();
        let stage = format!("    workdir: /src/app\n{stage}");
        spec(&stage, steps, "/src/app/out").replace("stages:\n", &format!("{sources}stages:\n"))
    }

    fn project(&self, keys: &str, steps: &[&str]) -> Project {
        let spec = self.spec(&format!("    dependencies: [{{pypi: uv.lock}}]\n{keys}"), steps);
        Project::with_spec(&spec).file("app/uv.lock", &self.lock)
    }

    fn build(&self, steps: &[&str]) -> Ran {
        self.world.build(&self.project("", steps), &[])
    }
}

#[test]
fn a_step_is_given_what_its_lock_has_an_address_of_and_nothing_else() {
    let Some(addresses) = Addresses::new("whole addresses of a lock file") else { return };
    let wget = format!("busybox wget -q -O out {PLAIN}/plain-1.0-py3-none-any.whl; busybox unzip -p out plain.py");
    let ran = addresses.build(&[&wget]).success();
    assert!(ran.stderr.contains("SAYS = 'plain 1.0'"), "{}", ran.stderr);
    let told = |step: &str| {
        let ran = addresses.build(&[step]);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let other = told("busybox wget -q -O out http://other.example/simple/");
    assert!(other.contains("GET http://other.example/simple/"), "{other}");
    assert!(other.contains("no lock file of the stage has the address http://other.example/simple/"), "{other}");
    assert!(other.contains("busybox"), "the process is named: {other}");
    let port = told("busybox wget -q -O out http://plain.example/packages/plain-1.0-py3-none-any.whl");
    assert!(port.contains("GET http://plain.example/packages/"), "{port}");
    let connect = told(
        "printf 'CONNECT evil.example:443 HTTP/1.1\\r\\nHost: evil.example:443\\r\\n\\r\\n' | nc 127.0.0.1 8417 | grep ' 200 '",
    );
    assert!(connect.contains("CONNECT evil.example:443"), "{connect}");
    assert!(
        connect.contains("a step reaches no host, and no lock file of the stage has an address of evil.example:443"),
        "{connect}"
    );
    // The control: a host that the lock has is connected to.
    let known = "printf 'CONNECT files.example:443 HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n' | nc -w 2 127.0.0.1 8417 | grep ' 200 '; echo >out";
    addresses.build(&[known]).success();
}

#[test]
fn the_certificate_of_the_proxy_stays_nowhere() {
    let Some(addresses) = Addresses::new("the certificate of the proxy") else { return };
    let ca = "/run/bulla/ca.pem";
    for copy in [
        format!("cp {ca} out"),
        format!("mkdir -p /etc/ssl/certs; cat {ca} >>/etc/ssl/certs/ca-certificates.crt; echo >out"),
        format!("sed 1d {ca} | busybox tr -d '\\n' >out"),
        format!("sed '/---/d' {ca} | busybox base64 -d >out"),
        "busybox tar -cf - -C /run/bulla ca.pem | busybox gzip -c >out".to_owned(),
        format!("sed '/---/d' {ca} | busybox base64 -d | busybox hexdump -v -e '1/1 \"%02x\"' >out"),
    ] {
        let ran = addresses.build(&[&copy]).failure(6);
        assert!(
            ran.stderr.contains("the certificate of the build's own proxy would stay behind"),
            "{copy}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("/src/app/out") || ran.stderr.contains("/etc/ssl/certs"), "{}", ran.stderr);
    }
    // The control: to read it is what it is there for, and it is no file of the step's root.
    let reads =
        format!("test \"$SSL_CERT_FILE\" = {ca}; grep -c CERTIFICATE {ca} >out; ! rm {ca}; ! sh -c 'echo >>{ca}'");
    addresses.build(&[&reads]).success();
}

#[test]
fn a_key_and_an_image_do_not_depend_on_the_certificate() {
    let Some(addresses) = Addresses::new("keys and the proxy") else { return };
    let fetch = format!("busybox wget -q -O out {PLAIN}/plain-1.0-py3-none-any.whl");
    let project = addresses.project("", &[&fetch]);
    let first = addresses.world.digest(&project);
    let again = addresses.world.build(&project, &[]).success();
    assert!(again.stderr.contains("0 of 2 steps run"), "{}", again.stderr);
    let anew = addresses.world.build(&project, &["--no-cache"]).success();
    assert_eq!(anew.stdout.trim_end(), first, "it ran with another certificate");
    assert!(!anew.stderr.contains("0 of 2 steps run"), "the control: {}", anew.stderr);
    // Other addresses are other inputs.
    let moved = addresses.lock.replace("plain.example:8080", "moved.example");
    project.write("app/uv.lock", moved);
    let ran = addresses.world.build(&project, &[]);
    assert_ne!(ran.code, Some(0), "the step asks where nothing is any more: {}", ran.stderr);
}

#[test]
fn a_proxy_of_the_host_reaches_no_step() {
    let Some(mut addresses) = Addresses::new("a proxy of the host") else { return };
    let environment = std::mem::replace(&mut addresses.world.environment, super::offline());
    let ambient = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let set = |environment: TestEnvironment, name: &&str| environment.set(name, "http://10.9.8.7:3128");
    addresses.world.environment = ambient.iter().fold(environment.set("no_proxy", "127.0.0.1"), set);
    let proxied = addresses.build(&[
        "env | grep -i prox >out; grep -c 10.9.8.7 out && exit 1; grep -q '^https_proxy=http://127.0.0.1:8417$' out",
    ]);
    proxied.success();
    // A step whose lock files have no addresses, or that has none, has no proxy and no certificate.
    let plain = addresses.spec("", &["! env | grep -i prox; test ! -e /run/bulla/ca.pem; echo >out"]);
    addresses.world.build(&Project::with_spec(&plain).file("app/x", "x"), &[]).success();
    // What the spec says wins.
    let own = addresses.project(
        "    env: {https_proxy: 'http://own.example'}\n",
        &["test \"$https_proxy\" = http://own.example; echo >out"],
    );
    addresses.world.build(&own, &[]).success();
}

#[test]
fn hosts_of_addresses_are_bounded() {
    let build = |count: usize| {
        let wheel = |number: usize| (Wheel::new(&format!("p{number}")), format!("https://h{number}.example"));
        let addresses = Addresses::with("many hosts", (0..count).map(wheel).collect())?;
        Some(addresses.build(&["echo >out"]))
    };
    // The registry that the lock file names is one more.
    let Some(ran) = build(64) else { return };
    let ran = ran.failure(3);
    assert!(
        ran.stderr.contains("its addresses are of 65 hosts; a step can have those of at most 64"),
        "{}",
        ran.stderr
    );
    build(63).expect("as before").success();
}

/// The real uv, as a package beside the machine's Python, which has the libraries that it needs.
pub(super) fn uv_deb(test: &str) -> Option<Deb> {
    let bytes = fs_err::read(uv(test)?).expect("uv");
    Some(Deb::new("uv", "1").compression(Compression::None).file("usr/bin/uv", 0o755, bytes))
}

#[test]
fn uv_sync_in_a_step_goes_to_the_addresses_of_its_lock_file() {
    let test = "uv sync in a step";
    let Some(uv) = uv_deb(test) else { return };
    let Some(python) = python_deb(test) else { return };
    let Some(mut addresses) = Addresses::new(test) else { return };
    addresses.world.publish(&python);
    addresses.world.publish(&uv);
    let build = |steps: &[&str]| {
        let project = addresses.project("", steps);
        let spec = project.read("bulla.yaml").replace("packages: [tools]", "packages: [tools, python3, uv]");
        let needs = "dependencies = [\"secure\", \"plain\"]";
        let file = format!("[project]\nname = \"app\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\n{needs}\n");
        let project = Project::with_spec(&spec).file("app/uv.lock", &addresses.lock).file("app/pyproject.toml", file);
        let ran = addresses.world.build(&project, &[]);
        assert_eq!(project.read("app/uv.lock"), addresses.lock, "the lock file is as it was");
        ran
    };
    let says = ".venv/bin/python -c 'import plain, secure; print(secure.SAYS, plain.SAYS)' >out; cat out";
    let ran =
        build(&[&format!("mkdir -p /tmp; cp uv.lock before; uv sync --frozen; busybox cmp uv.lock before; {says}")])
            .success();
    assert!(ran.stderr.contains("secure 1.0 plain 1.0"), "{}", ran.stderr);
    // It finds the index of its lock file too, so that it takes the file for what it is.
    let again = "mkdir -p /tmp; cp uv.lock before; uv sync --locked; uv sync; busybox cmp uv.lock before";
    let wants = "echo 'secure' >wanted.in; uv pip compile -q wanted.in | busybox grep -x 'secure==1.0'";
    let exported = "uv export -q --frozen --format pylock.toml -o /tmp/pylock.toml; uv venv -q /tmp/other; VIRTUAL_ENV=/tmp/other uv pip sync -q /tmp/pylock.toml";
    let imports = "/tmp/other/bin/python -c 'import secure'";
    build(&[&format!("{again}; {wants}; {exported}; {imports}; {says}")]).success();
    // The control: by itself, it would go to the host.
    let ran = build(&["mkdir -p /tmp; env -u https_proxy -u HTTPS_PROXY -u ALL_PROXY uv sync --frozen; echo >out"])
        .failure(1);
    assert!(ran.stderr.contains("files.example"), "{}", ran.stderr);
}
