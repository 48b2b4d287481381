//! The value of a secret: never shown, never written by serde, and wiped when the last owner gives it back.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// Bytes that are a secret. Clones share them.
#[derive(Clone)]
pub struct SecretBytes(Arc<Zeroizing<Vec<u8>>>);

impl SecretBytes {
    /// Takes bytes over. What a growing vector left behind elsewhere in memory is not wiped: give it one of the right capacity.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// Gives the bytes. Whoever copies them sees to it that the copy is wiped too.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SecretBytes::new(b"correct horse".to_vec());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(secret.expose(), b"correct horse", "the control: it is there");
    }
}
