"""Trained networks applied to a CT volume: ``Segmenter.load("best.ckpt")("ct.nii.gz")``."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kitsseg.data.io.nifti import EXPORT, read_image
from kitsseg.data.io.voxels import INT16
from kitsseg.data.labels import BACKGROUND, CLASSES, OFFICIAL, REGIONS
from kitsseg.data.store.grid import Grid, neighbourhood
from kitsseg.inference import checkpoint, export_formats
from kitsseg.inference.backends import choose
from kitsseg.inference.body_crop import View, find_body, on_stored
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.slicewise import likeliest, natively, pad, probabilities
from kitsseg.system import hardware

log = logging.getLogger("kitsseg")

EMPTY_HU = -500  # a slice that isn't denser anywhere is air alone
MARGIN = 16  # pixels that the networks see round a body, at least: with fewer, more labels change
# Of the network's input, and on the way back; larger batches only need more memory.
PIXELS_AT_ONCE = {"cpu": 1 << 18}
PIXELS_AT_ONCE_ELSEWHERE = 1 << 22
SQUARE = 0.01  # pixels whose sides differ by less count as square
UNCERTAINTY = "uncertainty"
PostProcess = Callable[[np.ndarray, Sequence[float]], np.ndarray]


@dataclass(frozen=True)
class Segmentation:
    """What was found in a volume.

    Attributes:
        label: ``[S, H, W]`` uint8, class ids.
        maps: ``[S, H, W]`` uint8 each, a number from 0 to 255 that means 0 to 1: under ``kidney`` and
            ``tumour`` the probability of that official region (the kidney's includes the tumour), under
            ``uncertainty`` the entropy of the classes' probabilities over its maximum, log 3. All are of
            the average over the networks and their mirror images, before any post-processing.
    """

    label: np.ndarray
    maps: dict[str, np.ndarray]


class Segmenter:
    """One network, or several whose probabilities are averaged, each with its own preprocessing.

    Args:
        members: as `checkpoint.load` gives them.
        mirror_axes: average over slices and their mirror images along these axes (0 rows, 1 columns)
            and their combinations.
        postprocess: what cleans a label volume, given the spacing in mm; None: nothing.
        device: ``auto``, ``cpu``, ``cuda`` and so on.
        precision: ``auto`` (what the hardware computes in), ``32-true``, ``bf16-mixed``, ``16-mixed``.
        crop: show the networks only the part of the slices that holds a body, and `MARGIN` pixels round
            it; the rest is background. None: if all networks are local, whose labels hardly change.

    Raises:
        ValueError: a value is out of its range, there's no such device, or it's full.
    """

    def __init__(
        self,
        members: Sequence[Loaded],
        mirror_axes: Sequence[int] = (),
        postprocess: PostProcess | None = None,
        device: str = "auto",
        precision: str = "auto",
        crop: bool | None = None,
    ) -> None:
        if not members:
            raise ValueError("members: there must be at least one network")
        if not set(mirror_axes) <= {0, 1} or len(set(mirror_axes)) < len(mirror_axes):
            raise ValueError(f"mirror_axes={list(mirror_axes)} may hold 0 and 1, each once")
        self.device = hardware.choose_device(device)
        self.precision = hardware.choose_precision(self.device.type, precision)
        self._autocast = hardware.autocast(self.device, self.precision)
        self.mirror_axes, self.postprocess = tuple(mirror_axes), postprocess
        self.crop = all(member.local for member in members) if crop is None else crop
        runtimes = ["onnx" if isinstance(m.net, export_formats.OnnxNet) else "torch" for m in members]
        self.computed: dict[str, Any] = {
            "device": str(self.device), "precision": self.precision, "runtime": runtimes,
            "crop": self.crop,
        }  # fmt: skip
        self._pixels_at_once = PIXELS_AT_ONCE.get(self.device.type, PIXELS_AT_ONCE_ELSEWHERE)
        # Those of one size share the scaled slices and the way back.
        self._groups: dict[int | None, list[Loaded]] = {}
        for member in members:
            self._move(member)
            self._groups.setdefault(member.size, []).append(member)

    @classmethod
    def load(
        cls,
        paths: str | Path | Sequence[str | Path],
        mirror_axes: Sequence[int] = (),
        postprocess: PostProcess | None = None,
        device: str = "auto",
        precision: str = "auto",
        trusted: Sequence[str] = (),
        crop: bool | None = None,
        runtime: str = "auto",
    ) -> "Segmenter":
        """A segmenter from one checkpoint (or ONNX file of `kitsseg.export`) or several.

        For the other arguments, see the class.

        Args:
            trusted: networks that a checkpoint may name beside kitsseg's own, see `checkpoint.load`.
            runtime: ``torch``, ``onnx`` (ONNX Runtime, on the processor), or ``auto``, see
                `runtime.choose`; what was chosen, and why, is in ``computed``.

        Raises:
            ValueError: one line that names the file or the argument, what is wrong and what helps.
        """
        each = [Path(p).expanduser() for p in ([paths] if isinstance(paths, (str, Path)) else paths)]
        on = hardware.choose_device(device)
        chosen = [choose(_load(path, trusted), path, runtime, on, precision) for path in each]
        made = cls([one.member for one in chosen], mirror_axes, postprocess, device, precision, crop)
        made.computed["why"] = [one.why for one in chosen]
        return made

    def __call__(
        self, image: np.ndarray | str | Path, spacing_mm: Sequence[float] | None = None
    ) -> np.ndarray:
        """Class ids of a volume: 0 background, 1 kidney, 2 tumour.

        Args:
            image: a NIfTI file, or HU ``[S, H, W]``: slices from head to foot, rows from front to back,
                columns to the patient's left.
            spacing_mm: of an array's slices, rows and columns; without, its pixels count as square.

        Returns:
            uint8, of an array in its shape, of a file along its own axes: with its affine, it lies where
            the image lies.

        Raises:
            ValueError: one line that says what is wrong and what helps.
        """
        if not isinstance(image, np.ndarray):
            read = read_image(Path(image).expanduser(), EXPORT)
            label = self.segment(read.hu, read.layout.spacing_mm).label
            return np.ascontiguousarray(read.layout.in_file_axes(label))
        if spacing_mm is None and self.postprocess is not None:
            raise ValueError("spacing_mm: an array's post-processing needs it (slices, rows, columns)")
        return self.segment(_as_hu(image), (1, 1, 1) if spacing_mm is None else spacing_mm).label

    @torch.inference_mode()
    def segment(
        self, hu: np.ndarray, spacing_mm: Sequence[float], maps: Sequence[str] = ()
    ) -> Segmentation:
        """What is in a volume.

        Slices in which no voxel is above `EMPTY_HU` are background, and no network is asked; nor, with
        `crop`, about what is far from the body in the others. What doesn't fit into the device's memory
        is tried again with half as many slices at once, as is all that follows.

        Args:
            hu: ``[S, H, W]`` int16, oriented as in `__call__`.
            spacing_mm: of slices, rows and columns.
            maps: of `Segmentation.maps`, those wanted; each takes as much memory as the label.

        Raises:
            ValueError: a single slice doesn't fit into the device's memory.
        """
        made = Segmentation(
            np.zeros(hu.shape, np.uint8), {n: np.zeros(hu.shape, np.uint8) for n in maps}
        )
        grids = {size: Grid(hu.shape[1:], size, _aspect(spacing_mm)) for size in self._groups}
        body = find_body(hu, EMPTY_HU) if self.crop else None
        views = [
            View(size, grid, None if body is None else on_stored(body, grid, MARGIN))
            for size, grid in grids.items()
        ]
        pixels = max(view.grid.stored[0] * view.grid.stored[1] for view in views)
        filled = np.array([z for z, plane in enumerate(hu) if plane.max() > EMPTY_HU], int)
        done = 0
        while done < len(filled):
            z = filled[done : done + max(1, self._pixels_at_once // pixels)]
            try:
                self._fill(made, hu, z, views)
            except RuntimeError as error:
                if not hardware.is_out_of_memory(error):
                    raise
            else:
                done += len(z)
                continue
            self._take_less(len(z), pixels)  # out here, since the error holds all that was in memory
        if self.postprocess is None:
            return made
        return Segmentation(self.postprocess(made.label, spacing_mm), made.maps)

    def _fill(self, made: Segmentation, hu: np.ndarray, z: np.ndarray, views: Sequence[View]) -> None:
        """Write what is in slices ``z``.

        Unless there are maps, slices that are background on every stored grid stay so: what is the
        likeliest in all four corners is the likeliest between them.
        """
        sums = [
            reduce(torch.add, (self._stored(member, hu, z, view) for member in self._groups[view.size]))
            for view in views
        ]
        if not made.maps:
            found = [(likeliest(each) != BACKGROUND).flatten(1).any(1) for each in sums]
            rows = torch.stack(found).any(0).cpu().numpy()
            if not rows.all():
                z, sums = z[rows], [each[rows] for each in sums]
        members = sum(map(len, self._groups.values()))
        grids = [view.grid for view in views]
        for part, likely in natively([*zip(sums, grids, strict=True)], members, self._pixels_at_once):
            made.label[z[part]] = likeliest(likely).cpu().numpy()
            for name, values in made.maps.items():
                values[z[part]] = _map(likely, name)

    def _stored(self, member: Loaded, hu: np.ndarray, z: np.ndarray, view: View) -> Tensor:
        """One network's probabilities ``[B, C, h, w]`` of slices ``z``, on its own grid."""
        seen = neighbourhood(z, len(hu), member.neighbours)
        needed, where = np.unique(seen, return_inverse=True)
        images = view.part_of(view.grid.fit_image(hu[needed]))[where.reshape(seen.shape)]
        image = member.window(pad(torch.from_numpy(images).to(self.device)))
        image = image.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            return view.whole_of(probabilities(member.net, image, self.mirror_axes))

    def _move(self, member: Loaded) -> None:
        try:
            hardware.ready(member.net.to(self.device).eval(), channels_last=True, compile=False)
        except RuntimeError as error:
            if not hardware.is_out_of_memory(error):
                raise
            raise ValueError(
                f"device={self.device}: the network doesn't fit into its memory; free it, "
                "or add device=cpu"
            ) from error

    def _take_less(self, slices: int, pixels: int) -> None:
        """Go on with half as many slices at once.

        Raises:
            ValueError: there was only one.
        """
        if slices == 1:
            raise ValueError(
                f"device={self.device}: a slice of {pixels} pixels doesn't fit into its memory; free "
                "it, or add device=cpu"
            )
        self._pixels_at_once = slices // 2 * pixels
        log.warning(
            "device=%s: its memory is too small for %d slices at once; going on with %d",
            self.device, slices, slices // 2,
        )  # fmt: skip
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _load(path: Path, trusted: Sequence[str]) -> Loaded:
    return export_formats.load_onnx(path) if path.suffix == ".onnx" else checkpoint.load(path, trusted)


def _as_hu(image: np.ndarray) -> np.ndarray:
    """``[S, H, W]`` of any number type -> int16."""
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image has shape {image.shape}; it must be [S, H, W], none of them 0")
    if image.dtype == np.int16:
        return image
    if not np.isfinite(image).all():
        raise ValueError("image holds NaN or infinite values; replace them by air, -1024 HU")
    return np.rint(image).clip(INT16.min, INT16.max).astype(np.int16)


def _aspect(spacing_mm: Sequence[float]) -> float:
    aspect = float(spacing_mm[1]) / float(spacing_mm[2])
    return 1.0 if abs(aspect - 1) < SQUARE else aspect


def _map(likely: Tensor, name: str) -> np.ndarray:
    """Of probabilities ``[B, C, H, W]`` a map ``[B, H, W]`` uint8, see `Segmentation`."""
    if name == UNCERTAINTY:
        values = torch.special.entr(likely).sum(1) / np.log(len(CLASSES))
    elif name in OFFICIAL:
        values = likely[:, list(REGIONS[name])].sum(1)
    else:
        raise ValueError(f"maps={name} must be {', '.join((*OFFICIAL, UNCERTAINTY))}")
    return (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
