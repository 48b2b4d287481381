# Brings the tools that building and testing need. Sourced by `run`, `.ci/run` and `.ci/full`; POSIX sh.

# The oldest cargo that builds this workspace (`rust-version` in Cargo.toml).
oldest_cargo=1.89

need_linux() {
    [ "$(uname -sm)" = "Linux x86_64" ] || {
        echo "Bulla's sandbox knows Linux on x86-64 only; this is $(uname -sm)" >&2
        exit 4
    }
}

# Installs packages: need_packages PROGRAM=PACKAGE... for what must be there. Only packages whose program is missing are
# asked for.
need_packages() {
    missing=
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%=*}" ] || missing="$missing ${pair#*=}"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "these packages are missing; as root: apt-get update && apt-get install -y --no-install-recommends$missing" >&2
        exit 4
    fi
    install_packages $missing
}

# No service of what is installed is started with it (invoke-rc.d(8), `policy-rc.d`).
install_packages() {
    apt-get update -qq
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; fi
    installed=0
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null || installed=$?
    [ -z "$policy" ] || rm -f "$policy"
    return "$installed"
}

# Sees that services which packages will bring do not start with the machine either. Those that are there are left alone.
without_services() {
    [ "$(id -u)" = 0 ] || return 0
    mkdir -p /etc/systemd/system
    for unit in "$@"; do
        [ -e "/usr/lib/systemd/system/$unit" ] || [ -e "/lib/systemd/system/$unit" ] ||
            [ -L "/etc/systemd/system/$unit" ] || ln -s /dev/null "/etc/systemd/system/$unit"
    done
}

# Makes sure that there is a cargo that is new enough: the one on the path, rustup's, or Debian's own newest.
need_cargo() {
    [ ! -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    new_enough && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        # Debian 12 has a new Rust for its browsers; later releases have rustup.
        if apt-cache show cargo-web >/dev/null 2>&1; then
            install_packages cargo-web
        elif apt-cache show rustup >/dev/null 2>&1; then
            install_packages rustup ca-certificates
            rustup default stable
            PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        fi
        hash -r
        new_enough && return 0
    fi
    echo "cargo $oldest_cargo or newer is needed; there is $(cargo --version 2>/dev/null || echo none)." >&2
    echo "On Debian 12, as root: apt-get install cargo-web. Later: apt-get install rustup, then: rustup default stable" >&2
    exit 4
}

new_enough() {
    found=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$oldest_cargo" "$found" | sort -V | head -n 1)" = "$oldest_cargo" ]
}
