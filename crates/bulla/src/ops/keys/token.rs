//! Keys on tokens that a module of PKCS #11 reaches: smart cards, security modules, and what clouds and services have such a module for.
//!
//! The module is code that runs in this process. So only the command line and the user's own configuration name one: neither a spec nor a policy
//! has a place for the name of a private key, and a public key is always a file.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bulla_evidence::key::{
    Algorithm, PublicKey, SignError, Signer,
    elsewhere::{checked, der_of_numbers},
    uri::TokenUri,
};
use bulla_model::{Digest, Fault, Kind, SecretBytes};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session as Connection, UserType},
    slot::Slot,
    types::RawAuthPin,
};

use super::{Passphrase, ask};
use crate::{
    error::{CliError, Result},
    secret,
    session::Session,
};

/// How the curve of a key is written: P-256 (RFC 5480), and Ed25519 by its number (RFC 8410) or its name (PKCS #11 3.1, section 6.3.3).
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const ED25519: [&[u8]; 2] = [b"\x06\x03\x2b\x65\x70", b"\x13\x0cedwards25519"];
/// The most keys that are named in a message.
const MAX_NAMED: usize = 8;

/// A key on a token.
pub(super) struct Token {
    /// One thread at a time may talk to a token.
    connection: Mutex<Connection>,
    key: ObjectHandle,
    public: PublicKey,
}

/// What can go wrong with a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Nobody says by which module it is reached.
    #[error("nothing says which PKCS #11 module reaches the token")]
    NoModule,
    /// The module cannot be used.
    #[error("loading the PKCS #11 module {}", path.display())]
    Module {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: Error,
    },
    /// The module or the token fails.
    #[error("{what}")]
    Failed {
        /// What was being done.
        what: &'static str,
        /// What the module says.
        source: Error,
    },
    /// The PIN is another one.
    #[error("the PIN of the token `{0}` is wrong")]
    Pin(String),
    /// Too many wrong ones were tried.
    #[error("the token `{0}` is locked: too many wrong PINs were tried")]
    Locked(String),
    /// There is none of that name.
    #[error("no token is as the URI says; there {}", listed(.0))]
    NoToken(Vec<String>),
    /// There are several.
    #[error("the URI does not say which token: there {}", listed(.0))]
    Tokens(Vec<String>),
    /// There is no such key on it.
    #[error("the token has no {what} as the URI says; there {}", listed(known))]
    NoKey {
        /// What is looked for.
        what: &'static str,
        /// The labels of what is there.
        known: Vec<String>,
    },
    /// There are several.
    #[error("the URI does not say which {what}: there {}", listed(known))]
    Keys {
        /// What is looked for.
        what: &'static str,
        /// The labels of what is there.
        known: Vec<String>,
    },
    /// It is of another algorithm.
    #[error("the key on the token is neither one of P-256 nor of Ed25519")]
    Kind,
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "is none".to_owned(),
        names => format!("are {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

impl Fault for TokenError {
    fn kind(&self) -> Kind {
        match self {
            Self::Pin(_) => Kind::Integrity,
            Self::Module { .. } | Self::Failed { .. } | Self::Locked(_) => Kind::Environment,
            _ => Kind::Spec,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NoModule => {
                "write `?module-path=/usr/lib/…/MODULE.so` at the end of the URI, or `pkcs11-module` into `[evidence]` of your configuration"
            }
            Self::Pin(_) => "it is asked once: a token locks itself after a few wrong ones",
            Self::NoToken(_) | Self::Tokens(_) => "`token=LABEL` or `serial=NUMBER` in the URI says which",
            Self::NoKey { .. } | Self::Keys { .. } => "`object=LABEL` or `id=%XX…` in the URI says which",
            Self::Kind => "make one of P-256 on the token, as `pkcs11-tool --keypairgen --key-type EC:prime256v1` does",
            Self::Module { .. } | Self::Failed { .. } | Self::Locked(_) => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

fn failed(what: &'static str) -> impl Fn(Error) -> TokenError {
    move |source| TokenError::Failed { what, source }
}

impl Token {
    /// Opens the key of a URI, with the PIN.
    ///
    /// # Errors
    /// When the module, the token or the key is not there, or the PIN is another one.
    pub(super) fn open(session: &Session, uri: &TokenUri, passphrase: &Passphrase) -> Result<Self> {
        secret::no_core_dumps();
        let (module, slot) = Module::open(session, uri)?;
        let connection = module.connect(slot)?;
        let info = module.0.get_token_info(slot).map_err(failed("asking the token what it is"))?;
        if info.login_required() {
            let pin = match passphrase.known(session, uri.pin_source.as_deref())? {
                Some(pin) => pin,
                None => ask(&format!("PIN of the token {}: ", crate::neutral::line(info.label())))?,
            };
            login(&connection, info.label(), &pin)?;
        }
        let key = one(&connection, "private key", &template(ObjectClass::PRIVATE_KEY, uri))?;
        let public = match identity(&connection, key)? {
            Some(by) => one(&connection, "public key", &[Attribute::Class(ObjectClass::PUBLIC_KEY), by])?,
            None => one(&connection, "public key", &template(ObjectClass::PUBLIC_KEY, uri))?,
        };
        let public = public_key(&connection, public)?;
        Ok(Self { connection: Mutex::new(connection), key, public })
    }

    /// Gives the public key of a URI, for which no PIN is needed.
    ///
    /// # Errors
    /// As [`Token::open`].
    pub(super) fn public(session: &Session, uri: &TokenUri) -> Result<PublicKey> {
        let (module, slot) = Module::open(session, uri)?;
        let connection = module.connect(slot)?;
        let key = one(&connection, "public key", &template(ObjectClass::PUBLIC_KEY, uri))?;
        Ok(public_key(&connection, key)?)
    }
}

impl Signer for Token {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |error: Error| SignError::Refused(error.into());
        let signature = match self.public.algorithm() {
            Algorithm::P256 => {
                let numbers = connection.sign(&Mechanism::Ecdsa, self.key, Digest::of(message).as_bytes());
                der_of_numbers(&numbers.map_err(refused)?)?
            }
            Algorithm::Ed25519 => {
                let plain = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
                connection.sign(&plain, self.key, message).map_err(refused)?
            }
        };
        checked(&self.public, message, signature)
    }

    fn repeats(&self) -> bool {
        // A token takes what number it likes for a signature of P-256; one of Ed25519 has none.
        self.public.algorithm() == Algorithm::Ed25519
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("public", &self.public.digest()).finish_non_exhaustive()
    }
}

/// A module that runs.
struct Module(Pkcs11);

impl Module {
    /// Loads the module of a URI, and finds the token.
    fn open(session: &Session, uri: &TokenUri) -> Result<(Self, Slot)> {
        let path = match &uri.module {
            Some(path) => path,
            None => session.config()?.evidence.pkcs11_module.as_ref().ok_or(TokenError::NoModule)?,
        };
        // What is no file would be looked for by its name in the folders of libraries.
        fs_err::File::open(path).map_err(CliError::file)?;
        let module = load(path).map_err(|source| TokenError::Module { path: path.clone(), source })?;
        let slot = module.find(uri)?;
        Ok((module, slot))
    }

    /// Finds the one token that is as a URI says.
    fn find(&self, uri: &TokenUri) -> Result<Slot, TokenError> {
        let fail = failed("looking for tokens");
        let (mut known, mut found) = (Vec::new(), Vec::new());
        for slot in self.0.get_slots_with_token().map_err(&fail)? {
            let info = self.0.get_token_info(slot).map_err(&fail)?;
            if !info.token_initialized() {
                continue;
            }
            let is = |wanted: &Option<String>, it: &str| {
                wanted.as_ref().is_none_or(|wanted| wanted.trim_end() == it.trim_end())
            };
            let label = crate::neutral::line(info.label()).to_string();
            if is(&uri.token, info.label())
                && is(&uri.manufacturer, info.manufacturer_id())
                && is(&uri.model, info.model())
                && is(&uri.serial, info.serial_number())
                && uri.slot.is_none_or(|wanted| wanted == slot.id())
            {
                found.push((slot, label.clone()));
            }
            known.push(label);
        }
        known.truncate(MAX_NAMED);
        match found.as_slice() {
            [(slot, _)] => Ok(*slot),
            [] => Err(TokenError::NoToken(known)),
            found => Err(TokenError::Tokens(found.iter().take(MAX_NAMED).map(|(_, label)| label.clone()).collect())),
        }
    }

    fn connect(&self, slot: Slot) -> Result<Connection, TokenError> {
        self.0.open_ro_session(slot).map_err(failed("opening the token"))
    }
}

fn load(path: &Path) -> Result<Module, Error> {
    let module = Pkcs11::new(path)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    Ok(Module(module))
}

fn login(connection: &Connection, label: &str, pin: &SecretBytes) -> Result<(), TokenError> {
    let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
    let label = || crate::neutral::line(label).to_string();
    match connection.login_with_raw(UserType::User, &pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(TokenError::Pin(label()))
        }
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::Locked(label())),
        Err(source) => Err(TokenError::Failed { what: "handing the PIN to the token", source }),
    }
}

fn template(class: ObjectClass, uri: &TokenUri) -> Vec<Attribute> {
    let label = uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes()));
    let id = uri.id.clone().map(Attribute::Id);
    [Some(Attribute::Class(class)), label, id].into_iter().flatten().collect()
}

/// Finds the one object that is so.
fn one(connection: &Connection, what: &'static str, template: &[Attribute]) -> Result<ObjectHandle, TokenError> {
    let fail = failed("looking for the key on the token");
    let find = |template: &[Attribute]| -> Result<Vec<ObjectHandle>, TokenError> {
        connection.iter_objects(template).map_err(&fail)?.take(MAX_NAMED).collect::<Result<_, _>>().map_err(&fail)
    };
    let name = |object: &ObjectHandle| {
        let attributes = connection.get_attributes(*object, &[AttributeType::Label]).unwrap_or_default();
        let label = attributes.iter().find_map(|one| match one {
            Attribute::Label(label) => Some(String::from_utf8_lossy(label).into_owned()),
            _ => None,
        });
        crate::neutral::line(&label.unwrap_or_default()).to_string()
    };
    let found = find(template)?;
    match found.as_slice() {
        [object] => Ok(*object),
        [] => {
            let all = find(template.get(..1).unwrap_or_default())?;
            Err(TokenError::NoKey { what, known: all.iter().map(name).collect() })
        }
        several => Err(TokenError::Keys { what, known: several.iter().map(name).collect() }),
    }
}

/// Gives what the two halves of a key have in common.
fn identity(connection: &Connection, key: ObjectHandle) -> Result<Option<Attribute>, TokenError> {
    let known = connection.get_attributes(key, &[AttributeType::Id, AttributeType::Label]);
    let known = known.map_err(failed("reading the key's name"))?;
    Ok(known.into_iter().find(|one| matches!(one, Attribute::Id(name) | Attribute::Label(name) if !name.is_empty())))
}

/// Reads a public key.
fn public_key(connection: &Connection, key: ObjectHandle) -> Result<PublicKey, TokenError> {
    let wanted = [AttributeType::KeyType, AttributeType::EcParams, AttributeType::EcPoint];
    let found = connection.get_attributes(key, &wanted).map_err(failed("reading the public key"))?;
    let (mut kind, mut curve, mut point) = (None, Vec::new(), Vec::new());
    for attribute in found {
        match attribute {
            Attribute::KeyType(found) => kind = Some(found),
            Attribute::EcParams(found) => curve = found,
            Attribute::EcPoint(found) => point = found,
            _ => (),
        }
    }
    let (algorithm, length) = match kind {
        Some(KeyType::EC) if curve == P256 => (Algorithm::P256, 65),
        Some(KeyType::EC_EDWARDS) if ED25519.contains(&curve.as_slice()) => (Algorithm::Ed25519, 32),
        _ => return Err(TokenError::Kind),
    };
    // The point is an octet string in DER; some tokens give it bare.
    let bare = match point.split_first_chunk() {
        Some(([4, said], rest)) if usize::from(*said) == length && rest.len() == length => rest,
        _ => &point,
    };
    PublicKey::of_point(algorithm, bare).map_err(|_| TokenError::Kind)
}
