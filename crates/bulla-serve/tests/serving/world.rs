//! What the cases share: a folder of blobs, a launcher, a server over this machine's loopback, and plain ways to ask it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::OnceLock,
    time::Duration,
};

use bulla_model::Digest;
use bulla_sandbox::{Launcher, Options, Serve as _};
use bulla_serve::{Body, Report, Route, Server, Table};
use tempfile::TempDir;

/// A launcher, and a folder of blobs as a store has it.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) launcher: Launcher,
}

/// A server, and where it is.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

/// A blob that does not fit into any buffer on its way.
pub(crate) const LARGE: usize = 5 << 20;

pub(crate) fn large() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| (0..LARGE).map(|number| (number * 31 % 251) as u8).collect())
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("bulla-serve-").tempdir_in("/var/tmp").expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open it to all");
        fs::create_dir(folder.path().join("blobs")).expect("a folder");
        let launcher = Launcher::start(Options::default()).expect("the launcher starts");
        let world = Self { folder, launcher };
        world.blob(large());
        world
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    /// Puts a blob into the folder.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Body {
        let digest = Digest::of(bytes);
        fs::write(self.blobs().join(digest.hex()), bytes).expect("a blob");
        Body::Blob { digest, size: bytes.len() as u64 }
    }

    pub(crate) fn table(&self) -> Table {
        let bytes = |text: &str| Body::Bytes(text.as_bytes().to_vec());
        let routes = vec![
            route("/npm/@scope/name", bytes("{\"name\":\"@scope/name\"}\n")),
            route("/npm/large.tgz", Body::Blob { digest: Digest::of(large()), size: LARGE as u64 }),
            Route { accept: Some("application/vnd.x+json".to_owned()), ..route("/simple/x/", bytes("{}")) },
            route("/simple/x/", bytes("<a>")),
            Route { status: 410, ..route("/go/gone", bytes("gone\n")) },
            route("/go/github.com/!burnt!sushi/toml/@v/list", bytes("v1.0.0\n")),
            route("/empty", bytes("")),
        ];
        Table { blobs: Some(self.blobs()), routes, identity: None }
    }

    pub(crate) fn serve(&self) -> Served {
        self.serve_table(&self.table())
    }

    pub(crate) fn serve_table(&self, table: &Table) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        // As many may wait as at the socket that the sandbox makes.
        rustix::net::listen(&listener, 4096).expect("it listens");
        let mut server = Server::start(&self.launcher, table).unwrap_or_else(|error| panic!("{error:?}"));
        server.listen(listener.into()).expect("it takes its socket");
        Served { server, address }
    }
}

pub(crate) fn route(path: &str, body: Body) -> Route {
    Route {
        origin: None,
        path: path.to_owned(),
        accept: None,
        status: 200,
        content_type: "application/octet-stream".to_owned(),
        body,
    }
}

impl Served {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a setting");
        stream
    }

    /// Sends bytes, and gives all that comes until the server ends the connection.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("sent");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an end");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Asks for a path, and gives status line and body.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let all = self.raw(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes());
        let (head, body) = all.split_once("\r\n\r\n").expect("an answer");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    pub(crate) fn finish(self) -> Report {
        self.server.finish(&[]).unwrap_or_else(|error| panic!("{error:?}"))
    }
}
