//! Where what the ordinary clients downloaded is kept between runs.

use std::path::PathBuf;

/// Gives the folder that real packages and sources are kept in: `$BULLA_TESTKIT_CACHE`, else `bulla-testkit` beneath
/// `$XDG_CACHE_HOME` or `~/.cache`. It is made when it is missing.
pub fn folder() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("BULLA_TESTKIT_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").map(|home| home.join(".cache"));
        let caches = variable("XDG_CACHE_HOME").or_else(home).unwrap_or_else(std::env::temp_dir);
        caches.join("bulla-testkit")
    });
    fs_err::create_dir_all(&folder).expect("the cache folder of the test kit can be made");
    folder
}

/// Waits until no other test fills a part of the cache, and keeps others out until the file is dropped.
pub(crate) fn lock(part: &str) -> std::fs::File {
    let path = folder().join(format!("{part}.lock"));
    let file = std::fs::File::create(&path).expect("the lock of the cache");
    file.lock().expect("locking the cache");
    file
}
