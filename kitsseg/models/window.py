"""Normalisation of Hounsfield units."""

import torch
from torch import Tensor, nn


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
        """Return the constructor arguments."""
        return {name: getattr(self, name) for name in ("low_hu", "high_hu", "mean_hu", "sd_hu")}
