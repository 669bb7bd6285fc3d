"""Records and the table made of them."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kitsseg import results, tables
from kitsseg.results import Record


def part(kidney: list[float | None], tumour: list[float | None]) -> results.CaseFigures:
    return {
        f"case_{i:05d}": {"dice": {"kidney": k, "tumour": t, "kidney_label": k}, "voxels": {}}
        for i, (k, t) in enumerate(zip(kidney, tumour, strict=True))
    }


def record(model: str = "unet", seed: int = 0, shift: float = 0.0, **changes: object) -> Record:
    before = {
        "train": part([0.9, 0.8], [0.6, 0.4]),
        "validation": part([0.8 + shift], [0.3 + shift]),
    }
    base = Record(
        name="t", model=model, seed=seed, overrides=[f"model={model}", "data=x"], before=before,
        after=None, split={"train": ["a", "b"], "validation": ["c"]}, epochs={}, config={},
        environment={}, seconds={},
    )  # fmt: skip
    return replace(base, **changes)


def test_means_over_cases_then_over_seeds() -> None:
    records = [record(seed=s, shift=d) for s, d in ((0, 0.0), (1, 0.1), (2, 0.2))]
    (row,) = tables.rows(records)
    assert row.label == "unet"
    assert [tables.cell(v) for v in row.values.T] == [
        "0.850 ± 0.000",
        "0.500 ± 0.000",
        "0.900 ± 0.100",  # 0.8, 0.9, 1.0: the sample standard deviation is 0.1
        "0.400 ± 0.100",
    ]


def test_a_model_is_a_row_and_so_is_an_option_that_differs() -> None:
    keep = {"overrides": ["model=unet", "data=x", "data.background_keep=0.1"]}
    labels = [r.label for r in tables.rows([record(), record("attn_unet"), record(**keep)])]
    assert labels == ["unet", "attn_unet", "unet, data.background_keep=0.1"]


def test_fine_tuned_figures_are_the_final_ones_and_the_others_stay() -> None:
    after = {"train": part([1.0], [1.0]), "validation": part([0.95], [0.5])}
    text = tables.markdown([record(after=after)])
    final, before = text.split("Before fine-tuning")
    assert "| unet                   | 1.000        | 1.000       | 0.950      | 0.500     |" in final
    assert "0.850" in before and "0.300" in before
    assert "UNet-Attention (paper) | 0.96         | 0.90        | 0.90       | 0.57" in final
    assert "2 train, 1 validation" in text


def test_undefined_cases_are_left_out() -> None:
    some = {"train": part([0.9, None], [None, None]), "validation": part([1.0], [0.0])}
    (row,) = tables.rows([record(before=some)])
    assert row.values[0].tolist()[0] == 0.9
    assert [tables.cell(v) for v in row.values.T] == ["0.900", "–", "1.000", "0.000"]


def test_csv_is_exact_and_latex_is_booktabs(tmp_path: Path) -> None:
    paths = tables.write([record("attn_unet", shift=1 / 3)], tmp_path)
    assert [p.name for p in paths] == ["table1.md", "table1.csv", "table1.tex"]
    rows = list(csv.DictReader((tmp_path / "table1.csv").open()))
    assert float(rows[0]["Val Tumor mean"]) == np.mean([0.3 + 1 / 3])
    assert rows[0]["Val Tumor sd"] == "" and rows[-1]["model"] == "UNet-Attention (paper)"
    tex = (tmp_path / "table1.tex").read_text()
    assert r"attn\_unet & 0.850 & 0.500 & 1.133 & 0.633 \\" in tex
    assert tex.count(r"\midrule") == 2 and r"\bottomrule" in tex
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table1.csv", "table1.md", "table1.tex"]


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record().write(tmp_path)
    assert results.read(tmp_path / "result.json") == record()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is not a record of a run"),
        ("[]", "is not a record of a run"),
        (json.dumps({"version": 0}), "version 0; this kitsseg reads version 1"),
        (json.dumps({"version": 1, "name": "t"}), "lacks after, before"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ValueError, match=text):
        results.read(tmp_path / "result.json")


def test_jobs_are_found_in_their_order(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        (tmp_path / f"{number}_model=unet").mkdir()
        record(seed=number).write(tmp_path / f"{number}_model=unet")
    assert [results.read(p).seed for p in results.find(tmp_path)] == [0, 2, 10]
