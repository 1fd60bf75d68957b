"""The rig is tested itself: of nodes with a deliberate bug it says which promise they break; and what a power cut takes is what was
not synced."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts/lib"))

from faults.shim import build, cut_power, noting  # noqa: E402

needs_a_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler is installed")

# Writes and syncs as nodes do, each file in another way, and then waits for the end.
WRITER = """
import mmap, os, sys, time
os.chdir(sys.argv[1])
folder = os.getcwd()

def file(name, flags=0):
    return os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT | flags)

synced = file("synced")
os.pwrite(synced, b"a" * 8192, 0)
os.pwrite(synced, b"b" * 100, 1000)
os.fdatasync(synced)

changed = file("changed")
os.pwrite(changed, b"a" * 8192, 0)
os.fsync(changed)
os.pwrite(changed, b"b" * 4096, 2048)
os.ftruncate(changed, 5000)
os.pwrite(changed, b"c" * 10, 20000)
os.write(changed, b"d")

os.pwrite(file("never"), b"a" * 5000, 0)

# A log segment: room for it, then whole blocks past the page cache.
segment = file("segment", os.O_DIRECT)
os.posix_fallocate(segment, 0, 65536)
block = mmap.mmap(-1, 4096)
block[:] = b"s" * 4096
os.pwrite(segment, block, 0)
os.fdatasync(segment)
os.pwrite(segment, block, 4096)

# Another file takes its place, under its name or under its inode's number.
os.pwrite(file("old"), b"old", 0)
new = file("new")
os.pwrite(new, b"new", 0)
os.fdatasync(new)
os.rename(f"{folder}/new", f"{folder}/old")
gone = file("gone")
os.pwrite(gone, b"gone", 0)
os.unlink(f"{folder}/gone")
os.pwrite(gone, b"gone", 4)
os.close(gone)
for number in range(20):
    heir = file(f"heir-{number}")
    os.pwrite(heir, b"heir", 0)
    os.fdatasync(heir)
    os.close(heir)
print("done", flush=True)
time.sleep(60)
"""


def after_a_power_cut(folder, kept):
    """What the writer leaves behind, and how many of its changes are lost."""
    data, undo = folder / "data", folder / "undo"
    data.mkdir(parents=True)
    environment = {**os.environ, **noting(build(folder, "-Wall", "-Wextra", "-Werror"), data, undo)}
    process = subprocess.Popen([sys.executable, "-c", WRITER, data], env=environment, text=True, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "done\n"
        # A process sees what it has written, whether or not a power cut would leave it.
        assert (data / "changed").stat().st_size == 20010
        assert (data / "never").read_bytes() == b"a" * 5000
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    lost = cut_power(data, undo, random.Random(1), kept)
    assert list(undo.iterdir()) == []
    return {path.name: path.read_bytes() for path in data.iterdir()}, lost


@needs_a_compiler
def test_a_power_cut_takes_what_was_not_synced_and_nothing_else(tmp_path):
    files, lost = after_a_power_cut(tmp_path, 0.0)
    assert lost == 6
    assert files["synced"] == b"a" * 1000 + b"b" * 100 + b"a" * 7092
    assert files["changed"] == b"a" * 8192
    assert files["never"] == b""
    assert files["segment"] == b"s" * 4096 + bytes(61440)
    assert files["old"] == b"new" and "gone" not in files
    assert all(files[f"heir-{number}"] == b"heir" for number in range(20))


@needs_a_compiler
def test_a_power_cut_may_leave_some_sectors_of_what_was_not_synced(tmp_path):
    files, _ = after_a_power_cut(tmp_path, 0.5)
    assert files["segment"][:4096] == b"s" * 4096 and files["segment"][8192:] == bytes(57344)
    sectors = [files["segment"][place:place + 512] for place in range(4096, 8192, 512)]
    assert set(sectors) == {b"s" * 512, bytes(512)}


# So short a log that a node that was away for a few seconds gets a snapshot.
SHORT_LOG = {"CAIRN_RAFT_LOG_ENTRIES": "64", "CAIRN_RAFT_LOG_BYTES": "65536"}
# Each defect, which fault shows it, to which clients, in how many minutes, and who says so.
DEFECTS = [
    ("skipLogSync", "power-cut", "set", "0.15", "acknowledged inserts are there", {}),
    ("skipLogSync", "power-cut", "swift-set", "0.15", "acknowledged inserts are there, through the Swift client", {}),
    ("serveReadOnExpiredLease", "frozen", "register", "0.3", "registers are linearizable", {}),
    ("leaveOldIndexEntries", "sigkill", "indexed", "0.1", "documents and index entries agree", {}),
    ("repeatRetriedWrite", "sigkill", "retry", "0.1", "retried writes happen once", {}),
    ("omitTableFromSnapshot", "sigkill", "set", "0.15", "no replica is damaged", SHORT_LOG),
]
DEBUG_BINARY = pathlib.Path(os.environ.get("CAIRN_DEBUG_BINARY", ROOT / ".build/debug/cairn"))
needs_a_debug_build = pytest.mark.skipif(not DEBUG_BINARY.exists(), reason="no debug build, which alone has deliberate bugs")


def run(tmp_path, *words, **environment):
    environment = {**os.environ, "CAIRN_FAULTS_DIR": str(tmp_path / "runs"), **environment}
    done = subprocess.run(
        [str(ROOT / "scripts/faults"), "run", *words, "--seed", "1"], env=environment, text=True, capture_output=True, timeout=400)
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    return done


@needs_a_compiler
@needs_a_debug_build
@pytest.mark.parametrize("defect, fault, workloads, minutes, checker, environment", DEFECTS)
def test_a_deliberate_bug_is_found(tmp_path, defect, fault, workloads, minutes, checker, environment):
    words = (fault, "--workloads", workloads, "--minutes", minutes, "--defect", defect)
    done = run(tmp_path, *words, CAIRN_BINARY=str(DEBUG_BINARY), **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["defect"] == defect and f"--defect {defect}" in told["command"]
    assert told["verdicts"][checker] == "broken", done.stdout


@needs_a_debug_build
def test_a_bug_that_nodes_cannot_have_is_refused(tmp_path):
    unknown = run(tmp_path, "sigkill", "--defect", "skipLogSink", CAIRN_BINARY=str(DEBUG_BINARY))
    assert unknown.returncode == 2 and "there is no defect 'skipLogSink'" in unknown.stderr, unknown.stderr


def test_a_release_build_has_no_deliberate_bugs(tmp_path):
    binary = os.environ.get("CAIRN_BINARY", str(ROOT / ".build/release/cairn"))
    if pathlib.Path(binary).resolve().parent.name != "release":
        pytest.skip("CAIRN_BINARY is no release build")
    refused = run(tmp_path, "sigkill", "--defect", "skipLogSync", CAIRN_BINARY=binary)
    assert refused.returncode == 2 and "a release build has no deliberate bugs" in refused.stderr, refused.stderr
