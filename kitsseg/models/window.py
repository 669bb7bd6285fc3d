"""Normalisation of Hounsfield units."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

NAMES = ("low_hu", "high_hu", "mean_hu", "sd_hu")


class Window(nn.Module):
    """Clip to [``low_hu``, ``high_hu``], subtract ``mean_hu`` and divide by ``sd_hu``.

    The window is applied on the device, so that slices are transferred to it as int16.

    Raises:
        ValueError: ``low_hu`` is not below ``high_hu``, or ``sd_hu`` is not above 0.
    """

    def __init__(self, low_hu: float, high_hu: float, mean_hu: float, sd_hu: float) -> None:
        super().__init__()
        if not low_hu < high_hu:
            raise ValueError(f"low_hu={low_hu}: must be below high_hu={high_hu}")
        if not sd_hu > 0:
            raise ValueError(f"sd_hu={sd_hu}: must be above 0")
        self.low_hu, self.high_hu, self.mean_hu, self.sd_hu = low_hu, high_hu, mean_hu, sd_hu

    def forward(self, image: Tensor) -> Tensor:
        """Return ``image`` (HU, any shape and dtype) normalised, as float32."""
        return image.to(torch.float32).clamp(self.low_hu, self.high_hu).sub(self.mean_hu) / self.sd_hu

    def settings(self) -> dict[str, float]:
        """Return the arguments of `Window`."""
        return {name: getattr(self, name) for name in NAMES}


class AutoWindow(Window):
    """A window whose values are computed from the foreground of the training cases, as in nnU-Net.

    `SegmentationTask` fits it to the training cases of a `SliceDataModule`.

    Args:
        low_percentile: percentile of the foreground's HU that becomes ``low_hu``.
        high_percentile: percentile that becomes ``high_hu``.

    Raises:
        ValueError: a percentile is out of range; or the window is used before `fit`.
    """

    def __init__(self, low_percentile: float = 0.5, high_percentile: float = 99.5) -> None:
        nn.Module.__init__(self)  # the values of `Window` are not known yet
        if not 0 <= low_percentile < high_percentile <= 100:
            raise ValueError(
                f"low_percentile={low_percentile}: must be at least 0 and below "
                f"high_percentile={high_percentile}, which must be at most 100"
            )
        self.low_percentile, self.high_percentile = low_percentile, high_percentile

    def __getattr__(self, name: str) -> Any:
        if name in NAMES:  # only called if the attribute is missing
            raise ValueError(
                "AutoWindow is not fitted; call fit(), or train with a SliceDataModule as datamodule"
            )
        return super().__getattr__(name)

    @property
    def is_fitted(self) -> bool:
        """Whether the window can be used."""
        return NAMES[0] in vars(self)

    def fit(self, hu: Sequence[float] | Tensor, counts: Sequence[int] | Tensor) -> "AutoWindow":
        """Compute the values from a histogram of the foreground and return the window itself.

        Percentiles are interpolated linearly. The mean and the standard deviation are those of the HU
        before clipping.

        Args:
            hu: ``[N]``, in any order; may contain a value several times.
            counts: ``[N]``, the number of voxels with this HU.

        Raises:
            ValueError: there are no voxels, or both percentiles are equal.
        """
        values, order = torch.as_tensor(hu, dtype=torch.float64).sort()
        numbers = torch.as_tensor(counts, dtype=torch.int64)[order]
        ends, voxels = numbers.cumsum(0), int(numbers.sum())
        remedy = "check their labels, or set window=kits"
        if not voxels:
            raise ValueError(f"window=auto: the training cases have no foreground voxel; {remedy}")
        mean = (values * numbers).sum() / voxels
        sd = ((values - mean).square() * numbers).sum().div(voxels).sqrt()

        def percentile(percent: float) -> float:
            place = (voxels - 1) * (percent / 100)
            ranks = torch.tensor([int(place), min(int(place) + 1, voxels - 1)])
            below, above = values[torch.searchsorted(ends, ranks, right=True)].tolist()
            step, share = above - below, place - int(place)
            # Both are equal up to rounding; this choice reproduces `numpy.percentile`.
            return float(below + step * share if share < 0.5 else above - step * (1 - share))

        low, high = percentile(self.low_percentile), percentile(self.high_percentile)
        if not low < high:
            raise ValueError(
                f"window=auto: percentiles {self.low_percentile} and {self.high_percentile} of the "
                f"foreground of the training cases are both {low} HU; {remedy}"
            )
        self.low_hu, self.high_hu, self.mean_hu, self.sd_hu = low, high, float(mean), float(sd)
        return self
