"""Writing past the page cache: the same bytes, whatever the memory and the disk are like."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from kitsseg.data.io.past_cache import BLOCK, BUFFER, aligned, write

LENGTHS = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, BUFFER, BUFFER + BLOCK + 7, 3 * BUFFER + 5)


def values(length: int) -> np.ndarray:
    array = aligned(np.empty, (length,), np.uint8)
    array[:] = np.random.default_rng(length).integers(1, 255, length)
    return array


@pytest.mark.parametrize("start", [0, 128, BLOCK])
@pytest.mark.parametrize("shift", [0, 1])
def test_every_byte_is_written(tmp_path: Path, start: int, shift: int) -> None:
    for length in LENGTHS:
        pieces = [values(start), values(length)[shift:], values(17)]
        write(tmp_path / "file", [piece.data for piece in pieces])
        assert (tmp_path / "file").read_bytes() == b"".join(piece.tobytes() for piece in pieces)


def test_runs_of_zeros_take_no_room(tmp_path: Path) -> None:
    array = aligned(np.zeros, (40, 512, 512), np.uint8)
    array[20, 100:200, 100:200] = 2
    write(tmp_path / "file", [b"x" * BLOCK, array.data.cast("B")])
    there = np.fromfile(tmp_path / "file", np.uint8)
    assert np.array_equal(there[BLOCK:].reshape(array.shape), array)
    assert (tmp_path / "file").stat().st_blocks * 512 < 3 * BUFFER


def test_a_file_system_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuses(path: Path, flags: int, mode: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument", path)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuses)
    array = values(BUFFER + 5)
    write(tmp_path / "file", [array.data])
    assert (tmp_path / "file").read_bytes() == array.tobytes()


def test_a_disk_that_refuses_such_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that takes part of what it is given: the next place is within a block."""
    wrote, lengths = os.write, []

    def part(file: int, data: memoryview) -> int:
        lengths.append(len(data))
        if len(lengths) == 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        return wrote(file, data[: BLOCK + 3])

    monkeypatch.setattr(os, "write", part)
    array = values(5 * BLOCK)
    write(tmp_path / "file", [array.data])
    assert (tmp_path / "file").read_bytes() == array.tobytes() and len(lengths) > 4


def test_what_goes_wrong_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError) as told:
        write(tmp_path / "gone" / "file", [b"x"])
    assert told.value.filename == str(tmp_path / "gone" / "file")

    def full(file: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left") as said:
        write(tmp_path / "file", [b"x"])
    assert said.value.filename == str(tmp_path / "file")
