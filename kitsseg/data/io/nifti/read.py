"""Reading of NIfTI files as arrays ``[S, H, W]`` in KiTS19's orientation.

A file is decompressed and converted in pieces, and turned slab by slab into the result. Reading takes
little more memory than the result, whatever the stored type.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kitsseg.data.case import FETCH
from kitsseg.data.io.nifti.header import Layout, copy_transposed, parse_layout
from kitsseg.data.io.nifti.stream import DamagedError, Stream
from kitsseg.data.io.nifti.voxels import INT16, ToClasses, ToHu
from kitsseg.data.labels import KITS19

SLAB_BYTES = 1 << 26  # size of the converted planes in memory; a smaller slab is slower to transpose
PIECE = 1 << 17  # voxels converted at once; they fit into the processor's cache
AFFINE_TOLERANCE_MM = 1e-2
REMEDIES: dict[int | None, str] = {
    errno.EISDIR: "replace the folder by the file",
    errno.EACCES: "allow this user to read it, for example by chmod a+r",
}


@dataclass(frozen=True)
class Image:
    """A CT volume in memory, ``[S, H, W]``, its layout in the file, and what is doubtful about it.

    ``stored_range`` is the lowest and highest value before rounding and clipping to int16.
    """

    hu: npt.NDArray[np.int16]
    stored_range: tuple[float, float]
    layout: Layout
    warnings: tuple[str, ...] = ()

    @property
    def range_hu(self) -> tuple[int, int]:
        """The lowest and highest value of ``hu``."""
        low, high = (int(np.clip(np.rint(end), INT16.min, INT16.max)) for end in self.stored_range)
        return low, high


@dataclass(frozen=True)
class LabelVolume:
    """A label volume in memory: ``[S, H, W]`` uint8 class ids, and the layout in the file."""

    label: npt.NDArray[np.uint8]
    layout: Layout


def check_same_grid(path: Path, layout: Layout, other: Layout, whose: str = "image") -> None:
    """Raise `ValueError` unless the label ``path`` has the grid ``other`` of its image or ``whose``."""
    remedy = "write it on the grid of the case's own image"
    if layout.turned_shape != other.turned_shape:
        raise ValueError(
            f"{path}: has shape {layout.turned_shape}, its {whose} {other.turned_shape}; {remedy}"
        )
    difference_mm = np.abs(layout.turned_affine - other.turned_affine).max()
    if difference_mm > AFFINE_TOLERANCE_MM:
        raise ValueError(
            f"{path}: its affine differs from the {whose}'s by up to {difference_mm:.3g} mm; {remedy}"
        )


def read_nifti(path: Path, remedy: str, offset_hu: int = 0) -> Image:
    """Return the volume of a NIfTI file, unchecked; see `kitsseg.data.io.read_scan.read_scan`."""
    hu, layout = _read(path, convert := ToHu(offset_hu), remedy)
    return Image(hu, (convert.low, convert.high), layout, layout.warnings)


def read_label_volume(
    path: Path, stored: Mapping[int, int] = KITS19.stored, remedy: str = FETCH
) -> LabelVolume:
    """Return a label volume; ``stored`` is the class id of each value in the file.

    Raises `ValueError` if the file cannot be used. The message is one line with file, problem and
    remedy; ``remedy`` is that for a damaged file.
    """
    return LabelVolume(*_read(path, ToClasses(stored), remedy))


def read_label(path: Path, stored: Mapping[int, int] = KITS19.stored) -> npt.NDArray[np.uint8]:
    """Return only the class ids ``[S, H, W]`` of a label volume; see `read_label_volume`."""
    return read_label_volume(path, stored).label


def read_layout(path: Path) -> Layout:
    """Return the layout of a NIfTI file from its header, without reading voxels."""
    with _opened(path, FETCH) as stream:
        return parse_layout(stream)


def _read(path: Path, convert: ToHu | ToClasses, remedy: str) -> tuple[npt.NDArray[Any], Layout]:
    """Return all voxels, converted and in `ORIENTATION`."""
    with _opened(path, remedy) as stream:
        layout = parse_layout(stream)
        stream.skip(layout.offset)
        turned = np.empty(layout.turned_shape, convert.dtype)
        view = layout.in_file_axes(turned)
        i, j, k = layout.shape
        planes = max(1, SLAB_BYTES // (i * j * convert.dtype.itemsize))
        buffer = np.empty((min(planes, k), j, i), convert.dtype)  # the first axis runs fastest in a file
        for first in range(0, k, planes):
            slab = buffer[: k - first]
            _fill(slab.reshape(-1), stream, layout, convert)
            copy_transposed(slab, view[:, :, first : first + len(slab)])
        stream.finish()
        if isinstance(convert, ToClasses):
            convert.finish()
        return turned, layout


def _fill(slab: npt.NDArray[Any], stream: Stream, layout: Layout, convert: ToHu | ToClasses) -> None:
    """Read and convert ``len(slab)`` voxels into ``slab`` ``[N]``, in place if the types are equal."""
    native = layout.dtype.newbyteorder("=")
    buffer = None if native == slab.dtype else np.empty(min(PIECE, len(slab)), native)
    for first in range(0, len(slab), PIECE):
        out = slab[first : first + PIECE]
        piece = out if buffer is None else buffer[: len(out)]
        stream.fill(piece.data.cast("B"))
        if not layout.dtype.isnative:
            piece.byteswap(inplace=True)
        convert(piece, layout.scaling, out)


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator[Stream]:
    """Yield the opened file; raise any problem as a `ValueError` that names the file."""
    try:
        with Stream(path) as stream:
            yield stream
    except DamagedError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from error
    except OSError as error:
        remedy = REMEDIES.get(error.errno, remedy)
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except MemoryError as error:
        raise ValueError(f"{path}: does not fit into memory; read fewer cases at once") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
