use std::collections::{BTreeMap, BTreeSet};

use bulla_model::{Digest, Epoch, spec::AbsolutePath, tree::Node};
use proptest::prelude::*;

use super::{loader::Line, overlay::clean, *};
use crate::debian::deb::Control;

#[derive(Default)]
struct Root {
    tree: Tree,
    files: BTreeMap<CleanPath, Vec<u8>>,
    packages: Vec<Package>,
    users: Vec<UserEntry>,
}

impl Root {
    fn file(mut self, path: &str, content: &[u8]) -> Self {
        let node = Node::file(0o644, Digest::of(content), content.len() as u64);
        self.tree.insert(clean(path), node);
        self.files.insert(clean(path), content.to_vec());
        self.tree.complete();
        self
    }

    fn link(mut self, path: &str, target: &str) -> Self {
        self.tree.insert(clean(path), Node::symlink(target));
        self.tree.complete();
        self
    }

    fn package(mut self, name: &str, script: &str, text: &str) -> Self {
        let control = format!("Package: {name}\nVersion: 1.0\nArchitecture: amd64\nDescription: a\n b\n .\n c\n");
        let control = Control::parse(&control).expect("a control file");
        let is_whole = text.starts_with("#!") || !matches!(script, "preinst" | "postinst");
        let text = if is_whole { text.to_owned() } else { format!("#!/bin/sh\n{text}") };
        let members = [(script.to_owned(), text.into_bytes())].into();
        self.packages.push(Package { control, members, paths: Vec::new(), newest: Epoch::default() });
        self
    }

    fn made(&self) -> Result<BTreeMap<String, Entry>, Error> {
        let read = |path: &CleanPath| self.files.get(path).cloned();
        let (tree, packages, users) = (&self.tree, self.packages.as_slice(), self.users.as_slice());
        let made = equivalents(&Request {
            tree,
            read: &read,
            packages,
            users,
            codename: "bookworm",
            keep_set_id: &BTreeSet::new(),
            platform: bulla_model::Platform::LinuxAmd64,
        })?;
        Ok(made.entries.into_iter().map(|(path, entry)| (path.to_string(), entry)).collect())
    }

    fn text(&self, path: &str) -> String {
        match self.made().expect("made").get(path) {
            Some(Entry::File { content, .. }) => String::from_utf8(content.clone()).expect("text"),
            other => panic!("{path} is {other:?}"),
        }
    }

    fn target(&self, path: &str) -> Option<String> {
        match self.made().expect("made").get(path) {
            Some(Entry::Symlink { target }) => Some(String::from_utf8(target.to_vec()).expect("text")),
            _ => None,
        }
    }
}

#[test]
fn an_empty_image_has_its_directories_and_accounts() {
    let root = Root::default();
    let made = root.made().expect("made");
    let directory = |mode| Some(Entry::Directory { mode: Mode::new(mode), owner: Owner::ROOT });
    assert_eq!(made.get("tmp").cloned(), directory(0o1777));
    assert_eq!(made.get("var/tmp").cloned(), directory(0o1777));
    assert_eq!(made.get("root").cloned(), directory(0o700));
    assert_eq!(root.target("var/run").as_deref(), Some("/run"));
    assert_eq!(root.target("lib64").as_deref(), Some("usr/lib64"));
    assert_eq!(root.target("etc/os-release").as_deref(), Some("../usr/lib/os-release"));
    assert_eq!(root.text("etc/debian_version"), "12\n");
    assert_eq!(
        root.text("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    assert_eq!(root.text("etc/group"), "root:x:0:\nnonroot:x:65532:\nnogroup:x:65534:\n");
    assert!(!made.contains_key("etc/ld.so.cache") && !made.contains_key("etc/ssl/certs/ca-certificates.crt"));
}

#[test]
fn users_of_the_spec_are_written_and_keep_their_numbers() {
    let home = AbsolutePath::parse("/srv/app").expect("a path");
    let shell = AbsolutePath::parse("/usr/sbin/nologin").expect("a path");
    let user = UserEntry { name: "app".into(), owner: Owner { uid: 1000, gid: 1000 }, home, shell };
    let root = Root { users: vec![user], ..Root::default() };
    assert!(root.text("etc/passwd").contains("app:x:1000:1000:app:/srv/app:/usr/sbin/nologin\n"));
    assert!(root.text("etc/group").contains("app:x:1000:\n"));
}

#[test]
fn a_packages_user_has_the_same_number_whatever_else_is_there() {
    let line = |root: &Root| root.text("etc/passwd").lines().find(|line| line.starts_with("redis:")).map(str::to_owned);
    let redis = "adduser --system --group --home /var/lib/redis redis";
    let alone = Root::default().package("redis-tools", "postinst", redis);
    let other = "addgroup --system other\nadduser --system --ingroup other other";
    let both = Root::default().package("another", "postinst", other).package("redis-tools", "postinst", redis);
    assert_eq!(line(&alone), line(&both));
    // The number is part of the format: it must not change.
    assert_eq!(line(&alone).as_deref(), Some("redis:x:688:688::/var/lib/redis:/usr/sbin/nologin"));
}

#[test]
fn files_of_services_bring_users_and_directories() {
    let root = Root::default()
        .file(
            "usr/lib/sysusers.d/web.conf",
            b"# c\nu web - \"Web server\" /var/lib/web\ng logs 4\nm web adm\nu bad%i -\n",
        )
        .file(
            "usr/lib/tmpfiles.d/web.conf",
            b"d /run/web 0750 web web -\nL /run/link - - - - /run/web\nd /run/%i 0755 root root\n",
        )
        .file(
            "usr/lib/systemd/system/web.service",
            b"[Service]\nUser=web\nStateDirectory=web web/x\nStateDirectoryMode=0700\n",
        )
        .file("usr/lib/systemd/system/web@.service", b"[Service]\nRuntimeDirectory=template\n");
    let made = root.made().expect("made");
    let passwd = root.text("etc/passwd");
    let uid =
        passwd.lines().find_map(|line| line.strip_prefix("web:x:")?.split(':').next()?.parse().ok()).expect("web");
    let directory = |mode| Some(Entry::Directory { mode: Mode::new(mode), owner: Owner { uid, gid: uid } });
    assert!(passwd.contains(":Web server:/var/lib/web:"));
    assert!(root.text("etc/group").contains("adm:x:4:web\n"));
    assert_eq!(made.get("run/web").cloned(), directory(0o750));
    assert_eq!(made.get("var/lib/web/x").cloned(), directory(0o700));
    assert_eq!(root.target("run/link").as_deref(), Some("/run/web"));
    assert!(!made.contains_key("run/template"));
}

#[test]
fn the_alternative_of_the_highest_priority_is_linked() {
    let call = |path: &str, priority: i32| {
        format!(
            "update-alternatives --install /usr/bin/editor editor {path} {priority} --slave /usr/share/e e {path}.1"
        )
    };
    let root = Root::default()
        .file("usr/bin/nano", b"")
        .file("usr/bin/vim", b"")
        .file("usr/bin/vim.1", b"")
        .package("a", "postinst", &call("/bin/vim", 30))
        .package("b", "postinst", &call("/bin/nano", 20))
        .package("c", "postinst", &call("/bin/missing", 90));
    assert_eq!(root.target("usr/bin/editor").as_deref(), Some("/etc/alternatives/editor"));
    assert_eq!(root.target("etc/alternatives/editor").as_deref(), Some("/bin/vim"));
    assert_eq!(root.target("etc/alternatives/e").as_deref(), Some("/bin/vim.1"));
}

#[test]
fn certificates_are_bundled_in_order_and_linked() {
    let pem = |name: &str| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----");
    let root = Root::default()
        .file("usr/share/ca-certificates/mozilla/B_(x).crt", pem("b").as_bytes())
        .file("usr/share/ca-certificates/mozilla/A.crt", pem("a").as_bytes())
        .file("usr/share/ca-certificates/mozilla/README", b"no");
    let bundle = root.text("etc/ssl/certs/ca-certificates.crt");
    assert_eq!(bundle, format!("{}\n{}\n", pem("a"), pem("b")));
    let link = root.target("etc/ssl/certs/B_=x=.pem");
    assert_eq!(link.as_deref(), Some("/usr/share/ca-certificates/mozilla/B_(x).crt"));
    let bad = Root::default().file("usr/share/ca-certificates/x.crt", b"junk");
    assert!(matches!(bad.made(), Err(Error::Certificate { .. })));
}

#[test]
fn scanners_find_the_packages() {
    let root = Root::default().package("tool", "md5sums", "0 usr/bin/tool\n");
    let text = root.text("var/lib/dpkg/status.d/tool");
    assert_eq!(text, "Package: tool\nVersion: 1.0\nArchitecture: amd64\nDescription: a\n b\n .\n c\n");
    assert_eq!(root.text("var/lib/dpkg/status.d/tool.md5sums"), "0 usr/bin/tool\n");
}

#[test]
fn what_debhelper_adds_is_left_out_where_it_is_known() {
    let by = |program: &str, body: &str| {
        format!("#!/bin/sh\nset -e\n# Automatically added by {program}/13\n{body}\n# End automatically added section\n")
    };
    let made = |text: &str| Root::default().package("a", "postinst", text).made();
    let nginx = "for confpair in mod-a.conf:50-mod-a.conf  ; do\n\tfrom=$(echo $confpair | cut -d: -f1)\ndone";
    assert!(made(&by("dh_nginx", nginx)).is_ok());
    let profile = "APP_PROFILE=\"/etc/apparmor.d/x\"\n# Reload\nif aa-enabled --quiet 2>/dev/null; then\nfi";
    assert!(made(&by("dh_apparmor", profile)).is_ok());
    // What is not left out is gone through.
    let service = "if [ \"$1\" = configure ]; then\nif deb-systemd-helper --quiet was-enabled 'a.service'; then\n\
                   deb-systemd-helper enable 'a.service' >/dev/null || true\nfi\nfi\n\
                   if [ -x \"$(command -v systemd-tmpfiles)\" ]; then\n\
                   systemd-tmpfiles ${DPKG_ROOT:+--root=\"$DPKG_ROOT\"} --create a.conf || true\nfi";
    assert!(made(&by("dh_installsystemd", service)).is_ok());
    assert!(made(&by("dh_python3", "mkdir -p /made")).expect("gone through").contains_key("made"));
    // And a known name covers nothing else.
    for (program, hidden) in [
        ("dh_nginx", "touch /hidden"),
        ("dh_apparmor", "touch /hidden"),
        ("dh_apparmor", "APP_PROFILE=x; touch /hidden"),
        ("dh_nginx", "for confpair in a:b ; do touch /hidden ; done"),
        ("dh_apparmor", "install --mode 644 /dev/null \"$LOCAL_APP_PROFILE\" && touch /hidden"),
    ] {
        let error = made(&by(program, hidden)).expect_err(hidden).to_string();
        assert!(error.contains("what it does not add elsewhere"), "{error}");
    }
    let error = made(&by("dh_other", "anything | at all")).expect_err("an unknown command");
    assert_eq!(
        error.to_string(),
        "the postinst of package `a` does what has no equivalent in an image without scripts: it works with the output of \
         `anything`"
    );
    assert!(error.hints().iter().any(|hint| hint.contains("`scripts: {run: REASON}`")));
    let endless = "# Automatically added by dh_nginx/13\n";
    assert!(Root::default().package("a", "postinst", endless).made().is_err());
    assert!(Root::default().package("a", "postrm", "burn").made().is_ok());
}

#[test]
fn links_that_lead_in_circles_or_out_do_no_harm() {
    let root = Root::default()
        .link("etc/loop", "loop2")
        .link("etc/loop2", "/etc/loop")
        .link("srv/up", "../../../../etc")
        .package("a", "postinst", "mkdir -p /srv/up/made\nmkdir -p /srv/up/loop/x || true");
    let made = root.made();
    assert!(made.is_err() || made.is_ok_and(|made| made.contains_key("etc/made")));
    let simple = Root::default().link("srv/up", "../../../../etc").package("a", "postinst", "mkdir -p /srv/up/made");
    assert!(simple.made().expect("made").contains_key("etc/made"));
}

#[test]
fn accounts_that_would_break_a_line_are_refused() {
    for call in ["adduser --system 'a:b'", "adduser --system --home '/x:0:0' a", "addgroup --system 'a b'"] {
        assert!(Root::default().package("a", "postinst", call).made().is_err(), "{call}");
    }
    let many: String = (0..300).map(|n| format!("addgroup --system g{n}\n")).collect();
    assert!(matches!(Root::default().package("a", "postinst", &many).made(), Err(Error::Accounts { .. })));
    let unknown = Root::default().package("a", "postinst", "mkdir -p /x\nchown nosuch /x");
    assert!(unknown.made().expect_err("unknown").to_string().ends_with("the user `nosuch` is not known"));
}

#[test]
fn the_cache_has_the_bytes_that_glibc_reads() {
    let line = |soname: &str| Line { soname: soname.into(), path: format!("/lib/{soname}"), flags: 0x0303 };
    let bytes = loader::encode(vec![line("liba.so.9"), line("libz.so"), line("liba.so.10")]).expect("a cache");
    assert!(bytes.starts_with(b"glibc-ld.so.cache1.1\x03\0\0\0"));
    let strings = bytes.get(48 + 3 * 24..).expect("the names");
    assert_eq!(
        String::from_utf8_lossy(strings),
        "libz.so\0/lib/libz.so\0liba.so.10\0/lib/liba.so.10\0liba.so.9\0/lib/liba.so.9\0"
    );
    assert_eq!(Digest::of(&bytes).hex(), "560d297fbdbdf2efd35ab41fa3649d5ac9cb9be9874b0e09c17a9a244b650ed2");
}

proptest! {
    #[test]
    fn no_library_makes_it_panic(bytes: Vec<u8>, tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        elf::read(&bytes);
        elf::read(&[b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".as_slice(), &tail].concat());
    }

    #[test]
    fn no_file_of_a_service_makes_it_panic(text: String, words in "[ugmdDLv] [a-z/%:.-]{0,12} [0-9:-]{0,6} [ -~]{0,20}") {
        let root = Root::default()
            .file("usr/lib/sysusers.d/a.conf", format!("{words}\n{text}").as_bytes())
            .file("usr/lib/tmpfiles.d/a.conf", format!("{words}\n{text}").as_bytes())
            .file("usr/lib/systemd/system/a.service", format!("User=root\nStateDirectory={text}\n{words}").as_bytes())
            .file("etc/ld.so.conf", format!("include {text}\ninclude /etc/ld.so.conf\n{words}").as_bytes());
        let _ = root.made();
    }

    #[test]
    fn names_of_libraries_have_one_order(a in "[a0-9.]{0,6}", b in "[a0-9.]{0,6}") {
        let order = |a: &str, b: &str| loader::compare(a.as_bytes(), b.as_bytes());
        prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        prop_assert_eq!(order(&a, &a), std::cmp::Ordering::Equal);
    }
}
