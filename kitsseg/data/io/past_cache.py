"""Large files written past the page cache, whose pages cost more of a processor than of a disk."""

import errno
import fcntl
import math
import mmap
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

BLOCK = 4096  # what a disk may ask places, lengths and memory to be multiples of
BUFFER = 1 << 20  # bytes, aligned as a page is, that are written at once


def aligned(
    make: Callable[[int, DTypeLike], np.ndarray], shape: tuple[int, ...], dtype: DTypeLike
) -> np.ndarray:
    """Of `np.empty` or `np.zeros`, but in memory that `write` doesn't need to copy."""
    values = np.dtype(dtype)
    length = math.prod(shape) * values.itemsize
    memory = make(length + BLOCK, np.uint8)
    first = -memory.ctypes.data % BLOCK
    return memory[first : first + length].view(values).reshape(shape)


def write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces``, bytes one after the other, as the whole contents of ``path``.

    Long runs of zeros take no room on the disk. Through the cache after all where the system or the
    file's disk knows no other way.

    Raises:
        OSError: with the file's name; what is there then is not whole.
    """
    try:
        file = _open(path)
        try:
            _write_all(file, pieces)
        finally:
            os.close(file)
    except OSError as error:
        error.filename = str(path)
        raise


def _write_all(file: int, pieces: Iterable[bytes | memoryview]) -> None:
    buffer, filled, length = np.frombuffer(mmap.mmap(-1, BUFFER), np.uint8), 0, 0
    for piece in pieces:
        rest = np.frombuffer(piece, np.uint8)
        length += len(rest)
        while len(rest):
            if filled % BLOCK == 0 and rest.ctypes.data % BLOCK == 0 and len(rest) >= BLOCK:
                _write(file, buffer[:filled])
                filled = 0
                taken, rest = np.split(rest, [min(BUFFER, len(rest) // BLOCK * BLOCK)])
                _write(file, taken)
                continue
            taken, rest = np.split(rest, [BUFFER - filled])
            buffer[filled : filled + len(taken)] = taken
            filled = (filled + len(taken)) % BUFFER
            if not filled:
                _write(file, buffer)
    whole = filled // BLOCK * BLOCK
    _write(file, buffer[:whole])
    _use_cache(file)
    _write(file, buffer[whole:filled])
    os.ftruncate(file, length)  # zeros at the end weren't written


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        return os.open(path, flags | getattr(os, "O_DIRECT", 0), 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags, 0o666)


def _write(file: int, data: np.ndarray) -> None:
    if len(data) and not data.max():  # `any` looks at each byte by itself
        os.lseek(file, len(data), os.SEEK_CUR)
        return
    while len(data):
        try:
            data = data[os.write(file, data.data) :]
        except OSError as error:  # a disk of larger blocks, or one that was left within a block
            if error.errno != errno.EINVAL or not _use_cache(file):
                raise


def _use_cache(file: int) -> bool:
    """From here on; whether that is a change."""
    direct = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    if flags & direct:
        fcntl.fcntl(file, fcntl.F_SETFL, flags & ~direct)
    return bool(flags & direct)
