//! What git servers and repositories give: packs, objects, answers, lists of submodules, signatures.

use std::io::Cursor;

use bulla_ecosystems::{
    archive::{self, ArchiveError, Rules},
    git::{
        Bare, Commit, GitError, Kind, Pack, Tag,
        files::Checkout,
        lfs::{self, Pointer},
        modules,
        signed::{self, AllowedSigners},
        talk::{Advert, PackReply, References},
    },
};
use bulla_model::{CleanPath, Epoch, GitId, git::SshAddress, spec::Packing};

use crate::source::Count;

const ID: GitId = GitId::from_bytes([7; 20]);
/// A file of allowed signers, of whose key there is a signature among the seeds.
const SIGNERS: &[u8] = include_bytes!("../seeds/git_signed/signers");

fn said<T>(result: Result<T, GitError>) -> Option<T> {
    result.inspect_err(crate::shown).ok()
}

/// A pack whose sum is put right; the tree that its first commit names is checked out.
pub(crate) fn pack(bytes: &[u8]) {
    // The sum itself is a matter of one comparison.
    let body = bytes.get(..bytes.len().saturating_sub(20)).unwrap_or_default();
    let Ok(sum) = sha1dc::digest(body) else { return };
    let sum: [u8; 20] = sum.into();
    let Some(pack) = said(Pack::read([body, &sum].concat())) else { return };
    for id in pack.ids() {
        let Some(kind) = pack.kind(&id) else { panic!("{id} has no kind") };
        let Some(object) = said(pack.get(kind, &id)) else { continue };
        if kind == Kind::Commit
            && let Some(commit) = said(Commit::parse(id, &object))
        {
            check_out(&pack, &commit.tree);
            alone(pack.clone(), id);
            return;
        }
    }
}

/// What is made of a commit is the same again, and nothing else is taken for it.
fn alone(pack: Pack, commit: GitId) {
    let Some(bare) = said(Bare::of(pack, commit)) else { return };
    let bytes = bare.pack().to_vec();
    assert!(said(Bare::read([&bytes[..], b"x"].concat(), commit)).is_none());
    let again = Bare::read(bytes.clone(), commit).expect("it was made so");
    assert!(again.files().expect("files").iter().any(|(_, content)| *content == bytes));
}

fn check_out(pack: &Pack, tree: &GitId) {
    let mut files = Checkout::new();
    if said(files.add(pack.clone(), tree, None)).is_none() {
        return;
    }
    let mut tar = Vec::new();
    let mut none = |_: &_| Err(std::io::ErrorKind::NotFound.into());
    if files.write(&mut tar, &mut none).is_ok() {
        let mut again = Vec::new();
        files.write(&mut again, &mut none).expect("it was written before");
        assert_eq!(tar, again, "the same files are the same bytes");
        let rules = Rules { outward_links: true, ..Rules::default() };
        let unpacked = archive::unpack(&mut Cursor::new(tar), Packing::Tar, &rules, &mut Count::default());
        assert!(matches!(unpacked, Ok(()) | Err(ArchiveError::Nothing { .. })), "{unpacked:?}");
    }
}

/// A commit, and a tag.
pub(crate) fn object(bytes: &[u8]) {
    if let Some(commit) = said(Commit::parse(ID, bytes)) {
        assert!(commit.payload.len() + commit.signature.map_or(0, |signature| signature.len()) <= bytes.len());
        assert!(!commit.committer.name.chars().any(char::is_control));
    }
    if let Some(tag) = said(Tag::parse(ID, bytes)) {
        assert_eq!([tag.payload, tag.signature.unwrap_or_default()].concat(), bytes);
    }
}

/// What a server says, in parts of any size; the first byte says how large.
pub(crate) fn talk(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let parts = || rest.chunks(usize::from(*first).max(1));
    let mut advert = Advert::default();
    if said(parts().try_for_each(|part| advert.take(part)).and_then(|()| advert.check())).is_some() {
        let _ = advert.reference("refs/heads/main");
    }
    let mut references = References::default();
    if said(parts().try_for_each(|part| references.take(part))).is_some() {
        let _ = said(references.reference("refs/heads/main"));
    }
    let mut newest = Advert::default();
    newest.take(b"000eversion 2\n0000").expect("well formed");
    for advert in [Advert::default(), newest] {
        let mut reply = PackReply::new(&advert);
        if said(parts().try_for_each(|part| reply.take(part))).is_some()
            && let Some(pack) = said(reply.finish())
        {
            assert!(pack.len() < rest.len());
        }
    }
}

/// A signed commit or tag, by keys that are known; and a file of allowed signers.
pub(crate) fn signed(bytes: &[u8]) {
    for keys in [SIGNERS, include_bytes!("../seeds/keyring/armored"), bytes] {
        let commit = Commit::parse(ID, bytes).ok().map(|commit| signed::commit(&commit, keys, Epoch::default()));
        let tag = Tag::parse(ID, bytes).ok().map(|tag| signed::tag(&tag, keys, Epoch::default()));
        for checked in [commit, tag].into_iter().flatten() {
            match checked {
                Ok(signed) => assert!(signed.is_none_or(|signed| !signed.by.is_empty())),
                Err(error) => crate::shown(&error),
            }
        }
    }
    if let Err(error) = AllowedSigners::parse(bytes) {
        crate::shown(&error);
    }
}

/// `.gitmodules`, addresses, pointers and answers of Git LFS.
pub(crate) fn modules(bytes: &[u8]) {
    if let Some(found) = said(modules::parse(bytes)) {
        for (path, url) in &found {
            if let Some(whole) = said(modules::address("https://git.example/a/b", path, url)) {
                assert!(whole.starts_with("https://") || SshAddress::parse(&whole).is_some(), "{whole}");
            }
        }
    }
    let text = crate::text(bytes);
    if let Some(address) = SshAddress::parse(text) {
        let words = [Some(&address.host), address.user.as_ref(), Some(&address.path)];
        assert!(words.into_iter().flatten().all(|word| !word.starts_with('-') && !word.contains(['\'', ' ', '\n'])));
    }
    let _ = said(modules::address("git@git.example:a/b", &CleanPath::parse("x").expect("a path"), text));
    let asked = Pointer::parse(bytes).into_iter().collect::<Vec<_>>();
    let _ = said(lfs::answer(&asked, bytes));
}
