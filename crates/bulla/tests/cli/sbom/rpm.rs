//! Images with packages that the real rpm made and put into its database.

use std::{collections::BTreeSet, process::Command};

use bulla_testkit::{Project, SbomTools, process, skipped};

use super::{by_name, list, read};
use crate::{offline, registry::built};

const SPEC: &str = "\
bulla: 1
name: enterprise
epoch: 1700000000
sources:
  root: {path: root}
image:
  from: {scratch: {}}
  copy:
    - {source: root, to: /}
  entrypoint: [/usr/bin/alpha]
  user: 65532
";

const ALPHA: &str = "\
Name: alpha
Epoch: 2
Version: 1.4.2
Release: 3
Summary: First
License: GPL-2.0-or-later AND MIT
Vendor: Example Vendor
Provides: alpha-api = 1
Requires: beta >= 1.0
%description
First.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/doc/alpha
echo '#!/bin/sh' >%{buildroot}/usr/bin/alpha
ln -s alpha %{buildroot}/usr/bin/alpha-link
echo text >%{buildroot}/usr/share/doc/alpha/README
%files
%attr(755,-,-) /usr/bin/alpha
/usr/bin/alpha-link
%doc /usr/share/doc/alpha/README
";

const BETA: &str = "\
Name: beta
Version: 1.0
Release: 1
Summary: Second
License: MIT
BuildArch: noarch
%description
Second.
%install
mkdir -p %{buildroot}/usr/share/beta
for i in $(seq 1 200); do echo $i >%{buildroot}/usr/share/beta/a-file-of-many-$i; done
%files
/usr/share/beta
";

/// Makes the packages, and a root that has them in rpm's database and on the disk. `None`, after it was said why, where there is no rpm.
fn rooted(project: &Project, folder: &str) -> Option<()> {
    if !["rpm", "rpmbuild", "bsdtar"].into_iter().all(process::exists) {
        skipped("packages of rpm", "rpm, rpmbuild or bsdtar is not installed");
        return None;
    }
    let path = |name: &str| project.path(name).display().to_string();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(project.root()).env("HOME", project.root()).env("SOURCE_DATE_EPOCH", "1700000000");
        process::output(command.args(arguments)).expect(program)
    };
    let top = format!("_topdir {}", path("made"));
    for (name, spec) in [("alpha", ALPHA), ("beta", BETA)] {
        project.write(&format!("{name}.spec"), spec);
        let spec = format!("{name}.spec");
        run("rpmbuild", &["--quiet", "-bb", "--define", &top, "--define", "_build_id_links none", &spec]);
    }
    let database = path(&format!("root/{folder}"));
    fs_err::create_dir_all(&database).expect("a folder");
    for package in ["made/RPMS/x86_64/alpha-1.4.2-3.x86_64.rpm", "made/RPMS/noarch/beta-1.0-1.noarch.rpm"] {
        let package = path(package);
        run("rpm", &["--dbpath", &database, "--define", "_db_backend sqlite", "-i", "--nodeps", "--justdb", &package]);
        run("bsdtar", &["-x", "-C", &path("root"), "-f", &package]);
    }
    project.write("root/etc/os-release", "ID=\"rocky\"\nVERSION_ID=\"9.4\"\nNAME=\"Rocky Linux\"\n");
    Some(())
}

#[test]
fn packages_of_rpm_are_listed_and_own_their_files() {
    if std::env::consts::ARCH != "x86_64" {
        return skipped("packages of rpm", "they are made for x86_64");
    }
    for folder in ["usr/lib/sysimage/rpm", "var/lib/rpm"] {
        let project = Project::with_spec(SPEC);
        let Some(()) = rooted(&project, folder) else { return };
        built(&offline(), &project);
        // By a store that did not build it: what the database says owns every file but the two that the build itself made.
        let stranger = offline();
        let ran = stranger.run(&project, &["sbom", "oci:bulla-out", "--closed"]).failure(7);
        assert!(ran.stderr.contains("hint: among them: /etc/group, /etc/passwd\n"), "{}", ran.stderr);
        let spdx = read(&ran.stdout);
        let packages = by_name(&spdx, "packages", "name");
        let purl = |name: &str| packages[name]["externalRefs"][0]["referenceLocator"].as_str().map(str::to_owned);
        let alpha = "pkg:rpm/rocky/alpha@1.4.2-3?arch=x86_64&distro=rocky-9.4&epoch=2&upstream=alpha-1.4.2-3.src.rpm";
        assert_eq!(purl("alpha").as_deref(), Some(alpha));
        assert_eq!(packages["alpha"]["licenseDeclared"], "GPL-2.0-or-later AND MIT");
        assert_eq!(packages["alpha"]["supplier"], "Organization: Example Vendor");
        let beta = "pkg:rpm/rocky/beta@1.0-1?arch=noarch&distro=rocky-9.4&upstream=beta-1.0-1.src.rpm";
        assert_eq!(purl("beta").as_deref(), Some(beta));
        assert_eq!(list(&offline(), &project, "spdx-2.3"), ran.stdout, "the same by another store");
        // A file that no package has is noticed.
        project.write("root/opt/stray", "stray");
        built(&offline(), &project);
        let ran = stranger.run(&project, &["sbom", "oci:bulla-out", "--closed"]).failure(7);
        assert!(ran.stderr.contains("/opt/stray") && ran.stderr.contains("error: 3 files"), "{}", ran.stderr);
    }
}

#[test]
fn syft_finds_the_same_packages_of_rpm() {
    let Some(tools) = SbomTools::get("packages of rpm by Syft") else { return };
    let project = Project::with_spec(SPEC);
    let Some(()) = rooted(&project, "var/lib/rpm") else { return };
    built(&offline(), &project);
    let spdx = read(&list(&offline(), &project, "spdx-2.3"));
    let packages = by_name(&spdx, "packages", "name");
    let references = packages.values().flat_map(|one| one["externalRefs"].as_array().into_iter().flatten());
    let ours: BTreeSet<String> = references
        .filter_map(|one| one["referenceLocator"].as_str())
        .filter(|purl| purl.starts_with("pkg:rpm/"))
        .map(str::to_owned)
        .collect();
    // Syft reads no index within an index, which a layout of Bulla's has.
    let folder = tempfile::tempdir().expect("a folder");
    let archive = format!("docker-archive:{}", folder.path().join("image.tar").display());
    offline().run(&project, &["build", "--output", &archive]).success();
    let theirs: BTreeSet<String> = tools.syft(&archive).expect("syft").into_iter().collect();
    assert_eq!(ours.len(), 2);
    assert_eq!(ours, theirs, "names, versions, epochs, architectures, distribution and sources are the same");
}
