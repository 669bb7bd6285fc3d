"""Volumes read while others are computed on."""

import time
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.case import Case
from kitsseg.data.io import read_ahead
from kitsseg.data.io.scan import Scan
from tests.helpers.predicting import values


def test_reading_ahead_is_in_order_and_keeps_problems_apart(
    block_cases: list[Case], tmp_path: Path
) -> None:
    scans = [Scan(case.id, ".nii.gz", case.image) for case in block_cases]
    scans[2] = Scan("x", ".nii.gz", tmp_path / "nosuch.nii.gz")
    with read_ahead.ReadAhead(scans) as ahead:
        for number, case in enumerate(block_cases):
            if number == 2:
                with pytest.raises(ValueError, match="nosuch.nii.gz: can't be read"):
                    ahead.take()
            else:
                assert np.array_equal(ahead.take().hu, values(case.image))


def test_the_next_is_read_while_this_one_is_computed_and_no_other(
    block_cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(read_ahead, "read_scan", lambda scan, offset: read.append(scan.name) or scan)
    with read_ahead.ReadAhead([Scan(c.id, ".nii.gz", c.image) for c in block_cases]) as ahead:
        for number in range(5):
            assert ahead.take().name == block_cases[number].id
            for _ in range(100):
                if len(read) > number + 1:
                    break
                time.sleep(0.01)
            time.sleep(0.01)
            assert len(read) == number + 2
