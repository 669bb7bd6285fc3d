"""U-Net and attention U-Net (the paper's section 2, Fig. 1, and section 2.1) in 2D and 3D.

Shapes: B batch, C channels, ``...`` the spatial axes, ``H, W`` or ``D, H, W``.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from kitsseg.models.blocks import (
    CONVOLUTION,
    MAX_POOL,
    AttentionGate,
    ConvBlock,
    check_input,
    check_levels,
    make_upsample,
)


class UNet(nn.Module):
    """Symmetric U-Net: image ``[B, in_channels, ...]`` -> logits ``[B, classes, ...]``.

    In training mode with ``supervised > 0``, it returns a list of logits from the finest to the coarsest
    level (deep supervision: Lee et al. 2015, arXiv:1409.5185).

    Args:
        width: channels of the first level; doubled at each level below.
        depth: number of poolings; each side of the input must be a multiple of the product of the
            strides along its axis, by default ``2 ** depth``.
        norm: ``batch``, ``instance``, ``group`` or ``none``.
        up: ``transpose`` (learned) or ``bilinear``, which is trilinear in 3D.
        dropout: probability of dropping a channel after each block of the two deepest levels.
        supervised: number of decoder levels below the finest that return logits in training mode.
        class_prior: fraction of pixels per class, whose logarithms are the initial bias of the head
            (Lin et al. 2017, arXiv:1708.02002, section 3.3). A number is the fraction of background;
            the other classes share the rest. None or empty: PyTorch's random bias.
        dims: number of spatial axes, 2 or 3.
        strides: pooling after each of the ``depth`` levels, per axis 1 or 2. None: 2. Coarse slices
            can be pooled later: ``[[1, 2, 2], [2, 2, 2], ...]``.
        kernels: size of the convolutions of the ``depth + 1`` levels, per axis 1 or 3. None: 3.

    Raises:
        ValueError: an argument is out of range, or the input has a wrong shape.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 3,
        width: int = 32,
        depth: int = 4,
        norm: str = "batch",
        up: str = "transpose",
        dropout: float = 0.0,
        supervised: int = 0,
        class_prior: Sequence[float] | float | None = 0.97,
        dims: int = 2,
        strides: Sequence[Sequence[int]] | None = None,
        kernels: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        check_numbers(in_channels, classes, width, depth, dropout, supervised)
        self.in_channels, self.depth = in_channels, depth
        self.strides = check_levels("strides", strides, depth, dims, (1, 2))
        sizes = check_levels("kernels", kernels, depth + 1, dims, (1, 3))
        prior = class_prior if isinstance(class_prior, (int, float)) else list(class_prior or ())
        self.settings: dict[str, object] = {  # the arguments, for checkpoints
            "in_channels": in_channels, "classes": classes, "width": width, "depth": depth,
            "norm": norm, "up": up, "dropout": dropout, "supervised": supervised,
            "class_prior": prior,
            "dims": dims, "strides": strides if strides is None else self.strides,
            "kernels": kernels if kernels is None else sizes,
        }  # fmt: skip
        self.channels = [width * 2**level for level in range(depth + 1)]

        def block(ins: int, outs: int, level: int) -> ConvBlock:
            return ConvBlock(ins, outs, norm, dropout if level >= depth - 1 else 0.0, sizes[level])

        inputs = [in_channels, *self.channels]
        self.encoder = nn.ModuleList(
            block(inputs[level], self.channels[level], level) for level in range(depth)
        )
        self.bottleneck = block(self.channels[-2], self.channels[-1], depth)
        self.pools = nn.ModuleList(MAX_POOL[dims](tuple(stride)) for stride in self.strides)
        # From the deepest to the finest level, in the order of computation.
        levels = range(depth - 1, -1, -1)
        self.upsample = nn.ModuleList(
            make_upsample(self.channels[level + 1], self.channels[level], up, self.strides[level])
            for level in levels
        )
        self.decoder = nn.ModuleList(
            block(2 * self.channels[level], self.channels[level], level) for level in levels
        )
        self.head = make_head(self.channels[0], classes, class_prior, dims)
        # From fine to coarse, in the order of the returned list.
        self.coarse_heads = nn.ModuleList(
            make_head(n, classes, class_prior, dims) for n in self.channels[1 : supervised + 1]
        )

    def select(self, step: int, skip: Tensor, below: Tensor) -> Tensor:
        """Return ``skip`` ``[B, C, ...]`` for decoder step ``step`` (0 is the deepest level).

        Subclasses may gate it with ``below``, the features one level below, ``[B, 2 C, ...]``.
        """
        return skip

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Return logits, or a list of logits from fine to coarse (see the class)."""
        check_input(image, self.in_channels, [prod(axis) for axis in zip(*self.strides, strict=True)])
        features, skips = image, []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            features = block(features)
            skips.append(features)
            features = pool(features)
        features = self.bottleneck(features)
        coarse: list[Tensor] = []
        for step, (upsample, block) in enumerate(zip(self.upsample, self.decoder, strict=True)):
            skip = self.select(step, skips.pop(), features)
            features = block(torch.cat([skip, upsample(features)], dim=1))
            level = self.depth - 1 - step
            if self.training and 0 < level <= len(self.coarse_heads):
                coarse.insert(0, self.coarse_heads[level - 1](features))
        logits: Tensor = self.head(features)
        return [logits, *coarse] if coarse else logits


def check_numbers(
    in_channels: int, classes: int, width: int, depth: int, dropout: float, supervised: int
) -> None:
    """Raise `ValueError` if a number is out of range."""
    for name, value in dict(in_channels=in_channels, width=width, depth=depth).items():
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    if classes < 2:
        raise ValueError(f"classes={classes}: must be at least 2 (softmax over the classes)")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: must be in [0, 1)")
    if not 0 <= supervised < depth:
        raise ValueError(f"supervised={supervised}: must be in [0, depth={depth}) (decoder levels)")


def make_head(
    channels: int, classes: int, class_prior: Sequence[float] | float | None, dims: int
) -> nn.Conv2d | nn.Conv3d:
    """Return the 1 x 1 convolution to logits. If given, ``class_prior`` is the softmax of its bias."""
    head: nn.Conv2d | nn.Conv3d = CONVOLUTION[dims](channels, classes, 1)
    if isinstance(class_prior, (int, float)):
        class_prior = [class_prior] + [(1 - class_prior) / (classes - 1)] * (classes - 1)
    if class_prior is not None and len(class_prior) > 0:  # older checkpoints hold None
        shares = torch.tensor(class_prior, dtype=torch.float64, device="cpu")
        if len(shares) != classes or not (shares > 0).all() or abs(float(shares.sum()) - 1) > 1e-6:
            raise ValueError(
                f"class_prior={class_prior}: must hold {classes} fractions above 0 that sum to 1"
            )
        assert head.bias is not None
        with torch.no_grad():
            head.bias.copy_(shares.log())
    return head


class AttentionUNet(UNet):
    """U-Net with additive attention gates on its skips (the paper's section 2.1; Oktay et al. 2018).

    The other arguments are those of `UNet`.

    Args:
        gate_ratio: inner channels of a gate divided by the channels of its skip, in (0, 4].
        gate_stride: 2 computes the coefficients on the grid of the level below, 1 on every pixel.
        gate_norm: normalisation inside the gate; ``none`` as in Oktay et al.
        gate_first: gate the skip at full resolution too, as MONAI does. Oktay et al. do not.
        gate_start: coefficient with which the gates start, in (0, 1). None: random, about 0.5.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 3,
        width: int = 32,
        depth: int = 4,
        norm: str = "batch",
        up: str = "transpose",
        dropout: float = 0.0,
        supervised: int = 0,
        class_prior: Sequence[float] | float | None = 0.97,
        gate_ratio: float = 0.5,
        gate_stride: int = 2,
        gate_norm: str = "none",
        gate_first: bool = False,
        dims: int = 2,
        strides: Sequence[Sequence[int]] | None = None,
        kernels: Sequence[Sequence[int]] | None = None,
        gate_start: float | None = None,
    ) -> None:
        super().__init__(
            in_channels, classes, width, depth, norm, up, dropout, supervised, class_prior,
            dims, strides, kernels,
        )  # fmt: skip
        self.settings |= {
            "gate_ratio": gate_ratio, "gate_stride": gate_stride, "gate_norm": gate_norm,
            "gate_first": gate_first, "gate_start": gate_start,
        }  # fmt: skip
        if not 0 < gate_ratio <= 4:
            raise ValueError(f"gate_ratio={gate_ratio}: must be in (0, 4]")
        if gate_stride not in (1, 2):
            raise ValueError(f"gate_stride={gate_stride}: must be 1 (every pixel) or 2 (coarse grid)")
        if gate_start is not None and not 0 < gate_start < 1:
            raise ValueError(f"gate_start={gate_start}: must be between 0 and 1")
        if depth == 1 and not gate_first:
            raise ValueError("gate_first=false: a network with depth=1 has no gate; set gate_first=true")
        self.gates = nn.ModuleList(
            AttentionGate(
                self.channels[level],
                self.channels[level + 1],
                max(1, round(gate_ratio * self.channels[level])),
                self.strides[level] if gate_stride == 2 else [1] * dims,
                gate_norm,
                gate_start,
            )
            for level in range(depth - 1, -1 if gate_first else 0, -1)
        )

    def select(self, step: int, skip: Tensor, below: Tensor) -> Tensor:
        """Return the skip, multiplied by the coefficients of its gate if it has one."""
        if step >= len(self.gates):
            return skip
        gated: Tensor = self.gates[step](skip, below)
        return gated
