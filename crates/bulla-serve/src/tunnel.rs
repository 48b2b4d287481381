//! TLS with a client that asked to be connected to a host of the table: its bytes go through here, in both directions.
//!
//! It waits for nothing, as everything in this process. What a client may do in one turn is bounded: records of TLS can be empty.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read as _, Write as _},
    os::fd::OwnedFd,
    sync::Arc,
};

use bulla_model::Origin;
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{authority::Identity, table::Table};

/// How often a socket is read in one turn.
const READS: usize = 64;
/// The most bytes that are encrypted in one piece.
const PIECE: usize = 16 << 10;

/// What is spoken with the clients of each origin.
pub(crate) type Settings = BTreeMap<Origin, Arc<ServerConfig>>;

/// Makes the settings of every origin that speaks TLS; `None` when certificate and key are not of one another.
pub(crate) fn settings<'a>(
    identity: Option<&Identity>,
    origins: impl IntoIterator<Item = &'a Origin>,
) -> Option<Settings> {
    let Some(identity) = identity else { return Some(Settings::new()) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.expose()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
    let certificate = CertificateDer::from(identity.certificate.clone());
    let certified = Arc::new(CertifiedKey::new(vec![certificate], key));
    let of = |origin: &Origin| {
        let name = OnlyHost { host: origin.host().to_owned(), certified: Arc::clone(&certified) };
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let mut config = config.ok()?.with_no_client_auth().with_cert_resolver(Arc::new(name));
        // Nothing of one connection reaches another one.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some((origin.clone(), Arc::new(config)))
    };
    origins.into_iter().filter(|origin| origin.is_tls()).map(of).collect()
}

/// Answers to one name, or to none.
#[derive(Debug)]
struct OnlyHost {
    host: String,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OnlyHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let right = hello.server_name().is_none_or(|name| name.eq_ignore_ascii_case(&self.host));
        right.then(|| Arc::clone(&self.certified))
    }
}

/// A connection within TLS.
pub(crate) struct Tunnel {
    session: ServerConnection,
    pub(crate) origin: Origin,
    /// What came with the request to be connected, and was not read yet.
    early: Vec<u8>,
}

/// Why nothing was read.
pub(crate) enum Unread {
    /// The kernel's reason; `AGAIN` for nothing yet.
    Errno(Errno),
    /// The client does not speak TLS, or not as it must: what it did, for a person.
    Spoken(String),
}

impl Tunnel {
    /// Begins it; `None` where the origin has no settings.
    pub(crate) fn new(settings: &Settings, origin: Origin, early: Vec<u8>) -> Option<Self> {
        let session = ServerConnection::new(Arc::clone(settings.get(&origin)?)).ok()?;
        Some(Self { session, origin, early })
    }

    /// Says whether something is still to be sent.
    pub(crate) fn waits_to_send(&self) -> bool {
        self.session.wants_write()
    }

    /// Reads what the client says; nothing when it says no more.
    pub(crate) fn recv(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Unread> {
        for _ in 0..READS {
            self.flush(socket).map_err(Unread::Errno)?;
            match self.session.reader().read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                Err(_) => return Ok(0),
            }
            let read = match self.early.is_empty() {
                true => self.session.read_tls(&mut Raw(socket)),
                false => {
                    let mut rest = self.early.as_slice();
                    let read = self.session.read_tls(&mut rest);
                    self.early = rest.to_vec();
                    read
                }
            };
            match read {
                Ok(0) => return Ok(0),
                Ok(_) => (),
                Err(error) => return Err(Unread::Errno(errno(&error))),
            }
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says so; whether it arrives is the client's affair.
                let _ = self.flush(socket);
                return Err(Unread::Spoken(self.said(&error)));
            }
        }
        // It is asked again in its next turn.
        Err(Unread::Errno(Errno::AGAIN))
    }

    fn said(&self, error: &rustls::Error) -> String {
        let name = self.session.server_name().filter(|name| !name.eq_ignore_ascii_case(self.origin.host()));
        match (name, error) {
            (Some(name), _) => format!("{} under the name {name}", self.origin),
            (None, rustls::Error::AlertReceived(alert)) => {
                format!("{}: the client does not take its certificate ({alert:?})", self.origin)
            }
            (None, _) => format!("{}: what the client says is no TLS that is known", self.origin),
        }
    }

    /// Sends what fits into one piece, and gives how much of it was taken.
    pub(crate) fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
        self.flush(socket)?;
        let piece = bytes.get(..bytes.len().min(PIECE)).unwrap_or_default();
        let count = self.session.writer().write(piece).map_err(|error| errno(&error))?;
        match self.flush(socket) {
            Ok(()) | Err(Errno::AGAIN) => Ok(count),
            Err(errno) => Err(errno),
        }
    }

    /// Sends what was encrypted.
    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Raw(socket)) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) => (),
                Err(error) => match errno(&error) {
                    Errno::INTR => (),
                    errno => return Err(errno),
                },
            }
        }
        Ok(())
    }

    /// Says that no more comes.
    pub(crate) fn close(&mut self, socket: &OwnedFd) {
        self.session.send_close_notify();
        let _ = self.flush(socket);
    }
}

/// TLS for whoever answers in the place of the server, and waits for each client: by the same settings, for the same hosts.
#[derive(Debug)]
pub struct Secure(Settings);

impl Secure {
    /// Takes the origins of a table's routes that speak TLS; `None` when its certificate and key are not of one another.
    pub fn of(table: &Table) -> Option<Self> {
        settings(table.identity.as_ref(), table.routes.iter().filter_map(|route| route.origin.as_ref())).map(Self)
    }

    /// Says whether it can be an origin.
    pub fn has(&self, origin: &Origin) -> bool {
        self.0.contains_key(origin)
    }

    /// Begins with a client whose socket waits; `early` is what it has said already. `None` for an origin that it cannot be.
    pub fn open(&self, origin: &Origin, early: Vec<u8>, socket: OwnedFd) -> Option<Secured> {
        Some(Secured { tunnel: Tunnel::new(&self.0, origin.clone(), early)?, socket })
    }
}

/// A connection within TLS, to be read and written as any.
pub struct Secured {
    tunnel: Tunnel,
    socket: OwnedFd,
}

/// A client does not speak TLS as it must.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSpoken(String);

impl Secured {
    /// Says that no more comes.
    pub fn close(&mut self) {
        self.tunnel.close(&self.socket);
    }
}

impl io::Read for Secured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tunnel.recv(&self.socket, buffer).map_err(|unread| match unread {
            Unread::Errno(errno) => errno.into(),
            Unread::Spoken(what) => io::Error::other(NotSpoken(what)),
        })
    }
}

impl io::Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.tunnel.send(&self.socket, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.tunnel.flush(&self.socket)?)
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The bytes of the socket itself.
struct Raw<'a>(&'a OwnedFd);

impl io::Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self.0, buffer, RecvFlags::empty())?.0)
    }
}

impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
