//! Packages made for a test (`deb(5)`).

use crate::archive::{self, TarEntry};

/// How the members of a package are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `data.tar`
    None,
    /// `data.tar.gz`
    Gzip,
    /// `data.tar.xz`
    Xz,
    /// `data.tar.zst`
    Zstd,
}

impl Compression {
    fn apply(self, name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
        match self {
            Self::None => (name.to_owned(), bytes.to_vec()),
            Self::Gzip => (format!("{name}.gz"), archive::gzip(bytes)),
            Self::Xz => (format!("{name}.xz"), archive::xz(bytes)),
            Self::Zstd => (format!("{name}.zst"), archive::zstd(bytes)),
        }
    }
}

/// A package made for a test. Its entries are written as they are given, hostile ones too.
#[derive(Debug, Clone)]
pub struct Deb {
    name: String,
    version: String,
    architecture: String,
    fields: Vec<(String, String)>,
    control: Vec<TarEntry>,
    data: Vec<TarEntry>,
    compression: Compression,
}

impl Deb {
    /// Makes a package with nothing in it, for `amd64`.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            fields: Vec::new(),
            control: Vec::new(),
            data: Vec::new(),
            compression: Compression::Xz,
        }
    }

    /// Sets the architecture (`all`).
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    /// Sets a field of the control file (`Depends`, `Essential`, `Multi-Arch`).
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets what it depends on.
    pub fn depends(self, value: &str) -> Self {
        self.field("Depends", value)
    }

    /// Adds a file, with the directories above it (0755).
    pub fn file(mut self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Self {
        for (at, _) in path.match_indices('/') {
            let above = format!("./{}/", &path[..at]);
            if !self.data.iter().any(|entry| entry.name == above.as_bytes()) {
                self.data.push(TarEntry::directory(above, 0o755));
            }
        }
        self.entry(TarEntry::file(format!("./{path}"), mode, bytes))
    }

    /// Adds any entry to what the package installs.
    pub fn entry(mut self, entry: TarEntry) -> Self {
        self.data.push(entry);
        self
    }

    /// Adds a maintainer script (`postinst`), 0755.
    pub fn script(mut self, name: &str, text: &str) -> Self {
        self.control.push(TarEntry::file(format!("./{name}"), 0o755, text));
        self
    }

    /// Adds another file to the control archive (`conffiles`, `triggers`).
    pub fn control_file(mut self, name: &str, text: &str) -> Self {
        self.control.push(TarEntry::file(format!("./{name}"), 0o644, text));
        self
    }

    /// Sets how the members are compressed.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Gives the control file.
    pub fn control(&self) -> String {
        let Self { name, version, architecture, .. } = self;
        let mut text = format!("Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n");
        text.push_str("Maintainer: Test <test@mirror.example>\nDescription: made for a test\n");
        for (field, value) in &self.fields {
            text.push_str(&format!("{field}: {value}\n"));
        }
        text
    }

    /// Gives the usual file name, without the epoch of the version.
    pub fn file_name(&self) -> String {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }

    /// Gives the bytes of the package.
    pub fn build(&self) -> Vec<u8> {
        let mut control = vec![TarEntry::directory("./", 0o755), TarEntry::file("./control", 0o644, self.control())];
        control.extend(self.control.iter().cloned());
        let mut data = vec![TarEntry::directory("./", 0o755)];
        data.extend(self.data.iter().cloned());
        let (control_name, control) = self.compression.apply("control.tar", &archive::tar(&control));
        let (data_name, data) = self.compression.apply("data.tar", &archive::tar(&data));
        archive::ar(&[("debian-binary", b"2.0\n"), (&control_name, &control), (&data_name, &data)])
    }
}
