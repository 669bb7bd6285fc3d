"""What stops `kitsseg.download`: the disk, what stands in the way, signals; and how it goes on."""

import errno
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kitsseg.data.sources.download import http as fetch_module
from tests.helpers import powerless
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
from tests.helpers.faulty import FaultyServer
from tests.helpers.fetching import volume


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with filled() as faulty:
        yield faulty


def test_a_full_disk_is_one_line(
    server: FaultyServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(file: object, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module, "_write", write)
    assert download(server, tmp_path) == 1
    (line,) = errors(capsys.readouterr().err)
    assert line == (
        f"kitsseg.download: {tmp_path}: No space left on device; make room: what came is kept, "
        "and the same command goes on from there"
    )
    monkeypatch.undo()
    assert download(server, tmp_path) == 0 and found(tmp_path) == expected(server)


def test_a_disk_that_is_really_full(
    server: FaultyServer, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download(server, small_disk / "raw") == 1  # a volume has 200 kB
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kitsseg")]
    assert len(errors) == 1 and "No space left on device; make room: what came is kept" in errors[0]
    shutil.copytree(small_disk / "raw", tmp_path / "raw")
    assert download(server, tmp_path / "raw") == 0  # it goes on with what was kept
    for case in CASES:
        whole = (tmp_path / "raw" / f"case_{case:05d}" / "imaging.nii.gz").read_bytes()
        assert whole == server.files[imaging(case)]


def test_a_root_that_cannot_be_written_is_one_line(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert download(server, tmp_path / "file") == 1
    (line,) = errors(capsys.readouterr().err)
    assert re.match(r"kitsseg.download: .*/file.*: (Not a directory|File exists)", line)


def test_what_stands_in_a_files_place_stops_that_file_alone(
    server: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kits19"
    (root / "case_00000" / "imaging.nii.gz").mkdir(parents=True)
    (root / "case_00001").mkdir()
    (root / "case_00001" / "imaging.nii.gz").symlink_to("away.nii.gz")
    (root / "case_00001" / "segmentation.nii.gz").symlink_to("segmentation.nii.gz")
    (root / "case_00002").write_text("")
    (root / "case_00210" / ".imaging.nii.gz.part").mkdir(parents=True)
    assert download(server, root) == 1
    out, err = capsys.readouterr()
    assert out.startswith("0 of 4 cases are complete")
    lines = errors(err)
    assert [line.split(": ")[1] for line in lines] == [f"case_{n:05d}" for n in CASES]
    assert "imaging.nii.gz is a folder, not a file; move it away" in lines[0]
    assert "imaging.nii.gz is a link to away.nii.gz, which isn't there; mend or" in lines[1]
    assert "segmentation.nii.gz is a link to segmentation.nii.gz, which leads back" in lines[1]
    assert lines[2].count("its folder is a file; move it away") == 2
    assert f"{root}/case_00210/.imaging.nii.gz.part: Is a directory" in lines[3]
    came = [name for name in found(root) if name.endswith((".nii.gz", ".json"))]
    assert sorted(came) == ["case_00000/segmentation.nii.gz", "kits.json"]
    (root / "case_00000" / "imaging.nii.gz").rmdir()
    (root / "case_00002").unlink()
    (root / "case_00210" / ".imaging.nii.gz.part").rmdir()
    for link in (root / "case_00001").iterdir():
        link.unlink()
    assert download(server, root) == 0 and found(root) == expected(server)


def test_a_case_that_cannot_be_entered_stops_that_case_alone(
    server: FaultyServer, tmp_path: Path
) -> None:
    root = tmp_path / "kits19"
    (root / "case_00001").mkdir(parents=True)
    (root / "case_00001").chmod(0)
    line = [*overrides(server, root), "cases=[0-2,210]"]
    try:
        done = powerless.run(tmp_path, "-m", "kitsseg.download", *line)
    finally:
        (root / "case_00001").chmod(0o755)
    assert done.returncode == 1 and done.stdout.startswith("3 of 4 cases are complete")
    (said,) = errors(done.stderr)
    assert said.startswith("kitsseg.download: case_00001: imaging.nii.gz cannot be accessed (Perm")


def test_killed_and_started_again(server: FaultyServer, tmp_path: Path) -> None:
    """SIGKILL at several moments; in the end all is as if nothing had happened."""
    root = tmp_path / "kits19"
    server.rate = 400_000
    for size in (1, 60_000, 150_000):
        process = start(server, root)
        wait_for_part(root, size)
        process.kill()
        process.communicate()
        names = {name.rpartition("/")[2] for name in found(root) if "/." not in name}
        assert names <= {"imaging.nii.gz", "segmentation.nii.gz", "kits.json"}
    server.rate = None
    assert download(server, root) == 0
    assert found(root) == expected(server)
    assert any(asked.range for asked in server.asked)


def kill_at_random(process: subprocess.Popen[str], root: Path, within_s: float) -> bool:
    """SIGKILL so long after it has begun to write at most; whether it was still at work."""

    def files() -> dict[str, int]:
        times = {}
        for path in root.rglob("*"):
            with suppress(FileNotFoundError):  # it has just got its name
                times[str(path)] = path.stat().st_mtime_ns
        return times

    before, end = files(), time.monotonic() + 20
    while process.poll() is None and files() == before:  # importing takes longer than all the rest
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)
    time.sleep(within_s)
    at_work = process.poll() is None
    process.kill()
    process.communicate()
    return at_work


def named(root: Path) -> dict[str, bytes]:
    """The files below a folder that aren't hidden."""
    return {name: data for name, data in found(root).items() if "/." not in f"/{name}"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_any_moment(server: FaultyServer, tmp_path: Path, seed: int) -> None:
    """However often and wherever SIGKILL strikes, the same command brings the same bytes."""
    root, moments = tmp_path / "kits19", random.Random(seed)
    for case in CASES:  # each of these files has one transfer of every kind ahead
        server.faults[imaging(case)] = [{}, {"chunked": True}, {"ignore_range": True}, {"cut": 3000}]
    server.rate = 200_000
    kills = 0
    for _ in range(5):
        kills += kill_at_random(start(server, root), root, moments.uniform(0, 0.7))
        assert named(root).items() <= expected(server).items()  # what has its name is whole
    assert kills >= 2
    server.rate = None
    server.faults.clear()
    assert download(server, root) == 0
    assert found(root) == expected(server)


def test_killed_while_it_copies_labels(server: FaultyServer, tmp_path: Path) -> None:
    checkout, root, moments = tmp_path / "checkout", tmp_path / "kits19", random.Random(4)
    for case in (0, 1, 2):
        server.files[labels(case)] = volume(case + 1000, 30_000_000)  # copying and checking take a while
        path = checkout / f"case_{case:05d}" / "segmentation.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(server.files[labels(case)])
    (checkout / "kits.json").write_bytes(server.files["/data/kits.json"])
    unfinished = 0
    for _ in range(5):
        process = start(server, root, f"labels_from={checkout}", "workers=1")
        kill_at_random(process, root, moments.uniform(0, 0.1))
        unfinished += any(root.rglob(".segmentation.nii.gz.part"))
        assert named(root).items() <= expected(server).items()
    assert unfinished
    assert download(server, root, f"labels_from={checkout}") == 0
    assert found(root) == expected(server)


def test_interrupted(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    server.rate = 60_000
    process = start(server, root)
    wait_for_part(root, 20_000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors(err) == [
        "kitsseg.download: interrupted; what came is kept, and the same command goes on from there"
    ]
    server.rate = None
    assert download(server, root) == 0 and found(root) == expected(server)


def test_two_at_once_share_the_work(server: FaultyServer, tmp_path: Path) -> None:
    root = tmp_path / "kits19"
    server.rate = 400_000
    both = [start(server, root, "workers=3") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0 and errors(err) == []
    assert found(root) == expected(server)
    assert len(server.asked) == 8  # every file came once
