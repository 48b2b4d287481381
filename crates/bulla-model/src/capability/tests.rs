use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Capabilities {
    Capabilities::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_bytes_are_those_that_setcap_writes() {
    // As `setcap` of libcap 2.66 wrote them into a file system.
    for (text, bytes) in [
        ("cap_net_raw+ep", "0100000200200000000000000000000000000000"),
        ("cap_net_bind_service=p", "0000000200040000000000000000000000000000"),
        ("cap_net_raw,cap_net_admin=eip", "0100000200300000003000000000000000000000"),
        ("cap_checkpoint_restore+ep", "0100000200000000000000000001000000000000"),
    ] {
        let encoded: String = parse(text).encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(encoded, bytes, "{text}");
    }
}

#[test]
fn one_text_is_written_for_all_that_mean_the_same() {
    for (text, written) in [
        ("cap_net_raw+ep", "cap_net_raw=ep"),
        ("CAP_NET_RAW=pe", "cap_net_raw=ep"),
        ("cap_net_raw,cap_net_admin=eip", "cap_net_admin,cap_net_raw=eip"),
        ("cap_net_raw+p cap_net_raw+e", "cap_net_raw=ep"),
        ("cap_kill=i cap_chown=p", "cap_chown=p cap_kill=i"),
        ("cap_kill=ip  cap_kill=p", "cap_kill=p"),
    ] {
        assert_eq!(parse(text).to_string(), written);
    }
}

#[test]
fn what_gives_nothing_or_everything_or_what_no_file_keeps_is_refused_with_help() {
    let refused = |text: &str| {
        let error = Capabilities::parse(text).expect_err(text);
        format!("{error}: {}", error.help())
    };
    assert_eq!(refused("cap_net_rwa+ep"), "there is no capability `cap_net_rwa`: probably `cap_net_raw` is meant");
    assert!(refused("net_raw+ep").ends_with("probably `cap_net_raw` is meant"));
    assert!(refused("13+ep").contains("as for `setcap`"));
    for text in ["", "=", "cap_net_raw", "cap_net_raw=", "cap_net_raw-ep", "cap_net_raw+x", "cap_net_raw+e", "a b"] {
        let refused = refused(text);
        assert!(refused.contains("does not say") || refused.contains("every capability"), "{text}: {refused}");
    }
    for text in ["=ep", "all=ep", "ALL+p"] {
        assert!(refused(text).contains("every capability at once"), "{text}");
    }
    assert!(refused("cap_net_raw=ep cap_chown=p").contains("which a file cannot keep"));
    assert!(refused(&"x".repeat(10_000)).len() < 300);
}

#[test]
fn bytes_of_every_revision_are_read_and_others_are_not() {
    let of = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let shown = |words: &[u32]| Capabilities::decode(&of(words)).map(|found| found.to_string());
    assert_eq!(shown(&[0x0100_0001, 1 << 13, 0]).as_deref(), Ok("cap_net_raw=ep"));
    assert_eq!(shown(&[0x0200_0000, 0, 1, 1 << 31, 0]).as_deref(), Ok("cap_chown=i 63=p"));
    assert_eq!(shown(&[0x0300_0001, 1 << 13, 0, 0, 0, 1000]).as_deref(), Ok("cap_net_raw=ep [rootid=1000]"));
    assert_eq!(shown(&[0x0200_0000, 0, 0, 0, 0]).as_deref(), Ok("="));
    for words in [
        &[][..],
        &[0x0200_0001],
        &[0x0200_0001, 1, 0],
        &[0x0100_0001, 1, 0, 0, 0],
        &[0x0300_0001, 1, 0, 0, 0],
        &[0x0400_0001, 1, 0, 0, 0],
        &[0x0200_0003, 1, 0, 0, 0],
        &[0x0200_0001, 1, 0, 0, 0, 0, 0],
    ] {
        assert!(shown(words).is_err(), "{words:x?}");
    }
    assert!(Capabilities::decode(&of(&[0x0200_0001, 1, 0, 0, 0])[..19]).is_err());
}

proptest! {
    #[test]
    fn bytes_and_text_come_back(permitted in 0_u64..1 << 41, inheritable in 0_u64..1 << 41, effective: bool) {
        prop_assume!(permitted | inheritable != 0);
        let all = Capabilities { permitted, inheritable, effective, root: None };
        prop_assert_eq!(Capabilities::decode(&all.encode()), Ok(all));
        prop_assert_eq!(Capabilities::parse(&all.to_string()), Ok(all));
    }

    #[test]
    fn what_is_decoded_is_encoded_to_the_same(words in proptest::collection::vec(any::<u32>(), 0..8), revision in 1_u32..4) {
        let head = revision << 24 | words.len() as u32 & 1;
        let bytes: Vec<u8> = std::iter::once(head).chain(words).flat_map(u32::to_le_bytes).collect();
        if let Ok(found) = Capabilities::decode(&bytes) {
            prop_assert!(revision == 1 || found.encode() == bytes);
        }
    }
}
