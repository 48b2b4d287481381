//! The name sink: a resolver on the sandbox's loopback that says of every name that it does not exist, and remembers it.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Where the sink listens, inside.
pub(crate) const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 53), 53);
/// The longest query that is looked at.
pub(crate) const MAX_QUERY: usize = 1500;

const HEADER: usize = 12;
const MAX_NAME: usize = 255;

/// A query, and what is sent back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The name, in the usual writing with dots; bytes that are not plain are escaped.
    pub(crate) name: String,
    /// The answer: NXDOMAIN (RFC 1035, section 4.1.1), but `localhost` stays what it is (RFC 6761, section 6.3).
    pub(crate) reply: Vec<u8>,
}

/// Reads a query; `None` when it is not one.
pub(crate) fn answer(query: &[u8]) -> Option<Lookup> {
    let header: &[u8; HEADER] = query.first_chunk()?;
    let is_reply = header[2] & 0x80 != 0;
    if is_reply || u16::from_be_bytes([header[4], header[5]]) != 1 {
        return None;
    }
    let mut at = HEADER;
    let mut name = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        match length {
            0 => break,
            // Longer lengths are pointers, which a question does not need.
            64.. => return None,
            _ => name.extend_from_slice(query.get(at..at + length)?),
        }
        name.push(b'.');
        at += length;
        if name.len() > MAX_NAME {
            return None;
        }
    }
    name.pop();
    let kind = query.get(at..at + 4)?;
    let question = query.get(HEADER..at + 4)?;
    let name = name.escape_ascii().to_string();
    let address: &[u8] = match (name.eq_ignore_ascii_case("localhost"), kind) {
        (true, [0, 1, ..]) => &[127, 0, 0, 1],
        (true, [0, 28, ..]) => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => &[],
    };
    let code = if address.is_empty() { 3 } else { 0 };
    // The same id; response, authoritative, recursion as asked and available.
    let mut reply = vec![header[0], header[1], 0x84 | header[2] & 1, 0x80 | code, 0, 1];
    reply.extend([0, u8::from(!address.is_empty()), 0, 0, 0, 0]);
    reply.extend_from_slice(question);
    if !address.is_empty() {
        // A pointer to the question's name, its type, class IN, no time to live, the address.
        reply.extend([0xc0, 0x0c, kind[0], kind[1], 0, 1, 0, 0, 0, 0, 0, address.len() as u8]);
        reply.extend_from_slice(address);
    }
    Some(Lookup { name, reply })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn a_name_does_not_exist() {
        let lookup = answer(&query("mirror.example", 1)).expect("a query");
        assert_eq!(lookup.name, "mirror.example");
        assert_eq!(lookup.reply[..4], [7, 8, 0x85, 0x83]);
    }

    #[test]
    fn localhost_stays_what_it_is() {
        let lookup = answer(&query("localhost", 1)).expect("a query");
        assert_eq!(lookup.reply[3], 0x80);
        assert!(lookup.reply.ends_with(&[0, 4, 127, 0, 0, 1]));
    }

    #[test]
    fn a_line_break_in_a_name_is_escaped() {
        assert_eq!(answer(&query("a\nb", 1)).expect("a query").name, "a\\nb");
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = answer(&bytes);
        }

        #[test]
        fn a_cut_query_is_refused(cut in 0_usize..30) {
            proptest::prop_assert!(answer(&query("mirror.example", 1)[..cut]).is_none());
        }
    }
}
