//! The search through what one step left, while the store reads it.

use std::{fs::File, io};

use bulla_model::CleanPath;
use bulla_store::Inspector;

use super::Search;

impl Inspector for Search<'_> {
    fn path(&self, path: &CleanPath) {
        self.bytes(path.as_bytes(), &format!("the name of {}", self.shown(path)));
    }

    fn link(&self, path: &CleanPath, target: &[u8]) {
        self.bytes(target, &format!("the target of the link {}", self.shown(path)));
    }

    fn file(&self, path: &CleanPath, file: &mut File) -> io::Result<()> {
        Self::file(self, file, &self.shown(path))
    }

    fn admits(&self) -> bool {
        self.is_clean()
    }
}

impl Search<'_> {
    fn shown(&self, path: &CleanPath) -> String {
        format!("/{}", self.printable(path.as_bytes()))
    }
}
