"""The programs that Bulla is measured beside."""

import os
import shutil
import socket
import subprocess
import time

from measure import run


def have(*programs):
    """Says whether all programs are there."""
    missing = [one for one in programs if not shutil.which(one) and not os.path.exists(one)]
    if missing:
        print(f"left out, for there is no {', '.join(missing)}", flush=True)
    return not missing


class Docker:
    """A Docker Engine of its own, with BuildKit or the classic builder in it."""

    def __init__(self, folder):
        self.host = f"unix://{folder}/docker.sock"
        os.makedirs(folder, exist_ok=True)
        paths = [f"--{key}={folder}/{name}" for key, name in
                 [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid")]]
        self.log = open(f"{folder}/log", "w")
        argv = ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false",
                f"--host={self.host}", *paths]
        self.daemon = subprocess.Popen(argv, stdout=self.log, stderr=self.log)
        # A client without the buildx plug-in has BuildKit only up to version 22.
        self.program = next((one for one in ["/usr/bin/docker", "docker"] if shutil.which(one)), "docker")
        for _ in range(300):
            if not subprocess.run([self.program, "-H", self.host, "version"], capture_output=True).returncode:
                break
            time.sleep(0.1)

    def client(self, *arguments):
        """Runs the client; gives the seconds."""
        return run([self.program, "-H", self.host, *arguments], env={**os.environ, "DOCKER_BUILDKIT": "1"})[0]

    def version(self):
        """Gives the engine's version and storage driver."""
        format = "Docker Engine {{.ServerVersion}}, {{.Driver}}"
        return subprocess.run([self.program, "-H", self.host, "info", "--format", format], capture_output=True,
                              text=True).stdout.strip()

    def close(self):
        """Ends the engine."""
        self.daemon.terminate()
        self.daemon.wait()


class Registry:
    """A registry of images (`docker-registry`) on loopback, with its data in a folder."""

    def __init__(self, folder):
        os.makedirs(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        with open(f"{folder}/config.yml", "w") as file:
            file.write(f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{self.address}'}}\n"
                       f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n")
        self.log = open(f"{folder}/log", "w")
        self.daemon = subprocess.Popen(["docker-registry", "serve", f"{folder}/config.yml"], stdout=self.log, stderr=self.log)
        for _ in range(300):
            with socket.socket() as trial:
                if not trial.connect_ex(("127.0.0.1", int(self.address.rsplit(":", 1)[1]))):
                    break
            time.sleep(0.1)

    def close(self):
        """Ends the registry."""
        self.daemon.terminate()
        self.daemon.wait()


def dockerfile(packages, step, base):
    """Writes the same build as a Dockerfile: the compiler from the mirror, the program into a root without it."""
    return f"""FROM {base} AS build
RUN apt-get update && apt-get install -y --no-install-recommends {packages}
WORKDIR /src
COPY . .
RUN {step}
FROM {base}
COPY --from=build /src/hello /usr/bin/hello
USER 65532
ENTRYPOINT ["/usr/bin/hello"]
"""


def sources_list(mirror, suite):
    """Writes apt's line for the mirror."""
    return f"deb [trusted=yes] {mirror} {suite} main"


def debian_source(package, place):
    """Unpacks a source package of this machine's release by apt, the ordinary client, with the machine's own mirrors and keys."""
    if os.path.exists(place):
        return place
    work = f"{place}-work"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(f"{work}/lists/partial")
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)"],
                             capture_output=True, text=True, check=True).stdout
    found = sorted({line.split(" ", 1)[1] for line in targets.splitlines() if line.startswith("Debian ")})
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    with open(f"{work}/sources.list", "w") as file:
        for suite, uri in (line.split(" ") for line in found if "backports" not in line):
            file.write(f"deb-src {keys} {uri} {suite} main\n")
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={work}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o",
           f"Dir::State::lists={work}/lists", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o",
           "APT::Sandbox::User="]
    run([*apt, "update"])
    run([*apt, "source", "--download-only", package], cwd=work)
    run(["sh", "-c", f"dpkg-source --no-check -x {work}/{package}_*.dsc {place}"])
    return place
