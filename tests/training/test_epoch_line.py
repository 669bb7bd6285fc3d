import pytest

from kitsseg.training.callbacks.progress import fit_line

PARTS = [
    "epoch 100/100, 1:03:15 left", "loss 0.557", "kidney 0.501, tumour 0.299", "val loss 0.559",
    "lr 1.0e-03", "24.4 s per epoch",
]  # fmt: skip


@pytest.mark.parametrize(("columns", "shown"), [(20, 3), (80, 3), (100, 4), (200, 6)])
def test_line_fits_into_the_terminal(columns: int, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    line = fit_line(PARTS)
    assert line == " | ".join(PARTS[:shown])
    assert columns == 20 or len(f"12:34:56 {line}") <= columns
