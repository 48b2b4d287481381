//! The certificate authority of one run. Its key signs one certificate, of exactly the hosts that the run may ask for, and is gone with
//! that; the certificate's key goes to the server in its table, which is a memory file. Nothing of them is ever on a disk.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use bulla_model::{Origin, SecretBytes};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};

use crate::error::Error;

/// The most hosts that a server may be believed to be.
pub const MAX_HOSTS: usize = 64;
/// Clocks differ, and runs take long.
const BEFORE: Duration = Duration::from_secs(3600);
const AFTER: Duration = Duration::from_secs(48 * 3600);

/// By what clients believe that the server is the hosts of its table.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate, in PEM: what clients are given.
    pub pem: String,
    /// The public keys of it and of the server's certificate: by them copies are known.
    pub keys: [Vec<u8>; 2],
    /// What the server is given.
    pub identity: Identity,
}

/// A certificate that the authority has signed, and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) certificate: Vec<u8>,
    /// In PKCS #8.
    pub(crate) key: SecretBytes,
}

impl Authority {
    /// Makes an authority for these origins, and nothing else can be signed by it later. It holds for two days: a run has ended then.
    ///
    /// # Errors
    /// When there are more hosts than [`MAX_HOSTS`], or the system has no random numbers.
    #[expect(
        clippy::disallowed_methods,
        reason = "clients compare the time of a certificate with theirs; no answer depends on it"
    )]
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Result<Self, Error> {
        let hosts: BTreeSet<&str> = origins.into_iter().map(Origin::host).collect();
        if hosts.is_empty() || hosts.len() > MAX_HOSTS {
            return Err(Error::Hosts(hosts.len()));
        }
        let (mut names, mut permitted) = (Vec::new(), Vec::new());
        for host in hosts {
            match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(address) => {
                    names.push(SanType::IpAddress(address));
                    let whole = if address.is_ipv4() { 32 } else { 128 };
                    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, whole)));
                }
                Err(_) => {
                    names.push(SanType::DnsName(host.try_into()?));
                    permitted.push(GeneralSubtree::DnsName(host.to_owned()));
                }
            }
        }
        let now = SystemTime::now();
        let (from, to) = ((now - BEFORE).into(), (now + AFTER).into());
        let of = |name: &str| {
            let mut params = CertificateParams::default();
            (params.not_before, params.not_after) = (from, to);
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut root = of("Bulla, for one step alone");
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        root.name_constraints = Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
        let root_key = KeyPair::generate()?;
        let authority = root.self_signed(&root_key)?;
        let mut leaf = of("the locked repository");
        leaf.subject_alt_names = names;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let keys = [root_key.public_key_raw().to_vec(), key.public_key_raw().to_vec()];
        let certificate = leaf.signed_by(&key, &Issuer::from_params(&root, root_key))?;
        Ok(Self {
            pem: authority.pem(),
            keys,
            identity: Identity { certificate: certificate.der().to_vec(), key: SecretBytes::new(key.serialize_der()) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(hosts: &[&str]) -> Vec<Origin> {
        hosts.iter().map(|host| Origin::parse(host, true).expect("a host")).collect()
    }

    #[test]
    fn each_run_has_an_authority_of_its_own_and_shows_no_key() {
        let hosts = origins(&["files.example", "192.0.2.1:8443", "[2001:db8::1]"]);
        let (one, other) = (Authority::new(&hosts).expect("made"), Authority::new(&hosts).expect("made"));
        assert!(one.keys.iter().all(|key| key.len() == 65 && !other.keys.contains(key)));
        assert!(one.pem.starts_with("-----BEGIN CERTIFICATE-----") && !one.pem.contains("PRIVATE"));
        assert!(format!("{one:?}").contains("key: ***"));
    }

    #[test]
    fn hosts_are_bounded() {
        let many: Vec<String> = (0..=MAX_HOSTS).map(|number| format!("h{number}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(Authority::new(&origins(&many[1..])).is_ok());
        assert!(matches!(Authority::new(&origins(&many)), Err(Error::Hosts(65))));
        assert!(matches!(Authority::new(&origins(&[])), Err(Error::Hosts(0))));
    }
}
