"""Apply trained networks to a CT volume: ``Segmenter.load("best.ckpt")("ct.nii.gz")``."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kitsseg.data.case import EXPORT
from kitsseg.data.io.in_memory import ImageLike, has_own_spacing, in_memory
from kitsseg.data.io.read_scan import read_image
from kitsseg.data.labels import BACKGROUND
from kitsseg.data.store.grid import neighbourhood
from kitsseg.evaluation.postprocess import PostProcessing
from kitsseg.inference import checkpoint, export_formats, slicewise
from kitsseg.inference.body_crop import EMPTY_HU, View, make_views
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.volumewise import NativeSlices, VolumeNetworks
from kitsseg.system import hardware

log = logging.getLogger("kitsseg")

# Pixels of the network's input per batch. Larger batches need more memory and are not faster.
PIXELS_PER_BATCH_CPU, PIXELS_PER_BATCH_GPU = 1 << 18, 1 << 22
OVERLAP = 0.5  # of patches, as in nnU-Net
PIXEL_FACTOR = 1.5  # pixels that differ more from those of training give a warning
UInt8 = npt.NDArray[np.uint8]
Hu = npt.NDArray[np.int16]
Indices = npt.NDArray[np.intp]
PostProcess = Callable[[UInt8, Sequence[float]], UInt8]


@dataclass(frozen=True)
class Segmentation:
    """The result for one volume.

    Attributes:
        label: class ids, ``[S, H, W]`` uint8.
        maps: ``[S, H, W]`` uint8 each; 0 to 255 represents 0 to 1. The name of a region in Table 1
            holds its probability (of KiTS19: ``kidney``, which includes the tumour, and ``tumour``),
            ``uncertainty`` the entropy of the class probabilities divided by its maximum. All maps are
            averages over networks and mirror images, before post-processing.
        warnings: why the networks may not suit the volume.
    """

    label: UInt8
    maps: dict[str, UInt8]
    warnings: tuple[str, ...] = ()


class Segmenter:
    """Segment volumes by one network or by the average probabilities of several.

    Args:
        members: networks with their preprocessing, from `checkpoint.load` or `load_onnx`, in 2D and 3D.
        mirror_axes: average over slices and their mirror images along these axes (0 rows, 1 columns)
            and their combinations. If all networks are 3D, also 2 (slices).
        postprocess: function of a label volume and its spacing in mm; None for no post-processing.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``. ONNX files always run on the CPU.
        precision: ``auto``, ``32-true``, ``bf16-mixed`` or ``16-mixed``. ONNX files run in float32.
        crop: crop slices to the body and at least 16 pixels around it; other pixels are background.
            None: crop if no 2D network computes statistics of whole slices. 3D networks see patches.
        overlap: overlap of adjacent patches of 3D networks as a share of their side, in [0, 1); None for
            0.5.

    The attribute ``labels`` describes the classes, and ``has_3d`` is whether a network is 3D.
    ``computed`` holds device, precision, runtime of each network (``torch`` or ``onnx``), and crop.
    Raises `ValueError` if an argument is out of range, the networks have different labels, or the device
    is missing or full.
    """

    def __init__(
        self, members: Sequence[Loaded], mirror_axes: Sequence[int] = (),
        postprocess: PostProcess | None = None, device: str = "auto", precision: str = "auto",
        crop: bool | None = None, overlap: float | None = None,
    ) -> None:  # fmt: skip
        if not members:
            raise ValueError("members: must hold at least one network")
        flat = [member for member in members if member.patch is None]
        axes = {0, 1} if flat else {0, 1, 2}
        if not set(mirror_axes) <= axes or len(set(mirror_axes)) < len(mirror_axes):
            allowed = "0 and 1" if flat else "0, 1 and 2"
            raise ValueError(
                f"mirror_axes={list(mirror_axes)} may hold {allowed}, each once"
                + ("; 2 is for 3D networks only" if flat and 2 in mirror_axes else "")
            )
        if overlap is not None and not 0 <= overlap < 1:
            raise ValueError(f"overlap={overlap}: must be at least 0 and below 1")
        if overlap is not None and len(flat) == len(members):
            log.warning(f"overlap={overlap}: has no effect; it is for 3D networks")
        if crop and not flat:
            log.warning("crop=True: has no effect; it is for 2D networks")
        self.labels = members[0].labels
        if any(member.labels.as_dict() != self.labels.as_dict() for member in members):
            raise ValueError("members: the networks have different classes or regions")
        self.device = hardware.choose_device(device)
        self.precision = hardware.choose_precision(self.device.type, precision)
        self._autocast = hardware.autocast(self.device, self.precision)
        if isinstance(postprocess, PostProcessing):
            postprocess.check(self.labels)
            postprocess = partial(postprocess, labels=self.labels)
        self.mirror_axes, self.postprocess = tuple(mirror_axes), postprocess
        self.crop = bool(flat) and (all(member.local for member in flat) if crop is None else crop)
        runtimes = ["onnx" if isinstance(m.net, export_formats.OnnxNet) else "torch" for m in members]
        self.computed: dict[str, Any] = {
            "device": str(self.device), "precision": self.precision, "runtime": runtimes,
            "crop": self.crop,
        }  # fmt: skip
        on_cpu = self.device.type == "cpu"
        self._pixels_per_batch = PIXELS_PER_BATCH_CPU if on_cpu else PIXELS_PER_BATCH_GPU
        for member in members:
            with hardware.fitting(self.device, "the network"):
                hardware.optimize(member.net.to(self.device).eval(), channels_last=True, compile=False)
        # Networks of one size share the stored slices and the resampling to the native grid.
        self._groups: dict[int | None, list[Loaded]] = {}
        for member in flat:
            self._groups.setdefault(member.size, []).append(member)
        self.overlap = OVERLAP if overlap is None else overlap
        self._volumes = [
            VolumeNetworks(
                group, self.overlap, self.mirror_axes, len(self.labels.classes), self.device,
                self._autocast, self._pixels_per_batch,
            )
            for group in VolumeNetworks.groups(members)
        ]  # fmt: skip
        self.has_3d, self._networks = bool(self._volumes), len(members)

    @classmethod
    def load(
        cls, paths: str | Path | Sequence[str | Path], mirror_axes: Sequence[int] = (),
        postprocess: PostProcess | None = None, device: str = "auto", precision: str = "auto",
        trusted: Sequence[str] = (), crop: bool | None = None, overlap: float | None = None,
    ) -> "Segmenter":  # fmt: skip
        """Return a segmenter of one or several files.

        ONNX Runtime runs ``.onnx`` files of `kitsseg.export`; PyTorch runs all others, which must be
        checkpoints. ``trusted`` names further networks that these may build, see `checkpoint.load`. The
        other arguments are those of the class. Raises `ValueError` if a file cannot be used.
        """
        files = [paths] if isinstance(paths, (str, Path)) else paths
        members = [
            export_formats.load_onnx(path) if path.suffix == ".onnx" else checkpoint.load(path, trusted)
            for path in (Path(file).expanduser() for file in files)
        ]
        return cls(members, mirror_axes, postprocess, device, precision, crop, overlap)

    def __call__(
        self, image: ImageLike, spacing_mm: Sequence[float] | None = None, offset_hu: int = 0
    ) -> UInt8:
        """Return the class ids of a volume as uint8; those of KiTS19 are 1 kidney and 2 tumour.

        They have the shape of the array, or lie along the axes of the file or image, whose affine they
        share. A volume is checked as by ``kitsseg.predict``, and its warnings are logged. Raises
        `ValueError` if it cannot be segmented.

        Args:
            image: a NIfTI file; an image of nibabel or SimpleITK; a ``MetaTensor`` of MONAI without its
                channel; or an array or tensor in HU, ``[S, H, W]``: slices from head to foot, rows from
                front to back, columns towards the patient's left.
            spacing_mm: spacing of slices, rows and columns of an array, by default 1 mm. It is required
                for post-processing and for 3D networks that resample volumes. Files and images have
                their own spacing.
            offset_hu: added to each voxel; -1024 for CT stored as unsigned numbers.
        """
        if isinstance(image, (str, Path)):
            name, volume = str(image), read_image(Path(image).expanduser(), offset_hu, EXPORT)
        else:
            resampled = any(group.spacing_mm is not None for group in self._volumes)
            user = "post-processing of an array" if self.postprocess is not None else "3D networks"
            needed = self.postprocess is not None or resampled
            if needed and spacing_mm is None and not has_own_spacing(image):
                raise ValueError(f"spacing_mm: required for {user}")
            name, volume = "image", in_memory(image, spacing_mm, offset_hu)
        result = self.segment(volume.hu, volume.layout.spacing_mm)
        for warning in (*volume.warnings, *result.warnings):
            log.warning(f"{name}: {warning}")
        return np.ascontiguousarray(volume.layout.in_file_axes(result.label))

    @torch.inference_mode()
    def segment(self, hu: Hu, spacing_mm: Sequence[float], maps: Sequence[str] = ()) -> Segmentation:
        """Segment a volume ``[S, H, W]``, oriented as in `__call__`, with the given `Segmentation.maps`.

        Slices without a voxel above `EMPTY_HU` are background without running a network. If a batch does
        not fit into the device's memory, the batch size is halved for the rest of the volume and for
        later volumes. Raises `ValueError` if a single slice or patch does not fit, or if resampling for
        a 3D network needs more memory than is free.
        """
        views = make_views(hu, spacing_mm, self._groups, self.crop)
        volumes = [group.open(hu, spacing_mm) for group in self._volumes]
        arrays = {name: np.zeros(hu.shape, np.uint8) for name in maps}
        doubts_3d = (group.doubts(hu.shape, spacing_mm) for group in self._volumes)
        doubts = dict.fromkeys(chain(self._doubts(views, spacing_mm), *doubts_3d))
        result = Segmentation(np.zeros(hu.shape, np.uint8), arrays, tuple(doubts))
        planes = [*(view.grid.stored for view in views), *(each.grid.stored[1:] for each in volumes)]
        pixels = max(rows * columns for rows, columns in planes)
        remaining = np.array([z for z, plane in enumerate(hu) if plane.max() > EMPTY_HU], int)
        with hardware.fitting(self.device, f"a slice of {pixels} pixels"):
            while len(remaining):
                z = remaining[: max(1, self._pixels_per_batch // pixels)]
                try:
                    self._segment_slices(result, hu, z, views, volumes)
                except RuntimeError as error:
                    if not hardware.is_out_of_memory(error) or len(z) == 1:
                        raise
                else:
                    remaining = remaining[len(z) :]
                    continue
                # Outside the except block, because the exception keeps the tensors alive.
                self._pixels_per_batch = hardware.halve_batch(self.device, len(z), "slices") * pixels
        if self.postprocess is None:
            return result
        return replace(result, label=self.postprocess(result.label, spacing_mm))

    def _doubts(self, views: Sequence[View], spacing_mm: Sequence[float]) -> Iterator[str]:
        """Yield a warning for pixels far larger or smaller than those of the training slices."""
        for view in views:
            mm = view.grid.stored_mm(float(spacing_mm[1]))
            for member in self._groups[view.size]:
                low, high = (mm, mm) if member.pixel_mm is None else member.pixel_mm
                if not low / PIXEL_FACTOR <= mm <= high * PIXEL_FACTOR:
                    yield (
                        f"its pixels of {mm:.3g} mm differ from those of the training data, {low:.3g} "
                        f"to {high:.3g} mm; the labels may be wrong; resample it"
                    )

    def _segment_slices(
        self, result: Segmentation, hu: Hu, z: Indices, views: Sequence[View],
        volumes: Sequence[NativeSlices],
    ) -> None:  # fmt: skip
        """Write the labels and maps of slices ``z`` to ``result``."""
        sums = []
        for view in views:
            predictions = (self._predict(member, hu, z, view) for member in self._groups[view.size])
            sums.append(reduce(torch.add, predictions)[..., *view.grid.inside])
        sums += [volume.slices(z) for volume in volumes]
        if not result.maps:
            # Skip resampling where all stored slices are background: if background has the highest
            # probability at all neighbours of a point, interpolation does not change that.
            found = [(slicewise.argmax(total) != BACKGROUND).flatten(1).any(1) for total in sums]
            rows = torch.stack(found).any(0).cpu().numpy()
            if not rows.all():
                z, sums = z[rows], [total[rows] for total in sums]
        for part, native in slicewise.average_on_native_grid(
            sums, (hu.shape[1], hu.shape[2]), self._networks, self._pixels_per_batch
        ):
            result.label[z[part]] = slicewise.argmax(native).cpu().numpy()
            for name, values in result.maps.items():
                values[z[part]] = slicewise.make_map(native, name, self.labels)

    def _predict(self, member: Loaded, hu: Hu, z: Indices, view: View) -> Tensor:
        """Return the probabilities ``[B, C, h, w]`` of slices ``z`` on the stored grid of a network."""
        stack = neighbourhood(z, len(hu), member.neighbours)
        needed, inverse = np.unique(stack, return_inverse=True)
        images = view.grid.fit_image(hu[needed])
        if view.crop is not None:
            images = images[:, *view.crop]
        images = images[inverse.reshape(stack.shape)]
        image = member.window(slicewise.pad(torch.from_numpy(images).to(self.device)))
        image = image.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            return view.uncrop(slicewise.predict_probabilities(member.net, image, self.mirror_axes))
