"""Blocks that Cairn compresses are read by PyPI's python-snappy (the raw format), and the other way round."""

import os
import pathlib
import random
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

snappy = pytest.importorskip("snappy", reason="python-snappy is not installed: could PyPI not be reached?")


def blocks():
    """Name -> bytes: nothing to 1 MiB, what compresses to next to nothing and what does not compress at all."""
    seed = random.Random(20)
    for size in [0, 1, 2, 3, 15, 16, 59, 60, 61, 64, 255, 256, 257, 4095, 4096, 65535, 65536, 65537, 300_000, 1 << 20]:
        yield f"noise-{size}", seed.randbytes(size)
        yield f"zeros-{size}", bytes(size)
        yield f"words-{size}", b"".join(seed.choice([b"cairn ", b"stone ", b"heap "]) for _ in range(size // 5 + 1))[:size]
        # Repeated from far back: offsets of more than one and of more than two bytes.
        yield f"echo-{size}", (seed.randbytes(min(size, 70_000)) * 20)[:size]


def test_cairn_and_python_snappy_read_each_other(tmp_path):
    sent = dict(blocks())
    for name, block in sent.items():
        (tmp_path / f"{name}.raw").write_bytes(block)
        (tmp_path / f"{name}.python").write_bytes(snappy.compress(block))
    scratch = os.environ.get("CAIRN_BUILD_DIR", ROOT / ".build")
    done = subprocess.run(
        ["swift", "test", "--package-path", ROOT, "--scratch-path", scratch, "--filter", "SnappyExchangeTests"],
        env={**os.environ, "CAIRN_SNAPPY_DIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=1800)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-4000:]
    for name, block in sent.items():
        assert snappy.uncompress((tmp_path / f"{name}.cairn").read_bytes()) == block, f"{name}, compressed by Cairn"
        assert (tmp_path / f"{name}.back").read_bytes() == block, f"{name}, compressed by python-snappy"
