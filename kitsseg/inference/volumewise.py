"""Class probabilities of a volume by 3D networks, and labels on the native grid."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial, reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kitsseg.data.store.volume_grid import Shape, VolumeGrid
from kitsseg.inference import slicewise
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.sliding_window import Hu, padded_shape, sliding_window
from kitsseg.models.window import Window
from kitsseg.system import hardware

# A constant, so that metrics do not depend on training options such as the batch size.
VOXELS_PER_BATCH = 1 << 20
SMALL = 0.25  # a volume that covers less of a patch along an axis gets a warning
GB = 1e9


@torch.inference_mode()
def segment_stored_volume(
    net: nn.Module, window: Window, volume: Hu, grid: VolumeGrid, patch: Shape, overlap: float,
    mirror_axes: Sequence[int], classes: int, device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> npt.NDArray[np.uint8]:  # fmt: skip
    """Return the class ids of a case, ``[S, H, W]`` on its native grid.

    ``volume`` is the stored volume of ``grid`` in HU. See `sliding_window` for ``patch`` and
    ``overlap``, and `kitsseg.inference.slicewise.segment_stored` for the other arguments.
    """
    member = Loaded(net, window, None, 0, {}, patch=patch)
    networks = VolumeNetworks(
        [member], overlap, mirror_axes, classes, device, autocast, VOXELS_PER_BATCH
    )
    native = networks.predict(lambda first, last: volume[first:last], grid)
    out = np.empty(grid.native, np.uint8)
    for z in range(len(out)):
        plane = slicewise.to_native(native.slices(np.array([z])), grid.native[1:])
        out[z] = slicewise.argmax(plane)[0].cpu().numpy()
    return out


class VolumeNetworks:
    """3D networks with the same patch, spacing and interpolation.

    If a batch does not fit into the device's memory, the batch size is halved from then on.

    Args:
        members: the networks.
        overlap: overlap of adjacent patches as a share of their side.
        mirror_axes: average over patches and their mirror images along these axes (0 rows, 1 columns,
            2 slices) and their combinations.
        voxels_per_batch: largest number of input voxels in a batch, which has at least one patch.
    """

    def __init__(
        self, members: Sequence[Loaded], overlap: float, mirror_axes: Sequence[int], classes: int,
        device: torch.device, autocast: Callable[[], AbstractContextManager[object]],
        voxels_per_batch: int,
    ) -> None:  # fmt: skip
        assert members[0].patch is not None
        self.members, self.patch, self.spacing_mm = members, members[0].patch, members[0].spacing_mm
        self.overlap, self.mirror_axes, self.classes = overlap, mirror_axes, classes
        self.device, self.autocast = device, autocast
        self._voxels_per_batch = voxels_per_batch

    @staticmethod
    def groups(members: Sequence[Loaded]) -> Iterator[list[Loaded]]:
        """Yield the 3D networks among ``members``, grouped by what they see."""
        found: dict[object, list[Loaded]] = {}
        for member in members:
            if member.patch is not None:
                key = (member.patch, member.spacing_mm, member.interpolation)
                found.setdefault(key, []).append(member)
        yield from found.values()

    def open(self, hu: Hu, spacing_mm: Sequence[float]) -> "NativeSlices":
        """Return the probabilities of a native volume ``[S, H, W]``, which are computed when needed.

        Raises `ValueError` if they need more memory than is free.
        """
        grid = self._grid(hu.shape, spacing_mm)
        _, rows, columns = padded_shape(grid.stored, self.patch)
        # Bytes of probabilities and weights, of two copies of HU, and of resampled slices.
        voxel_bytes, plane_bytes = 4 * (self.classes + 1) + 2 * 2, 4 * 64
        needed = rows * columns * (self.patch[0] * voxel_bytes + plane_bytes)
        if needed > (free := hardware.free_memory(self.device)):
            raise ValueError(
                f"its spacing of {_text(spacing_mm)} mm gives {_text(grid.stored)} voxels for a 3D "
                f"network; this needs {needed / GB:.3g} GB, but {free / GB:.3g} GB of memory is free; "
                "correct the spacing, or free memory"
            )
        return self.predict(partial(grid.fit_image, hu), grid)

    def predict(self, read: Callable[[int, int], Hu], grid: VolumeGrid) -> "NativeSlices":
        """Return the probabilities of a stored volume, whose slices ``read`` returns in order."""
        stored = sliding_window(
            grid.stored, read, self._predict_patches, self.classes, self.patch, self.overlap, self.device
        )
        return NativeSlices(self._fitting(stored), grid, len(self.members))

    def doubts(self, shape: Sequence[int], spacing_mm: Sequence[float]) -> Iterator[str]:
        """Yield a warning if a native volume covers only a small part of a patch along an axis."""
        stored = self._grid(shape, spacing_mm).stored
        if any(n < SMALL * side for n, side in zip(stored, self.patch, strict=True)):
            yield (
                f"its {_text(stored)} voxels cover a small part of the {_text(self.patch)} voxels that "
                "a 3D network sees at once; the labels may be wrong"
            )

    def _grid(self, shape: Sequence[int], spacing_mm: Sequence[float]) -> VolumeGrid:
        slices, rows, columns = shape
        how = (self.spacing_mm, self.members[0].interpolation)
        return VolumeGrid.at_spacing((slices, rows, columns), spacing_mm, *how)

    def _predict_patches(self, patches: Sequence[Hu]) -> Iterator[Tensor]:
        """Yield the average probabilities of the networks, ``[classes, *patch]``, for patches in HU."""
        voxels, done = math.prod(self.patch), 0
        while done < len(patches):
            batch = patches[done:][: max(1, self._voxels_per_batch // voxels)]
            try:
                yield from self._average(np.stack(batch))
            except RuntimeError as error:
                if not hardware.is_out_of_memory(error) or len(batch) == 1:
                    raise
            else:
                done += len(batch)
                continue
            # Outside the except block, because the exception keeps the tensors alive.
            self._voxels_per_batch = hardware.halve_batch(self.device, len(batch), "patches") * voxels

    def _average(self, hu: Hu) -> Tensor:
        image = torch.from_numpy(hu)[:, None].to(self.device)
        probabilities = []
        with self.autocast():
            for member in self.members:
                inputs = member.window(image).contiguous(memory_format=torch.channels_last_3d)
                probabilities.append(
                    slicewise.predict_probabilities(member.net, inputs, self.mirror_axes)
                )
        return reduce(torch.add, probabilities) / len(probabilities)

    def _fitting(self, slices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield from ``slices``; raise `ValueError` if a single patch does not fit into the memory."""
        with hardware.fitting(self.device, f"patches of {_text(self.patch)} voxels"):
            yield from slices


class NativeSlices:
    """Interpolate the slices of a stored volume linearly, while they are computed.

    Args:
        stored: yields the average probabilities ``[C, h, w]`` of the slices of the stored volume.
        grid: maps it to the native volume.
        networks: number of networks.
    """

    def __init__(self, stored: Iterator[Tensor], grid: VolumeGrid, networks: int) -> None:
        self.grid = grid
        self._stored, self._networks = stored, networks
        self._kept: dict[int, Tensor] = {}
        self._next = 0  # index of the next slice of ``stored``

    def slices(self, z: npt.NDArray[np.intp]) -> Tensor:
        """Return the sum of the networks' probabilities, ``[b, C, h, w]``, at native slices ``z``.

        Rows and columns are those of the stored volume. ``z`` must not decrease; a call may repeat
        the last slice of the previous one.
        """
        stored, native = self.grid.stored[0], self.grid.native[0]
        place = np.clip((z + 0.5) * stored / native - 0.5, 0, stored - 1)
        below = place.astype(int)
        above = np.ceil(place).astype(int)
        while self._next <= above[-1]:
            self._kept[self._next] = next(self._stored)
            self._next += 1
            self._kept = {i: plane for i, plane in self._kept.items() if i >= below[0]}
        planes = [
            torch.lerp(self._kept[low], self._kept[high], part)
            for low, high, part in zip(below, above, (place - below).tolist(), strict=True)
        ]
        return torch.stack(planes) * self._networks


def _text(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.5g}" for value in values)
