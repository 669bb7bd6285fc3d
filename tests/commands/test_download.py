"""The command `kitsseg.download`, against a server on this machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from kitsseg.data.sources.download.many import Bar
from kitsseg.data.sources.kits import parse_cases
from kitsseg.download import list_wanted
from tests.helpers.commands import find_problems
from tests.helpers.downloading import download, errors, expected, filled, found, imaging, labels, start
from tests.helpers.faulty import FaultyServer, serve
from tests.helpers.fetching import volume


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with filled() as faulty:
        yield faulty


# ---- what comes


def test_all_files_come_in_kits19s_layout_and_only_once(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kits19"
    assert download(server, root) == 0
    assert found(root) == expected(server)
    out, err = capsys.readouterr()
    assert out == f"4 of 4 cases are complete in {root}: 8 files came now (0.8 MB), 0 were there\n"
    assert errors(err) == [] and "8/8 files: 100%" in err
    asked = len(server.asked)
    assert download(server, root) == 0
    assert len(server.asked) == asked
    assert "0 files came now (0.0 MB), 8 were there" in capsys.readouterr().out


def test_breaks_of_all_kinds_in_many_files(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = {
        imaging(0): [{"cut": 50_000}, {"cut": 50_000}, {"slam": True}],
        imaging(1): [{"status": 503}, {"cut": 1000}, {"cut": 7, "ignore_range": True}],
        imaging(2): [{"stall": 100}],
        labels(0): [{"status": 429, "headers": {"Retry-After": "0"}}],
        labels(1): [{"claim": 100}],
    }
    assert download(server, tmp_path, "timeout_s=0.5") == 0
    assert found(tmp_path) == expected(server)


def test_failures_are_a_line_a_case_and_the_others_come(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.files[imaging(0)], server.files[labels(0)]
    server.faults[imaging(1)] = [{"status": 403}]
    server.files[imaging(2)] = b"<html>busy</html>"
    assert download(server, tmp_path) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 of 4 cases are complete")
    lines = errors(err)
    assert [line.split(": ")[1] for line in lines] == ["case_00000", "case_00001", "case_00002"]
    assert f"{server.address}{imaging(0)}: the host answers 404 Not Found" in lines[0]
    assert f"{server.address}{labels(0)}: the host answers 404 Not Found" in lines[0]
    assert "see imaging_url and imaging_revision" in lines[0] and "labels_from" in lines[0]
    assert "403 Forbidden" in lines[1] and "an HTML page comes instead" in lines[2]


def test_clinical_data_may_be_missing(server: FaultyServer, tmp_path: Path) -> None:
    names = set(expected(server)) - {"kits.json"}
    del server.files["/data/kits.json"]
    assert download(server, tmp_path) == 0
    assert set(found(tmp_path)) == names


def test_a_silent_host_is_not_asked_for_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve() as gone:
        pass
    assert download(gone, tmp_path, "cases=0-99", "retries=1") == 1
    lines = errors(capsys.readouterr().err)
    assert len(lines) <= 3 and "Connection refused" in lines[0]
    assert re.search(r"127.0.0.1:\d+ doesn't answer, so (199|200) more files were not tried", lines[-1])


@pytest.mark.parametrize("below", ["", "data"])
def test_labels_from_a_checkout(server: FaultyServer, tmp_path: Path, below: str) -> None:
    checkout = tmp_path / "checkout"
    for case in (0, 1, 2):
        path = checkout / below / f"case_{case:05d}" / "segmentation.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(server.files[labels(case)])
    (checkout / below / "kits.json").write_bytes(server.files["/data/kits.json"])
    root = tmp_path / "kits19"
    assert download(server, root, f"labels_from={checkout}") == 0
    assert found(root) == expected(server)
    assert not [asked for asked in server.asked if asked.path.startswith("/data")]


def test_a_checkout_without_a_label_or_with_a_bad_one(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "case_00000").mkdir(parents=True)
    (checkout / "case_00001").mkdir()
    (checkout / "case_00001" / "segmentation.nii.gz").write_bytes(volume(5)[:999])
    root = tmp_path / "kits19"
    assert download(server, root, f"labels_from={checkout}", "cases=[0,1]") == 1
    lines = errors(capsys.readouterr().err)
    assert re.search("case_00000: .*segmentation.nii.gz: there's no such file: labels_from", lines[0])
    assert re.search("case_00001: .*segmentation.nii.gz.*is truncated after 999 bytes", lines[1])
    assert sorted(found(root)) == ["case_00000/imaging.nii.gz", "case_00001/imaging.nii.gz"]


def test_what_is_there_is_read_again_if_asked(server: FaultyServer, tmp_path: Path) -> None:
    assert download(server, tmp_path) == 0
    broken = tmp_path / "case_00001" / "imaging.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-100])
    server.asked.clear()
    assert download(server, tmp_path) == 0 and server.asked == []
    assert download(server, tmp_path, "check=true") == 0
    assert [asked.path for asked in server.asked] == [imaging(1)]
    assert found(tmp_path) == expected(server)


def test_the_total_is_estimated_from_files_of_the_same_kind(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = list_wanted(tmp_path, [0, 1, 2], "http://a/{case}", "http://b/{case}", "http://c", None)
    assert [each.target.name[:4] for each in wanted] == ["kits", *["segm", "imag"] * 3]
    bar, targets = Bar(wanted), [each.target for each in wanted]
    bar.finish(targets[0])  # not there
    bar.watcher(targets[1])(10, 10)
    assert bar.bar.total is None  # no volume has begun
    image = bar.watcher(targets[2])
    image(300, 1000)  # 300 of them from an earlier run
    image(500, 1000)
    assert (bar.bar.total, bar.bar.n, bar.bar.initial) == (3 * 10 + 3 * 1000, 510, 310)
    bar.watcher(targets[4])(0, 2000)
    assert bar.bar.total == 3 * 10 + 1000 + 2000 + 1500
    image(0, 1000)  # from the beginning again
    assert bar.bar.n == 10
    bar.note(targets[2], "slow")
    bar.close()
    assert "case_00000: slow (retry 1)" in capsys.readouterr().err


# ---- what may be asked for


@pytest.mark.parametrize(
    ("cases", "numbers"),
    [
        ("labelled", list(range(210))),
        ("test", list(range(210, 300))),
        ("all", list(range(300))),
        (7, [7]),
        ("0-3", [0, 1, 2, 3]),
        ([5, "1-2", 0, 5], [0, 1, 2, 5]),
    ],
)
def test_cases(cases: object, numbers: list[int]) -> None:
    assert parse_cases(cases) == numbers


NAMES = "labelled, test, all, a number, a range (0-41) or a list of these"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("cases=300", "cases: 300 must lie in 0-299, the smaller number first"),
        ("cases=41-0", "cases: 41-0 must lie in 0-299, the smaller number first"),
        ("cases=some", f"cases: some must be {NAMES}"),
        ("cases=[0,-1]", f"cases: -1 must be {NAMES}"),
        ("cases=[]", "cases: an empty list asks for nothing"),
        ("cases=null", f"cases: None must be {NAMES}"),
        ("cases=0,1", "cases=0,1 is a sweep: add -m (or write cases=[0,1] for a list)"),
        ("workers=0", "workers=0: must be between 1 and 64"),
        ("workers=two", "workers=two: Value 'two' of type 'str' could not be converted to Integer"),
        ("retries=-1", "retries=-1: must be between 0 and 100"),
        ("timeout_s=nan", "timeout_s=nan: must be between 0.1 and 3600"),
        (
            'imaging_url="ftp://a/{case}"',
            "imaging_url=ftp://a/{case}: must begin with http:// or https://",
        ),
        ("clinical_url=kits.json", "clinical_url=kits.json: must begin with http:// or https://"),
        (
            "labels_url=http://a/b",
            "labels_url=http://a/b: must contain {case:05d}, or all cases be the same file",
        ),
        (
            'labels_url="http://a/{id}"',
            "labels_url=http://a/{id}: only {case:05d} may be in braces (KeyError('id'))",
        ),
        ("label_from=x", "label_from: no such key; did you mean labels_from?"),
    ],
)
def test_one_mistake_is_one_line(override: str, problem: str) -> None:
    assert find_problems("download", ["root=x", override]) == [problem]


def test_the_root_has_to_be_given() -> None:
    assert find_problems("download", []) == ["root: has no value; set it with root=VALUE"]
    assert find_problems("download", ["root=x"]) == []


def test_revisions_are_part_of_the_addresses() -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("download", ["root=x", "imaging_revision=abc", "labels_revision=def"])
    assert cfg.imaging_url.format(case=7) == (
        "https://huggingface.co/datasets/neheller/KiTS-Challenge-Imaging/resolve/abc/images/case_00007.nii.gz"
    )
    assert cfg.labels_url.format(case=7) == (
        "https://raw.githubusercontent.com/neheller/kits19/def/data/case_00007/segmentation.nii.gz"
    )
    assert "/def/" in cfg.clinical_url


def test_a_checkout_that_is_none_is_one_line(server: FaultyServer, tmp_path: Path) -> None:
    process = start(server, tmp_path / "x", f"labels_from={tmp_path}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors(err) == [
        f"kitsseg.download: labels_from={tmp_path} holds no case_XXXXX folders, nor does its data/"
    ]
