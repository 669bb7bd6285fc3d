"""The command `kitsseg.prepare`."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data import drawing
from kitsseg.data.case import Case
from kitsseg.data.case_statistics import BACKGROUND_STEP, PERCENTILES, hu_percentiles
from kitsseg.data.drawing import bgr
from kitsseg.data.labels import KITS19
from kitsseg.data.sources.kits import list_cases
from kitsseg.data.store import data_card
from kitsseg.data.store.prepare import prepare as prepare_cases
from kitsseg.prepare import run
from tests.conftest import AFFINE, blocky, write_case
from tests.helpers import forks


def prepare(folder: Path, *overrides: str) -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run(compose("prepare", [f"paths.data={folder}", "data.prepare_workers=1", *overrides]))


def test_summary_is_printed_and_written(
    blocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second run has nothing to do
        prepare(tmp_path, f"data.root={blocks}", "data.size=32")
    out = capsys.readouterr().out
    assert out[: len(out) // 2] == out[len(out) // 2 :]
    assert out.startswith(
        "6 cases, 36 slices: 18 with kidney or tumour, 12 with tumour (0 of them without kidney), "
        "18 with background only\n"
    )
    table, picture = (Path(line) for line in out.splitlines()[-2:])
    assert table.read_text() == out[: len(table.read_text())]
    assert cv2.imread(str(picture)).shape[1] == 3 * drawing.TILE


def test_table_shows_quantiles_over_cases(tmp_path: Path) -> None:
    for number, (slices, width, spacing_mm) in enumerate([(6, 64, 2.0), (8, 96, 4.0), (10, 64, 3.0)]):
        affine = AFFINE @ np.diag([spacing_mm / 3, 1, 1, 1])
        image, label = blocky(number, slices, 64, width)
        label = np.minimum(label, 1) if number == 2 else label
        write_case(tmp_path / "raw", number, image, label, affine)
    store = prepare_cases(list_cases(tmp_path / "raw"), tmp_path / "store", 128)
    values = data_card.case_values(store)
    assert values["slices"].tolist() == [6, 8, 10]
    assert values["width"].tolist() == [64, 96, 64]
    assert values["slice distance, mm"] == pytest.approx([2, 4, 3])
    # 2 slices of 8 x 8 pixels of 0.8 x 0.8 mm, though they are stored at other sizes
    slice_ml = 8 * 8 * 0.8 * 0.8 / 1000
    assert values["tumour, ml"] == pytest.approx([2 * slice_ml * 2, 2 * slice_ml * 4, 0], rel=0.1)
    median = values["tumour, median HU"]
    assert median[:2] == pytest.approx(40, abs=6) and np.isnan(median[2])
    row = next(line for line in data_card.markdown(store).splitlines() if "tumour, median" in line)
    assert row.split("|")[2].strip() == "2"


def test_table_shows_hu_percentiles_per_class(tmp_path: Path) -> None:
    """Expected values come from NumPy."""
    pairs = [blocky(0), blocky(1)]
    pairs.append((pairs[0][0] + 100, np.minimum(pairs[0][1], 1)))  # one without tumour
    for number, (image, label) in enumerate(pairs):
        write_case(tmp_path / "raw", number, image, label)
    store = prepare_cases(list_cases(tmp_path / "raw"), tmp_path / "store", None)
    lines = data_card.markdown(store).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| HU within a case"))
    assert [cell.strip() for cell in lines[start].split("|")[2:-1]] == [f"{p} %" for p in PERCENTILES]
    rows = [line.split("|") for line in lines[start + 2 :]]
    table = {c[1].strip(): [v.strip() for v in c[2:-1]] for c in rows}
    assert list(table) == list(KITS19.classes)
    for c, name in enumerate(KITS19.classes[1:], 1):
        within = [
            np.percentile(image[label == c], PERCENTILES, method="inverted_cdf")
            for image, label in pairs
            if (label == c).any()
        ]
        spread = np.percentile(within, [50, 5, 95], axis=0)
        assert table[name] == ["{:.0f} ({:.0f} to {:.0f})".format(*each) for each in spread.T]
    assert len(within) == 2


def test_hu_percentiles_equal_those_of_numpy() -> None:
    image, label = blocky(4)
    found = hu_percentiles(image, label, KITS19.classes)
    for c, name in enumerate(KITS19.classes):
        step = BACKGROUND_STEP if c == 0 else 1
        values = image[:, ::step, ::step][label[:, ::step, ::step] == c]
        expected = np.percentile(values, PERCENTILES, method="inverted_cdf")
        assert found[name] == expected.tolist()
    assert hu_percentiles(image, label * 0, KITS19.classes)["tumour"] is None


def test_contact_sheet_shows_the_slice_with_most_tumour(block_cases: list[Case], tmp_path: Path) -> None:
    pixels = np.array([[9, 0, 0], [5, 4, 0], [7, 1, 1], [6, 1, 2]])
    assert data_card.telling_slice(pixels) == 3
    assert data_card.telling_slice(pixels[:2]) == 1
    assert data_card.telling_slice(pixels[[0, 0, 0]]) == 1
    store = prepare_cases(block_cases, tmp_path, None)
    sheet = data_card.contact_sheet(store)
    tile = sheet[drawing.HEADER :, : drawing.TILE]
    for colour in (bgr(KITS19, 1), bgr(KITS19, 2)):
        assert (tile == colour).all(axis=-1).sum() > 30


def test_outlines_are_at_the_position_of_the_labels(tmp_path: Path) -> None:
    """The labels are in a corner of a wide slice, so that any flip or transposition would show."""
    image, label = blocky(0, 6, 64, 128)
    label[...] = 0
    label[3, 4:24, 90:122], label[3, 8:16, 100:108] = 1, 2
    store = prepare_cases([write_case(tmp_path / "raw", 0, image, label)], tmp_path / "store", None)
    sheet = data_card.contact_sheet(store)
    scale, top = drawing.TILE / 128, drawing.HEADER + drawing.TILE // 4
    tile = sheet[drawing.HEADER : drawing.HEADER + drawing.TILE, : drawing.TILE]
    for colour, (rows, columns) in {
        bgr(KITS19, 1): ((4, 24), (90, 122)),
        bgr(KITS19, 2): ((8, 16), (100, 108)),
    }.items():
        y, x = np.nonzero((tile == colour).all(axis=-1))
        found = [y.min(), y.max() + 1, x.min(), x.max() + 1]
        edges = [top - drawing.HEADER + scale * row for row in rows]
        assert found == pytest.approx(edges + [scale * column for column in columns], abs=1)


def test_contact_sheet_shows_at_most_max_tiles_cases(
    block_cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_card, "MAX_TILES", 3)
    sheet = data_card.contact_sheet(prepare_cases(block_cases, tmp_path, None))
    tile = drawing.TILE
    assert sheet.shape == (drawing.HEADER + tile + drawing.CAPTION, 3 * tile, 3)


def test_bad_case_gives_one_line_and_exit_code_1(tmp_path: Path) -> None:
    image, label = blocky(0)
    write_case(tmp_path / "raw", 0, image, label + 3)
    write_case(tmp_path / "raw", 1, *blocky(1))
    done = forks.command(tmp_path, "data.root=raw", name="kitsseg.prepare")
    lines = [line for line in re.split(r"[\r\n]+", done.stderr) if line and "case/s" not in line]
    assert done.returncode == 1
    assert len(lines) == 1 and re.match(
        r"kitsseg.prepare: .*case_00000/segmentation.nii.gz: contains labels \[3, 4, 5\]", lines[0]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "raw"]  # no folder of outputs
