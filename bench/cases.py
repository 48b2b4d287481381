"""The cases, each measured beside the peer that does the same."""

import argparse
import glob
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib

from measure import Failed, Table, events, median, paired, run, shown, spawn
import evidence
import inventory
import packages
from peers import Docker, Registry, debian_source, dockerfile, have, sources_list

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
WORK = os.environ.get("BENCH_DIR", "/var/tmp/bulla-bench")
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR", f"{ROOT}/target"), "release")
BULLA = f"{RELEASE}/bulla"
PORT = 7790
MIRROR = f"http://127.0.0.1:{PORT}"
PACKAGES = ["gcc", "libc6-dev", "make", "libc6", "apt", "nginx-light"]
HELLO = """bulla: 1
name: hello
sources:
  app: {{path: .}}
stages:
  build:
    from: {{debian: {suite}, packages: [gcc, libc6-dev]}}
    steps:
{steps}
    outputs: {{hello: /src/app/{output}}}
image:
  from: {{debian: {suite}, packages: [libc6]}}
  copy:
    - {{output: build.hello, to: /usr/bin/hello}}
  user: 65532
"""
COMPILE = "cc -O2 -o hello hello.c"


def codename():
    with open("/etc/os-release") as release:
        return dict(line.rstrip().split("=", 1) for line in release if "=" in line)["VERSION_CODENAME"]


class Bench:
    """What the cases share: the mirror, a store, the engine, the table."""

    def __init__(self, runs):
        self.runs, self.suite, self.table = runs, codename(), Table()
        os.makedirs(WORK, exist_ok=True)
        essential = subprocess.run(["dpkg-query", "-Wf", "${Package} ${Essential}\n"], capture_output=True, text=True)
        self.essential = [line.split()[0] for line in essential.stdout.splitlines() if line.endswith(" yes")]
        self.work, self.root, self.release, self.bulla = WORK, ROOT, RELEASE, BULLA
        argv = [f"{RELEASE}/bulla-mirror", f"{WORK}/mirror", str(PORT), *PACKAGES, *self.essential]
        self.mirror = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        if not self.mirror.stdout.readline().startswith("http"):
            sys.exit("the mirror did not start")
        self.env = {"PATH": os.environ["PATH"], "HOME": f"{WORK}/home", "BULLA_CONFIG": f"{WORK}/mirror/config.toml"}
        os.makedirs(f"{WORK}/home", exist_ok=True)
        self.engine, self.serial = None, itertools.count()

    def close(self):
        self.mirror.terminate()
        self.mirror.wait()
        if self.engine:
            self.engine.close()
        shutil.rmtree(f"{WORK}/fresh", ignore_errors=True)

    def docker(self):
        """Starts the engine when it is first asked for, with a root of the same packages as its base image."""
        if self.engine is None:
            self.engine = Docker(f"{WORK}/docker")
            if not os.path.exists(f"{WORK}/base.tar"):
                line = sources_list(MIRROR, self.suite)
                # apt's own packages want the merged /usr to be there before them.
                merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
                run(["mmdebstrap", "--variant=apt", merged, self.suite, f"{WORK}/draft.tar", line])
                os.rename(f"{WORK}/draft.tar", f"{WORK}/base.tar")
            self.engine.client("import", f"{WORK}/base.tar", "bench-base")
            self.table.row("peer", "", self.engine.version())
        return self.engine

    def fresh(self, name):
        """Gives a place that never was. ext4 avoids inodes that were freed in the last minutes, and looks at each of them when it
        makes one: what is removed slows what comes next, so nothing is removed before the end."""
        return f"fresh/{name}-{os.getpid()}-{next(self.serial)}"

    def project(self, name, steps=COMPILE, output="hello"):
        """Makes the project of one C file anew."""
        folder = f"{WORK}/{self.fresh(name)}"
        os.makedirs(folder)
        listed = "\n".join(f"      - {step}" for step in steps.splitlines())
        write(f"{folder}/bulla.yaml", HELLO.format(suite=self.suite, steps=listed, output=output))
        shutil.copy(f"{ROOT}/examples/hello/hello.c", folder)
        write(f"{folder}/Dockerfile", dockerfile("gcc libc6-dev", COMPILE, "bench-base"))
        write(f"{folder}/.dockerignore", "bulla-out\n")
        return folder

    def build(self, folder, store="store", memory=None, arguments=()):
        """Builds with Bulla; gives the seconds and what finished."""
        argv = [BULLA, "--progress", "json", "--store", f"{WORK}/{store}", "build", *arguments]
        took, stderr = run(argv, cwd=folder, env=self.env, memory=memory)
        return took, events(stderr)

    def debs(self, folder, root):
        """Gives the files of the packages that the lock of a project has for a root."""
        with open(f"{folder}/bulla.lock", "rb") as file:
            lock = tomllib.load(file)
        pins = {(pin["name"], pin["version"]): pin["path"] for pin in lock["package"]}
        packages = next(found["packages"] for found in lock["root"] if found["name"] == root)
        return [f"{WORK}/mirror/{pins[tuple(package.split('=', 1))]}" for package in packages]


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def start(bench):
    """A sandboxed /bin/true, everything observed."""
    root = f"{WORK}/true/root"
    os.makedirs(f"{root}/bin", exist_ok=True)
    for name in ["proc", "dev", "tmp", "sys"]:
        os.makedirs(f"{root}/{name}", exist_ok=True)
    write(f"{WORK}/true.c", "int main(void) { return 0; }\n")
    run(["cc", "-static", "-O2", "-o", f"{root}/bin/true", f"{WORK}/true.c"])
    out = subprocess.run([f"{RELEASE}/examples/start", root, "500"], capture_output=True, text=True, check=True).stdout
    bench.table.row("sandboxed true: " + out.strip())
    value = lambda name: out.split(name + " ")[1].split(",")[0].strip()
    number = lambda text: float(text[:-2]) * {"ms": 1e-3, "µs": 1e-6}[text[-2:]]
    ours, last = number(value("median")), number(value("p99"))
    if have("bwrap"):
        bwrap = ["bwrap", "--unshare-all", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]
        times = sorted(spawn(bwrap) for _ in range(200))
        bench.table.times("sandboxed `true`, median", [ours], "bubblewrap", times, "< 2.5 ms", 2.5e-3)
        bench.table.times("sandboxed `true`, 99th percentile", [last], "bubblewrap", [times[197]], "< 5 ms", 5e-3)
    if have("crun"):
        bundle = f"{WORK}/true"
        if os.path.exists(f"{bundle}/config.json"):
            os.remove(f"{bundle}/config.json")
        run(["crun", "spec"], cwd=bundle)
        with open(f"{bundle}/config.json") as file:
            text = file.read().replace('"rootfs"', '"root"').replace('"sh"', '"/bin/true"')
        write(f"{bundle}/config.json", text.replace('"terminal": true', '"terminal": false'))
        bench.table.times("sandboxed `true`, median", [ours], "crun", crun(bundle))
    alone = sorted(spawn([f"{root}/bin/true"]) for _ in range(200))
    bench.table.row("limit: the same `true`, not sandboxed", shown(median(alone)), "99th percentile", shown(alone[197]))


def crun(bundle):
    """Gives the times of a hundred runs of crun, where it sees cgroups of version 2 alone: it refuses a mixture."""
    loop = (f"import sys; sys.path.insert(0, {HERE!r}); from measure import spawn; "
            f"print([spawn(['crun', '--cgroup-manager=disabled', 'run', '-b', {bundle!r}, f'bench-{{n}}']) for n in range(100)])")
    script = "umount -R -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\""
    argv = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-B", "-c", loop]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def hello(bench):
    """The cold build of one C file, beside BuildKit; and where its time goes."""
    folder, engine = bench.project("hello"), bench.docker()
    bench.build(folder)
    last = []

    def ours():
        took, last[:] = bench.build(folder, bench.fresh("store"))
        return took

    def buildkit():
        engine.client("builder", "prune", "-af")
        return engine.client("build", "--network=host", "--no-cache", "-q", "-t", "hello", folder)

    times, theirs = paired(bench.runs, ours, buildkit)
    bench.table.times("cold `hello`", times, "BuildKit", theirs, "≤ ½", median(theirs) / 2)
    for activity, title, ending, seconds in last:
        bench.table.row(f"… {activity}: {title}", shown(seconds), ending)
    if have("buildah"):
        bench.table.times("cold `hello`", times, "Buildah", [buildah(folder) for _ in range(bench.runs)])
    each = "for deb; do sha256sum $deb; dpkg-deb --fsys-tarfile $deb; done >/dev/null"
    debs = " ".join(bench.debs(folder, "stage.build"))
    limit = run(["sh", "-c", f"printf '%s\\n' {debs} | xargs -P {os.cpu_count()} -n 2 sh -c '{each}' sh"])[0]
    bench.table.row("limit: sha256sum and dpkg-deb of the same packages, all cores", shown(limit), "and their scripts, below")


def buildah(folder):
    """Builds the same Dockerfile with Buildah, its layers on overlay."""
    base = ["--root", f"{WORK}/buildah", "--runroot", f"{WORK}/buildah-run"]
    if not os.path.exists(f"{WORK}/buildah"):
        write(f"{WORK}/Base", "FROM scratch\nADD base.tar /\n")
        run(["buildah", *base, "bud", "-q", "-t", "bench-base", "-f", f"{WORK}/Base", WORK])
    return run(["buildah", *base, "bud", "--network=host", "--isolation=chroot", "--no-cache", "--pull-never", "-q",
                "-t", "hello", folder])[0]


def again(bench):
    """The unchanged build, and the one with a changed file."""
    folder, engine = bench.project("again"), bench.docker()
    docker = ["build", "--network=host", "-q", "-t", "hello", folder]
    bench.build(folder)
    engine.client(*docker)
    ours, theirs = paired(4 * bench.runs, lambda: bench.build(folder)[0], lambda: engine.client(*docker))
    bench.table.times("unchanged `hello`", ours, "BuildKit", theirs, "< 20 ms", 20e-3)
    serial = iter(range(1_000_000))

    def change():
        with open(f"{folder}/hello.c", "a") as file:
            file.write(f"/* {next(serial)} {time.time_ns()} */\n")

    def changed(build):
        change()
        return build()

    host = lambda: run(["sh", "-euc", COMPILE], cwd=folder)[0]
    found = paired(2 * bench.runs, lambda: changed(lambda: bench.build(folder)[0]),
                   lambda: changed(lambda: engine.client(*docker)), lambda: changed(host))
    bench.table.times("one file changed", found[0], "BuildKit", found[1])
    over = [one - other for one, other in zip(found[0], found[2])]
    bench.table.times("… beyond the compiler's own time", over, target="≤ 100 ms", limit=0.1)


def tree(bench):
    """A source of 100,000 files, unchanged, beside git."""
    folder = bench.project("tree", "true", "hello.c")
    for at in range(100_000):
        if at % 50 == 0:
            os.makedirs(f"{folder}/dir{at // 1000}/sub{at // 50 % 20}")
        write(f"{folder}/dir{at // 1000}/sub{at // 50 % 20}/file{at}.c", f"int f{at};\n" * 20)
    write(f"{folder}/.gitignore", "bulla-out/\nbulla.lock\n")
    for arguments in [["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@mirror.example", "commit", "-qm", "x"]]:
        run(["git", *arguments], cwd=folder)
    time.sleep(1.1)
    run(["git", "status"], cwd=folder)
    first = bench.build(folder)[0]
    bench.table.row("100,000 files, the first time", shown(first))
    ours, git = paired(2 * bench.runs, lambda: bench.build(folder)[0], lambda: run(["git", "status"], cwd=folder)[0])
    bench.table.times("100,000 files, unchanged", ours, "git status", git, "≤ 1.2 × + 20 ms", 1.2 * median(git) + 0.02)


def roots(bench):
    """The packages of a root fetched, verified and laid out, without scripts, beside mmdebstrap."""
    if not have("mmdebstrap"):
        return
    folder = bench.project("roots")
    with open(f"{folder}/bulla.yaml") as file:
        spec = file.read()
    bench.build(folder)
    names = [os.path.basename(deb).split("_")[0] for deb in bench.debs(folder, "stage.build")]
    line = sources_list(MIRROR, bench.suite)
    serial = itertools.count(900_000_000 + int(time.time()) % 100_000_000)

    def ours():
        # What is made anew when the packages are unpacked already is the farm and the scripts: all else is what is asked for.
        parts, store = [], bench.fresh("store")
        for epoch in [next(serial), next(serial)]:
            write(f"{folder}/bulla.yaml", spec + f"epoch: {epoch}\n")
            _, done = bench.build(folder, store)
            parts.append(sum(seconds for activity, _, _, seconds in done if activity in ("fetch", "root")))
        return parts[0] - parts[1]

    def theirs():
        place = f"{WORK}/{bench.fresh('extract')}"
        os.makedirs(place)
        return run(["mmdebstrap", "--variant=extract", f"--include={','.join(names)}", bench.suite, place, line])[0]

    times, others = paired(bench.runs, ours, theirs)
    bench.table.times(f"{len(names)} packages fetched, verified and unpacked", times, "mmdebstrap, extracting", others,
                      "≤ ⅓", median(others) / 3)


def scripts(bench):
    """A root configured by its packages' scripts, beside dpkg's own configuration of the same packages in a chroot."""
    folder = bench.project("scripts")
    bench.build(folder)
    with open(f"{folder}/bulla.yaml") as file:
        spec = file.read()
    debs = bench.debs(folder, "stage.build")
    unpacked = f"{WORK}/unpacked"
    if not os.path.exists(f"{unpacked}/ready"):
        unpack(debs, unpacked)
    serial = itertools.count(1_000_000_000 + int(time.time()) % 100_000_000)

    def ours():
        # Another epoch is another root, of packages that are unpacked already.
        write(f"{folder}/bulla.yaml", spec + f"epoch: {next(serial)}\n")
        _, done = bench.build(folder)
        return sum(seconds for activity, _, _, seconds in done if activity == "root")

    def theirs():
        copy = f"{WORK}/{bench.fresh('copy')}"
        run(["cp", "-a", f"{unpacked}/root", copy])
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        return run(["chroot", copy, "dpkg", "--configure", "-a"], env=env)[0]

    times, others = paired(bench.runs, ours, theirs)
    bench.table.times(f"a root of {len(debs)} unpacked packages, its farm made and its scripts run", times,
                      "dpkg --configure -a, in a chroot", others, "≤ 1.1 ×", 1.1 * median(others))


def unpack(debs, place):
    """Unpacks packages by dpkg into a root that can run it, to be configured."""
    root = f"{place}/root"
    shutil.rmtree(place, ignore_errors=True)
    for name in ["bin", "sbin", "lib", "lib64"]:
        os.makedirs(f"{root}/usr/{name}")
        os.symlink(f"usr/{name}", f"{root}/{name}")
    os.makedirs(f"{root}/debs")
    for deb in debs:
        shutil.copy(deb, f"{root}/debs")
        run(["sh", "-c", f"dpkg-deb --fsys-tarfile {deb} | tar -x --keep-directory-symlink -C {root}"])
    for name in ["passwd", "group"]:
        shutil.copy(f"{root}/usr/share/base-passwd/{name}.master", f"{root}/etc/{name}")
    for name in ["info", "updates", "triggers"]:
        os.makedirs(f"{root}/var/lib/dpkg/{name}", exist_ok=True)
    write(f"{root}/var/lib/dpkg/status", "")
    run(["chroot", root, "sh", "-c", "dpkg --force-depends --force-confnew --unpack /debs/*.deb"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})
    shutil.rmtree(f"{root}/debs")
    write(f"{place}/ready", "")


def layers(bench):
    """An image of 100 MB of packages: made, changed, and made again of kept parts."""
    folder = bench.project("layers", "cat hello.c >hello")
    path = f"{folder}/bulla.yaml"
    with open(path) as file:
        spec = file.read()
    # The compiler is in the image here, for its size.
    write(path, spec.replace("packages: [libc6]}", "packages: [gcc, libc6-dev]}\n  allow: {toolchain: it is measured}"))
    assembling = lambda done: sum(seconds for activity, _, _, seconds in done if activity == "assemble")
    store = bench.fresh("store")
    first = assembling(bench.build(folder, store)[1])
    changed = []
    for number in range(bench.runs):
        with open(f"{folder}/hello.c", "a") as file:
            file.write(f"/* {number} */\n")
        changed.append(assembling(bench.build(folder, store)[1]))
    same = [assembling(bench.build(folder, store)[1]) for _ in range(bench.runs)]
    blobs = [blob for blob in glob.glob(f"{folder}/bulla-out/blobs/sha256/*") if zipped(blob)]
    tars = []
    for number, blob in enumerate(blobs):
        tars.append(f"{WORK}/layer{number}.tar")
        run(["sh", "-c", f"gzip -dc {blob} >{tars[-1]}"])
    size = sum(os.path.getsize(tar) for tar in tars)
    one = "sha256sum $1; gzip -6nc $1 | sha256sum"
    peer = run(["sh", "-c", f"printf '%s\\n' {' '.join(tars)} | xargs -P {os.cpu_count()} -n 1 sh -c '{one}' sh"])[0]
    for tar in tars:
        os.remove(tar)
    bench.table.times(f"layers of {size / 1e6:.0f} MB made for the first time", [first], "sha256sum, gzip -6, sha256sum", [peer],
                      "≤ hash + compress", peer)
    bench.table.times("… of which one small file changed", changed)
    bench.table.times("… unchanged", same, target="nothing", limit=0.005)


def zipped(path):
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def memory(bench):
    """The most memory that the program itself takes."""
    peak = []
    bench.build(bench.project("memory"), bench.fresh("store"), peak)
    bench.table.row("peak memory of a cold `hello`", f"{max(peak) / 2**20:.0f} MiB", target="< 200 MB", met=max(peak) < 200e6)


def steps(bench):
    """Stages of 10, 100 and 1,000 steps."""
    for count in [10, 100, 1000]:
        folder = bench.project(f"steps{count}", "\n".join(f"echo {number} > s{number}" for number in range(count)), "s0")
        first = bench.build(folder)[0]
        second = [bench.build(folder)[0] for _ in range(bench.runs)]
        bench.table.row(f"{count} steps, the first time", shown(first), "a step", shown(first / count))
        bench.table.times(f"{count} steps, unchanged", second)


def sources(bench):
    """Sources from 1 MB to 1 GB, in files of 1 MB."""
    for size in [1, 10, 100, 1000]:
        folder = bench.project(f"source{size}", "true", "hello.c")
        for number in range(size):
            with open(f"{folder}/data{number}", "wb") as file:
                file.write(os.urandom(1 << 20))
        peak = []
        first = bench.build(folder, memory=peak)[0]
        second = [bench.build(folder)[0] for _ in range(bench.runs)]
        bench.table.row(f"a source of {size} MB, the first time", shown(first), "memory", f"{max(peak) / 2**20:.0f} MiB")
        bench.table.times(f"a source of {size} MB, unchanged", second)


def redis(bench):
    """`make` of Redis in a step, beside the same in bubblewrap over this host's own system."""
    if not have("bwrap"):
        return
    source = debian_source("redis", f"{WORK}/redis-source")
    folder = bench.project("redis", "make -j2 MALLOC=libc", "src/redis-server")
    shutil.copytree(source, folder, dirs_exist_ok=True, symlinks=True)
    spec = HELLO.format(suite=bench.suite, steps="      - make -j2 MALLOC=libc", output="src/redis-server")
    write(f"{folder}/bulla.yaml", spec.replace("libc6-dev]", "libc6-dev, make]"))
    bench.build(folder)

    def ours():
        _, done = bench.build(folder, arguments=["--no-cache"])
        return sum(seconds for activity, _, _, seconds in done if activity == "step")

    def theirs():
        copy = f"{WORK}/{bench.fresh('redis')}"
        shutil.copytree(source, copy, symlinks=True)
        argv = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--bind", copy, copy, "--proc", "/proc", "--dev", "/dev",
                "--tmpfs", "/tmp", "--chdir", copy]
        return run([*argv, "make", "-j2", "MALLOC=libc"], env={"PATH": "/usr/bin:/bin"})[0]

    times, others = paired(bench.runs, ours, theirs)
    bench.table.times("`make` of Redis", times, "bubblewrap", others, "≤ 1.05 ×", 1.05 * median(others))


def export(bench):
    """An archive for Docker from a store that has all, beside skopeo making it from our layout."""
    folder = bench.project("export")
    bench.build(folder)
    if not have("skopeo"):
        return

    def skopeo():
        if os.path.exists(f"{WORK}/skopeo.tar"):
            os.remove(f"{WORK}/skopeo.tar")
        return run(["skopeo", "copy", "-q", f"oci:{folder}/bulla-out", f"docker-archive:{WORK}/skopeo.tar"])[0]

    ours, theirs = paired(bench.runs, lambda: bench.build(folder, arguments=["-o", f"docker-archive:{WORK}/ours.tar"])[0], skopeo)
    bench.table.times("an archive for Docker, nothing changed", ours, "skopeo copy", theirs)


def registry(bench):
    """An image of 1 GB to a registry and back, beside skopeo."""
    if not have("skopeo", "docker-registry"):
        return
    folder = f"{WORK}/{bench.fresh('registry')}"
    os.makedirs(f"{folder}/data")
    for number in range(8):
        with open(f"{folder}/data/{number}", "wb") as file:
            file.write(os.urandom(125 << 20))
    copies = "".join(f"    - {{source: data/{number}, to: /data/{number}, layer: l{number}}}\n" for number in range(8))
    write(f"{folder}/bulla.yaml", "bulla: 1\nname: large\nsources:\n  data: {path: data}\nimage:\n  from: {scratch: {}}\n"
          f"  copy:\n{copies}  user: 65532\n")
    bench.build(folder)
    env = {**bench.env, "BULLA_STORE": f"{WORK}/store"}
    names = itertools.count()
    ours = lambda *argv: run([BULLA, *argv], cwd=folder, env=env)[0]
    skopeo = lambda *argv: run(["skopeo", "copy", "-q", *argv])[0]
    place = lambda: f"{folder}/back{next(names)}"
    layout = f"oci:{folder}/bulla-out"

    def fresh(push):
        """Pushes to a registry that has nothing: skopeo remembers which repositories of a registry have a blob, and mounts it."""
        server = Registry(f"{WORK}/{bench.fresh('registry-data')}")
        try:
            return push(f"{server.address}/team/large:1")
        finally:
            server.close()

    times, theirs = paired(
        bench.runs, lambda: fresh(lambda to: ours("push", to)),
        lambda: fresh(lambda to: skopeo("--dest-tls-verify=false", layout, f"docker://{to}")))
    bench.table.times("an image of 1 GB pushed", times, "skopeo copy", theirs)
    server = Registry(f"{WORK}/{bench.fresh('registry-data')}")
    try:
        there = f"{server.address}/team/large:1"
        ours("push", there)
        times, theirs = paired(bench.runs, lambda: ours("copy", there, f"oci:{place()}"),
                               lambda: skopeo("--src-tls-verify=false", f"docker://{there}", f"oci:{place()}"))
        bench.table.times("the same pulled into a layout", times, "skopeo copy", theirs)
        again, others = paired(bench.runs, lambda: ours("push", there),
                               lambda: skopeo("--dest-tls-verify=false", layout, f"docker://{there}"))
        bench.table.times("the same pushed again, nothing new", again, "skopeo copy", others)
    finally:
        server.close()


def edit(bench):
    """One file of 20,000 changed, and a step that sees them all, beside BuildKit."""
    folder, engine = bench.project("edit", "wc -l dir3/sub0/file3000.c > count", "count"), bench.docker()
    for at in range(20_000):
        if at % 50 == 0:
            os.makedirs(f"{folder}/dir{at // 1000}/sub{at // 50 % 20}")
        write(f"{folder}/dir{at // 1000}/sub{at // 50 % 20}/file{at}.c", f"int f{at};\n" * 20)
    write(f"{folder}/Dockerfile", """FROM bench-base AS build
WORKDIR /src
COPY . .
RUN wc -l dir3/sub0/file3000.c > count
FROM bench-base
COPY --from=build /src/count /usr/bin/count
""")
    docker = ["build", "--network=host", "-q", "-t", "edit", folder]
    serial = iter(range(1_000_000))

    def changed(build):
        with open(f"{folder}/dir3/sub0/file3000.c", "a") as file:
            file.write(f"/* {next(serial)} {time.time_ns()} */\n")
        return build()

    bench.build(folder)
    engine.client(*docker)
    ours, theirs = paired(2 * bench.runs, lambda: changed(lambda: bench.build(folder)[0]),
                          lambda: changed(lambda: engine.client(*docker)))
    bench.table.times("one file of 20,000 changed", ours, "BuildKit", theirs)


def ci(bench):
    """A build on a machine that has nothing, with a warm store in a registry, beside BuildKit with its cache there."""
    if not have("docker-registry"):
        return
    server = Registry(f"{WORK}/{bench.fresh('registry-data')}")
    place = f"{WORK}/{bench.fresh('ci')}"
    os.makedirs(place)
    try:
        warm(bench, server.address, place)
    finally:
        server.close()


def warm(bench, address, place):
    """Fills the registry by both, and measures what each makes of it."""
    folder, engine = bench.project("ci"), bench.docker()
    key = {**bench.env, "BULLA_SIGNING_KEY": f"{place}/signing.key"}
    run([BULLA, "store", "key", "--new"], env=key)
    with open(bench.env["BULLA_CONFIG"]) as file:
        config = file.read()
    write(f"{place}/config.toml", f'{config}\n[store]\nremote = "oci://{address}/bulla"\nwrite-from = ["*"]\n')
    ours_env = {**key, "BULLA_CONFIG": f"{place}/config.toml"}

    def ours():
        return run([BULLA, "--store", f"{WORK}/{bench.fresh('store')}", "build"], cwd=folder, env=ours_env)[0]

    filled = ours()
    images = {"build": f"{address}/hello-build", "": f"{address}/hello"}
    cached = [option for image in images.values() for option in ["--cache-from", image]]

    def build(stage, image):
        target = ["--target", stage] if stage else []
        return engine.client("build", "--network=host", "-q", "--build-arg", "BUILDKIT_INLINE_CACHE=1", *cached, *target,
                             "-t", image, folder)

    # Inline caches have the layers of an image alone, so the stage is an image too.
    for stage, image in images.items():
        build(stage, image)
        engine.client("push", "-q", image)

    def buildkit():
        engine.client("image", "rm", "-f", *images.values())
        engine.client("builder", "prune", "-af")
        return build("", images[""])

    times, theirs = paired(bench.runs, ours, buildkit)
    bench.table.times("cold `hello` with a warm registry store", times, "BuildKit with its registry cache", theirs)
    bench.table.row("… filled by its first build", shown(filled))


CASES = {case.__name__: case for case in [start, hello, again, tree, roots, scripts, layers, memory, steps, sources, redis, export,
                                          registry, edit, ci, *packages.CASES, *inventory.CASES, *evidence.CASES]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    wish = parser.parse_args()
    if wish.list:
        return print("\n".join(f"{name}: {case.__doc__}" for name, case in CASES.items()))
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} CPUs, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}")
    print("| what | Bulla | beside | takes (× ours) | target | |\n| --- | --- | --- | --- | --- | --- |")
    # Ended from outside, it still ends the mirror and the engine.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(wish.runs)
    try:
        for name in wish.cases or CASES:
            try:
                CASES[name](bench)
            except Failed as failed:
                bench.table.row(f"{name} failed: {str(failed).splitlines()[0]}")
                print(failed, file=sys.stderr)
    finally:
        bench.close()
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
