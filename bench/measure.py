"""Runs commands, takes their times and memory, and keeps what was found."""

import json
import os
import re
import statistics
import subprocess
import threading
import time


class Failed(Exception):
    """A command did not succeed."""


def run(argv, cwd=None, env=None, memory=None):
    """Runs a command to its end; gives the seconds it took and its standard error. `memory` takes the peak in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if memory is not None:
        threading.Thread(target=watch, args=(process, memory), daemon=True).start()
    _, stderr = process.communicate()
    took = time.perf_counter() - start
    if process.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: exit {process.returncode}\n{stderr[-2000:]}")
    return took, stderr


def watch(process, memory):
    """Takes the greatest resident size of the process itself, every few milliseconds; what it starts does not count."""
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
        except OSError:
            return
        if found:
            memory.append(int(found[1]) * 1024)
        time.sleep(0.005)


def spawn(argv):
    """Runs a command with as little of Python's own time as can be; gives the seconds."""
    start = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - start
    if status:
        raise Failed(f"{' '.join(argv)}: status {status}")
    return took


def paired(runs, *commands):
    """Runs the commands in turns, so that all meet the same load; gives the times of each."""
    times = [[] for _ in commands]
    for _ in range(runs):
        for one, command in zip(times, commands):
            one.append(command())
    return times


def events(stderr):
    """Reads `--progress json`: gives (activity, title, ending, seconds) of all that finished."""
    started, done = {}, []
    for line in stderr.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "started":
            started[event["id"]] = (event["activity"], event["title"])
        elif event["event"] == "finished":
            done.append((*started[event["id"]], event["ending"], event["milliseconds"] / 1000))
    return done


median = statistics.median


def shown(seconds):
    """Writes a time for people."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


class Table:
    """The rows that were measured."""

    def __init__(self):
        self.rows = []

    def row(self, what, ours="", peer="", theirs="", target="", met=None):
        """Adds a row and prints it; `met` is whether the target was met, where there is one."""
        verdict = {None: "", True: "met", False: "**missed**"}[met]
        self.rows.append((what, ours, peer, theirs, target, verdict))
        print(f"| {' | '.join(self.rows[-1])} |", flush=True)

    def times(self, what, ours, peer=None, theirs=None, target="", limit=None):
        """Adds medians; `limit` is the most that ours may be."""
        beside = f"{shown(median(theirs))} (× {median(ours) / median(theirs):.2f})" if theirs else ""
        met = None if limit is None else median(ours) <= limit
        self.row(what, shown(median(ours)), peer or "", beside, target, met)
