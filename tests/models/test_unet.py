"""Tests of the networks: shapes, wiring, and an attention gate computed by hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from kitsseg.models.blocks import AttentionGate, UpConvolution
from kitsseg.models.unet import AttentionUNet, UNet


@pytest.mark.parametrize("make", [UNet, AttentionUNet, partial(AttentionUNet, gate_first=True)])
@pytest.mark.parametrize(("depth", "height", "width"), [(2, 12, 20), (4, 32, 48)])
def test_shapes(make: Callable[..., UNet], depth: int, height: int, width: int) -> None:
    net = make(in_channels=2, classes=4, width=4, depth=depth).eval()
    assert net(torch.randn(3, 2, height, width)).shape == (3, 4, height, width)


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("up", ["transpose", "bilinear"])
def test_every_option_trains_every_parameter(norm: str, up: str) -> None:
    net = AttentionUNet(width=4, depth=2, norm=norm, up=up, dropout=0.1, gate_norm=norm)
    net(torch.randn(2, 1, 16, 16)).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 1, 2), (2, 3, 5), (3, 8, 4)])
def test_up_convolution_equals_conv_transpose_in_both_memory_formats(
    batch: int, height: int, width: int
) -> None:
    layer = UpConvolution(6, 4, [2, 2]).double()
    plain = nn.ConvTranspose2d(6, 4, 2, stride=2).double()
    plain.load_state_dict(layer.state_dict())
    for memory_format in (torch.contiguous_format, torch.channels_last):
        image = torch.randn(batch, 6, height, width, dtype=torch.double).contiguous(
            memory_format=memory_format
        )
        found, expected = layer(image), plain(image)
        torch.testing.assert_close(found, expected)
        assert found.is_contiguous(memory_format=memory_format)
        weighted = torch.randn_like(expected)
        of_layer = torch.autograd.grad((found * weighted).sum(), list(layer.parameters()))
        of_plain = torch.autograd.grad((expected * weighted).sum(), list(plain.parameters()))
        torch.testing.assert_close(of_layer, of_plain)


def test_channels_double_by_level() -> None:
    net = UNet(width=32, depth=4)
    assert net.channels == [32, 64, 128, 256, 512]
    assert [block[0].in_channels for block in net.decoder] == [512, 256, 128, 64]


def test_parameter_count_of_the_classical_network() -> None:
    # Channels of Ronneberger et al. (64 to 1024), convolutions without bias, batch norm.
    conv = sum(9 * i * o for i, o in [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256),
        (256, 256), (256, 512), (512, 512), (512, 1024), (1024, 1024), (1024, 512), (512, 512),
        (512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64)])  # fmt: skip
    norm = sum(2 * 2 * 2 * c for c in (64, 128, 256, 512)) + 2 * 2 * 1024
    up = sum(4 * 2 * c * c + c for c in (64, 128, 256, 512))
    head = 64 * 3 + 3
    net = UNet(width=64)
    assert sum(p.numel() for p in net.parameters()) == conv + norm + up + head


def hand_gate(stride: int) -> AttentionGate:
    gate = AttentionGate(1, 1, 1, [stride, stride], "none")
    with torch.no_grad():
        gate.from_skip.weight.fill_(1.0)
        gate.from_gating.weight.fill_(2.0)
        gate.from_gating.bias.fill_(-1.0)
        gate.psi.weight.fill_(0.5)
        gate.psi.bias.fill_(-2.0)
    return gate


def test_gate_by_hand_on_every_pixel() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, -9.0]]]])
    g = torch.tensor([[[[2.0]]]])  # W_g g + b = 3 everywhere
    # psi(relu(x + 3)) = 0.5 * (4, 5, 6, 0) - 2 = (0, 0.5, 1, -2)
    alpha = torch.tensor([[[[0.0, 0.5], [1.0, -2.0]]]]).sigmoid()
    gate = hand_gate(stride=1)
    torch.testing.assert_close(gate.coefficients(x, g), alpha)
    torch.testing.assert_close(gate(x, g), x * alpha)


def test_gate_by_hand_on_the_coarse_grid() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, -9.0]]]])
    g = torch.tensor([[[[2.0]]]])
    # The strided sum of x is -3; relu(-3 + 3) = 0; sigmoid(-2) on all four pixels.
    expected = torch.full((1, 1, 2, 2), torch.tensor(-2.0).sigmoid().item())
    torch.testing.assert_close(hand_gate(stride=2).coefficients(x, g), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_one_coefficient_per_pixel_in_0_1(stride: int) -> None:
    gate = AttentionGate(6, 12, 3, [stride, stride], "batch")
    alpha = gate.coefficients(torch.randn(2, 6, 8, 12) * 50, torch.randn(2, 12, 4, 6) * 50)
    assert alpha.shape == (2, 1, 8, 12)
    assert alpha.min() >= 0 and alpha.max() <= 1


def test_gates_receive_the_skip_and_the_level_below() -> None:
    """Guard against swapped arguments and against features from the wrong level."""
    net = AttentionUNet(width=4, depth=3, gate_first=True).eval()
    seen = []
    for gate in net.gates:
        gate.register_forward_hook(lambda m, args, out: seen.append([a.shape[1:] for a in args]))
    net(torch.randn(1, 1, 32, 32))
    assert seen == [
        [(16, 8, 8), (32, 4, 4)],
        [(8, 16, 16), (16, 8, 8)],
        [(4, 32, 32), (8, 16, 16)],
    ]


def test_open_gates_give_the_plain_network() -> None:
    torch.manual_seed(0)
    gated = AttentionUNet(width=4, depth=2).eval()
    plain = UNet(width=4, depth=2).eval()
    plain.load_state_dict(gated.state_dict(), strict=False)
    with torch.no_grad():
        for gate in gated.gates:
            gate.psi.weight.zero_()
            gate.psi.bias.fill_(50.0)  # sigmoid(50) is 1 in float32
    image = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(gated(image), plain(image))


def test_first_skip_has_no_gate_by_default() -> None:
    net = AttentionUNet(width=4, depth=3)
    assert [gate.from_skip.in_channels for gate in net.gates] == [16, 8]
    skip = torch.randn(1, 4, 32, 32)
    assert net.select(2, skip, torch.randn(1, 8, 16, 16)) is skip
    assert net(torch.randn(1, 1, 32, 32)).shape == (1, 3, 32, 32)


def test_deep_supervision_returns_coarser_logits_in_training_only() -> None:
    net = AttentionUNet(width=4, depth=3, supervised=2)
    image = torch.randn(2, 1, 32, 48)
    found = net(image)
    assert [tuple(logits.shape) for logits in found] == [
        (2, 3, 32, 48),
        (2, 3, 16, 24),
        (2, 3, 8, 12),
    ]
    sum(logits.square().mean() for logits in found).backward()
    assert all(p.grad is not None for p in net.parameters())
    plain = AttentionUNet(width=4, depth=3)
    plain.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(net.eval()(image), plain.eval()(image))


def test_coarser_logits_come_from_their_own_level() -> None:
    net = UNet(width=4, depth=3, supervised=2)
    assert [head.in_channels for head in net.coarse_heads] == [8, 16]
    with torch.no_grad():
        for level, head in enumerate((net.head, *net.coarse_heads)):
            head.weight.zero_()
            head.bias.fill_(float(level))
    found = net(torch.randn(1, 1, 16, 16))
    assert [float(logits.mean()) for logits in found] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("prior", "shares"), [([0.9, 0.07, 0.03], [0.9, 0.07, 0.03]), (0.9, [0.9, 0.05, 0.05])]
)
def test_head_predicts_the_class_prior_for_zero_features(prior: Any, shares: list[float]) -> None:
    net = UNet(width=4, depth=2, class_prior=prior, supervised=1)
    assert net.settings["class_prior"] == prior
    for head in (net.head, *net.coarse_heads):
        predicted = head(torch.zeros(1, head.in_channels, 1, 1)).softmax(1).flatten()
        torch.testing.assert_close(predicted, torch.tensor(shares))


def test_gates_start_where_told() -> None:
    net = AttentionUNet(width=4, depth=2, gate_start=0.9)
    (gate,) = net.gates
    skip, below = torch.zeros(1, 8, 4, 4), torch.zeros(1, 16, 2, 2)
    for projection in (gate.from_skip, gate.from_gating):
        for parameter in projection.parameters():
            torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(gate.coefficients(skip, below), torch.full((1, 1, 4, 4), 0.9))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"width": 0}, "width=0: must be at least 1"),
        ({"depth": 0}, "depth=0: must be at least 1"),
        ({"classes": 1}, "classes=1: must be at least 2"),
        ({"dropout": 1.0}, r"dropout=1.0: must be in \[0, 1\)"),
        ({"norm": "layer"}, "norm='layer': must be one of batch, instance, group, none"),
        ({"up": "nearest"}, "up='nearest': must be one of transpose, bilinear"),
        ({"gate_stride": 3}, "gate_stride=3: must be 1"),
        ({"gate_ratio": 0.0}, "gate_ratio=0.0: must be in"),
        ({"gate_norm": "x"}, "norm='x': must be one of"),
        ({"depth": 1}, "gate_first=false: a network with depth=1 has no gate"),
        ({"supervised": 2}, r"supervised=2: must be in \[0, depth=2\)"),
        ({"class_prior": [0.9, 0.1]}, "must hold 3 fractions above 0 that sum to 1"),
        ({"class_prior": [0.9, 0.1, 0.1]}, "must hold 3 fractions above 0 that sum to 1"),
        ({"class_prior": [0.9, 0.1, 0.0]}, "must hold 3 fractions above 0 that sum to 1"),
        ({"class_prior": 1}, "must hold 3 fractions above 0 that sum to 1"),
        ({"gate_start": 1.0}, "gate_start=1.0: must be between 0 and 1"),
    ],
)
def test_values_out_of_range_raise(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AttentionUNet(**{"width": 4, "depth": 2, **arguments})  # type: ignore[arg-type]


def test_error_for_a_wrong_input_size_gives_a_valid_size() -> None:
    with pytest.raises(ValueError, match="50 x 64 .* multiples of 16 x 16: pad to 64 x 64"):
        UNet(width=4)(torch.zeros(1, 1, 50, 64))
    with pytest.raises(ValueError, match=r"expects \[B, 1, H, W\]"):
        UNet(width=4)(torch.zeros(1, 3, 64, 64))
