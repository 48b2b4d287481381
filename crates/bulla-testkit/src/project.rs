//! A project in a temporary folder.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A folder with files, which is removed with its owner.
#[derive(Debug)]
pub struct Project {
    folder: tempfile::TempDir,
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Project {
    /// Makes an empty project.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("bulla-project-").tempdir().expect("a temporary folder");
        crate::process::make_readable(folder.path());
        Self { folder }
    }

    /// Makes a project with a spec.
    pub fn with_spec(spec: &str) -> Self {
        Self::new().file("bulla.yaml", spec)
    }

    /// Writes a file (0644), with the folders above it.
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.write(path, bytes);
        self
    }

    /// Writes a file (0755), with the folders above it.
    pub fn program(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let file = self.write(path, bytes);
        fs_err::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("the mode of a file");
        self
    }

    /// Makes a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        fs_err::os::unix::fs::symlink(target, self.path(path)).expect("making a link");
        self
    }

    /// Copies a folder into the project.
    pub fn tree(self, from: &Path) -> Self {
        copy(from, self.root());
        self
    }

    /// Writes a file over what is there, and gives its path.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let file = self.path(path);
        fs_err::create_dir_all(file.parent().expect("a folder")).expect("making a folder");
        fs_err::write(&file, bytes).expect("writing a file");
        file
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).expect("reading a file of the project")
    }

    /// Gives the path of a file in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Gives the folder.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("making a folder");
    for entry in fs_err::read_dir(from).expect("listing a folder") {
        let entry = entry.expect("listing a folder");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("the type of a file");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            let link = fs_err::read_link(entry.path()).expect("reading a link");
            fs_err::os::unix::fs::symlink(link, target).expect("making a link");
        } else {
            fs_err::copy(entry.path(), target).expect("copying a file");
        }
    }
}
