//! A token of SoftHSM, in a folder of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{process, skipped};

/// Where Debian and others have the module.
const MODULES: [&str; 3] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so"];

/// Tokens with keys on them, which disappear with it.
#[derive(Debug)]
pub struct SoftHsm {
    folder: tempfile::TempDir,
    module: PathBuf,
}

impl SoftHsm {
    /// The PIN of each token.
    pub const PIN: &'static str = "pin-of-the-token-4711";

    /// Makes a place for tokens. `None`, after it was said why, where there is no SoftHSM.
    pub fn new() -> Option<Self> {
        let module = MODULES.iter().map(PathBuf::from).find(|module| module.is_file());
        let (Some(module), true) = (module, process::exists("softhsm2-util") && process::exists("openssl")) else {
            skipped("keys on tokens", "it needs softhsm2-util, its module and openssl");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("bulla-hsm-").tempdir().expect("a temporary folder");
        fs_err::create_dir(folder.path().join("tokens")).expect("a folder");
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            folder.path().join("tokens").display()
        );
        fs_err::write(folder.path().join("softhsm2.conf"), settings).expect("a file");
        Some(Self { folder, module })
    }

    /// Gives the module.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Gives the file that `$SOFTHSM2_CONF` is to name.
    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    /// Makes a token.
    pub fn token(&self, label: &str) {
        self.utility(&["--init-token", "--free", "--label", label, "--so-pin", "so-pin", "--pin", Self::PIN]);
    }

    /// Makes a key by OpenSSL, as `kind` says in the words of `openssl genpkey`, and puts it on a token. Gives its public key in PEM, as
    /// OpenSSL writes it.
    pub fn key(&self, token: &str, label: &str, id: &str, kind: &[&str]) -> String {
        let file = self.folder.path().join("key.pem");
        let path = file.display().to_string();
        openssl(&[&["genpkey", "-out", &path, "-algorithm"], kind].concat());
        let public = openssl(&["pkey", "-in", &path, "-pubout"]);
        self.utility(&["--import", &path, "--token", token, "--label", label, "--id", id, "--pin", Self::PIN]);
        public
    }

    fn utility(&self, arguments: &[&str]) {
        let mut utility = Command::new("softhsm2-util");
        process::output(utility.args(arguments).env("SOFTHSM2_CONF", self.settings())).expect("softhsm2-util");
    }
}

/// Runs OpenSSL.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    process::output(Command::new("openssl").args(arguments)).expect("openssl")
}
