"""The rig is tested itself: of nodes with a deliberate bug it says which promise they break; and what a power cut takes is what was
not synced."""

import json
import os
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


def faults(tmp_path, *words, **environment):
    environment = {**os.environ, "CAIRN_FAULTS_DIR": str(tmp_path / "runs"), **environment}
    return subprocess.run([str(ROOT / "scripts/faults"), *words], env=environment, text=True, capture_output=True, timeout=400)
