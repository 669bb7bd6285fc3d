"""What the machine is asked to do, and what is said about it."""

import copy
from functools import partial

import pytest
import torch

from kitsseg.models.unet import UNet
from kitsseg.system import gpus, hardware, provenance
from kitsseg.training.callbacks.progress import clock
from kitsseg.training.schedules import warmup_cosine


@pytest.mark.parametrize(
    ("cpu", "gpu", "gpu_bf16", "accelerator", "expected"),
    [
        (True, False, False, "cpu", "bf16-mixed"),
        (False, False, False, "cpu", "32-true"),
        (False, False, False, "auto", "32-true"),
        (False, True, True, "auto", "bf16-mixed"),
        (False, True, False, "gpu", "16-mixed"),
        (False, True, True, "cpu", "32-true"),
    ],
)
def test_precision_is_what_the_hardware_computes_in(
    monkeypatch: pytest.MonkeyPatch,
    cpu: bool,
    gpu: bool,
    gpu_bf16: bool,
    accelerator: str,
    expected: str,
) -> None:
    monkeypatch.setattr(hardware, "cpu_supports_bf16", lambda: cpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu_bf16)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert hardware.choose_precision(accelerator) == expected
    assert hardware.choose_precision(accelerator, "64-true") == "64-true"


@pytest.mark.parametrize(
    ("gpu", "capability", "triton", "compiler", "accelerator", "expected"),
    [
        (True, (8, 0), True, "/usr/bin/cc", "auto", True),
        (True, (8, 0), True, "/usr/bin/cc", "cpu", False),
        (True, (6, 1), True, "/usr/bin/cc", "gpu", False),
        (True, (8, 0), False, "/usr/bin/cc", "gpu", False),
        (True, (8, 0), True, None, "gpu", False),
        (False, (8, 0), True, "/usr/bin/cc", "auto", False),
    ],
)
def test_it_compiles_where_it_pays_and_can(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    capability: tuple[int, int],
    triton: bool,
    compiler: str | None,
    accelerator: str,
    expected: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(hardware, "find_spec", lambda name: object() if triton else None)
    monkeypatch.setattr(hardware, "which", lambda name: compiler)
    assert hardware.choose_compile(accelerator) is expected
    assert hardware.choose_compile(accelerator, True) and not hardware.choose_compile(accelerator, False)


def test_compiling_keeps_the_names_of_weights() -> None:
    net = UNet(width=4, depth=1)
    names = list(net.state_dict())
    ready = hardware.optimize(net, channels_last=True, compile=True)
    assert list(ready.state_dict()) == names  # no _orig_mod in checkpoints
    assert ready.head.weight.is_contiguous(memory_format=torch.channels_last)


def test_every_level_of_a_3d_network_returns_channels_last() -> None:
    net = UNet(width=8, depth=2, dims=3)
    image = torch.randn(2, 1, 16, 32, 32)  # for a batch of 1, PyTorch may choose another convolution
    expected = net(image)
    ready = hardware.optimize(net, channels_last=True, compile=False)
    seen = []
    for layer in (*ready.encoder, ready.bottleneck, *ready.decoder):
        layer.register_forward_hook(lambda layer, given, out: seen.append(out))
    torch.testing.assert_close(ready(image), expected, atol=1e-4, rtol=1e-4)
    assert len(seen) == 5
    assert all(out.is_contiguous(memory_format=torch.channels_last_3d) for out in seen)


def test_2d_weights_have_the_strides_of_module_to() -> None:
    net = UNet(width=4, depth=2)
    expected = copy.deepcopy(net).to(memory_format=torch.channels_last)
    ready = hardware.optimize(net, channels_last=True, compile=False)
    for weight, other in zip(ready.parameters(), expected.parameters(), strict=True):
        assert weight.stride() == other.stride() and torch.equal(weight, other)


def test_environment_is_plain_text() -> None:
    about = provenance.describe_environment(torch.device("cpu"), "32-true", compiled=False)
    assert all(isinstance(v, str) for v in about.values())
    assert about["torch"] == torch.__version__ and about["device"].startswith("cpu: ")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75, "1:15"), (3725.4, "1:02:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_warmup_then_cosine_by_hand() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warmup_cosine(optimizer, total_steps=10, warmup=0.2)
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    # Two steps up, then half a cosine over eight; in its middle half the rate.
    assert rates[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert rates[6] == pytest.approx(1.0)
    assert rates[10] == pytest.approx(0.0)
    with pytest.raises(ValueError, match=r"warmup=1.0: must be in \[0, 1\)"):
        partial(warmup_cosine, warmup=1.0)(optimizer, total_steps=10)


def test_gpus_as_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.visible() == ["0", "1"] and gpus.count() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus.visible() == ["3", "5"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert gpus.visible() == [] and gpus.count() == 1
