//! Databases that rpm itself wrote or reads (`testdata/README.md`).

use std::io::Read as _;

use super::*;

const DATABASES: [(&str, &[u8]); 4] = [
    ("usr/lib/sysimage/rpm/rpmdb.sqlite", include_bytes!("testdata/rpmdb.sqlite.gz")),
    ("usr/lib/sysimage/rpm/Packages.db", include_bytes!("testdata/Packages.db.gz")),
    ("var/lib/rpm/Packages", include_bytes!("testdata/Packages.gz")),
    ("var/lib/rpm/Packages", include_bytes!("testdata/Packages-big-endian.gz")),
];

fn database(at: usize) -> (CleanPath, Vec<u8>) {
    let (path, packed) = DATABASES[at];
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("gzip");
    (path.parse().expect("clean"), bytes)
}

fn packages(says: &[Says]) -> Vec<&Found> {
    let found = says.iter().filter_map(|one| match one {
        Says::Packages(found) => Some(found),
        _ => None,
    });
    let mut found: Vec<&Found> = found.flatten().collect();
    found.sort_by(|one, other| one.purl.cmp(&other.purl));
    found
}

#[test]
fn each_form_of_the_database_has_the_packages_that_rpm_lists() {
    for at in 0..DATABASES.len() {
        let (path, bytes) = database(at);
        let says = read(&path, &bytes).expect("a database");
        assert!(!says.iter().any(|one| matches!(one, Says::Unread(_))), "{path}: {says:?}");
        let found = packages(&says);
        let names: Vec<String> = found.iter().map(|one| one.purl.to_string()).collect();
        // The key that rpm keeps is none, and what was taken out is gone.
        let expected = [
            "pkg:rpm/alpha@1.4.2-3.el9?arch=x86_64&epoch=2&upstream=alpha-1.4.2-3.el9.src.rpm",
            "pkg:rpm/beta@1.0-1?arch=noarch&upstream=beta-1.0-1.src.rpm",
            "pkg:rpm/beta-sub@1.0-1?arch=noarch&upstream=beta-1.0-1.src.rpm",
        ];
        assert_eq!(names, expected, "{path}");
        let [alpha, beta, sub] = found.as_slice() else { panic!("three") };
        assert_eq!(alpha.licence.expression, "GPL-2.0-or-later AND MIT");
        assert_eq!(alpha.supplier.as_ref().map(|who| who.name.as_str()), Some("Example Vendor"));
        assert_eq!(beta.supplier.as_ref().and_then(|who| who.email.as_deref()), Some("packager@example.org"));
        assert!(alpha.needs.contains(&"beta".to_owned()) && alpha.provides.contains(&"alpha-api".to_owned()));
        assert!(!alpha.needs.iter().any(|need| need.starts_with("rpmlib") || need.starts_with("config(")));
        let files = |of: &Found| match &of.owns {
            Owns::Files(files) => files.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let expected = [
            "etc/alpha.conf",
            "usr/bin/alpha",
            "usr/bin/alpha-link",
            "usr/share/doc/alpha/README",
            "var/log/alpha.log",
        ];
        assert_eq!(files(alpha), expected);
        assert_eq!((files(beta).len(), files(sub)), (121, vec!["usr/share/beta-sub/x".to_owned()]));
    }
}

#[test]
fn what_is_damaged_is_said_and_ends() {
    for at in 0..DATABASES.len() {
        let (path, bytes) = database(at);
        let all = packages(&read(&path, &bytes).expect("a database")).len();
        // Cut off anywhere, and with each byte of the first pages changed: there are never more packages, and what is missing is said.
        for end in (0..bytes.len()).step_by(4099) {
            if let Ok(says) = read(&path, &bytes[..end]) {
                let told = says.iter().any(|one| matches!(one, Says::Unread(_)));
                assert!(packages(&says).len() < all && told || packages(&says).len() == all, "{path}: {end}");
            }
        }
        for place in (0..8192.min(bytes.len())).step_by(19) {
            let mut changed = bytes.clone();
            changed[place] ^= 0x5a;
            let _ = read(&path, &changed);
        }
        let error = read(&path, b"nothing of the kind").expect_err("no database").to_string();
        assert!(error.contains("no database"), "{error}");
        assert!(read(&path, b"").is_err());
    }
}

#[test]
fn a_page_that_leads_to_itself_ends() {
    let (path, bytes) = database(0);
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let mut looped = 0;
    // Each page by turns becomes an inner one whose only child is itself.
    for victim in 0..bytes.len() / page {
        let mut changed = bytes.clone();
        let head = victim * page + if victim == 0 { 100 } else { 0 };
        changed[head..head + 5].copy_from_slice(&[5, 0, 0, 0, 0]);
        changed[head + 8..head + 12].copy_from_slice(&u32::try_from(victim + 1).expect("few").to_be_bytes());
        let says = read(&path, &changed);
        looped += usize::from(says.is_err_and(|why| why.to_string().contains("two places")));
    }
    assert!(looped > 0, "the control: some are on the way");
    let (path, bytes) = database(2);
    let mut changed = bytes.clone();
    for at in (4096..bytes.len()).step_by(4096) {
        // The page after each is itself.
        let own = u32::try_from(at / 4096).expect("few");
        changed[at + 16..at + 20].copy_from_slice(&own.to_le_bytes());
    }
    assert!(read(&path, &changed).is_err_and(|why| why.to_string().contains("two places")));
}

#[test]
fn headers_without_what_a_package_needs_are_counted() {
    let (path, bytes) = database(1);
    let mut changed = bytes.clone();
    // The tag of each version becomes another one.
    let versions = memchr::memmem::find_iter(&bytes, b"\x00\x00\x03\xe9\x00\x00\x00\x06");
    for at in versions {
        changed[at + 3] = 0xff;
    }
    let says = read(&path, &changed).expect("a database");
    assert!(packages(&says).is_empty());
    assert!(matches!(&says[0], Says::Unread(why) if why.starts_with("3 of its headers")), "{says:?}");
}

#[test]
fn changes_that_are_not_in_the_database_are_said() {
    let log: CleanPath = "var/lib/rpm/rpmdb.sqlite-wal".parse().expect("clean");
    assert!(is(log.as_bytes()) && !is(b"home/Packages") && !is(b"var/lib/rpm/Name"));
    assert_eq!(read(&log, b"").expect("empty"), []);
    assert!(read(&log, b"7").is_err_and(|why| why.to_string().contains("not in the database yet")));
}
