//! Drives one target with libFuzzer: the one that `BULLA_FUZZ_TARGET` names.

#![no_main]

use std::sync::OnceLock;

use bulla_fuzz::Target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CHOSEN.get_or_init(choose)(bytes));

fn choose() -> Target {
    let name = std::env::var("BULLA_FUZZ_TARGET").expect("BULLA_FUZZ_TARGET names a target");
    bulla_fuzz::target(&name).expect("BULLA_FUZZ_TARGET is one of `fuzz/run --list`")
}
