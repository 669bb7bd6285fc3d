"""Outlines, and the data of the slices."""

import re

import numpy as np
import pytest

from kitsseg.data.labels import KITS19
from kitsseg.reporting.html import slices
from kitsseg.reporting.html.outlines import outline_path
from kitsseg.reporting.html.slices import slice_viewers
from tests.reporting.html.made import record, shown


def pixel_edges(path: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the edges of pixels along which a path runs, as pairs of corners."""
    edges = []
    for start, steps in re.findall(r"M(\d+ \d+)l([^z]*)z", path):
        corners = np.cumsum(np.array(f"{start} {steps}".split(), int).reshape(-1, 2), axis=0)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            direction = np.sign(b - a)
            assert np.count_nonzero(direction) == 1, "not along an edge"
            line = [tuple((a + k * direction).tolist()) for k in range(abs(b - a).sum() + 1)]
            edges += [tuple(sorted(pair)) for pair in zip(line, line[1:], strict=False)]
    return edges


def test_outline_by_hand() -> None:
    inside = np.zeros((4, 5), bool)
    inside[1, 1:3] = True
    assert outline_path(inside) == "M1 1l0 1 2 0 0 -1z"
    assert outline_path(np.zeros((3, 3), bool)) == ""


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
def test_outline_follows_all_pixel_edges_once(share: float) -> None:
    inside = np.random.default_rng(1).random((20, 30)) < share
    padded = np.pad(inside, 1)
    across, down = (np.argwhere(np.diff(padded, axis=axis)) for axis in (0, 1))
    expected = [((x - 1, y), (x, y)) for y, x in across.tolist()]
    expected += [((x, y - 1), (x, y)) for y, x in down.tolist()]
    assert sorted(pixel_edges(outline_path(inside))) == sorted(expected)


def test_equal_images_are_stored_once() -> None:
    run = record("unet", [0.5, 0.6], [0.5, 0.6])
    example = shown("best", "case_00010", 0)
    other = shown("worst", "case_00011", 0)
    _, data = slice_viewers([("a", run, [example, other], ""), ("b", run, [example], "")], KITS19)
    first, second, again = (view["images"] for view in data["viewers"].values())
    assert first == again == list(range(12)) and second == list(range(12, 24))
    assert len(data["images"]) == 24 and data["images"][0].startswith("data:image/webp;base64,")


@pytest.mark.parametrize("most", [25, 12, 5, 2])
def test_thinning_keeps_the_start_slice(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(slices, "MAX_SLICES", most)
    monkeypatch.setattr(slices, "MIN_SLICES_PER_CASE", 1)
    whole = shown("best", "case_00010", 0, slices=25)
    (*_, viewer), data = slice_viewers([("a", record("unet", [0.5], [0.5]), [whole], "")], KITS19)
    (view,) = data["viewers"].values()
    assert len(view["z"]) <= most + 1 and len(view["images"]) == len(view["outlines"]) == len(view["z"])
    start = int(re.search(r'value="(\d+)" step', viewer)[1])
    assert view["z"][start] == whole.z[whole.start] + 1
    path = outline_path(whole.masks["truth"][whole.start] == 2)
    assert view["outlines"][start]["truth.tumour"] == path and path in viewer
