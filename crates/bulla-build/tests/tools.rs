//! What other programs make of our images: skopeo, umoci, buildah, Docker, and the specification's own JSON schemas.
//! Each test says that it was skipped where its program is missing.

#![expect(clippy::disallowed_methods, reason = "other programs are asked what they make of our images")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use bulla_build::{
    assemble::{Assembled, assemble},
    export::{ArchiveKind, archive, layout, load},
};
use bulla_model::{
    Digest,
    image::{Compression, ImagePlan},
    tree::{Node, Owner},
};
use bulla_store::Store;
use support::{Memory, copy, package, plan, store};

/// A statically linked program with a shell and `stat` in it.
const BUSYBOX: &str = "/bin/busybox";

struct Built {
    folder: tempfile::TempDir,
    store: Store,
    image: Assembled,
}

impl Built {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// An image with a shell, a private folder that two layers write into, and a long and an odd name.
fn build(compression: Compression) -> Built {
    let folder = tempfile::tempdir().expect("a folder");
    let mut memory = Memory::default();
    let shell = fs::read(BUSYBOX).unwrap_or_else(|_| b"no shell".to_vec());
    let mut private = Node::directory(0o2750);
    private.set_owner(Owner { uid: 77, gid: 88 });
    let mut data = memory.file(0o640, "data");
    data.set_owner(Owner { uid: 77, gid: 88 });
    let long = format!("usr/share/{}/{}", "d".repeat(140), "f".repeat(120));
    let mut inputs = vec![
        package(
            "shell",
            100,
            &[
                ("bin", Node::symlink("usr/bin")),
                ("usr/bin/busybox", memory.file(0o755, shell)),
                ("usr/bin/sh", Node::Hardlink { target: support::path("usr/bin/busybox") }),
                ("usr/bin/su", memory.file(0o4755, "#!/bin/sh\n")),
                ("tmp", Node::directory(0o1777)),
                ("var/lib/private", private),
            ],
        ),
        package("noise", 200, &[("usr/lib/noise", memory.file(0o644, support::noise(3, 9 << 20)))]),
        copy("build.out", &[("var/lib/private/data", data), ("etc/gr\u{fc}n", memory.file(0o644, "green\n"))]),
    ];
    inputs[2].tree.insert(support::path(&long), memory.file(0o644, "long\n"));
    let mut plan = ImagePlan { compression, ..plan(inputs) };
    plan.runtime.entrypoint = vec!["/bin/sh".into(), "-c".into()];
    plan.runtime.user = "65532".into();
    plan.runtime.stop_signal = "SIGINT".into();
    plan.annotations.insert("org.opencontainers.image.title".into(), "sample".into());
    let store = store(folder.path());
    let image = assemble(&store, &plan, &memory, 2).expect("assembled");
    layout(&store, &image.clone().into(), &folder.path().join("layout"), &["sample:1".into()]).expect("written");
    let file = |kind, name| {
        archive(&store, &image.clone().into(), kind, &folder.path().join(name), &["sample:1".into()]).expect("written");
    };
    file(ArchiveKind::Oci, "oci.tar");
    file(ArchiveKind::Docker, "docker.tar");
    Built { folder, store, image }
}

/// Runs a program; `None` where it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}

fn must(program: &str, arguments: &[&str]) -> Option<String> {
    let output = run(program, arguments)?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn skopeo_reads_layouts_and_both_archives() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let built = build(compression);
        let layout = format!("oci:{}:sample:1", built.path("layout").display());
        // skopeo of 2022 does not convert zstd for Docker; that our own docker-archive does, Docker's test shows.
        let to = match compression {
            Compression::Gzip => format!("docker-archive:{}:sample:1", built.path("copied.tar").display()),
            Compression::Zstd => format!("oci:{}:sample:1", built.path("copied").display()),
        };
        let Some(_) = must("skopeo", &["--insecure-policy", "copy", &layout, &to]) else { return };
        for source in [
            layout,
            format!("oci-archive:{}:sample:1", built.path("oci.tar").display()),
            format!("docker-archive:{}:sample:1", built.path("docker.tar").display()),
        ] {
            let Some(text) = must("skopeo", &["inspect", "--config", &source]) else { return };
            let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(config["config"]["User"], "65532", "{source}");
            let ids = config["rootfs"]["diff_ids"].as_array().expect("a list");
            assert_eq!(ids.len(), built.image.layers.len());
            let to = format!("dir:{}", tempfile::tempdir_in(built.folder.path()).expect("a folder").keep().display());
            must("skopeo", &["--insecure-policy", "copy", &source, &to]);
        }
    }
}

#[test]
fn umoci_unpacks_what_the_trees_say() {
    let built = build(Compression::Gzip);
    let (image, bundle) = (format!("{}:sample:1", built.path("layout").display()), built.path("bundle"));
    let Some(_) = must("umoci", &["unpack", "--rootless", "--image", &image, &bundle.to_string_lossy()]) else {
        return;
    };
    let root = bundle.join("rootfs");
    let mode = |name: &str| fs::symlink_metadata(root.join(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!(fs::read_to_string(root.join("etc/gr\u{fc}n")).expect("read"), "green\n");
    assert_eq!(fs::read_link(root.join("bin")).expect("a link"), Path::new("usr/bin"));
    assert_eq!(mode("tmp"), 0o1777);
    assert_eq!(mode("usr/bin/su"), 0o755, "the set-user-id bit was dropped");
    assert_eq!(mode("var/lib/private"), 0o2750);
    let noise = fs::read(root.join("usr/lib/noise")).expect("read");
    assert_eq!(Digest::of(noise), Digest::of(support::noise(3, 9 << 20)));
}

#[test]
fn buildah_takes_the_archives() {
    let built = build(Compression::Gzip);
    let base = built.path("containers");
    let (root, run_root) = (base.join("root"), base.join("run"));
    let (root, run_root) = (root.to_string_lossy(), run_root.to_string_lossy());
    let with = |more: &[&str]| -> Vec<String> {
        let storage = ["--root", &root, "--runroot", &run_root, "--storage-driver", "vfs"];
        storage.iter().chain(more).map(|text| (*text).to_owned()).collect()
    };
    for kind in ["oci-archive", "docker-archive"] {
        let file = built.path(if kind == "oci-archive" { "oci.tar" } else { "docker.tar" });
        let source = format!("{kind}:{}", file.display());
        let policy = built.path("policy.json");
        fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).expect("written");
        let arguments = with(&["pull", "--signature-policy", &policy.to_string_lossy(), &source]);
        let Some(output) = run("buildah", &arguments.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
        let complaint = String::from_utf8_lossy(&output.stderr);
        // Without a range of sub-uids buildah cannot give files to the owners that the image names.
        let unable = ["operation not permitted", "newuidmap", "insufficient UIDs"];
        if !output.status.success() && unable.iter().any(|reason| complaint.contains(reason)) {
            eprintln!("skipped: buildah cannot use its storage here: {complaint}");
            return;
        }
        assert!(output.status.success(), "{complaint}");
    }
}

/// A Docker daemon of this test alone, on a socket in its folder.
struct Daemon {
    child: Child,
    host: String,
    /// A program that is `docker` for this daemon.
    engine: PathBuf,
}

impl Daemon {
    fn start(folder: &Path) -> Option<Self> {
        let socket = folder.join("d.sock");
        let host = format!("unix://{}", socket.display());
        // Long before it is run: a process that is being started elsewhere may hold the file open for a moment.
        let engine = folder.join("engine");
        fs::write(&engine, format!("#!/bin/sh\nexec docker --host {host} \"$@\"\n")).expect("written");
        fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).expect("executable");
        let log = fs::File::create(folder.join("dockerd.log")).expect("a log");
        let child = Command::new("dockerd")
            .args(["--host", &host, "--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(["--storage-driver", "overlay2", "--cgroup-parent", "/"])
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("d.pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        let mut daemon = match child {
            Ok(child) => Self { child, host, engine },
            Err(error) => {
                eprintln!("skipped: dockerd: {error}");
                return None;
            }
        };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if daemon.docker(&["version"]).status.success() {
                return Some(daemon);
            }
            if daemon.child.try_wait().expect("asked").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let log = fs::read_to_string(folder.join("dockerd.log")).unwrap_or_default();
        eprintln!("skipped: dockerd does not come up here: {}", log.lines().last().unwrap_or_default());
        None
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker").arg("--host").arg(&self.host).args(arguments).output().expect("docker runs")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn docker_loads_and_runs_the_image_with_its_modes_and_owners() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a Docker daemon needs root");
        return;
    }
    if Command::new("docker").arg("--version").output().is_err() || !Path::new(BUSYBOX).exists() {
        eprintln!("skipped: docker or {BUSYBOX} is not installed");
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let Some(daemon) = Daemon::start(home.path()) else { return };
    for compression in [Compression::Gzip, Compression::Zstd] {
        let built = build(compression);
        let loaded =
            load(&built.store, &built.image.clone().into(), &["sample:1".into()], &[&daemon.engine.to_string_lossy()])
                .expect("loaded");
        assert_eq!(loaded.message, "Loaded image: sample:1");
        let again = daemon.docker(&["load", "--input", &built.path("docker.tar").to_string_lossy()]);
        assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "Loaded image: sample:1");
        let script = "/bin/busybox id -u; /bin/busybox stat -c '%a %u %g' /var/lib/private /tmp /usr/lib /usr/bin/su";
        let ran = daemon.docker(&["run", "--rm", "--network", "none", "sample:1", script]);
        let complaint = String::from_utf8_lossy(&ran.stderr);
        if !ran.status.success() && complaint.contains("cgroup") {
            eprintln!("skipped: docker run: {complaint}");
            return;
        }
        assert!(ran.status.success(), "{complaint}");
        let expected = "65532\n2750 77 88\n1777 0 0\n755 0 0\n755 0 0\n";
        assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
    }
}

/// Validates a document against a schema of a folder, by Python's `jsonschema`.
const VALIDATE: &str = "
import json, os, sys
try:
    import jsonschema
except ImportError:
    sys.exit(77)
folder, name, document = sys.argv[1:]
def load(file): return json.load(open(os.path.join(folder, file)))
schema = load(name)
store = {}
for file in os.listdir(folder):
    if file.endswith('.json'):
        loaded = load(file)
        base = schema.get('id', '').rsplit('/', 1)[0]
        for prefix in (base + '/', base + '/image/', base.rsplit('/', 1)[0] + '/', ''):
            store[prefix + file] = loaded
        if 'id' in loaded: store[loaded['id']] = loaded
resolver = jsonschema.RefResolver('file://' + os.path.abspath(folder) + '/' + name, {k: v for k, v in schema.items()}, store=store)
def strip(x):
    # Identifiers inside the schemas would move the base of relative references to the network.
    if isinstance(x, dict): return {k: strip(v) for k, v in x.items() if k != 'id' or not isinstance(v, str)}
    if isinstance(x, list): return [strip(v) for v in x]
    return x
for key in list(store): store[key] = strip(store[key])
resolver.store.update({'file://' + os.path.abspath(folder) + '/' + f: strip(load(f)) for f in os.listdir(folder) if f.endswith('.json')})
jsonschema.Draft4Validator(strip(schema), resolver=resolver).validate(json.load(open(document)))
";

#[test]
fn the_documents_satisfy_the_schemas_of_the_specification() {
    let Some(schemas) = std::env::var_os("BULLA_OCI_SCHEMAS") else {
        eprintln!("skipped: BULLA_OCI_SCHEMAS does not name the folder `schema` of the OCI image specification");
        return;
    };
    let built = build(Compression::Gzip);
    let blob = |digest: Digest| built.path("layout/blobs/sha256").join(digest.hex());
    let documents = [
        ("image-layout-schema.json", built.path("layout/oci-layout")),
        ("image-index-schema.json", built.path("layout/index.json")),
        ("image-index-schema.json", blob(built.image.index.digest)),
        ("image-manifest-schema.json", blob(built.image.manifest.digest)),
        ("config-schema.json", blob(built.image.config.digest)),
    ];
    let validate = |schema: &str, document: &Path| {
        let schemas = schemas.to_string_lossy();
        run("python3", &["-W", "ignore", "-c", VALIDATE, &schemas, schema, &document.to_string_lossy()])
    };
    for (schema, document) in &documents {
        let Some(output) = validate(schema, document) else { return };
        if output.status.code() == Some(77) {
            eprintln!("skipped: Python has no jsonschema");
            return;
        }
        assert!(output.status.success(), "{schema}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let bad = built.path("bad.json");
    fs::write(&bad, r#"{"schemaVersion":1,"config":{},"layers":[]}"#).expect("written");
    let output = validate("image-manifest-schema.json", &bad).expect("python runs");
    assert!(!output.status.success(), "the validator refuses nothing");
}

#[test]
fn the_documents_have_what_the_specification_requires() {
    let built = build(Compression::Gzip);
    let read =
        |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
    let blob = |digest: Digest| read(built.path("layout/blobs/sha256").join(digest.hex()));
    let described = |descriptor: &serde_json::Value| {
        let digest: Digest = descriptor["digest"].as_str().expect("a digest").parse().expect("a digest");
        let path = built.path("layout/blobs/sha256").join(digest.hex());
        let bytes = fs::read(path).expect("the blob");
        assert_eq!((Digest::of(&bytes), Some(bytes.len() as u64)), (digest, descriptor["size"].as_u64()));
        digest
    };
    let top = read(built.path("layout/index.json"));
    assert_eq!(top["schemaVersion"], 2);
    assert_eq!(top["manifests"][0]["mediaType"], "application/vnd.oci.image.index.v1+json");
    let index = blob(described(&top["manifests"][0]));
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(index["manifests"][0]["platform"], serde_json::json!({"architecture": "amd64", "os": "linux"}));
    let manifest = blob(described(&index["manifests"][0]));
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "sample");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    for layer in manifest["layers"].as_array().expect("layers") {
        described(layer);
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    }
    let config = blob(described(&manifest["config"]));
    for key in ["architecture", "os", "rootfs"] {
        assert!(!config[key].is_null(), "{key}");
    }
    assert_eq!(config["rootfs"]["type"], "layers");
    assert_eq!(config["config"]["StopSignal"], "SIGINT");
}
