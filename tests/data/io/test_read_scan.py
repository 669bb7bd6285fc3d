"""`kitsseg.data.io.read_scan`: reading ahead."""

import time
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.io import read_scan as module
from kitsseg.data.io.read_scan import read_ahead
from kitsseg.data.io.scan import Scan
from tests.helpers.predicting import values


def test_scans_come_in_order_and_a_bad_one_raises_alone(block_cases: list[Case], tmp_path: Path) -> None:
    scans = [Scan(case.id, ".nii.gz", case.image) for case in block_cases]
    scans[2] = Scan("x", ".nii.gz", tmp_path / "nosuch.nii.gz")
    for number, (case, volume) in enumerate(zip(block_cases, read_ahead(scans), strict=True)):
        if number == 2:
            with pytest.raises(ValueError, match="nosuch.nii.gz: cannot be read"):
                volume.result()
        else:
            assert np.array_equal(volume.result().hu, values(case.image))


def test_exactly_one_scan_is_read_ahead(
    block_cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(module, "read_scan", lambda scan, offset: read.append(scan.name) or scan)
    volumes = read_ahead([Scan(c.id, ".nii.gz", c.image) for c in block_cases])
    for number in range(5):
        assert next(volumes).result().name == block_cases[number].id
        for _ in range(100):
            if len(read) > number + 1:
                break
            time.sleep(0.01)
        time.sleep(0.01)
        assert len(read) == number + 2
