"""NIfTI volumes read once, checked, as arrays (slices, H, W) in KiTS19's orientation.

A file is decompressed a piece at a time, each piece converted into a slab of planes, and each slab
turned on its way into the result, so that reading takes little more memory than the result itself,
whatever the file's type.
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np

from kitsseg.data.case import SAME_CLASSES, Case
from kitsseg.data.io import past_cache
from kitsseg.data.io.header import Layout, parse_layout
from kitsseg.data.io.stream import DamagedError, Stream
from kitsseg.data.io.voxels import Scaling, ToClasses, ToHu

SLAB_BYTES = 1 << 26  # of converted planes in memory at once; with fewer, turning takes longer
PIECE = 1 << 17  # voxels that are converted at once
AFFINE_TOLERANCE_MM = 1e-2
FETCH, EXPORT = "fetch it again", "copy or export it again"  # of KiTS19; of any other origin
REMEDIES: dict[int | None, str] = {
    errno.EISDIR: "put the file in the folder's place",
    errno.EACCES: "allow this user to read it, as chmod a+r does",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Image:
    """A CT volume in memory.

    Attributes:
        hu: ``[S, H, W]`` int16.
        range_hu: its lowest and highest value.
        layout: how it lay in its file.
        stored_range: the lowest and highest value before they were rounded and kept within int16;
            None if nobody looked.
    """

    hu: np.ndarray
    range_hu: tuple[int, int]
    layout: Layout
    stored_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Mask:
    """``label`` ``[S, H, W]`` uint8, class ids, and how it lay in its file."""

    label: np.ndarray
    layout: Layout


@dataclass(frozen=True)
class Volume:
    """A case in memory.

    Attributes:
        image: ``[S, H, W]`` int16, HU.
        label: ``[S, H, W]`` uint8, class ids.
        spacing_mm: distance of slices, rows and columns.
    """

    image: np.ndarray
    label: np.ndarray
    spacing_mm: tuple[float, float, float]


def read_case(case: Case) -> Volume:
    """Image and label of a case.

    Raises:
        ValueError: one line that names the file, what is wrong and what helps.
    """
    image = read_image(case.image)
    mask = read_mask(case.label, case.classes)
    check_same_grid(case.label, mask.layout, image.layout)
    return Volume(image.hu, mask.label, image.layout.spacing_mm)


def check_same_grid(
    path: Path,
    layout: Layout,
    other: Layout,
    whose: str = "image",
    remedy: str = "fetch both files again",
) -> None:
    """Raise `ValueError` unless the label in ``path`` lies on its image's grid, or on ``whose``."""
    if layout.turned_shape != other.turned_shape:
        raise ValueError(
            f"{path}: has shape {layout.turned_shape}, its {whose} {other.turned_shape}; {remedy}"
        )
    apart = np.abs(layout.turned_affine - other.turned_affine).max()
    if apart > AFFINE_TOLERANCE_MM:
        raise ValueError(
            f"{path}: its affine differs from the {whose}'s by up to {apart:.3g} mm; {remedy}"
        )


def read_image(path: Path, remedy: str = FETCH) -> Image:
    """A CT volume: HU rounded to integers and kept within int16.

    Args:
        remedy: what helps if the file is damaged.

    Raises:
        ValueError: one line that names the file, what is wrong and what helps.
    """
    convert = ToHu()
    hu, layout = _read(path, convert, remedy)
    low, high = convert.range_hu
    if low == high:
        raise ValueError(f"{path}: every voxel has the same value; export it again")
    return Image(hu, (low, high), layout, (convert.low, convert.high))


def read_mask(path: Path, classes: Sequence[int] = SAME_CLASSES, remedy: str = FETCH) -> Mask:
    """A label volume; ``classes[stored]`` is the class id that a stored number means.

    Args:
        remedy: what helps if the file is damaged.

    Raises:
        ValueError: one line that names the file, what is wrong and what helps.
    """
    convert = ToClasses(classes)
    label, layout = _read(path, convert, remedy)
    return Mask(label, layout)


def read_label(path: Path, classes: Sequence[int] = SAME_CLASSES) -> np.ndarray:
    """A label volume alone: ``[S, H, W]`` uint8 class ids; see `read_mask`."""
    return read_mask(path, classes).label


def read_layout(path: Path) -> Layout:
    """The header alone."""
    return _opened(path, parse_layout, FETCH)


class Convert(Protocol):
    """A file's voxels, a piece at a time, into what is read of it: `ToHu` or `ToClasses`."""

    dtype: np.dtype

    def __call__(self, piece: np.ndarray, scaling: Scaling, out: np.ndarray) -> None: ...

    def finish(self) -> None: ...


def _read(path: Path, convert: Convert, remedy: str = FETCH) -> tuple[np.ndarray, Layout]:
    """All voxels through ``convert``, in `ORIENTATION`."""

    def voxels(stream: Stream) -> tuple[np.ndarray, Layout]:
        layout = parse_layout(stream)
        stream.skip(layout.offset)
        # Untouched zeros take no memory, and most of a label volume stays so; an image is filled.
        make = np.zeros if convert.dtype == np.uint8 else np.empty
        turned = past_cache.aligned(make, layout.turned_shape, convert.dtype)
        view = layout.in_file_axes(turned)
        i, j, k = layout.shape
        planes = max(1, SLAB_BYTES // (i * j * convert.dtype.itemsize))
        buffer = np.empty((min(planes, k), j, i), convert.dtype)  # a file's first axis runs fastest
        for first in range(0, k, planes):
            slab = buffer[: min(planes, k - first)]
            _fill(slab.reshape(-1), stream, layout, convert)
            _place(slab, view[:, :, first : first + len(slab)])
        stream.finish()
        convert.finish()
        return turned, layout

    return _opened(path, voxels, remedy)


def _fill(slab: np.ndarray, stream: Stream, layout: Layout, convert: Convert) -> None:
    """Read as many voxels as ``slab`` ``[N]`` has, of `Convert`'s type; in place if it's the file's."""
    native = layout.dtype.newbyteorder("=")
    held = None if native == slab.dtype else np.empty(min(PIECE, len(slab)), native)
    for first in range(0, len(slab), PIECE):
        out = slab[first : first + PIECE]
        piece = out if held is None else held[: len(out)]
        stream.fill(piece.data.cast("B"))
        if not layout.dtype.isnative:
            piece.byteswap(inplace=True)
        convert(piece, layout.scaling, out)


def _opened(path: Path, use: Callable[[Stream], T], remedy: str) -> T:
    """What ``use`` makes of the file; its problems and the disk's in one line that names the file."""
    try:
        with Stream(path) as stream:
            return use(stream)
    except DamagedError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from error
    except OSError as error:
        told = REMEDIES.get(error.errno, remedy)
        raise ValueError(f"{path}: can't be read ({error.strerror or error}); {told}") from error
    except MemoryError as error:
        raise ValueError(f"{path}: doesn't fit into memory; read fewer cases at once") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _place(slab: np.ndarray, view: np.ndarray) -> None:
    """Copy a slab (k, j, i) into ``view`` (i, j, k), all zeros, whose memory may run along any axis.

    Plane by plane along the two axes that run fastest on either side, since NumPy's own transposed
    copy misses the cache on every voxel: ten times as slow for KiTS19's files.
    """
    fastest = int(np.argmin(np.abs(view.strides)))
    if fastest == 0 or min(slab.shape) == 1:
        view[...] = slab.T
        return
    # Most planes of a label volume are zeros, which need no copying; of an image, next to none.
    mostly_zeros = slab.dtype == np.uint8
    for number in range(slab.shape[1 if fastest == 2 else 0]):
        plane = slab[:, number, :] if fastest == 2 else slab[number]
        if mostly_zeros and not plane.max():
            continue
        target = view[:, number, :] if fastest == 2 else view[:, :, number]
        target[...] = cv2.transpose(plane)
