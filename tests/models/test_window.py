"""Windows whose values are computed from a histogram."""

import copy

import numpy as np
import pytest
import torch

from kitsseg.models.window import AutoWindow


def test_values_by_hand() -> None:
    """Four voxels: -1, 3, 3, 5. The 50th percentile is 3, the 75th is halfway between 3 and 5, 3.5."""
    window = AutoWindow(50, 75).fit([5, -1, 3], [1, 1, 2])
    assert window.settings() == {"low_hu": 3, "high_hu": 3.5, "mean_hu": 2.5, "sd_hu": 4.75**0.5}
    out = window(torch.tensor([-1, 5], dtype=torch.int16))
    torch.testing.assert_close(out, torch.tensor([0.5, 1.0]) / 4.75**0.5)


@pytest.mark.parametrize("count", [1, 2, 7, 200, 100_001])
def test_values_equal_those_of_numpy(count: int) -> None:
    rng = np.random.default_rng(count)
    hu = np.concatenate([rng.normal(100, 80, count).astype(np.int16), np.int16([-1024, 3071])])
    parts = [np.unique(part, return_counts=True) for part in np.array_split(hu, 2)]  # values repeat
    for low, high in ((0.5, 99.5), (0, 100), (12.3, 45.6)):
        window = AutoWindow(low, high).fit(*np.concatenate(parts, axis=1))
        assert [window.low_hu, window.high_hu] == np.percentile(hu, [low, high]).tolist()
        assert window.mean_hu == hu.mean() and window.sd_hu == pytest.approx(hu.std(), rel=1e-12)


def test_use_before_fit_raises() -> None:
    window = copy.deepcopy(AutoWindow())
    assert not window.is_fitted
    for use in (window.settings, lambda: window(torch.zeros(1)), lambda: window.high_hu):
        with pytest.raises(ValueError, match=r"AutoWindow is not fitted; call fit\(\), or train with"):
            use()
    assert window.fit([1, 2], [1, 1]).is_fitted and window.settings()["mean_hu"] == 1.5
    with pytest.raises(AttributeError):
        window.nothing  # noqa: B018


@pytest.mark.parametrize(("hu", "counts"), [([], []), ([7], [0])])
def test_no_voxels(hu: list[int], counts: list[int]) -> None:
    with pytest.raises(ValueError, match="training cases have no foreground voxel; .* window=kits"):
        AutoWindow().fit(hu, counts)


def test_equal_percentiles() -> None:
    with pytest.raises(ValueError, match=r"0.5 and 99.5 of .* are both 7.0 HU; .* window=kits"):
        AutoWindow().fit([7, 8], [1000, 1])


@pytest.mark.parametrize(("low", "high"), [(-1, 50), (50, 50), (60, 50), (0, 100.5), (float("nan"), 9)])
def test_percentiles_out_of_range(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"low_percentile={low}: must .* high_percentile={high}, which"):
        AutoWindow(low, high)
