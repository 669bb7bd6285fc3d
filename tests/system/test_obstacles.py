"""What stands where a file should be."""

import os
from pathlib import Path

import pytest

from kitsseg.system.obstacles import is_file, obstacle


def test_a_file_and_nothing_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert is_file(tmp_path / "file") and is_file(tmp_path / "link")
    assert obstacle(tmp_path / "file") is obstacle(tmp_path / "link") is None
    for path in (tmp_path / "nothing", tmp_path / "no" / "folder"):
        assert not is_file(path) and obstacle(path) is None


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("away/x.nii.gz")
    (tmp_path / "looping").symlink_to("looping")
    os.mkfifo(tmp_path / "pipe")
    dangling = "a link to away/x.nii.gz, which does not exist; repair or remove the link"
    looping = "a link to looping, which points back to itself; repair or remove the link"
    expected = {
        "folder": "is a folder, not a file; move it away",
        "pipe": "is a device or a pipe, not a file; move it away",
        "dangling": f"is {dangling}",
        "looping": f"is {looping}",
        "dangling/x": f"its folder is {dangling}",
        "looping/x": f"its folder is {looping}",
        "file/x": "its folder is a file; move it away",
    }
    assert {name: obstacle(tmp_path / name) for name in expected} == expected
    assert not any(is_file(tmp_path / name) for name in expected)


def test_a_place_where_nobody_may_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stat(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)
    assert not is_file(tmp_path / "x")
    assert obstacle(tmp_path / "x") == (
        f"cannot be accessed (Permission denied); chmod u+rwx {tmp_path}, or ask its owner"
    )
