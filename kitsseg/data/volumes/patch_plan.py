"""Spacing, patch and poolings for 3D, from the geometry of the cases.

The rules are those of nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; the default planner
of version 2), for the number of poolings of a network.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from kitsseg.data.store.volume_grid import ANISOTROPIC, Shape

Triple = tuple[float, float, float]

TYPICAL_VOXELS = 256**3  # voxels of a patch before it is reduced to fit into memory
MIN_SIDE = 4  # voxels of a patch at the coarsest level
DEPTH = 4  # poolings, unless a network states its own number
# Values in the convolutions' outputs for which a training step needs REFERENCE_GB of memory (nnU-Net).
REFERENCE_VALUES, REFERENCE_GB = 2 * 560_000_000, 8.0
BYTES_PER_VOXEL = 7  # while a volume is resampled: int16 HU, uint8 classes, float32 shares


@dataclass(frozen=True)
class Plan:
    """What a 3D network sees.

    Attributes:
        spacing_mm: spacing of the stored volumes; None for the spacing of each case.
        patch: shape of a patch in voxels.
        strides: pooling after each level of the encoder, per axis.
        kernels: size of the convolutions at each level and at the bottom, per axis.
    """

    spacing_mm: Triple | None
    patch: Shape
    strides: list[list[int]]
    kernels: list[list[int]]


def median_spacing(shapes: Sequence[Shape], spacings: Sequence[Triple]) -> Triple:
    """Return the median spacing over cases.

    If the median slice spacing is more than `ANISOTROPIC` times the pixel spacing, and the slices are
    fewer than rows and columns by more than this factor, the slice spacing is the 10th percentile.
    """
    mm = np.asarray(spacings, float)
    target, size = np.median(mm, axis=0), np.median(np.asarray(shapes, float), axis=0)
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    finest = target[others].max()
    if target[worst] > ANISOTROPIC * finest and ANISOTROPIC * size[worst] < size[others].min():
        target[worst] = max(float(np.percentile(mm[:, worst], 10)), finest)
    z, y, x = (round(float(value), 4) for value in target)
    return z, y, x


def resampled_shapes(
    shapes: Sequence[Shape], spacings: Sequence[Triple], spacing_mm: Triple | None
) -> npt.NDArray[np.float64]:
    """Return the shapes ``[N, 3]`` of the volumes after resampling to ``spacing_mm``."""
    native = np.asarray(shapes, float)
    scale = 1.0 if spacing_mm is None else np.asarray(spacings, float) / np.asarray(spacing_mm)
    return np.asarray(np.rint(native * scale))


def poolings(
    spacing_mm: Sequence[float], patch: Sequence[int], depth: int | None
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the strides and kernels of a network with ``depth`` poolings.

    None stands for as many poolings as the patch allows, and at most `DEPTH`.
    An axis is pooled while it has at least ``2 * MIN_SIDE`` voxels and its voxels are less than twice as
    long as those of the finest axis that can be pooled. Kernels are 1 along axes that are still coarser.

    Raises:
        ValueError: the patch is too small for so many poolings.
    """
    mm, sides = np.array(spacing_mm, float), np.array(patch)
    strides: list[list[int]] = []
    kernels: list[list[int]] = []
    convolved = np.zeros(3, bool)
    limit = DEPTH if depth is None else depth
    for level in range(limit + 1):
        convolved |= mm < 2 * mm.min()
        kernels.append([3 if wide else 1 for wide in convolved])
        if level == limit:
            break
        possible = (sides >= 2 * MIN_SIDE) & (sides % 2 == 0)
        if not possible.any():
            if depth is None:
                break
            raise ValueError(
                f"data.patch={list(patch)}: is too small for model.depth={depth}; set a larger patch, "
                f"or model.depth={max(1, level)}"
            )
        pooled = possible & (mm < 2 * mm[possible].min())
        strides.append([2 if each else 1 for each in pooled])
        mm, sides = np.where(pooled, 2 * mm, mm), np.where(pooled, sides // 2, sides)
    return strides, kernels


def values_of_step(patch: Sequence[int], strides: list[list[int]], width: int, batch: int) -> float:
    """Return the number of values in the convolutions' outputs of one training step."""
    voxels, total = float(np.prod(patch)), 0.0
    for level, stride in enumerate([*strides, [1, 1, 1]]):
        blocks = 2 if level == len(strides) else 4 + 1  # encoder, decoder, upsampling
        total += blocks * voxels * width * 2**level
        voxels /= float(np.prod(stride))
    return total * batch


def choose_patch(
    spacing_mm: Sequence[float],
    shape: Sequence[float],
    depth: int | None,
    width: int,
    batch: int,
    memory_gb: float,
) -> Shape:
    """Return the largest patch with the proportions of the volumes whose training fits into memory.

    Args:
        spacing_mm: spacing of the volumes.
        shape: their median shape.
        depth, width: depth and width of the network; a depth of None stands for at most `DEPTH`.
        batch: patches per step.
        memory_gb: memory of the device.

    Raises:
        ValueError: no patch fits.
    """
    mm, limit = np.asarray(spacing_mm, float), REFERENCE_VALUES * memory_gb / REFERENCE_GB
    cube = (1 / mm) * (TYPICAL_VOXELS / np.prod(1 / mm)) ** (1 / 3)
    patch = np.maximum(1, np.rint(np.minimum(cube, shape))).astype(int)
    most = DEPTH if depth is None else depth
    while True:
        # An axis is pooled at most while it keeps MIN_SIDE voxels; its side is a multiple of that.
        counts = np.clip(np.log2(patch / MIN_SIDE), 0, most).astype(int)
        factors = 2**counts
        patch = -(-patch // factors) * factors
        strides = poolings(mm.tolist(), patch.tolist(), depth)[0]
        if values_of_step(patch.tolist(), strides, width, batch) <= limit:
            z, y, x = patch.tolist()
            return z, y, x
        smaller = patch - factors
        others = [max(np.delete(counts, axis)) for axis in range(3)]  # one axis must keep all poolings
        keeps = np.maximum(others, np.log2(np.maximum(smaller, 1) / MIN_SIDE)) >= (depth or 0)
        reducible = (smaller >= MIN_SIDE) & keeps
        if not reducible.any():
            raise ValueError(
                f"data.patch=auto: no patch fits into {memory_gb:.3g} GB with model.width={width} and "
                f"data.batch_size={batch}; set smaller ones"
            )
        axis = int(np.where(reducible, patch / np.asarray(shape, float), -1).argmax())
        patch[axis] -= factors[axis]


def device_memory_gb() -> float:
    """Return the memory for a training step: of the smallest GPU, or nnU-Net's 8 GB without one."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    sizes = [torch.cuda.get_device_properties(gpu).total_memory / 2**30 for gpu in gpus]
    return 0.9 * min(sizes) if sizes else REFERENCE_GB


def make_plan(
    shapes: Sequence[Shape],
    spacings: Sequence[Triple],
    spacing_mm: Sequence[float] | str | None,
    patch: Sequence[int] | str,
    depth: int | None,
    width: int,
    batch: int,
    strides: Sequence[Sequence[int]] | None = None,
) -> Plan:
    """Return the plan; ``auto`` for ``spacing_mm`` or ``patch`` chooses them.

    Args:
        shapes, spacings: shape and spacing of the native volume of each case.
        spacing_mm: spacing of the stored volumes; None for the spacing of each case.
        patch: shape of a patch in voxels.
        depth, width: number of poolings and channels of the first level of the network; a depth of None
            stands for as many as the patch allows, and at most `DEPTH`.
        batch: patches per step.
        strides: strides of the network; None chooses them.

    Raises:
        ValueError: the patch does not fit the network, or the volumes do not fit into memory.
    """
    target = median_spacing(shapes, spacings) if spacing_mm == "auto" else _triple(spacing_mm)
    mm = target or np.median(np.asarray(spacings, float), axis=0).tolist()
    check_volume_size(shapes, spacings, target)
    if isinstance(patch, str):
        shape = np.median(resampled_shapes(shapes, spacings, target), axis=0).tolist()
        chosen = choose_patch(mm, shape, depth, width, batch, device_memory_gb())
    else:
        chosen = (patch[0], patch[1], patch[2])
        check_patch(chosen, resampled_shapes(shapes, spacings, target).max(axis=0), depth)
    if strides is None:
        return Plan(target, chosen, *poolings(mm, chosen, depth))
    factors = np.prod(np.asarray(strides), axis=0).tolist()
    fit = [-(-side // factor) * factor for side, factor in zip(chosen, factors, strict=True)]
    if isinstance(patch, str):
        chosen = (fit[0], fit[1], fit[2])
    elif fit != list(chosen):
        raise ValueError(
            f"data.patch={list(chosen)}: must be multiples of {factors}, the poolings of the network; "
            f"set data.patch={fit}"
        )
    return Plan(target, chosen, [list(stride) for stride in strides], [[3] * 3] * (len(strides) + 1))


def check_patch(patch: Shape, largest: npt.NDArray[np.float64], depth: int | None) -> None:
    """Raise `ValueError` if the patch is larger than all volumes; volumes are padded for pooling."""
    factor = 2 ** (DEPTH if depth is None else depth)
    fit = (np.ceil(largest / factor) * factor).astype(int)
    if (np.asarray(patch) > fit).any():
        raise ValueError(
            f"data.patch={list(patch)}: is larger than all volumes, which have at most "
            f"{largest.astype(int).tolist()} voxels; set data.patch={np.minimum(patch, fit).tolist()}"
        )


def check_volume_size(
    shapes: Sequence[Shape], spacings: Sequence[Triple], spacing_mm: Triple | None
) -> None:
    """Raise `ValueError` if the largest resampled volume needs more than half of the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    voxels = resampled_shapes(shapes, spacings, spacing_mm).prod(axis=1)
    largest = float(voxels.max()) * BYTES_PER_VOXEL
    if largest > memory / 2:
        shown = "null" if spacing_mm is None else list(spacing_mm)
        raise ValueError(
            f"data.spacing_mm={shown}: the largest volume needs {largest / 2**30:.3g} GB, more than "
            f"half of the {memory / 2**30:.3g} GB of memory; set a coarser spacing"
        )


def _triple(spacing_mm: Sequence[float] | str | None) -> Triple | None:
    if spacing_mm is None or isinstance(spacing_mm, str):
        return None
    z, y, x = map(float, spacing_mm)
    return z, y, x
