"""Signing and verifying, beside cosign."""

import glob
import itertools
import os

from measure import median, paired, run
from peers import Registry, have

SPEC = """bulla: 1
name: signed
epoch: 1700000000
sources:
  app: {path: app}
image:
  from: {scratch: {}}
  copy:
    - {source: app, to: /app}
  user: 65532
"""
PASSPHRASE = "correct horse"


def program():
    """Gives cosign: that of the tests' cache, else that of the path."""
    cached = sorted(glob.glob(f"{os.environ.get('BULLA_TESTKIT_CACHE', '/var/cache/bulla-testkit')}/cosign-v*"))
    return cached[-1] if cached else "cosign" if have("cosign") else None


def evidence(bench):
    """An image in a registry on loopback signed and verified by the same key, by both; each signature is of an image that has none."""
    cosign = program()
    if cosign is None or not have("docker-registry"):
        return
    folder = f"{bench.work}/{bench.fresh('evidence')}"
    os.makedirs(f"{folder}/app")
    for name, text in [("bulla.yaml", SPEC), ("app/data", "x" * 1000)]:
        with open(f"{folder}/{name}", "w") as file:
            file.write(text)
    own = {**bench.env, "BULLA_STORE": f"{bench.work}/store", "BULLA_KEY_PASSWORD": PASSPHRASE}
    other = {"PATH": os.environ["PATH"], "HOME": folder, "COSIGN_PASSWORD": PASSPHRASE}
    ours = lambda *argv: run([bench.bulla, *argv], cwd=folder, env=own)[0]
    theirs = lambda *argv: run([cosign, *argv], cwd=folder, env=other)[0]
    ours("build", "--evidence", "none")
    # A key of cosign's, which both read.
    theirs("generate-key-pair", "--output-key-prefix", "release")
    server, names = Registry(f"{bench.work}/{bench.fresh('registry-data')}"), itertools.count()
    try:
        def fresh():
            there = f"{server.address}/team/signed{next(names)}:1"
            ours("copy", "--no-referrers", "oci:bulla-out", there)
            return there

        # The index and the manifest of its platform, in the current form, without a log: what each does when it is asked to.
        plain = ["--allow-http-registry", "--new-bundle-format=true"]
        silent = ["--recursive", "--tlog-upload=false", "--use-signing-config=false", "--yes"]
        times, others = paired(2 * bench.runs, lambda: ours("sign", fresh(), "--key", "release.key", "--form", "bundle"),
                               lambda: theirs("sign", "--key", "release.key", *plain, *silent, fresh()))
        bench.table.times("an image in a registry signed", times, "cosign sign", others, "≤ 1 ×", median(others))
        there = fresh()
        ours("sign", there, "--key", "release.key", "--form", "bundle")
        verify = ["verify", "--key", "release.pub", "--insecure-ignore-tlog=true", "--offline", *plain, there]
        times, others = paired(2 * bench.runs, lambda: ours("verify", there, "--key", "release.pub"), lambda: theirs(*verify))
        bench.table.times("… verified", times, "cosign verify", others, "≤ 1 ×", median(others))
    finally:
        server.close()


CASES = [evidence]
