"""Additive attention gate."""

from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.models.blocks import make_norm


class AttentionGate(nn.Module):
    """Multiply a skip connection by one coefficient in [0, 1] per pixel.

    ``alpha = sigmoid(psi(relu(W_x x + W_g g)))``, where ``x`` is the skip, ``[B, skip_channels, H, W]``,
    and ``g`` the decoder features one level below, ``[B, gating_channels, H / 2, W / 2]``.
    Source: Oktay et al. 2018, arXiv:1804.03999, section 2, equation 1; the paper's section 2.1 (kappa).

    Args:
        skip_channels: channels of ``x``.
        gating_channels: channels of ``g``.
        inner_channels: channels of both projections.
        stride: 2 computes alpha on the grid of ``g`` and interpolates it (Oktay's grid attention);
            1 interpolates the projection of ``g`` and computes alpha on every pixel of ``x``.
        norm: normalisation after each projection; ``none`` as in Oktay et al.

    Raises:
        ValueError: ``stride`` is not 1 or 2, or ``inner_channels`` is below 1.
    """

    def __init__(
        self, skip_channels: int, gating_channels: int, inner_channels: int, stride: int, norm: str
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"gate_stride={stride}: must be 1 (every pixel) or 2 (coarse grid)")
        if inner_channels < 1:
            raise ValueError(f"inner_channels={inner_channels}: must be at least 1")
        self.from_skip = nn.Conv2d(skip_channels, inner_channels, stride, stride, bias=False)
        self.from_gating = nn.Conv2d(gating_channels, inner_channels, 1)
        self.norm_skip = make_norm(norm, inner_channels)
        self.norm_gating = make_norm(norm, inner_channels)
        self.psi = nn.Conv2d(inner_channels, 1, 1)

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        """Return alpha, ``[B, 1, H, W]`` in [0, 1]."""
        skip = self.norm_skip(self.from_skip(x))
        gating = self.norm_gating(self.from_gating(g))
        if gating.shape[2:] != skip.shape[2:]:
            gating = F.interpolate(gating, skip.shape[2:], mode="bilinear", align_corners=False)
        alpha: Tensor = self.psi(F.relu(skip + gating)).sigmoid()
        if alpha.shape[2:] != x.shape[2:]:
            alpha = F.interpolate(alpha, x.shape[2:], mode="bilinear", align_corners=False)
        return alpha

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the attenuated skip, ``[B, skip_channels, H, W]``."""
        return x * self.coefficients(x, g)
