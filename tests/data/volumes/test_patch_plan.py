"""`kitsseg.data.volumes.patch_plan`: nnU-Net's rules."""

import numpy as np
import pytest

from kitsseg.data.volumes import patch_plan
from kitsseg.data.volumes.patch_plan import choose_patch, make_plan, median_spacing, poolings

ISOTROPIC = [(300, 400, 400)] * 5


def test_the_median_spacing_is_chosen() -> None:
    spacings = [(1.0, 0.8, 0.8), (2.0, 0.7, 0.7), (1.5, 0.9, 0.9)]
    assert median_spacing(ISOTROPIC[:3], spacings) == (1.5, 0.8, 0.8)


def test_thick_and_few_slices_get_a_finer_spacing() -> None:
    spacings = [(5.0, 0.8, 0.8)] * 8 + [(2.5, 0.8, 0.8)] * 2
    few = median_spacing([(50, 512, 512)] * 10, spacings)
    assert few == (2.5, 0.8, 0.8)  # the 10th percentile
    assert median_spacing([(300, 512, 512)] * 10, spacings) == (5.0, 0.8, 0.8)


def test_the_kits19_winner_pools_all_axes_until_they_are_short() -> None:
    strides, kernels = poolings((3.22, 1.62, 1.62), (80, 160, 160), 5)
    assert strides == [[2, 2, 2]] * 4 + [[1, 2, 2]]
    assert kernels == [[3, 3, 3]] * 6


def test_thick_slices_are_pooled_and_convolved_later() -> None:
    strides, kernels = poolings((5.0, 0.8, 0.8), (16, 256, 256), 4)
    assert strides == [[1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert kernels == [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]


def test_without_a_depth_the_patch_decides_how_often_it_is_pooled() -> None:
    strides, kernels = poolings((1.0, 1.0, 1.0), (16, 48, 48), None)
    assert strides == [[2, 2, 2], [2, 2, 2], [1, 2, 2]] and len(kernels) == 4
    assert len(poolings((1.0, 1.0, 1.0), (256, 256, 256), None)[0]) == 4
    assert make_plan(ISOTROPIC, [(1.0, 1.0, 1.0)] * 5, None, [16, 16, 16], None, 32, 2).strides


def test_more_memory_gives_a_larger_patch() -> None:
    sizes = [
        np.prod(choose_patch((0.8, 0.8, 0.8), (400, 400, 400), 5, 32, 2, memory))
        for memory in (4, 8, 16)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_patch_has_the_proportions_of_the_volumes_in_mm() -> None:
    z, y, x = choose_patch((3.0, 0.75, 0.75), (100, 512, 512), 4, 32, 2, 8)
    assert abs(y - x) <= 16 and 3 <= y / z <= 6


def test_a_patch_is_not_larger_than_the_volumes_need() -> None:
    assert choose_patch((5.5, 3.5, 3.5), (40, 128, 128), 4, 16, 2, 8) == (40, 128, 128)
    assert choose_patch((5.5, 3.5, 3.5), (37, 120, 120), 4, 16, 2, 8) == (40, 128, 128)


@pytest.mark.parametrize("shape", [(40, 128, 128), (20, 512, 512), (300, 90, 333), (9, 9, 9)])
@pytest.mark.parametrize("mm", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.5, 0.9, 0.9)])
def test_a_chosen_patch_can_be_pooled(shape: tuple[int, ...], mm: tuple[float, ...]) -> None:
    depth = 1 if shape == (9, 9, 9) else 4
    patch = choose_patch(mm, shape, depth, 16, 2, 8)
    strides, _ = poolings(mm, patch, depth)
    factors = np.prod(strides, axis=0)
    assert not (np.asarray(patch) % factors).any()


def test_what_cannot_be_planned_is_refused() -> None:
    spacings = [(1.0, 1.0, 1.0)] * 5
    with pytest.raises(ValueError, match=r"too small for model.depth=4; .* model.depth=2"):
        make_plan(ISOTROPIC, spacings, None, [16, 16, 16], 4, 32, 2)
    make_plan(ISOTROPIC, spacings, None, [16, 16, 16], 2, 32, 2)  # the remedy
    strides = [[2, 2, 2]] * 4
    with pytest.raises(ValueError, match=r"multiples of \[16, 16, 16\].*set data.patch=\[48, 64, 64\]"):
        make_plan(ISOTROPIC, spacings, None, [40, 64, 64], 4, 32, 2, strides)
    make_plan(ISOTROPIC, spacings, None, [48, 64, 64], 4, 32, 2, strides)
    with pytest.raises(ValueError, match=r"data.spacing_mm=\[0.01, 0.01, 0.01\]: .* set a coarser"):
        make_plan(ISOTROPIC, spacings, [0.01, 0.01, 0.01], [64, 64, 64], 4, 32, 2)
    make_plan(ISOTROPIC, spacings, [1, 1, 1], [64, 64, 64], 4, 32, 2)
    with pytest.raises(ValueError, match=r"larger than all volumes, .* set data.patch=\[64, 32, 64\]"):
        make_plan([(60, 30, 70), (50, 30, 60)], spacings[:2], None, [96, 64, 64], 4, 32, 2)
    make_plan([(60, 30, 70), (50, 30, 60)], spacings[:2], None, [64, 32, 64], 4, 32, 2)
    with pytest.raises(ValueError, match="no patch fits into 0.01 GB"):
        choose_patch((1, 1, 1), (64, 64, 64), 4, 256, 2, 0.01)


def test_strides_of_the_network_round_the_patch_up() -> None:
    chosen = make_plan([(37, 120, 120)], [(5.5, 3.5, 3.5)], "auto", "auto", 4, 16, 2, [[2, 2, 2]] * 4)
    assert chosen.patch == (48, 128, 128)


def test_a_gpu_sets_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patch_plan.device_memory_gb() == 8 or patch_plan.torch.cuda.is_available()
