"""The command `kitsseg.download` with a local server."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kitsseg.config.validation import CONFIG_DIR
from tests.helpers import powerless
from tests.helpers.commands import find_problems
from tests.helpers.downloading import (
    CASES,
    download,
    errors,
    expected,
    filled,
    found,
    imaging,
    labels,
    overrides,
    start,
    wait_for_part,
)
from tests.helpers.faulty import FaultyServer, serve
from tests.helpers.fetching import volume


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with filled() as faulty:
        yield faulty


def test_all_files_are_downloaded_once(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kits19"
    assert download(server, root) == 0
    assert found(root) == expected(server)
    out, err = capsys.readouterr()
    assert out == f"4 of 4 cases are complete in {root}: 8 files downloaded (0.8 MB)\n"
    assert errors(err) == [] and "8/8 files" in err
    server.requests.clear()
    assert download(server, root) == 0 and server.requests == []
    assert "0 files downloaded (0.0 MB)" in capsys.readouterr().out


def test_faults_in_many_files(server: FaultyServer, tmp_path: Path) -> None:
    server.faults = {
        imaging(0): [{"cut": 50_000}, {"cut": 50_000}],
        imaging(1): [{"status": 503}, {"cut": 1000}, {"cut": 7, "no_range": True}],
        labels(0): [{"status": 429, "headers": {"Retry-After": "0"}}],
        labels(1): [{"length": 100}],
    }
    assert download(server, tmp_path) == 0
    assert found(tmp_path) == expected(server)


def test_failures_are_reported_in_one_line_per_case(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.files[imaging(0)], server.files[labels(0)]
    server.faults[imaging(1)] = [{"status": 403}]
    server.files[imaging(2)] = b"no gzip file"
    assert download(server, tmp_path) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 of 4 cases are complete")
    *lines, hint = errors(err)
    assert [line.split(": ")[1] for line in lines] == ["case_00000", "case_00001", "case_00002"]
    assert f"{server.address}{imaging(0)}: 404 Not Found" in lines[0]
    assert f"{server.address}{labels(0)}: 404 Not Found" in lines[0]
    assert "403 Forbidden" in lines[1] and "damaged at its source" in lines[2]
    assert "*_url" in hint and "labels_from" in hint


def test_clinical_data_may_be_missing(server: FaultyServer, tmp_path: Path) -> None:
    names = set(expected(server)) - {"kits.json"}
    del server.files["/data/kits.json"]
    assert download(server, tmp_path) == 0
    assert set(found(tmp_path)) == names


def test_missing_network_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve() as closed:
        pass
    assert download(closed, tmp_path, "cases=0-99", "retries=1") == 1
    (line,) = errors(capsys.readouterr().err)
    assert "Connection refused" in line and "check the network" in line


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
    assert not [path for path, _ in server.requests if path.startswith("/data")]


def test_a_checkout_with_missing_and_damaged_labels(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "case_00000").mkdir(parents=True)
    (checkout / "case_00001").mkdir()
    (checkout / "case_00001" / "segmentation.nii.gz").write_bytes(volume(5)[:999])
    root = tmp_path / "kits19"
    assert download(server, root, f"labels_from={checkout}", "cases=[0,1]") == 1
    lines = errors(capsys.readouterr().err)
    assert re.search("case_00000: .*segmentation.nii.gz: does not exist", lines[0])
    assert re.search("case_00001: .*segmentation.nii.gz.*is truncated after 999 bytes", lines[1])
    named = [name for name in found(root) if "/." not in name]
    assert sorted(named) == ["case_00000/imaging.nii.gz", "case_00001/imaging.nii.gz"]


def test_checkout_without_cases_is_rejected(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download(server, tmp_path / "x", f"labels_from={tmp_path}") == 1
    (line,) = errors(capsys.readouterr().err)
    assert line.startswith(f"kitsseg.download: labels_from={tmp_path}: contains no folder case_XXXXX")


def test_check_replaces_damaged_files(server: FaultyServer, tmp_path: Path) -> None:
    assert download(server, tmp_path) == 0
    damaged = tmp_path / "case_00001" / "imaging.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    server.requests.clear()
    assert download(server, tmp_path) == 0 and server.requests == []
    assert download(server, tmp_path, "check=true") == 0
    assert server.requests == [(imaging(1), None)]
    assert found(tmp_path) == expected(server)


def test_full_disk_is_reported_in_one_line(
    server: FaultyServer, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download(server, small_disk / "raw") == 1  # an image has 200 kB
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kitsseg")]
    assert len(lines) == 1 and "No space left on device; make room: partial files are kept" in lines[0]
    shutil.copytree(small_disk / "raw", tmp_path / "raw")
    assert download(server, tmp_path / "raw") == 0
    assert found(tmp_path / "raw") == expected(server)


def test_unwritable_root_is_reported_in_one_line(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert download(server, tmp_path / "file") == 1
    (line,) = errors(capsys.readouterr().err)
    assert re.match(r"kitsseg.download: .*/file.*: (Not a directory|File exists)", line)


def test_obstacle_affects_only_one_file(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kits19"
    (root / "case_00000" / "imaging.nii.gz").mkdir(parents=True)
    (root / "case_00001").mkdir()
    (root / "case_00001" / "imaging.nii.gz").symlink_to("away.nii.gz")
    (root / "case_00002").write_text("")
    assert download(server, root) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 of 4 cases are complete")
    lines = errors(err)[:-1]
    assert [line.split(": ")[1] for line in lines] == [f"case_{n:05d}" for n in (0, 1, 2)]
    assert "imaging.nii.gz is a folder, not a file; move it away" in lines[0]
    assert "imaging.nii.gz is a link to away.nii.gz, which does not exist" in lines[1]
    assert lines[2].count("its folder is a file; move it away") == 2


def test_folder_without_permission_affects_only_one_case(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    (root / "case_00001").mkdir(parents=True)
    (root / "case_00001").chmod(0)
    line = [*overrides(server, root), "cases=[0-2,210]"]
    try:
        done = powerless.run(tmp_path, "-m", "kitsseg.download", *line)
    finally:
        (root / "case_00001").chmod(0o755)
    assert done.returncode == 1 and done.stdout.startswith("3 of 4 cases are complete")
    assert "case_00001: segmentation.nii.gz cannot be accessed (Perm" in errors(done.stderr)[0]


def test_killed_and_resumed(server: FaultyServer, tmp_path: Path) -> None:
    """Kill the process at several moments, then finish."""
    root = tmp_path / "kits19"
    server.bytes_per_s = 400_000
    for size in (1, 60_000, 120_000):
        process = start(server, root)
        wait_for_part(root, size)
        process.kill()
        process.communicate()
        named = {name: data for name, data in found(root).items() if "/." not in f"/{name}"}
        assert named.items() <= expected(server).items()
    server.bytes_per_s = None
    assert download(server, root) == 0
    assert found(root) == expected(server)
    assert any(requested for _, requested in server.requests)


def test_interrupted_and_resumed(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    server.bytes_per_s = 100_000
    process = start(server, root)
    wait_for_part(root, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    (line,) = errors(err)
    assert line.startswith("kitsseg.download: interrupted; partial files are kept")
    server.bytes_per_s = None
    assert download(server, root) == 0 and found(root) == expected(server)


def test_two_processes_share_the_work(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    server.bytes_per_s = 400_000
    both = [start(server, root, "workers=3") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0 and errors(err) == []
    assert found(root) == expected(server)
    assert len(server.requests) == 2 * len(CASES)  # each file once: images, three labels, kits.json


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("cases=300", "cases=300: "),
        ("cases=null", "cases=None: "),
        ("workers=0", "workers=0: "),
        ("workers=two", "workers"),
        ("retries=-1", "retries=-1: "),
        ("timeout_s=nan", "timeout_s=nan: "),
        ('imaging_url="ftp://a/{case}"', "must begin with http:// or https://"),
        ("clinical_url=kits.json", "must begin with http:// or https://"),
        ("labels_url=http://a/b", "must contain {case:05d}"),
        ('labels_url="http://a/{id}"', "KeyError('id')"),
        ("label_from=x", "labels_from"),
    ],
)
def test_wrong_value_is_rejected(override: str, problem: str) -> None:
    (line,) = find_problems("download", ["root=x", override])
    assert problem in line


def test_root_is_required() -> None:
    assert "root" in find_problems("download", [])[0]
    assert find_problems("download", ["root=x"]) == []


def test_urls_contain_the_revisions() -> None:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = compose("download", ["root=x", "imaging_revision=abc", "labels_revision=def"])
    assert cfg.imaging_url.format(case=7) == (
        "https://huggingface.co/datasets/neheller/KiTS-Challenge-Imaging/resolve/abc/images/case_00007.nii.gz"
    )
    assert cfg.labels_url.format(case=7) == (
        "https://raw.githubusercontent.com/neheller/kits19/def/data/case_00007/segmentation.nii.gz"
    )
    assert "/def/" in cfg.clinical_url
