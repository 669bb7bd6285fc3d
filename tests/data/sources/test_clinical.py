"""Clinical data from kits.json."""

import json
import logging
from pathlib import Path

import pytest

from kitsseg.data.sources.clinical import read_clinical

ENTRY = {
    "case_id": "case_00000",
    "radiographic_size": 2.4,
    "pathology_t_stage": "1a",
    "malignant": True,
    "age_at_nephrectomy": 49,
}
KEPT = {"radiographic_size": 2.4, "pathology_t_stage": "1a", "malignant": True}


@pytest.mark.parametrize("below", [".", "data"])
def test_only_used_fields_are_read(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / "kits.json").write_text(json.dumps([ENTRY, {"case_id": "case_00001"}]))
    found = read_clinical(str(tmp_path))
    assert found == {"case_00000": KEPT, "case_00001": dict.fromkeys(KEPT)}


def test_without_a_file_the_result_is_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_clinical(tmp_path) == read_clinical(tmp_path / "nowhere") == {}
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "text", "left"),
    [
        (b'[{"case_id": "ca', "cannot be read", []),
        (b"\xff\xfe\x00", "cannot be read", []),
        (b'{"case_00000": {}}', "is a dict, not a list", []),
        (json.dumps([ENTRY, {"size": 3}, 7]).encode(), "2 of 3 entries have no case_id", ["case_00000"]),
    ],
)
def test_a_malformed_file_logs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, text: str, left: list[str]
) -> None:
    (tmp_path / "kits.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert list(read_clinical(tmp_path)) == left
    (line,) = caplog.messages
    assert text in line and str(tmp_path / "kits.json") in line and "\n" not in line
