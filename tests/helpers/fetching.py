"""Small compressed volumes for the tests of downloads."""

import gzip

import numpy as np


def volume(seed: int, size: int = 300_000) -> bytes:
    """Return a gzip file that begins like NIfTI-1 and does not compress."""
    noise = np.random.default_rng(seed).bytes(size)
    return gzip.compress((348).to_bytes(4, "little") + noise, 1, mtime=0)
