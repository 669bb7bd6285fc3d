"""The showcase: selected cases and slices, and attention coefficients."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kitsseg.data.io.nifti.read import read_label_volume
from kitsseg.data.io.nifti.write import save_volume
from kitsseg.data.labels import AIR_HU
from kitsseg.models.unet import AttentionUNet, UNet
from kitsseg.models.window import Window
from kitsseg.reporting import showcase
from kitsseg.training import showcase as training_showcase
from kitsseg.training.attention_maps import attention_maps
from tests.helpers.parts import make_data
from tests.reporting.html.made import figures, shown

CPU = SimpleNamespace(
    strategy=SimpleNamespace(
        root_device=torch.device("cpu"), precision_plugin=SimpleNamespace(forward_context=nullcontext)
    )
)
WINDOW = Window(-79, 304, 101, 76.9)


@pytest.mark.parametrize(
    ("tumour", "chosen"),
    [
        ([0.5, 0.9, 0.1, 0.4, 0.7], {"best": 11, "median": 10, "worst": 12}),
        ([0.5, 0.9, 0.1, 0.4], {"best": 11, "median": 13, "worst": 12}),  # the lower middle
        ([0.0, 0.9, 0.0, 0.4, 0.8], {"best": 11, "median": 13, "worst": 12}),  # the larger tumour
        ([0.3, None], {"best": 10}),
        ([0.3, 0.4], {"best": 11, "worst": 10}),
        ([None], {}),
    ],
)
def test_best_median_and_worst_by_hand(tumour: list[float | None], chosen: dict[str, int]) -> None:
    assert training_showcase.choose_examples(figures(tumour), "tumour") == {
        r: f"case_{n:05d}" for r, n in chosen.items()
    }


def test_selected_slices_surround_the_labels_up_to_the_maximum() -> None:
    mask = np.zeros((40, 4, 4), np.uint8)
    other = mask.copy()
    mask[10, 0, 0], other[14, 0, 0] = 1, 2
    assert training_showcase.select_slices(mask, other).tolist() == list(range(7, 18))
    assert training_showcase.select_slices(np.zeros((5, 2, 2))).tolist() == [0, 1, 2, 3, 4]
    long = np.ones((1059, 1, 1), np.uint8)
    chosen = training_showcase.select_slices(long)
    assert len(chosen) == 76 and set(np.diff(chosen)) == {14}  # the step is 1059 / 80, rounded up


def test_window_by_hand() -> None:
    hu = np.array([-1024, -100, 0, 50, 100, 3000], np.int16)
    assert training_showcase.to_grey(hu, 0, 100).tolist() == [0, 0, 0, 128, 255, 255]


def test_coefficients_equal_those_of_the_gates_in_order_of_computation() -> None:
    torch.manual_seed(0)
    net = AttentionUNet(width=4, depth=2, gate_first=True).eval()
    images = np.random.default_rng(0).integers(-100, 300, (3, 32, 64)).astype(np.int16)
    (deep, deep_side), (shallow, side) = attention_maps(net, WINDOW, images, 1, 0, None, CPU)
    assert deep_side == (16, 32) and side == (32, 64) and deep.shape == shallow.shape == (32, 64)
    with torch.inference_mode():  # the encoder by hand, up to the deepest gate
        x = WINDOW(torch.from_numpy(images[1:2, None]))
        first = net.encoder[0](x)
        second = net.encoder[1](net.pools[0](first))
        bottom = net.bottleneck(net.pools[1](second))
        expected = net.gates[0].coefficients(second, bottom)[0, 0].numpy()
    np.testing.assert_allclose(deep, expected.repeat(2, axis=0).repeat(2, axis=1), atol=1e-6)
    assert not net.gates[0]._forward_hooks  # the hooks are removed
    assert attention_maps(UNet(width=4, depth=2).eval(), WINDOW, images, 1, 0, None, CPU) == []


def test_coefficients_of_monai_gates() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    net = nets.AttentionUnet(2, 1, 3, channels=(4, 8, 16), strides=(2, 2)).eval()
    images = np.random.default_rng(0).integers(-100, 300, (2, 32, 32)).astype(np.int16)
    maps = attention_maps(net, WINDOW, images, 0, 0, None, CPU)
    assert [side for _, side in maps] == [(16, 16), (32, 32)]
    assert all(0 <= alpha.min() < alpha.max() <= 1 for alpha, _ in maps)


def test_maps_are_cropped_to_the_slice() -> None:
    net = AttentionUNet(width=4, depth=2, gate_first=True).eval()
    images = np.random.default_rng(0).integers(-100, 300, (1, 32, 64)).astype(np.int16)
    images[..., 40:] = AIR_HU
    whole = attention_maps(net, WINDOW, images, 0, 0, None, CPU)
    cropped = attention_maps(net, WINDOW, images[..., :40], 0, 0, None, CPU)  # padded to 64 columns
    for (expected, side), (found, own) in zip(whole, cropped, strict=True):
        assert side == own and np.array_equal(found, expected[:, :40])


def test_slices_are_cropped_to_the_body() -> None:
    image = np.zeros((2, 50, 60), np.uint8)
    image[1, 20:30, 10:12] = 9
    assert training_showcase.body_box(image) == (slice(16, 34), slice(6, 16))
    assert training_showcase.body_box(image * 0) == (slice(None), slice(None))


def test_written_example_cases_are_read_back(blocks: Path, tmp_path: Path) -> None:
    data = make_data(blocks, tmp_path / "prepared")
    scores = {}
    for i, case in enumerate(data.split.validation):
        truth = data.store.labels(data.store.ids.index(case))
        layout = read_label_volume(data.cases[case].label).layout
        for folder, shift in (("predictions", 1), ("predictions/before", 2)):
            moved = np.roll(truth, shift, axis=2)
            path = tmp_path / folder / f"{case}.nii.gz"
            save_volume(path, moved, layout)
        scores[case] = figures([0.3 + i])["case_00010"]
    net = AttentionUNet(width=4, depth=2, gate_first=True).eval()
    training_showcase.write(tmp_path, scores, data, net, WINDOW, CPU)
    best, worst = showcase.read(tmp_path)
    assert [(s.role, s.case) for s in (best, worst)] == [
        ("best", data.split.validation[1]), ("worst", data.split.validation[0]),
    ]  # fmt: skip
    whole = data.store.labels(data.store.ids.index(best.case))
    assert best.z.tolist() == list(range(6)) and best.image.dtype == np.uint8
    # The first four rows are air, which equals the margin around the body.
    assert best.image.shape == (6, 64, 64) and (best.image[:, :4] == 0).all()
    assert np.array_equal(best.masks["truth"], whole)
    assert np.array_equal(best.masks["prediction"], np.roll(whole, 1, axis=2))
    assert np.array_equal(best.masks["before"], np.roll(whole, 2, axis=2))
    assert (whole[best.z[best.start]] == 2).sum() == (whole == 2).sum(axis=(1, 2)).max()
    assert [g.shape for g in best.gates] == [(64, 64)] * 2 and best.grids == [(32, 32), (64, 64)]


def test_damaged_files_are_rejected(tmp_path: Path) -> None:
    assert showcase.read(tmp_path) == []
    folder = tmp_path / showcase.FOLDER
    training_showcase.save(folder, shown("best", "case_00001", 1))
    (again,) = showcase.read(tmp_path)
    assert again.case == "case_00001" and again.grids == [(6, 8)]
    path = folder / "best.npz"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"best.npz: not a showcase file .*; run the job again"):
        showcase.read(tmp_path)
    np.savez(path, role="best", case="a", z=np.arange(3), image=np.zeros((2, 4, 4)), start=0)
    with pytest.raises(ValueError, match="not a showcase file"):
        showcase.read(tmp_path)
