"""The paper's two networks: a 2D U-Net (section 2, Fig. 1) and the same with attention gates (2.1)."""

import torch
from torch import Tensor, nn

from kitsseg.models.attention import AttentionGate
from kitsseg.models.blocks import ConvBlock, Upsample, check_input


class UNet(nn.Module):
    """A symmetric 2D U-Net: image ``[B, in_channels, H, W]`` -> logits ``[B, classes, H, W]``.

    Args:
        in_channels: input channels.
        classes: output channels, one logit a class.
        width: channels of the first level; each level below has twice as many.
        depth: how often the image is halved; H and W must be multiples of ``2 ** depth``.
        norm: ``batch``, ``instance``, ``group`` or ``none``.
        up: ``transpose`` (learned) or ``bilinear``.
        dropout: share of channels dropped after the blocks of the two deepest levels.

    Raises:
        ValueError: a parameter out of its range, or an input whose size doesn't fit.
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
    ) -> None:
        super().__init__()
        for name, value in dict(in_channels=in_channels, width=width, depth=depth).items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if classes < 2:
            raise ValueError(f"classes={classes} must be at least 2 (softmax over the classes)")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in [0, 1)")
        self.in_channels, self.depth = in_channels, depth
        self.channels = [width * 2**level for level in range(depth + 1)]

        def block(ins: int, outs: int, level: int) -> ConvBlock:
            return ConvBlock(ins, outs, norm, dropout if level >= depth - 1 else 0.0)

        inputs = [in_channels, *self.channels]
        self.encoder = nn.ModuleList(
            block(inputs[level], self.channels[level], level) for level in range(depth)
        )
        self.bottleneck = block(self.channels[-2], self.channels[-1], depth)
        self.pool = nn.MaxPool2d(2)
        # decoder[0] is the deepest, so that the lists are walked in the order of computation.
        levels = range(depth - 1, -1, -1)
        self.upsample = nn.ModuleList(
            Upsample(self.channels[level + 1], self.channels[level], up) for level in levels
        )
        self.decoder = nn.ModuleList(
            block(2 * self.channels[level], self.channels[level], level) for level in levels
        )
        self.head = nn.Conv2d(self.channels[0], classes, 1)

    @property
    def divisor(self) -> int:
        """H and W of the input must be multiples of this."""
        return int(2**self.depth)

    def select(self, step: int, skip: Tensor, below: Tensor) -> Tensor:
        """What of ``skip`` decoder step ``step`` sees, given the features one level ``below``: all."""
        return skip

    def forward(self, image: Tensor) -> Tensor:
        check_input(image, self.in_channels, self.divisor)
        features, skips = image, []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = self.pool(features)
        features = self.bottleneck(features)
        for step, (upsample, block) in enumerate(zip(self.upsample, self.decoder, strict=True)):
            skip = self.select(step, skips.pop(), features)
            features = block(torch.cat([skip, upsample(features)], dim=1))
        return self.head(features)


class AttentionUNet(UNet):
    """The U-Net with an additive attention gate on each skip (paper section 2.1; Oktay et al. 2018).

    Args:
        gate_ratio: inner width of a gate over the channels of its skip.
        gate_stride: 2 computes the coefficients on the coarse grid, 1 on every pixel.
        gate_norm: normalisation inside the gate; ``none`` is Oktay's form.
        Others: see `UNet`.
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
        gate_ratio: float = 0.5,
        gate_stride: int = 2,
        gate_norm: str = "none",
    ) -> None:
        super().__init__(in_channels, classes, width, depth, norm, up, dropout)
        if not 0 < gate_ratio <= 4:
            raise ValueError(f"gate_ratio={gate_ratio} must lie in (0, 4]")
        self.gates = nn.ModuleList(
            AttentionGate(
                self.channels[level],
                self.channels[level + 1],
                max(1, round(gate_ratio * self.channels[level])),
                gate_stride,
                gate_norm,
            )
            for level in range(depth - 1, -1, -1)
        )

    def select(self, step: int, skip: Tensor, below: Tensor) -> Tensor:
        """The skip, attenuated by its gate."""
        return self.gates[step](skip, below)
