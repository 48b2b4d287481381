//! A signed repository in memory, with keys made on the spot.

use std::{collections::BTreeMap, io::Write};

use bulla_ecosystems::debian::{
    keyring::Keyring,
    resolve::{Inquiry, Resolution, ResolveError, Resolver, Root, Suite},
};
use bulla_model::{Digest, Epoch, Platform};
use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
        SignedSecretKey, SubkeyParamsBuilder,
    },
    crypto::hash::HashAlgorithm,
    packet::{KeyFlags, SignatureConfig, SignatureType, Subpacket, SubpacketData},
    ser::Serialize,
    types::{Duration, KeyDetails, Password, SigningKey, Timestamp},
};

/// The time at which all happens: 2027-01-15T08:00:00Z.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn epoch(seconds: u64) -> Epoch {
    Epoch::new(seconds).expect("before 9999")
}

/// Makes a key that may sign, with a subkey that may too.
pub(crate) fn key(name: &str) -> SignedSecretKey {
    key_of(KeyType::Ed25519Legacy, name)
}

/// Makes a key whose kind may sign with any digest, as the others may not.
pub(crate) fn rsa_key(name: &str) -> SignedSecretKey {
    key_of(KeyType::Rsa(2048), name)
}

fn key_of(kind: KeyType, name: &str) -> SignedSecretKey {
    let subkey = SubkeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_sign(true)
        .created_at(Timestamp::from_secs(NOW as u32 - 2_000_000))
        .build()
        .expect("a subkey");
    let mut builder = SecretKeyParamsBuilder::default();
    builder.key_type(kind).can_certify(true).can_sign(true).primary_user_id(name.to_owned());
    builder.created_at(Timestamp::from_secs(NOW as u32 - 2_000_000)).subkeys(vec![subkey]);
    builder.build().expect("parameters").generate(rand::thread_rng()).expect("a key")
}

pub(crate) fn public(key: &SignedSecretKey) -> SignedPublicKey {
    SignedPublicKey::from(key.clone())
}

pub(crate) fn keyring(keys: &[&SignedPublicKey]) -> Keyring {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_bytes().expect("to memory")).collect();
    Keyring::parse(&bytes).expect("keys")
}

pub(crate) fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// Lets a key run out `seconds` after it was made, by a later self-signature.
pub(crate) fn expiring(key: &SignedSecretKey, seconds: u32) -> SignedPublicKey {
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    let data = vec![SubpacketData::KeyFlags(flags), SubpacketData::KeyExpirationTime(Duration::from_secs(seconds))];
    let signature = over_key(key, SignatureType::Key, data);
    let mut public = public(key);
    public.details.direct_signatures.push(signature);
    public
}

pub(crate) fn revoked(key: &SignedSecretKey) -> SignedPublicKey {
    let signature = over_key(key, SignatureType::KeyRevocation, vec![]);
    let mut public = public(key);
    public.details.revocation_signatures.push(signature);
    public
}

fn over_key(key: &SignedSecretKey, kind: SignatureType, data: Vec<SubpacketData>) -> pgp::packet::Signature {
    let mut config = config(&key.primary_key, kind, HashAlgorithm::Sha256, 3_000_000_000);
    config.hashed_subpackets.extend(data.into_iter().map(|data| Subpacket::regular(data).expect("a subpacket")));
    config.sign_key(&key.primary_key, &Password::empty(), key.primary_key.public_key()).expect("a signature")
}

fn config(key: &impl SigningKey, kind: SignatureType, hash: HashAlgorithm, made: u64) -> SignatureConfig {
    let mut config = SignatureConfig::from_key(rand::thread_rng(), key, kind).expect("a signature");
    config.hash_alg = hash;
    config.hashed_subpackets = [
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(made as u32)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ]
    .into_iter()
    .map(|data| Subpacket::regular(data).expect("a subpacket"))
    .collect();
    config
}

pub(crate) fn clearsign(text: &str, key: &impl SigningKey, hash: HashAlgorithm, made: u64) -> String {
    let config = config(key, SignatureType::Text, hash, made);
    let message = CleartextSignedMessage::new(text.trim_end(), config, key, &Password::empty()).expect("a message");
    message.to_armored_string(ArmorOptions::default()).expect("to memory")
}

/// Signs a text with several keys at once, as Debian does.
pub(crate) fn clearsign_with_all(text: &str, keys: &[&SignedSecretKey]) -> String {
    let message = CleartextSignedMessage::new_many(text.trim_end(), |text| {
        let sign = |key: &&SignedSecretKey| {
            let config = config(&key.primary_key, SignatureType::Text, HashAlgorithm::Sha512, NOW);
            config.sign(&key.primary_key, &Password::empty(), text.as_bytes())
        };
        keys.iter().map(sign).collect()
    });
    message.expect("a message").to_armored_string(ArmorOptions::default()).expect("to memory")
}

pub(crate) fn detached(text: &str, key: &SignedSecretKey) -> Vec<u8> {
    let config = config(&key.primary_key, SignatureType::Binary, HashAlgorithm::Sha512, NOW);
    let signature = config.sign(&key.primary_key, &Password::empty(), text.as_bytes()).expect("a signature");
    DetachedSignature::new(signature).to_armored_bytes(ArmorOptions::default()).expect("to memory")
}

/// The files of one suite, by their path.
#[derive(Clone)]
pub(crate) struct Mirror {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The text of the index, before it is signed.
    pub(crate) release: String,
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

pub(crate) fn stanza(name: &str, version: &str, extra: &str) -> String {
    let digest = Digest::of(format!("{name} {version}")).hex();
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{extra}\
         Filename: pool/{name}_{version}.deb\nSize: 1\nSHA256: {digest}\n\n"
    )
}

/// A suite `trixie` with one component, whose packages are `a`, that needs `b`.
pub(crate) fn mirror() -> Mirror {
    let packages = stanza("a", "1", "Depends: b\nSource: src (0.9)\n")
        + &stanza("b", "2", "")
        + &stanza("dash", "1", "Essential: yes\n");
    Mirror::of(&packages, "Acquire-By-Hash: yes\n")
}

impl Mirror {
    pub(crate) fn of(packages: &str, fields: &str) -> Self {
        let packed = xz(packages.as_bytes());
        let line = |path: &str, bytes: &[u8]| format!(" {} {} {path}\n", Digest::of(bytes).hex(), bytes.len());
        let release = format!(
            "Suite: stable\nCodename: trixie\nDate: Thu, 14 Jan 2027 08:00:00 UTC\nArchitectures: amd64\n\
             Components: main\n{fields}SHA256:\n{}{}",
            line("main/binary-amd64/Packages", packages.as_bytes()),
            line("main/binary-amd64/Packages.xz", &packed)
        );
        let by_hash = format!("dists/trixie/main/binary-amd64/by-hash/SHA256/{}", Digest::of(&packed).hex());
        let files = BTreeMap::from([
            (by_hash, packed.clone()),
            ("dists/trixie/main/binary-amd64/Packages.xz".to_owned(), packed),
            ("dists/trixie/main/binary-amd64/Packages".to_owned(), packages.into()),
        ]);
        Self { files, release }
    }

    pub(crate) fn with(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(format!("dists/trixie/{path}"), bytes.into());
        self
    }

    pub(crate) fn signed(self, key: &SignedSecretKey) -> Self {
        let text = clearsign(&self.release, &key.primary_key, HashAlgorithm::Sha512, NOW);
        self.with("InRelease", text)
    }

    pub(crate) fn without(mut self, part: &str) -> Self {
        self.files.retain(|path, _| !path.contains(part));
        self
    }
}

pub(crate) fn inquiry(keyring: Keyring) -> Inquiry {
    let suite = Suite {
        repository: "debian".to_owned(),
        suite: "trixie".to_owned(),
        components: vec!["main".to_owned()],
        keyring,
    };
    let root = |name: &str, scripts| Root {
        name: name.to_owned(),
        suites: vec![0],
        platform: Platform::LinuxAmd64,
        foreign: None,
        requests: vec!["a".parse().expect("a request")],
        scripts,
        locked: vec![],
    };
    Inquiry {
        suites: vec![suite],
        roots: vec![root("build", true), root("image", false)],
        sources: vec![],
        now: epoch(NOW),
        remembered: BTreeMap::new(),
        allow_downgrade: false,
    }
}

/// Resolves against a mirror, as a caller that downloads would.
pub(crate) fn resolve(inquiry: Inquiry, mirror: &Mirror) -> Result<Resolution, ResolveError> {
    let mut resolver = Resolver::new(inquiry)?;
    loop {
        let needs = resolver.needs();
        if needs.is_empty() {
            return resolver.finish();
        }
        for need in needs {
            match mirror.files.get(&need.path) {
                Some(bytes) => resolver.got(&need, bytes.clone())?,
                None => resolver.absent(&need)?,
            }
        }
    }
}
