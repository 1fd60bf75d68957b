"""The other side of shim.c: how it is built, what it is told, and what a power cut takes of what it noted."""

import os
import pathlib
import struct
import subprocess

PATTERN_BYTES = 64
# Of each operation how many in a million fail, how many wait, and for how many milliseconds; for which files.
CONTROL = struct.Struct(f"<9I{PATTERN_BYTES}s")
# The head of a note: which bytes were about to change, how long the file was, and how many of the old bytes follow.
NOTE = struct.Struct("<4Q")
SECTOR_BYTES = 512


def build(folder, *flags):
    """The library, made in a folder unless it is there."""
    library = folder / "shim.so"
    if not library.exists():
        source = pathlib.Path(__file__).parent / "shim.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", *flags, "-o", library, source, "-ldl"], check=True)
    return library


def noting(library, data, undo):
    """The environment of a process that notes in `undo` what it has not synced of the files in `data`."""
    undo.mkdir(exist_ok=True)
    return {"LD_PRELOAD": str(library), "FAULTS_SHIM_DATA": str(data), "FAULTS_SHIM_UNDO": str(undo)}


def cut_power(data, undo, random, kept=0.0):
    """Takes from the files in `data` what a process that is dead now had not synced; of what it wrote over something else, each
    sector stays with the probability `kept`. Returns how many changes were not synced."""
    files = {}
    for folder, _, names in os.walk(data):
        for name in names:
            path = pathlib.Path(folder, name)
            files[path.stat().st_ino] = path
    changes = 0
    for notes in undo.iterdir():
        if path := files.get(int(notes.name)):
            with open(path, "r+b") as file:
                for note in reversed(read_notes(notes)):
                    changes += 1
                    take_back(file, note, random, kept)
                file.flush()
                os.fsync(file.fileno())
        notes.unlink()
    return changes


def read_notes(path):
    """All whole ones, the oldest first: (offset, size of the file, old bytes)."""
    text, place, notes = path.read_bytes(), 0, []
    while place + NOTE.size <= len(text):
        offset, count, size, kept = NOTE.unpack_from(text, place)
        place += NOTE.size
        old = text[place:place + kept] if kept else bytes(max(0, min(count, size - offset)))
        place += kept
        # The process died while it wrote the last one, and so before the change.
        if place <= len(text):
            notes.append((offset, size, old))
    return notes


def take_back(file, note, random, kept):
    offset, size, old = note
    file.truncate(size)
    end = offset + len(old)
    while offset < end:
        next = min(end, (offset // SECTOR_BYTES + 1) * SECTOR_BYTES) if kept else end
        if random.random() >= kept:
            file.seek(offset)
            file.write(old[offset - end:][:next - offset])
        offset = next
