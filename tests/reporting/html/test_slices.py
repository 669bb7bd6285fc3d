"""Encoding of images and masks, and outlines."""

import base64
import re

import numpy as np
import pytest

from kitsseg.reporting.html.slices import encode_mask, outline_path, slice_viewers, thin
from tests.reporting.html.made import record, shown


def decode(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Decode a mask as the page's script does."""
    numbers, value, shift = [], 0, 0
    for byte in base64.b64decode(text):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    flat = [n % 4 for n in numbers for _ in range(n // 4)]
    return np.array(flat, np.uint8).reshape(shape) if flat else np.zeros(shape, np.uint8)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_decoding_inverts_encoding(share: float) -> None:
    rng = np.random.default_rng(0)
    mask = np.where(rng.random((60, 70)) < share, rng.integers(1, 3, (60, 70)), 0).astype(np.uint8)
    assert np.array_equal(decode(encode_mask(mask), (60, 70)), mask)


def test_encoding_by_hand() -> None:
    # Three pixels of class 1 (3 * 4 + 1), then 61 of class 0: 244 = 0b1_1110100, low 7 bits first.
    mask = np.array([1, 1, 1] + [0] * 61, np.uint8).reshape(8, 8)
    assert base64.b64decode(encode_mask(mask)) == bytes([13, 0b11110100, 1])
    assert encode_mask(np.zeros((8, 8), np.uint8)) == ""


def test_outline_by_hand() -> None:
    inside = np.zeros((4, 5), bool)
    inside[1, 1:3] = True
    assert outline_path(inside) == "M1 1H3M1 2H3M1 1V2M3 1V2"
    assert outline_path(np.zeros((3, 3), bool)) == ""


def test_outline_follows_all_pixel_edges() -> None:
    inside = np.random.default_rng(1).random((20, 30)) < 0.4
    steps = re.findall(r"M(\d+) (\d+)([HV])(\d+)", outline_path(inside))
    length = sum(int(to) - int(x if way == "H" else y) for x, y, way, to in steps)
    padded = np.pad(inside, 1)
    assert length == (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()


def test_equal_images_are_stored_once() -> None:
    run = record("unet", [0.5, 0.6], [0.5, 0.6])
    example = shown("best", "case_00010", 0)
    other = shown("worst", "case_00011", 0)
    _, data = slice_viewers([("a", run, [example, other], ""), ("b", run, [example], "")])
    first, second, again = (view["images"] for view in data["viewers"].values())
    assert first == again == list(range(12)) and second == list(range(12, 24))
    assert len(data["images"]) == 24 and data["images"][0].startswith("data:image/webp;base64,")


def test_thinning_keeps_the_start_slice() -> None:
    whole = shown("best", "case_00001", 0, slices=25)
    for most in (25, 12, 5, 2):
        few = thin(whole, most)
        assert len(few.z) <= most + 1 and few.z[few.start] == whole.z[whole.start]
        assert np.array_equal(few.image[few.start], whole.image[whole.start])
        assert {len(mask) for mask in few.masks.values()} == {len(few.z)}
