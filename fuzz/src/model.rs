//! What `bulla-model` reads: spec, lock, trees, paths and patterns.

use std::collections::BTreeMap;

use bulla_model::{
    Capabilities, CleanPath, Digest, Epoch, Lock, Spec, Tree,
    path::{printable, unprintable},
    spec::{Glob, Inherited, Workspace},
};

use crate::text;

/// A spec; what is read is evaluated in full, and each mistake can be shown.
pub(crate) fn spec(bytes: &[u8]) {
    match Spec::parse_bytes("bulla.yaml", bytes, &BTreeMap::new()) {
        Ok(spec) => {
            let order = spec.order();
            assert_eq!(order.len(), spec.stages.len(), "each stage has a place in the order");
            let _ = (spec.shipped(), spec.roots());
            order.into_iter().for_each(|name| drop(spec.needs(name)));
        }
        Err(errors) => errors.iter().for_each(|error| assert!(!error.plain().is_empty())),
    }
}

/// A workspace, and behind `%%` the spec of its member `a`: what is waived is what the workspace waives.
pub(crate) fn workspace(bytes: &[u8]) {
    let (workspace, spec) = text(bytes).split_once("%%\n").unwrap_or((text(bytes), ""));
    let member = CleanPath::parse("a").expect("a clean path");
    match Workspace::parse("bulla.workspace.yaml", workspace) {
        Ok(workspace) => {
            let _ = (workspace.members.contains(Some(&member)), workspace.members.may_be_beneath(Some(&member)));
            if let Some(store) = &workspace.store {
                assert_eq!(store.remote.to_string().parse().as_ref(), Ok(&store.remote));
            }
            let inherited = Inherited { workspace: &workspace, member: Some(&member), now: Epoch::default() };
            match Spec::parse_member("a/bulla.yaml", spec.as_bytes(), &BTreeMap::new(), &inherited) {
                Ok(found) => assert_eq!(found.waived.len() + found.idle.len(), inherited.waivers().count()),
                Err(errors) => errors.iter().for_each(|error| assert!(!error.plain().is_empty())),
            }
        }
        Err(errors) => errors.iter().for_each(|error| assert!(!error.plain().is_empty())),
    }
}

/// A lock, as it is and with its checksum put right: else hardly anything comes past that.
pub(crate) fn lock(bytes: &[u8]) {
    let _ = Lock::parse_bytes(bytes);
    let Some(mended) = mended(text(bytes)) else { return };
    match Lock::parse(&mended) {
        Ok(lock) => assert_eq!(lock.render(), mended, "a lock has one form"),
        Err(error) => crate::shown(&error),
    }
}

fn mended(lock: &str) -> Option<String> {
    let (head, tail) = lock.split_once("\nchecksum = ")?;
    let (_, body) = tail.split_once('\n')?;
    Some(format!("{head}\nchecksum = \"{}\"\n{body}", Digest::of(body)))
}

/// Two trees, one laid over the other.
pub(crate) fn tree(bytes: &[u8]) {
    let (below, above) = text(bytes).split_once("%%\n").unwrap_or((text(bytes), ""));
    let decoded = [below, above].map(|text| {
        let tree = Tree::decode(text).ok()?;
        assert_eq!(tree.encode(), text, "a tree has one form");
        Some(tree)
    });
    let [Some(mut below), Some(above)] = decoded else { return };
    let (mut stacked, _) = (below.clone(), below.size());
    below.apply(&above);
    stacked.stack(&above);
    below.complete();
    let again = Tree::decode(&below.encode()).expect("what is encoded can be decoded");
    assert_eq!(again, below);
    for (path, _) in below.iter().take(8) {
        let _ = (below.file(path), below.subtree(path), below.beneath(path).count());
    }
}

/// A path, as it is in archives, specs and manifests.
pub(crate) fn path(bytes: &[u8]) {
    for path in [CleanPath::parse(bytes).ok(), CleanPath::from_archive(bytes).ok().flatten()].into_iter().flatten() {
        assert!(path.components().all(|part| !matches!(part, b"" | b"." | b"..") && !part.contains(&0)));
        assert!(!path.as_bytes().starts_with(b"/"));
        assert!(path.ancestors().all(|above| path.starts_with(&above)));
        assert_eq!(unprintable(&printable(path.as_bytes())).as_deref(), Some(path.as_bytes()));
    }
    let _ = CleanPath::from_absolute(text(bytes));
    assert_eq!(unprintable(&printable(bytes)).as_deref(), Some(bytes), "what is made printable is not lost");
    let _ = unprintable(text(bytes));
}

/// A pattern in the first line, and the path in the second.
pub(crate) fn glob(bytes: &[u8]) {
    let (pattern, path) = text(bytes).split_once('\n').unwrap_or((text(bytes), "a/b"));
    let (Ok(glob), Ok(path)) = (Glob::parse(pattern), CleanPath::parse(path)) else { return };
    if glob.matches(&path) {
        for above in path.ancestors().filter(|above| *above != path) {
            assert!(glob.may_match_beneath(&above), "a match is found by going down");
        }
    }
}

/// The bytes of an attribute, and the text of `setcap`.
pub(crate) fn capability(bytes: &[u8]) {
    if let Ok(found) = Capabilities::decode(bytes) {
        assert_eq!(Capabilities::decode(&found.encode()), Ok(found), "what is written is read back");
        assert!(!found.to_string().is_empty());
    }
    match Capabilities::parse(text(bytes)) {
        Ok(found) => {
            assert_eq!(Capabilities::parse(&found.to_string()), Ok(found), "there is one text");
            assert_eq!(found.encode().len(), bulla_model::capability::ENCODED);
            assert!(found.includes(found));
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.help().is_empty()),
    }
}
