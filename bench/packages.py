"""Packages of lock files: fetched, found in a step, and a project of hundreds of them, beside the clients themselves."""

import binascii
import glob
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

from measure import Failed, median, paired, run, shown
from peers import have, sources_list

# What the stages have; the mirror of `bench/run` has no clients.
CLIENTS = ["nodejs", "npm", "python3-venv", "golang-go"]
RUST = {"bookworm": "cargo-web"}
# Packages of Python that are wheels alone, with what they need.
WHEELS = ["fastapi", "uvicorn", "sqlalchemy", "requests", "rich", "pytest", "numpy", "flask", "httpx", "click"]
PORT = 7791


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def read(path):
    with open(path) as file:
        return file.read()


class Packages:
    """Real packages of all kinds on loopback, laid out so that a plain server of files is a registry for each client."""

    def __init__(self, bench):
        self.bench, self.at = bench, f"{bench.work}/packages"
        self.cache = os.environ.get("BULLA_TESTKIT_CACHE", os.path.expanduser("~/.cache/bulla-testkit"))
        self.cargo = RUST.get(bench.suite, "cargo")
        os.makedirs(f"{self.at}/mirror", exist_ok=True)
        argv = [f"{bench.release}/bulla-mirror", f"{self.at}/mirror", str(PORT), *CLIENTS, self.cargo, "gcc", "libc6-dev",
                *bench.essential]
        self.mirror = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        if not self.mirror.stdout.readline().startswith("http"):
            raise Failed("the mirror of the clients did not start")
        self.url, self.index = f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{PORT + 1}/simple/"
        os.makedirs(f"{self.at}/index", exist_ok=True)
        # Pages of folders, which the other server has none of.
        argv = [sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-p", "HTTP/1.1", "-d", f"{self.at}/index", str(PORT + 1)]
        self.pages = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.projects = {}
        for name, lay in {"npm": self.npm, "pip": self.python, "cargo": self.crates, "go": self.go}.items():
            if name not in os.environ.get("BENCH_KINDS", name).split(","):
                continue
            place = f"{self.at}/{name}-app"
            try:
                self.projects[name] = lay(place)
            except (OSError, StopIteration) as missing:
                print(f"left out: {name}, for the cache of the tests has no project of it ({missing})", flush=True)
        config = f"{read(f'{self.at}/mirror/config.toml')}\n" + "".join(f"[registry.{kind}]\n{text}\n" for kind, text in [
            ("npm", f"npmrc = false\nregistry = \"{self.url}/npm/\""),
            ("pypi", f"client-settings = false\nindex = \"{self.index}\""),
            ("cargo", f"cargo-config = false\nregistry = \"sparse+{self.url}/crates/\""),
            ("go", f"go-env = false\nproxy = \"{self.url}/go\"")])
        # Lock files of packages that are made here name this server.
        write(f"{self.at}/config.toml", f"{config}[network]\nlocal-hosts = [\"127.0.0.1:{PORT}\"]\n")
        self.env = {**bench.env, "BULLA_CONFIG": f"{self.at}/config.toml"}

    def close(self):
        for server in [self.mirror, self.pages]:
            server.terminate()
            server.wait()

    def link(self, name, target, under="mirror"):
        place = f"{self.at}/{under}/{name}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if not os.path.lexists(place):
            os.symlink(target, place)

    def npm(self, place):
        """The front end of `examples/vite-site`, its lock file with addresses, as npm writes it."""
        shutil.copytree(f"{self.bench.root}/examples/vite-site", place, dirs_exist_ok=True)
        self.link("npm", f"{self.cache}/npm")
        lock = json.loads(read(f"{place}/package-lock.json"))
        for path, entry in lock["packages"].items():
            name = entry.get("name", path.rpartition("node_modules/")[2])
            if "integrity" in entry:
                entry["resolved"] = f"{self.url}/npm/{name}/-/{name.rpartition('/')[2]}-{entry['version']}.tgz"
        os.rename(f"{place}/package-lock.json", f"{place}/without.json")
        write(f"{place}/package-lock.json", json.dumps(lock, indent=2))
        return place

    def python(self, place):
        """Wheels that Debian's own pip downloaded, with a page for each name."""
        wheels = f"{self.at}/wheels"
        if not os.path.isdir(wheels):
            run([*PIP(), "download", "-q", "--only-binary", ":all:", "-d", f"{wheels}.draft", *WHEELS])
            os.rename(f"{wheels}.draft", wheels)
        self.link("wheels", wheels, "index")
        pinned = []
        for file in sorted(os.listdir(wheels)):
            name, version = file.split("-")[:2]
            name = re.sub(r"[-_.]+", "-", name).lower()
            with open(f"{wheels}/{file}", "rb") as wheel:
                digest = hashlib.sha256(wheel.read()).hexdigest()
            page = f"<!DOCTYPE html>\n<html><body>\n<a href=\"../../wheels/{file}#sha256={digest}\">{file}</a>\n</body></html>\n"
            write(f"{self.at}/index/simple/{name}/index.html", page)
            pinned.append(f"{name}=={version} --hash=sha256:{digest}\n")
        write(f"{place}/requirements.txt", "".join(pinned))
        return place

    def crates(self, place):
        """just 1.42.4 as its authors locked it, and a sparse index out of what cargo kept of its own."""
        home = f"{self.cache}/cargo/registry"
        shutil.copytree(next(glob.iglob(f"{home}/src/*/just-1.42.4")), place, dirs_exist_ok=True)
        kept = next(glob.iglob(f"{home}/cache/*"))
        for file in os.listdir(kept):
            self.link(f"crates/dl/{file}", f"{kept}/{file}")
        write(f"{self.at}/mirror/crates/config.json", json.dumps({"dl": f"{self.url}/crates/dl/{{crate}}-{{version}}.crate"}))
        for file in glob.iglob(f"{home}/index/*/.cache/**", recursive=True):
            if os.path.isfile(file):
                with open(file, "rb") as entry:
                    lines = [part for part in entry.read().split(b"\0") if part.startswith(b"{")]
                path = file.partition("/.cache/")[2]
                write(f"{self.at}/mirror/crates/{path}", b"\n".join(lines).decode() + "\n")
        return place

    def go(self, place):
        """The service of `examples/go-service`; the modules lie as in a proxy."""
        shutil.copytree(f"{self.bench.root}/examples/go-service", place, dirs_exist_ok=True)
        self.link("go", f"{self.cache}/go-real/cache/download")
        return place

    def uv(self):
        """Gives the uv that the cache of the tests has as a wheel."""
        for wheel in glob.iglob(f"{self.cache}/python/*/uv-*.whl"):
            with zipfile.ZipFile(wheel) as files:
                inside = next(name for name in files.namelist() if name.endswith("/scripts/uv"))
                save(f"{self.at}/uv", files.read(inside))
                os.chmod(f"{self.at}/uv", 0o755)
                return f"{self.at}/uv"

    def folder(self, name, parts):
        """Makes a folder that never was, with copies of others in it."""
        folder = f"{self.bench.work}/{self.bench.fresh(name)}"
        for part, source in parts.items():
            shutil.copytree(source, f"{folder}/{part}")
        return folder

    def spec(self, name, stage, folder):
        """Writes a project of one stage into a folder."""
        write(f"{folder}/bulla.yaml", f"""bulla: 1
name: {name}
{stage}
image:
  from: {{scratch: {{}}}}
  copy:
    - {{output: build.out, to: /out}}
  entrypoint: [/out]
  user: 65532
""")

    def bulla(self, folder, store, *arguments, memory=None):
        """Runs Bulla in a project; gives the seconds and its events."""
        argv = [self.bench.bulla, "--progress", "json", "--store", store, *arguments]
        return run(argv, cwd=folder, env=self.env, memory=memory)


def PIP():
    """Debian's own pip of this machine, which no folder has to have."""
    return ["/usr/bin/python3", f"{next(glob.iglob('/usr/share/python-wheels/pip-*.whl'))}/pip"]


KINDS = {
    "npm": ("npm: package-lock.json", "nodejs, npm"), "pip": ("pypi: requirements.txt", "python3-venv"),
    "cargo": ("cargo: Cargo.lock", None), "go": ("go: go.sum", "golang-go"),
}


def stage(shared, kind, steps, dependencies=True, more=""):
    """Writes the stage of a kind, with the folder `app` as its project."""
    line, packages = KINDS[kind]
    packages = packages or f"{shared.cargo}, gcc, libc6-dev"
    listed = "\n".join(f"      - {json.dumps(step)}" for step in steps)
    own = f"    dependencies: [{{{line}}}]\n" if dependencies else ""
    return (f"sources:\n  app: {{path: app}}\n{more}stages:\n  build:\n"
            f"    from: {{debian: {shared.bench.suite}, packages: [{packages}]}}\n    workdir: /src/app\n{own}    steps:\n{listed}\n"
            f"    outputs: {{out: /tmp/out}}")


def prefetch(bench):
    """What lock files name, fetched by Bulla into a store without it, and by the clients into an empty cache."""
    shared = Packages(bench)
    try:
        for kind, project in shared.projects.items():
            def ours():
                folder, store = shared.folder(kind, {"app": project}), f"{bench.work}/{bench.fresh('store')}"
                text = lambda wanted: stage(shared, kind, ["true >/tmp/out"], wanted)
                # The packages of Debian are no part of this.
                shared.spec("fetch", text(False), folder)
                shared.bulla(folder, store, "fetch")
                shared.spec("fetch", text(True), folder)
                return shared.bulla(folder, store, "fetch")[0]

            def theirs():
                copy = f"{bench.work}/{bench.fresh(kind)}"
                shutil.copytree(project, copy)
                return run(*fetching(shared, kind, copy))[0]

            times, others = paired(bench.runs, ours, theirs)
            bench.table.times(f"packages fetched: {kind}", times, " ".join(FETCHING[kind]), others, "≤ 1 ×",
                              median(others))
            if kind == "pip" and (uv := shared.uv()):
                installed = [installing(shared, uv, shared.folder("uv", {"app": project})) for _ in range(bench.runs)]
                bench.table.times("… the same", times, "uv pip install, without its cache", installed, "≤ 1 ×", median(installed))
    finally:
        shared.close()


def installing(shared, uv, folder):
    """Takes the time of uv, which unpacks what it fetches and keeps no archive."""
    env = {"PATH": "/usr/bin:/bin", "HOME": folder}
    return run([uv, "pip", "install", "-q", "--no-cache", "--no-deps", "--require-hashes", "-r", "app/requirements.txt", "--target",
                "out", "--python", "/usr/bin/python3", "--default-index", shared.index], cwd=folder, env=env)[0]


FETCHING = {
    "npm": ["npm", "ci", "--ignore-scripts"], "pip": ["pip", "download"], "cargo": ["cargo", "fetch", "--locked"],
    "go": ["go", "mod", "download"],
}


def fetching(shared, kind, copy):
    """Gives the command by which a client fetches, where, and in which environment."""
    env = {"PATH": os.environ["PATH"], "HOME": f"{copy}/home", "npm_config_cache": f"{copy}/cache", "CARGO_HOME": f"{copy}/cargo",
           "npm_config_audit": "false", "npm_config_fund": "false", "npm_config_registry": f"{shared.url}/npm/",
           "GOMODCACHE": f"{copy}/modules", "GOFLAGS": "-modcacherw", "GOPROXY": f"{shared.url}/go", "GOSUMDB": "off",
           "GOTOOLCHAIN": "local", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": "/dev/null", "npm_config_update_notifier": "false",
           "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", os.path.expanduser("~/.rustup"))}
    os.makedirs(env["HOME"])
    argv = FETCHING[kind]
    if kind == "pip":
        argv = [*PIP(), "download", "-q", "--no-deps", "--require-hashes", "-r", "requirements.txt", "-d", "files", "--no-cache-dir",
                "-i", shared.index]
    if kind == "cargo":
        write(f"{copy}/cargo/config.toml", f"[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{shared.url}/crates/\"\n")
    return argv, copy, env


# What is run in the step, and what makes the same run without a repository.
REPLAY = {
    "npm": ("npm ci --ignore-scripts", "npm ci --ignore-scripts --offline --cache /src/offline", "≤ 1.3 ×", 1.3),
    "pip": ("/opt/v/bin/pip install -q --no-deps --require-hashes -r requirements.txt",
            "/opt/v/bin/pip install -q --no-deps --require-hashes -r requirements.txt --no-index --find-links /src/offline",
            "≤ 1.1 ×", 1.1),
    "cargo": ("cargo metadata --locked --format-version 1 >/dev/null",
              "mkdir /.cargo; cp /src/offline/config.toml /.cargo; TOOK cargo metadata --locked --format-version 1 >/dev/null",
              "≤ 1 ×", 1.0),
    "go": ("go mod download", "TOOK env GOMODCACHE=/tmp/modules GOPROXY=file:///src/offline GOSUMDB=off go mod download", "≤ 1.1 ×", 1.1),
}
BEFORE = {"pip": ["python3 -m venv /opt/v"]}


def timed(command):
    """Has a step say how long a command takes; before it, what is made ready."""
    ready, _, command = command.rpartition("TOOK ")
    return f"{ready}s=$(date +%s%N); {command}; e=$(date +%s%N); echo took $(( (e - s) / 1000 )); echo >/tmp/out"


def offline(shared, kind):
    """Gives a folder from which the client works without a network."""
    place, project = f"{shared.at}/{kind}-offline", shared.projects[kind]
    if os.path.isdir(place):
        return place
    copy = f"{shared.bench.work}/{shared.bench.fresh(kind)}"
    shutil.copytree(project, copy)
    argv, cwd, env = fetching(shared, kind, copy)
    if kind == "npm":
        run(argv, cwd=cwd, env=env)
        shutil.copytree(f"{copy}/cache", place)
    elif kind == "pip":
        shutil.copytree(f"{shared.at}/wheels", place)
    elif kind == "cargo":
        run([*argv[:1], "vendor", "--locked", "--respect-source-config", f"{copy}/vendored"], cwd=cwd, env=env)
        os.makedirs(place)
        os.rename(f"{copy}/vendored", f"{place}/crates")
        write(f"{place}/config.toml", "[source.crates-io]\nreplace-with = \"folders\"\n[source.folders]\ndirectory = \"/src/offline/crates\"\n")
    else:
        run(argv, cwd=cwd, env=env)
        shutil.copytree(f"{copy}/modules/cache/download", place)
    return place


def took(stderr):
    """Gives the seconds that a step said, and those that Bulla was at the last step in all."""
    said, whole, started = None, None, {}
    for line in stderr.splitlines():
        event = json.loads(line)
        if event["event"] == "output" and (found := re.search(r"took (\d+)", event["bytes"])):
            said = int(found[1]) / 1e6
        elif event["event"] == "started":
            started[event["id"]] = event["activity"]
        elif event["event"] == "finished" and started.get(event["id"]) == "step":
            whole = event["milliseconds"] / 1e3
    return said, whole


def replay(bench):
    """The client in a step that finds its packages, beside its offline mode in the same sandbox."""
    shared = Packages(bench)
    try:
        for kind, project in shared.projects.items():
            served, alone, target, factor = REPLAY[kind]
            store, before = f"{bench.work}/store", BEFORE.get(kind, [])
            folders = [shared.folder(kind, {"app": project}),
                       shared.folder(kind, {"app": project, "offline": offline(shared, kind)})]
            shared.spec(kind, stage(shared, kind, [*before, timed(served)]), folders[0])
            more = "  offline: {path: offline}\n"
            shared.spec(kind, stage(shared, kind, [*before, timed(alone)], False, more), folders[1])
            for folder in folders:
                shared.bulla(folder, store, "build")
            last = f"--no-cache=build/{len(before) + 1}"
            found = paired(bench.runs, *(lambda folder=folder: took(shared.bulla(folder, store, "build", last)[1])
                                         for folder in folders))
            (ours, whole), (theirs, other) = [zip(*times) for times in found]
            bench.table.times(f"replayed: `{served.split(' -')[0]}`", ours, alone_name(kind), theirs, target, factor * median(theirs))
            bench.table.times("… the whole step", whole, "", other)
    finally:
        shared.close()


def alone_name(kind):
    return {"npm": "npm ci --offline", "pip": "pip --no-index --find-links", "cargo": "its vendored mode", "go": "GOPROXY=file://"}[kind]


def service(bench):
    """One line changed in a project of hundreds of packages, beside BuildKit with the usual `COPY package*.json`."""
    shared, engine = Packages(bench), bench.docker()
    try:
        folder = shared.folder("service", {"app": shared.projects["npm"]})
        steps = f"""sources:
  app: {{path: app}}
stages:
  build:
    from: {{debian: {bench.suite}, packages: [nodejs, npm]}}
    dependencies: [{{npm: package-lock.json}}]
    steps:
      - run: npm ci
        sees: [package.json, package-lock.json]
      - npm run build
    outputs: {{out: /src/app/dist}}"""
        shared.spec("service", steps, folder)
        base = f"{shared.at}/node.tar"
        if not os.path.exists(base):
            merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
            run(["mmdebstrap", "--variant=apt", merged, "--include=nodejs,npm", bench.suite, f"{base}.draft.tar",
                 sources_list(shared.url, bench.suite)])
            os.rename(f"{base}.draft.tar", base)
        engine.client("import", base, "bench-node")
        write(f"{folder}/Dockerfile", f"""FROM bench-node AS build
WORKDIR /src/app
COPY app/package*.json ./
RUN npm_config_registry={shared.url}/npm/ npm_config_audit=false npm_config_fund=false npm ci
COPY app .
RUN npm run build
FROM scratch
COPY --from=build /src/app/dist /out
""")
        write(f"{folder}/.dockerignore", "bulla-out\n")
        docker = ["build", "--network=host", "-q", "-t", "service", folder]
        store, serial = f"{bench.work}/store", itertools.count()

        def changed(build):
            with open(f"{folder}/app/src/seal.ts", "a") as file:
                file.write(f"// {next(serial)} {time.time_ns()}\n")
            return build()

        shared.bulla(folder, store, "build")
        engine.client(*docker)
        ours, theirs = paired(bench.runs, lambda: changed(lambda: shared.bulla(folder, store, "build")[0]),
                              lambda: changed(lambda: engine.client(*docker)))
        bench.table.times("one line changed in a front end of 330 packages", ours, "BuildKit", theirs, "≤ 1 ×", median(theirs))
    finally:
        shared.close()


def entries(bench):
    """The peak of memory for a lock file of 50,000 entries, which a step is given."""
    shared = Packages(bench)
    try:
        folder = f"{bench.work}/{bench.fresh('npm')}"
        many_npm(shared, f"{folder}/app", 50_000)
        shared.spec("npm", stage(shared, "npm", ["true >/tmp/out"]), folder)
        fetched, built, store = [], [], f"{bench.work}/{bench.fresh('store')}"
        first = shared.bulla(folder, store, "fetch", memory=fetched)[0]
        again = shared.bulla(folder, store, "build", memory=built)[0]
        mib = lambda values: f"{max(values) >> 20} MiB"
        bench.table.row("50,000 packages of npm fetched", mib(fetched), "", shown(first))
        bench.table.row("… given to a step", mib(built), "", shown(again))
    finally:
        shared.close()


def packed(files):
    """Packs files as the clients do; gives the bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for name, text in files:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return out.getvalue()


def many_npm(shared, place, count):
    """Makes so many small packages and their lock file."""
    entries = {"": {"name": "app", "version": "1.0.0"}}
    for at in range(count):
        name = f"many-{at}"
        bytes = packed([("package/package.json", json.dumps({"name": name, "version": "1.0.0"}).encode())])
        path = f"many/{name}-1.0.0.tgz"
        save(f"{shared.at}/mirror/{path}", bytes)
        integrity = "sha512-" + binascii.b2a_base64(hashlib.sha512(bytes).digest(), newline=False).decode()
        entries[f"node_modules/{name}"] = {"version": "1.0.0", "resolved": f"{shared.url}/{path}", "integrity": integrity}
    write(f"{place}/package.json", json.dumps({"name": "app", "version": "1.0.0"}))
    write(f"{place}/package-lock.json", json.dumps({"name": "app", "version": "1.0.0", "lockfileVersion": 3, "packages": entries}, indent=1))


def save(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


CASES = [prefetch, replay, service, entries]
