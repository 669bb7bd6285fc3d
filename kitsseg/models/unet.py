"""The paper's two networks: a 2D U-Net (section 2, Fig. 1) and the same with attention gates (2.1)."""

import torch
from torch import Tensor, nn

from kitsseg.models.attention import AttentionGate
from kitsseg.models.blocks import ConvBlock, Upsample, check_input


class UNet(nn.Module):
    """A symmetric 2D U-Net: image ``[B, in_channels, H, W]`` -> logits ``[B, classes, H, W]``.

    In training, with deep supervision, it gives a list: those logits, then a coarser level's each, of
    half the size of the one before (Lee et al. 2015, arXiv:1409.5185; nnU-Net).

    Args:
        in_channels: input channels.
        classes: output channels, one logit a class.
        width: channels of the first level; each level below has twice as many.
        depth: how often the image is halved; H and W must be multiples of ``2 ** depth``.
        norm: ``batch``, ``instance``, ``group`` or ``none``.
        up: ``transpose`` (learned) or ``bilinear``.
        dropout: share of channels dropped after the blocks of the two deepest levels.
        supervised: how many levels of the decoder beside the finest give logits, too, in training.
        class_prior: shares of the pixels, one a class: what the logits say before any training, by the
            head's bias (Lin et al. 2017, arXiv:1708.02002, section 3.3); None: PyTorch's random bias.

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
        supervised: int = 0,
        class_prior: list[float] | None = None,
    ) -> None:
        super().__init__()
        for name, value in dict(in_channels=in_channels, width=width, depth=depth).items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if classes < 2:
            raise ValueError(f"classes={classes} must be at least 2 (softmax over the classes)")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in [0, 1)")
        if not 0 <= supervised < depth:
            raise ValueError(
                f"supervised={supervised} must lie in [0, depth={depth}): levels of the decoder"
            )
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
        self.head = make_head(self.channels[0], classes, class_prior)
        # From fine to coarse, as their logits are listed.
        self.coarse_heads = nn.ModuleList(
            make_head(self.channels[level], classes, class_prior) for level in range(1, supervised + 1)
        )

    @property
    def divisor(self) -> int:
        """H and W of the input must be multiples of this."""
        return int(2**self.depth)

    def select(self, step: int, skip: Tensor, below: Tensor) -> Tensor:
        """What of ``skip`` decoder step ``step`` sees, given the features one level ``below``: all."""
        return skip

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        check_input(image, self.in_channels, self.divisor)
        features, skips = image, []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = self.pool(features)
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


def make_head(channels: int, classes: int, class_prior: list[float] | None) -> nn.Conv2d:
    """Features -> logits; with a prior, its softmax gives that on features of 0."""
    head = nn.Conv2d(channels, classes, 1)
    if class_prior is not None:
        shares = torch.tensor(class_prior, dtype=torch.float64, device="cpu")
        if len(shares) != classes or not (shares > 0).all() or abs(float(shares.sum()) - 1) > 1e-6:
            raise ValueError(
                f"class_prior={class_prior} must hold {classes} shares above 0 that add up to 1"
            )
        assert head.bias is not None
        with torch.no_grad():
            head.bias.copy_(shares.log())
    return head


class AttentionUNet(UNet):
    """The U-Net with additive attention gates on its skips (paper section 2.1; Oktay et al. 2018).

    Args:
        gate_ratio: inner width of a gate over the channels of its skip.
        gate_stride: 2 computes the coefficients on the coarse grid, 1 on every pixel.
        gate_norm: normalisation inside the gate; ``none`` is Oktay's form.
        gate_first: whether the first skip, of the image's own size, has a gate, too, as in MONAI's
            network. Oktay's has none there, since features so shallow say little of what is sought.
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
        supervised: int = 0,
        class_prior: list[float] | None = None,
        gate_ratio: float = 0.5,
        gate_stride: int = 2,
        gate_norm: str = "none",
        gate_first: bool = False,
    ) -> None:
        super().__init__(in_channels, classes, width, depth, norm, up, dropout, supervised, class_prior)
        if not 0 < gate_ratio <= 4:
            raise ValueError(f"gate_ratio={gate_ratio} must lie in (0, 4]")
        if depth == 1 and not gate_first:
            raise ValueError("gate_first=false leaves a network of depth=1 without any gate: use true")
        self.gates = nn.ModuleList(
            AttentionGate(
                self.channels[level],
                self.channels[level + 1],
                max(1, round(gate_ratio * self.channels[level])),
                gate_stride,
                gate_norm,
            )
            for level in range(depth - 1, -1 if gate_first else 0, -1)
        )

    def select(self, step: int, skip: Tensor, below: Tensor) -> Tensor:
        """The skip, attenuated by its gate if it has one."""
        return self.gates[step](skip, below) if step < len(self.gates) else skip
