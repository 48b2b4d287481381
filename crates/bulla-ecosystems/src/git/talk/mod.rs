//! What is said to a git server, and how its answers are read (gitprotocol-v2(5), gitprotocol-pack(5), gitprotocol-http(5)): the
//! newest version of the protocol, and the older ones where a server speaks no other.

mod advert;
mod packets;
mod reply;

use self::packets::{DELIM, FLUSH, packet};
pub use self::{
    advert::{Advert, Found, MAX_ADVERT, References},
    reply::PackReply,
};

/// What a client says of which version it wants: the header `Git-Protocol`, or the variable `GIT_PROTOCOL`.
pub const VERSION: &str = "version=2";

/// Where a server over HTTP says what it has, behind the repository's URL.
pub const ADVERT_PATH: &str = "/info/refs?service=git-upload-pack";
/// Where it is asked.
pub const ASK_PATH: &str = "/git-upload-pack";
/// The media types of what it says, is asked, and answers.
pub const ADVERT_TYPE: &str = "application/x-git-upload-pack-advertisement";
/// What is asked.
pub const ASK_TYPE: &str = "application/x-git-upload-pack-request";
/// What is answered.
pub const REPLY_TYPE: &str = "application/x-git-upload-pack-result";

/// What the client calls itself.
const AGENT: &str = concat!("bulla/", env!("CARGO_PKG_VERSION"));

/// The end of a conversation that is not over with a connection of its own.
pub const BYE: &[u8] = FLUSH;

/// Gives the request for one reference, for a server that speaks the newest version.
pub fn ask_references(advert: &Advert, reference: &str) -> Vec<u8> {
    let mut out = command(advert, "ls-refs");
    packet(&mut out, b"peel\n");
    packet(&mut out, format!("ref-prefix {reference}\n").as_bytes());
    out.extend_from_slice(FLUSH);
    out
}

/// Gives the request for an object with all that it stands for now, and none of its history where the server can leave that.
pub fn ask_pack(advert: &Advert, wanted: &bulla_model::GitId) -> Vec<u8> {
    let shallow = advert.is_shallow();
    if advert.is_newest() {
        let mut out = command(advert, "fetch");
        for line in ["no-progress\n", "ofs-delta\n"] {
            packet(&mut out, line.as_bytes());
        }
        if shallow {
            packet(&mut out, b"deepen 1\n");
        }
        packet(&mut out, format!("want {wanted}\n").as_bytes());
        packet(&mut out, b"done\n");
        out.extend_from_slice(FLUSH);
        return out;
    }
    let mut out = Vec::new();
    let mut wishes = vec!["side-band-64k"];
    wishes.extend(["ofs-delta", "no-progress", "shallow"].into_iter().filter(|wish| advert.has(wish)));
    packet(&mut out, format!("want {wanted} {} agent={AGENT}\n", wishes.join(" ")).as_bytes());
    if shallow {
        packet(&mut out, b"deepen 1\n");
    }
    out.extend_from_slice(FLUSH);
    packet(&mut out, b"done\n");
    out
}

fn command(advert: &Advert, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, format!("command={name}\n").as_bytes());
    if advert.has("agent") {
        packet(&mut out, format!("agent={AGENT}\n").as_bytes());
    }
    if advert.has("object-format") {
        packet(&mut out, b"object-format=sha1\n");
    }
    out.extend_from_slice(DELIM);
    out
}
