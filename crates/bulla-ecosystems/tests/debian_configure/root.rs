//! A root of real packages: each a layer of its own, as in an overlay of the store's trees.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
};

use bulla_ecosystems::debian::{
    configure,
    deb::{self, Package, Sink, SinkError},
    dpkg,
};
use bulla_model::{
    CleanPath, Digest, Epoch, Tree,
    tree::{Mode, Node, Owner},
};
use bulla_sandbox::{Bind, Cancel, Exit, Launcher, Limits, Options, Privileges, Request, Root as Layers};
use bulla_testkit::DebianRepo;
use tempfile::TempDir;

const STAND_INS: &str = "/run/bulla/stand-ins";

pub(crate) struct Root {
    folder: TempDir,
    launcher: Launcher,
    pub(crate) packages: Vec<Package>,
    manifests: Vec<Tree>,
    pub(crate) hidden: Vec<String>,
    /// The topmost first.
    layers: Vec<PathBuf>,
}

/// Writes entries to a folder, which belongs to the uid that sandboxes run as, and takes down what they are.
struct Writer {
    base: PathBuf,
    tree: Tree,
}

impl Writer {
    fn new(base: PathBuf) -> Self {
        fs::create_dir_all(&base).expect("a folder");
        give(&base, 0o755);
        Self { base, tree: Tree::new() }
    }

    fn at(&mut self, path: &CleanPath) -> PathBuf {
        for above in path.ancestors() {
            if !self.base.join(&above).is_dir() {
                fs::create_dir(self.base.join(&above)).expect("a folder");
                give(&self.base.join(&above), 0o755);
            }
        }
        self.base.join(path)
    }
}

fn give(path: &Path, mode: u32) {
    let uid = Some(Options::default().service_uid);
    lchown(path, uid, uid).expect("giving it to the service uid");
    if !path.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
    }
}

impl Sink for Writer {
    fn directory(&mut self, path: &CleanPath, mode: Mode, owner: Owner) -> Result<(), SinkError> {
        let at = self.at(path);
        if !at.is_dir() {
            fs::create_dir(&at)?;
        }
        give(&at, mode.bits());
        self.tree.insert(path.clone(), Node::Directory { mode, owner, opaque: false });
        Ok(())
    }

    fn file(
        &mut self,
        path: &CleanPath,
        mode: Mode,
        owner: Owner,
        _mtime: Epoch,
        content: &mut dyn Read,
    ) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        let at = self.at(path);
        fs::write(&at, &bytes)?;
        give(&at, mode.bits());
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.tree.insert(path.clone(), Node::File { mode, owner, digest, size });
        Ok(())
    }

    fn symlink(&mut self, path: &CleanPath, owner: Owner, target: &[u8]) -> Result<(), SinkError> {
        let at = self.at(path);
        symlink(std::os::unix::ffi::OsStrExt::from_bytes(target) as &std::ffi::OsStr, &at)?;
        give(&at, 0);
        self.tree.insert(path.clone(), Node::Symlink { owner, target: target.into() });
        Ok(())
    }

    fn hardlink(&mut self, path: &CleanPath, target: &CleanPath) -> Result<(), SinkError> {
        let (at, target_at) = (self.at(path), self.at(target));
        fs::hard_link(target_at, at)?;
        self.tree.insert(path.clone(), Node::Hardlink { target: target.clone() });
        Ok(())
    }
}

impl Root {
    pub(crate) fn unpack(repo: &DebianRepo) -> Self {
        let folder = tempfile::Builder::new().prefix("bulla-configure-").tempdir_in("/var/tmp").expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
        let (mut packages, mut manifests, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        let pool = repo.root().join("pool/main");
        let mut files: Vec<PathBuf> =
            fs::read_dir(pool).expect("the pool").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        for (number, file) in files.iter().enumerate() {
            let base = folder.path().join(number.to_string());
            let mut writer = Writer::new(base.clone());
            let reader = fs::File::open(file).expect("the package");
            packages.push(deb::unpack(reader, deb::Limits::default(), 2, &mut writer).expect("it unpacks"));
            manifests.push(writer.tree);
            layers.push(base);
        }
        let launcher = Launcher::start(Options::default()).expect("the launcher starts");
        Self { folder, launcher, packages, manifests, hidden: Vec::new(), layers }
    }

    pub(crate) fn add_database(&mut self) {
        let manifests: Vec<&Tree> = self.manifests.iter().collect();
        let read = |index: usize, path: &CleanPath| fs::read(self.layers[index].join(path)).ok();
        let database = dpkg::database(&self.packages, &manifests, &read).expect("the database");
        for (index, path) in &database.hidden {
            fs::remove_file(self.layers[*index].join(path)).expect("hiding a path");
            self.hidden.push(format!("{path} of {}", self.packages[*index].control.name()));
        }
        let mut writer = Writer::new(self.folder.path().join("database"));
        for (path, node) in deb::usrmerge_links(bulla_model::Platform::LinuxAmd64) {
            match node {
                Node::Symlink { target, .. } => writer.symlink(&path, Owner::ROOT, &target),
                _ => writer.directory(&path, Mode::new(0o755), Owner::ROOT),
            }
            .expect("a link of the merged root");
        }
        for path in &database.directories {
            writer.directory(path, Mode::new(0o755), Owner::ROOT).expect("a directory of the database");
        }
        for (path, mode, bytes) in &database.files {
            writer
                .file(path, *mode, Owner::ROOT, Epoch::default(), &mut bytes.as_slice())
                .expect("a file of the database");
        }
        self.layers.insert(0, writer.base);
    }

    /// Runs the driver; what it changed becomes the topmost layer.
    pub(crate) fn configure(&mut self) -> (i32, String) {
        let driver = configure::driver(&self.packages, &BTreeMap::new(), STAND_INS);
        assert!(driver.script.len() < 16 << 10, "the script is one argument");
        let mut stand_ins = Writer::new(self.folder.path().join("stand-ins"));
        for (name, text) in &driver.stand_ins {
            let path = name.parse().expect("a clean name");
            stand_ins
                .file(&path, Mode::new(0o755), Owner::ROOT, Epoch::default(), &mut text.as_bytes())
                .expect("a stand-in");
        }
        let bind = Bind { source: stand_ins.base, target: STAND_INS.into(), writable: false };
        let argv = ["/bin/sh", "-eu", "-c", &driver.script];
        let (code, output, upper) = self.sandbox(&argv, driver.env, vec![bind], "configured");
        self.layers.insert(0, upper);
        (code, output)
    }

    /// Runs a command in the root; what it changes is thrown away.
    pub(crate) fn run(&self, argv: &[&str]) -> (i32, String) {
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")];
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (code, output, _) =
            self.sandbox(argv, env, Vec::new(), &format!("run-{}", Digest::of(argv.concat()).short()));
        (code, output)
    }

    fn sandbox(
        &self,
        argv: &[&str],
        mut env: BTreeMap<String, String>,
        binds: Vec<Bind>,
        name: &str,
    ) -> (i32, String, PathBuf) {
        let scratch = Writer::new(self.folder.path().join(name)).base;
        env.insert("SOURCE_DATE_EPOCH".to_owned(), "1700000000".to_owned());
        let request = Request {
            root: Layers::Overlay { lowers: self.layers.clone(), scratch: scratch.clone() },
            binds,
            secrets: Vec::new(),
            argv: argv.iter().map(Into::into).collect(),
            env,
            cwd: "/".into(),
            hostname: "bulla".to_owned(),
            umask: 0o022,
            privileges: Privileges::Scripts,
            identity_fake: true,
            emulation: None,
            stop_on_refusal: false,
            listen: None,
            limits: Limits::default(),
        };
        let mut output = Vec::new();
        let cancel = Cancel::new().expect("a handle");
        let outcome =
            self.launcher.run(&request, &cancel, &mut |_, bytes| output.extend_from_slice(bytes)).expect("the sandbox");
        let Exit::Code(code) = outcome.exit else { panic!("{:?}", outcome.exit) };
        (code, String::from_utf8_lossy(&output).into_owned(), scratch.join("upper"))
    }
}
