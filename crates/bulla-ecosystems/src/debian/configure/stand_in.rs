//! The text of the driver, and the programs that stand before the real ones while it runs.

/// Gives the entries of Java's key store, which have the time at which each was made, the time 0. What is no such store, or
/// has another password than every Java has, stays as it is. perl-base, which is Essential, has no module for digests, so
/// they are made by coreutils.
pub(in crate::debian) const KEY_STORE: &str = r#"use strict;
use warnings;

my $file = shift;
exit 0 unless -f $file && !-l $file;
sub sha1 {
    my ($bytes, $draft) = (@_, "$file.$$");
    open my $to, '>:raw', $draft or die "$draft: $!";
    print $to $bytes or die "$draft: $!";
    close $to or die "$draft: $!";
    open my $from, '-|', 'sha1sum', '--', $draft or die "sha1sum: $!";
    my ($hex) = <$from> =~ /^\\?([0-9a-f]{40})/ or die "sha1sum: no sum";
    close $from or die "sha1sum: $?";
    unlink $draft or die "$draft: $!";
    return pack 'H*', $hex;
}
open my $in, '<:raw', $file or die "$file: $!";
my $bytes = do { local $/; <$in> };
close $in;
exit 0 if length $bytes < 32;
my ($body, $sum) = (substr($bytes, 0, -20), substr($bytes, -20));
my $salt = join('', map { "\0$_" } split //, 'changeit') . 'Mighty Aphrodite';
my ($magic, $version, $count) = unpack 'N3', $body;
exit 0 unless $magic == 0xfeedfeed && $version == 2 && sha1($salt . $body) eq $sum;
my $at = 12;
my $number = sub { my $value = unpack 'N', substr $body, $at, 4; $at += 4; $value };
my $text = sub { my $length = unpack 'n', substr $body, $at, 2; $at += 2 + $length };
my $block = sub { my $length = $number->(); $at += $length };
for (1 .. $count) {
    my $tag = $number->();
    $text->();
    substr($body, $at, 8) = "\0" x 8;
    $at += 8;
    my $certificates = 1;
    if ($tag == 1) {
        $block->();
        $certificates = $number->();
    }
    for (1 .. $certificates) {
        $text->();
        $block->();
    }
}
open my $out, '+<:raw', $file or die "$file: $!";
print $out $body, sha1($salt . $body) or die "$file: $!";
close $out or die "$file: $!";
"#;

const DONE: &str = "#!/bin/sh\nexit 0\n";

/// The programs that maintainer scripts find first in `PATH`, because the real ones would wait for, start or talk to
/// services that a root under construction does not have.
pub(super) const PROGRAMS: [(&str, &str); 7] = [
    ("deb-systemd-invoke", DONE),
    ("invoke-rc.d", DONE),
    // The C library's script waits a second for a process 1 that would execute itself again, but not in a chroot.
    ("ischroot", DONE),
    // 101: "action not allowed" (invoke-rc.d(8)), for scripts that ask it directly.
    ("policy-rc.d", "#!/bin/sh\nexit 101\n"),
    ("runlevel", "#!/bin/sh\necho N 5\n"),
    ("start-stop-daemon", DONE),
    ("telinit", DONE),
];

/// Writes the driver. It reads the lists from the stand-ins' directory: lines of name, architecture and name in the database.
pub(super) fn script(stand_ins: &str, remove: &[&str]) -> String {
    let remove = remove.join(" ");
    format!(
        r#"umask 022
cd /
exec </dev/null
info=/var/lib/dpkg/info
export DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_MAINTSCRIPT_DEBUG=0
preinsts() {{
    while read -r name arch stem; do
        test -x "$info/$stem.preinst" || continue
        DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=$name DPKG_MAINTSCRIPT_ARCH=$arch \
            "$info/$stem.preinst" install </dev/null || {{
            code=$?
            echo "the preinst script of $name ended with exit code $code" >&2
            exit 1
        }}
    done <"{stand_ins}/$1.list"
}}
preinsts first
preinsts early
set --
while read -r name arch stem; do set -- "$@" "$stem"; done <"{stand_ins}/essential.list"
test $# -eq 0 || dpkg --configure "$@"
preinsts late
set --
while read -r file; do set -- "$@" "$file"; done <"{stand_ins}/unpack.list"
test $# -eq 0 || dpkg --force-depends --unpack "$@"
dpkg --configure -a
if test -L /etc/ssl/certs/ssl-cert-snakeoil.pem || test -f /etc/ssl/certs/ssl-cert-snakeoil.pem; then
    find /etc/ssl/certs -lname ssl-cert-snakeoil.pem -delete
fi
test ! -f /etc/ssl/certs/java/cacerts || perl "{stand_ins}/key-store.pl" /etc/ssl/certs/java/cacerts
rm -rf {remove}
"#
    )
}
