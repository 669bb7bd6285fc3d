"""`kitsseg.data.io.nifti.stream`: completeness of compressed volumes."""

import gzip
from pathlib import Path

import pytest

from kitsseg.data.io.nifti import stream
from kitsseg.data.io.nifti.stream import check_nifti_gz
from tests.helpers.fetching import volume


def test_check_nifti_gz_finds_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "WINDOW", 5000)
    data = (348).to_bytes(4, "big") + bytes(3_000_000)  # compresses to less than one read
    path, packed = tmp_path / "a.nii.gz", gzip.compress(data)
    wide = gzip.compress((540).to_bytes(4, "little") + bytes(100))
    padded = gzip.compress(data[:99]) + bytes(700) + gzip.compress(data[99:]) + bytes(513)
    for whole in (
        packed,
        wide,
        padded,
        volume(3, 20_000),
        gzip.compress(data[:2]) + gzip.compress(data[2:]),
    ):
        path.write_bytes(whole)
        check_nifti_gz(path)
    for place in (-1, -6):  # length, checksum
        broken = bytearray(packed)
        broken[place] ^= 0x55
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="a.nii.gz is (damaged|truncated)"):
            check_nifti_gz(path)
    for kept in (2, 12, len(packed) - 8, len(packed) - 1):
        path.write_bytes(packed[:kept])
        with pytest.raises(ValueError, match="truncated"):
            check_nifti_gz(path)
    path.write_bytes(packed + b"more")
    with pytest.raises(ValueError):
        check_nifti_gz(path)
