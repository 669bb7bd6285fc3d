"""Whether a gzipped volume is whole, without holding it."""

import gzip
from pathlib import Path

import pytest

from kitsseg.data.io import stream
from kitsseg.data.io.integrity import check_nifti_gz
from tests.helpers.fetching import volume


def test_the_check_holds_little_and_sees_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "READ", 1000)
    monkeypatch.setattr(stream, "WINDOW", 5000)
    data = (348).to_bytes(4, "big") + bytes(3_000_000)  # shrinks to less than one read's worth of output
    path, packed = tmp_path / "a.nii.gz", gzip.compress(data)
    wide = gzip.compress((540).to_bytes(4, "little") + bytes(100))
    for whole in (packed, wide, volume(3, 20_000), gzip.compress(data[:2]) + gzip.compress(data[2:])):
        path.write_bytes(whole)
        check_nifti_gz(path)
    for place in (-1, -6):  # the length, the checksum
        broken = bytearray(packed)
        broken[place] ^= 0x55
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="a.nii.gz is (damaged|cut off)"):
            check_nifti_gz(path)
    for kept in (2, 12, len(packed) - 8, len(packed) - 1):
        path.write_bytes(packed[:kept])
        with pytest.raises(ValueError, match="cut off"):
            check_nifti_gz(path)
    path.write_bytes(packed + b"more")
    with pytest.raises(ValueError):
        check_nifti_gz(path)
