"""What a network of KiTS19 is trained on has not changed since classes became data."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.parts import make_data


@pytest.mark.parametrize(("size", "expected"), [(None, "66e362a38a2f956f"), (32, "27d0985d5f0c93aa")])
def test_slices_and_their_order_are_those_of_before(
    blocks: Path, tmp_path: Path, size: int | None, expected: str
) -> None:
    """The digests were computed at commit 8952a2f."""
    settings = {"background_keep": 0.5, "redraw_background": True, "target_repeat": 2}
    data = make_data(blocks, tmp_path, size=size, **settings)
    digest = hashlib.sha256()
    for case in range(6):
        digest.update(np.ascontiguousarray(data.store.images(case)).tobytes())
        digest.update(np.ascontiguousarray(data.store.labels(case)).tobytes())
    for epoch in range(3):
        digest.update(data.rows(epoch).astype(np.int64).tobytes())
    for batch in data.train_dataloader():
        digest.update(batch["image"].numpy().tobytes())
        digest.update(batch["label"].numpy().tobytes())
    assert digest.hexdigest()[:16] == expected
