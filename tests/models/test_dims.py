"""The networks in 3D, and in 2D as they were before they had the argument ``dims``."""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.models.blocks import CHANNELS_LAST, AttentionGate, MaxPool3d, UpConvolution
from kitsseg.models.unet import AttentionUNet, UNet

ISOTROPIC = [[2, 2, 2], [2, 2, 2]]
ANISOTROPIC = [[1, 2, 2], [2, 2, 1]]
FLAT: dict[str, Any] = {"strides": [[1, 2, 2]] * 2, "kernels": [[1, 3, 3]] * 3}


# ---- 2D to the bit


class Reference(nn.Module):
    """The 2D attention U-Net written with plain layers, in the order in which weights are drawn."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        c = [width * 2**level for level in range(depth + 1)]

        def block(ins: int, outs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (ins, outs):
                conv = nn.Conv2d(channels, outs, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                layers += [conv, nn.BatchNorm2d(outs), nn.ReLU()]
            return nn.Sequential(*layers)

        down = [(1, width), *pairwise(c)]
        self.encoder = nn.ModuleList(block(*each) for each in down[:-1])
        self.bottleneck = block(*down[-1])
        up = list(pairwise(reversed(c)))
        self.upsample = nn.ModuleList(nn.Sequential(nn.ConvTranspose2d(a, b, 2, 2)) for a, b in up)
        self.decoder = nn.ModuleList(block(2 * b, b) for _, b in up)
        self.head = nn.Conv2d(width, 3, 1)
        self.gates = nn.ModuleList(
            nn.ModuleDict(
                {
                    "from_skip": nn.Conv2d(b, b // 2, 2, 2, bias=False),
                    "from_gating": nn.Conv2d(a, b // 2, 1),
                    "psi": nn.Conv2d(b // 2, 1, 1),
                }
            )
            for a, b in up[:-1]
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.encoder:
            skips.append(block(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottleneck(x)
        for step, (upsample, block) in enumerate(zip(self.upsample, self.decoder, strict=True)):
            skip = skips.pop()
            if step < len(self.gates):
                gate: Any = self.gates[step]
                alpha = gate["psi"](F.relu(gate["from_skip"](skip) + gate["from_gating"](x))).sigmoid()
                skip = skip * F.interpolate(alpha, skip.shape[2:], mode="bilinear")
            x = block(torch.cat([skip, upsample(x)], 1))
        return self.head(x)  # type: ignore[no-any-return]


def test_2d_is_bit_equal_to_plain_layers() -> None:
    torch.manual_seed(5)
    expected = Reference(8, 3)
    torch.manual_seed(5)
    net = AttentionUNet(width=8, depth=3, class_prior=None)
    assert list(net.state_dict()) == list(expected.state_dict())
    for name, weight in net.state_dict().items():
        assert torch.equal(weight, expected.state_dict()[name]), name
    image = torch.randn(2, 1, 16, 24)
    assert torch.equal(net(image), expected(image))


def test_default_strides_and_kernels_equal_given_ones() -> None:
    torch.manual_seed(0)
    net = UNet(width=4, depth=2, dims=3).eval()
    torch.manual_seed(0)
    given = UNet(width=4, depth=2, dims=3, strides=ISOTROPIC, kernels=[[3, 3, 3]] * 3).eval()
    image = torch.randn(1, 1, 4, 8, 8)
    assert torch.equal(net(image), given(image))


# ---- 3D


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("up", ["transpose", "bilinear"])
@pytest.mark.parametrize("gate_stride", [1, 2])
def test_flat_kernels_give_the_2d_network_on_each_slice(norm: str, up: str, gate_stride: int) -> None:
    options: dict[str, Any] = {"norm": norm, "up": up, "gate_stride": gate_stride, "gate_first": True}
    plane = AttentionUNet(width=4, depth=2, **options).eval()
    volume = AttentionUNet(width=4, depth=2, dims=3, **FLAT, **options).eval()
    assert list(volume.state_dict()) == list(plane.state_dict())
    shapes = {name: weight.shape for name, weight in volume.state_dict().items()}
    volume.load_state_dict({n: w.reshape(shapes[n]) for n, w in plane.state_dict().items()})
    image = torch.randn(2, 1, 1, 8, 12)  # norms such as instance cover a volume, so it has one slice
    torch.testing.assert_close(volume(image)[:, :, 0], plane(image[:, :, 0]))
    if norm in ("batch", "none"):
        image = torch.randn(2, 1, 3, 8, 12)
        expected = torch.stack([plane(image[:, :, i]) for i in range(3)], 2)
        torch.testing.assert_close(volume(image), expected)


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("up", ["transpose", "bilinear"])
@pytest.mark.parametrize("strides", [None, ANISOTROPIC])
def test_every_3d_option_trains_every_parameter(norm: str, up: str, strides: Any) -> None:
    net = AttentionUNet(
        width=4, depth=2, norm=norm, up=up, dropout=0.1, supervised=1, gate_norm=norm, gate_first=True,
        class_prior=[0.9, 0.07, 0.03], dims=3, strides=strides, kernels=[[1, 3, 3], *[[3, 3, 3]] * 2],
    )  # fmt: skip
    found = net(torch.randn(2, 1, 4, 8, 12))
    coarse = (2, 4, 6) if strides is None else (4, 4, 6)
    assert [tuple(logits.shape) for logits in found] == [(2, 3, 4, 8, 12), (2, 3, *coarse)]
    sum(logits.square().mean() for logits in found).backward()
    assert all(p.grad is not None for p in net.parameters())
    predicted = net.head(torch.zeros(1, 4, 1, 1, 1)).softmax(1).flatten()
    torch.testing.assert_close(predicted, torch.tensor([0.9, 0.07, 0.03]))


@pytest.mark.parametrize("stride", [[2, 2], [1, 2], [2, 2, 2], [1, 2, 2], [1, 1, 1]])
def test_up_convolution_equals_conv_transpose(stride: list[int]) -> None:
    layer = UpConvolution(6, 4, stride).double()
    transposed: Callable[..., Tensor] = F.conv_transpose2d if len(stride) == 2 else F.conv_transpose3d
    for memory_format in (torch.contiguous_format, CHANNELS_LAST[len(stride)]):
        image = torch.randn(2, 6, 3, 5, 4, dtype=torch.double)[..., : 3 if len(stride) == 2 else 4]
        image = (image[:, :, 0] if len(stride) == 2 else image).contiguous(memory_format=memory_format)
        expected = transposed(image, layer.weight, layer.bias, stride)
        found = layer(image)
        torch.testing.assert_close(found, expected)
        assert found.is_contiguous(memory_format=memory_format)


def test_pooling_under_autocast_stays_in_16_bits() -> None:
    image = torch.randn(1, 2, 4, 6, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = MaxPool3d([1, 2, 2])(image)
    assert torch.equal(pooled, F.max_pool3d(image, (1, 2, 2)))


# ---- gates


def upsampling_matrix(side: int, step: int) -> Tensor:
    """Return ``[side * step, side]``: linear interpolation between the centres of the coarse voxels."""
    at = ((torch.arange(side * step) + 0.5) / step - 0.5).clamp(0, side - 1)
    return (1 - (at[:, None] - torch.arange(side)).abs()).clamp(0)


def grid_attention(gate: AttentionGate, x: Tensor, g: Tensor, stride: list[int]) -> Tensor:
    """Return alpha of Oktay et al. 2018: sigma2(psi^T sigma1(W_x^T x + W_g^T g + b_g) + b_psi).

    W_x is a convolution with the stride between the grids of x and g; sigma1 is the ReLU, sigma2 the
    sigmoid. Alpha is interpolated to the grid of x.
    """
    w_x, w_g, psi = (layer.weight for layer in (gate.from_skip, gate.from_gating, gate.psi))
    corners = [
        torch.einsum("bcdhw,fc->bfdhw", x[:, :, i::d, j::h, k::w], w_x[:, :, i, j, k])
        for d, h, w in [stride]
        for i, j, k in product(range(d), range(h), range(w))
    ]
    gating = torch.einsum("bcdhw,fc->bfdhw", g, w_g[..., 0, 0, 0])
    q = torch.relu(sum(corners) + gating + gate.from_gating.bias.view(-1, 1, 1, 1))
    alpha = torch.sigmoid(torch.einsum("bfdhw,f->bdhw", q, psi.flatten()) + gate.psi.bias)
    matrices = [upsampling_matrix(n, step) for n, step in zip(alpha.shape[1:], stride, strict=True)]
    return torch.einsum("bdhw,Dd,Hh,Ww->bDHW", alpha, *matrices)[:, None]


@pytest.mark.parametrize("strides", [ISOTROPIC, ANISOTROPIC, [[2, 1, 1], [1, 1, 1]]])
def test_gates_equal_the_3d_grid_attention_of_oktay(strides: list[list[int]]) -> None:
    net = AttentionUNet(width=4, depth=2, dims=3, strides=strides, gate_first=True)
    seen: list[tuple[Any, tuple[Tensor, Tensor], Tensor]] = []
    for gate in net.gates:
        gate.register_forward_hook(lambda gate, given, out: seen.append((gate, given, out)))
    net(torch.randn(2, 1, 8, 12, 16))
    for (gate, (x, g), gated), stride in zip(seen, reversed(strides), strict=True):
        alpha = grid_attention(gate, x, g, stride)
        assert alpha.std() > 1e-3
        torch.testing.assert_close(gate.coefficients(x, g), alpha)
        torch.testing.assert_close(gated, x * alpha)


# ---- settings and errors


def test_settings_rebuild_the_network() -> None:
    strides, kernels = tuple(map(tuple, ANISOTROPIC)), [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    net = AttentionUNet(width=4, depth=2, dims=3, strides=strides, kernels=kernels)
    assert net.settings["strides"] == ANISOTROPIC
    again = AttentionUNet(**net.settings)  # type: ignore[arg-type]
    again.load_state_dict(net.state_dict())
    image = torch.randn(1, 1, 4, 8, 8)
    torch.testing.assert_close(again.eval()(image), net.eval()(image))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"dims": 4}, r"dims=4: must be 2 \(slices\) or 3 \(volumes\)"),
        ({"strides": 2}, "strides=2: must hold 2 lists of 3 numbers, each 1 or 2"),
        ({"strides": [2, 2]}, r"strides=\[2, 2\]: must hold 2 lists of 3 numbers, each 1 or 2"),
        ({"strides": [[2, 2, 2]]}, "must hold 2 lists of 3 numbers, each 1 or 2"),
        ({"strides": [[2, 2]] * 2}, "must hold 2 lists of 3 numbers, each 1 or 2"),
        ({"strides": [[4, 2, 2]] * 2}, "must hold 2 lists of 3 numbers, each 1 or 2"),
        ({"kernels": [[3, 3, 3]] * 2}, "kernels=.* must hold 3 lists of 3 numbers, each 1 or 3"),
        ({"kernels": [[2, 3, 3]] * 3}, "must hold 3 lists of 3 numbers, each 1 or 3"),
    ],
)
def test_values_out_of_range_raise(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AttentionUNet(**{"width": 4, "depth": 2, "dims": 3, **arguments})


def test_slices_given_to_a_3d_network_and_volumes_given_to_a_2d_one() -> None:
    text = r"input has shape \[1, 1, 8, 8\]; the network has dims=3 and expects \[B, 1, D, H, W\]"
    with pytest.raises(ValueError, match=text):
        UNet(width=4, depth=2, dims=3)(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"the network has dims=2 and expects \[B, 1, H, W\]"):
        UNet(width=4, depth=2)(torch.zeros(1, 1, 8, 8, 8))


def test_padding_as_the_error_says_helps() -> None:
    net = UNet(width=4, depth=2, dims=3, strides=ANISOTROPIC)
    image = torch.zeros(1, 1, 5, 8, 9)
    with pytest.raises(ValueError, match="5 x 8 x 9 .* multiples of 2 x 4 x 2: pad to 6 x 8 x 10"):
        net(image)
    assert net(F.pad(image, (0, 1, 0, 0, 0, 1))).shape == (1, 3, 6, 8, 10)
