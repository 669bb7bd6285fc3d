"""What leaves a site, and what arrives at another one."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitsseg.reporting import comparisons, run_record
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.sites import exchange
from kitsseg.reporting.table_rows import group_runs
from tests.reporting.html.made import case, record

SECRET = 32 * b"x"
SECRETS = ("smith", "node17", "1950", "Linux")


def leaky(model: str = "unet", dice: tuple[float, ...] = (0.3, 0.6, 0.8)) -> Record:
    """Return a record with the name of a person, of a machine and of folders wherever text can be."""
    entries = {
        f"smith_{i}": {**case(0.9, d), "path": "/home/smith/ct.nii.gz"} for i, d in enumerate(dice)
    }
    scores = {"train": {"smith_9": case(0.9, 0.9)}, "validation": entries}
    return replace(
        record(model, [0.5], [0.5]), before=scores, after=scores, name="smith/study",
        overrides=[
            f"model={model}", "data=table", "data.root=/home/smith/data", "paths.output=/home/smith/out",
            "logger.entity=smith", "name=smith/study", "init_from=/home/smith/best.ckpt",
            "+loss.file=C:\\smith\\x", "data.size=128", "optimizer.lr=0.01",
        ],
        split={"train": ["smith_9"], "validation": sorted(entries)},
        config={"paths": {"data": "/home/smith"}, "host": "node17"},
        environment={"commit": "0123456789ab", "system": "Linux-node17", "user": "smith"},
        clinical={"smith_0": {"radiographic_size": 3.5, "born": 1950, "name": "smith"}},
        hashes={name: {"image": 64 * "a", "label": 64 * "b"} for name in (*entries, "smith_9")},
    )  # fmt: skip


def texts(values: Any) -> list[str]:
    """Return all texts and names of keys in plain values."""
    if isinstance(values, dict):
        return [t for key, value in values.items() for t in (str(key), *texts(value))]
    if isinstance(values, list):
        return [t for value in values for t in texts(value)]
    return [values] if isinstance(values, str) else []


def test_a_shared_file_identifies_no_one_but_by_the_case_id() -> None:
    plain = exchange.shared([leaky()], "hospital a")
    rest = re.sub(r"smith_\d", "", json.dumps(plain))
    assert not [word for word in SECRETS if word in rest]
    others = (text for text in texts(plain) if not text.startswith(("train/", "val/")))  # metrics
    assert not [text for text in others if set(text) & set("/\\~@")]
    assert plain["records"][0]["overrides"][1].startswith("init_from=#")
    assert {"data.size=128", "optimizer.lr=0.01"} < set(plain["records"][0]["overrides"])
    assert plain["records"][0]["clinical"] == {"smith_0": {"radiographic_size": 3.5}}
    decided = {
        "name", "model", "seed", "overrides", "before", "after", "split", "epochs", "config",
        "environment", "seconds", "curves", "clinical", "labels", "window", "hashes", "checkpoints",
        "site", "validated", "version",
    }  # fmt: skip
    assert set(plain["records"][0]) == decided, "decide in `_reduced` whether a new field may be shared"


def test_hashed_ids_hide_the_case_and_need_the_secret() -> None:
    text = json.dumps(exchange.shared([leaky()], "a", SECRET))
    assert "smith" not in text and 64 * "a" not in text and 64 * "b" not in text
    assert json.dumps(exchange.shared([leaky()], "a", SECRET)) == text
    assert json.dumps(exchange.shared([leaky()], "a", 32 * b"y")) != text


def test_hashed_cases_still_match_between_models(tmp_path: Path) -> None:
    records = [leaky(), leaky("attn_unet", (0.4, 0.6, 0.9))]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(exchange.shared(records, "a", SECRET)))
    arrived = [job.record for job in exchange.read(path) if job.record is not None]
    assert {record.site for record in arrived} == {"a"}
    expected, found = (comparisons.compare(group_runs(each)) for each in (records, arrived))
    assert [c.paired.difference.mean for c in found] == [c.paired.difference.mean for c in expected]
    assert [c.paired.cases for c in found] == [3, 3]


def test_equal_ids_of_two_sites_are_different_cases() -> None:
    rows = group_runs([exchange.at_site(leaky(), "a"), exchange.at_site(leaky("attn_unet"), "b")])
    assert [row.label for row in rows] == ["unet (a)", "attn_unet (b)"]
    assert not set(rows[0].cases("validation")) & set(rows[1].cases("validation"))
    assert comparisons.compare(rows) == []


def test_secret_file_is_created_once_and_must_be_long(tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    secret = exchange.read_secret(path)
    assert len(secret) == 64 and exchange.read_secret(path) == secret
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("short")
    with pytest.raises(ValueError, match="holds 5 bytes, at least 16 are needed; to create a random"):
        exchange.read_secret(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not a file of kitsseg.report share="),
        ("[]", "not a file of kitsseg.report share="),
        ('{"kitsseg_records": 9, "site": "a", "records": []}', "version 9 is not supported"),
        ('{"kitsseg_records": 1, "site": "a", "records": [3]}', "record 1: not a record"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=problem):
        exchange.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seed": "x"}, "seed: Input should be a valid integer"),
        ({"curves": None}, "curves: Input should be a valid dictionary"),
        ({"epochs": {"train": 3}}, "epochs.train: Input should be a valid dictionary"),
        (
            {"after": {"validation": {"a": {"dice": {"tumour": "<b>"}}}}},
            "tumour: Input should be a valid",
        ),
        (
            {"after": {"validation": {"a": {"dice": {"tumour": float("inf")}}}}},
            "tumour: Input should be less than or equal to 1",
        ),
        ({"after": {"validation": {"a": {"dice": {}, "voxels": {"b": [1]}}}}}, "b: .* at least 3 items"),
    ],
)
def test_damaged_records_are_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    values = exchange.shared([leaky()], "a")
    values["records"][0] |= change
    (tmp_path / "x.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"record 1: .*{problem}"):
        exchange.read(tmp_path / "x.json")


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="here: record version 7 is not supported"):
        run_record.parse({"version": 7}, "here")
