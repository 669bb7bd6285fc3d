"""Fetching files from a server that fails."""

import errno
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitsseg.data.io.nifti.stream import check_nifti_gz
from kitsseg.data.sources.fetch import Fetcher, RemoteFile
from kitsseg.system.locks import StoppedError
from tests.helpers.faulty import FaultyServer, serve
from tests.helpers.fetching import volume

PATH = "/case.nii.gz"
BODY = volume(0)
DAMAGED = BODY[:-9] + b"x" + BODY[-8:]


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serve() as faulty:
        faulty.files[PATH] = BODY
        yield faulty


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "imaging.nii.gz"


def fetch(server: FaultyServer, target: Path, timeout_s: float = 10, retries: int = 3) -> str | None:
    """Fetch the file and return the error."""
    file = RemoteFile(target, server.address + PATH, check_nifti_gz)
    return Fetcher(2, timeout_s, retries, 0.01, check_existing=False).fetch_all([file])[file]


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def write_part(target: Path, content: bytes) -> None:
    """Write what a killed process leaves."""
    target.with_name(f".{target.name}.part").write_bytes(content)


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        pytest.param([], [None], id="no fault"),
        pytest.param([{"cut": 1000}], [None, "bytes=1000-"], id="broken off"),
        pytest.param([{"cut": 0}], [None, None], id="broken off before the first byte"),
        pytest.param(
            [{"cut": 10_000}] * 5,
            [None, *(f"bytes={n * 10_000}-" for n in range(1, 6))],
            id="more breaks than retries, each after new bytes",
        ),
        pytest.param([{"cut": 0, "stall": 1}], [None, None], id="no data within the timeout"),
        pytest.param(
            [{"cut": 1000}, {"cut": 2000, "no_range": True}],
            [None, "bytes=1000-", "bytes=2000-"],
            id="server without Range",
        ),
        pytest.param([{"status": 503}] * 2, [None] * 3, id="503 twice"),
        pytest.param([{"status": 500}, {"status": 502}, {"status": 504}], [None] * 4, id="5xx"),
        pytest.param(
            [{"length": len(BODY) + 500}], [None, f"bytes={len(BODY)}-"], id="length too great"
        ),
        pytest.param([{"length": len(BODY) - 500}], [None, None], id="length too small"),
        pytest.param([{"body": DAMAGED}], [None, None], id="damaged once"),
        pytest.param(
            [{"cut": 1000}, {"status": 206, "headers": {"Content-Range": "bytes 5-10/11"}}],
            [None, "bytes=1000-", None],
            id="another range than requested",
        ),
    ],
)
def test_faults_that_end(
    server: FaultyServer, target: Path, faults: list[dict[str, Any]], ranges: list[str | None]
) -> None:
    server.faults[PATH] = list(faults)
    assert fetch(server, target, timeout_s=0.5) is None
    assert target.read_bytes() == BODY
    assert names(target) == [target.name]
    assert server.ranges(PATH) == ranges


def test_a_file_that_changed_on_the_server_is_fetched_anew(server: FaultyServer, target: Path) -> None:
    """The checksum of the complete file reveals the mixture."""
    write_part(target, volume(1)[:9000])
    assert fetch(server, target) is None
    assert target.read_bytes() == BODY and server.ranges(PATH) == ["bytes=9000-", None]


def test_a_file_without_a_checksum_is_not_resumed(server: FaultyServer, tmp_path: Path) -> None:
    target = tmp_path / "kits.json"
    write_part(target, b"old version")
    assert fetch(server, target) is None
    assert target.read_bytes() == BODY and server.ranges(PATH) == [None]


@pytest.mark.parametrize(("extra", "ranges"), [(b"", []), (b"x", [None])])
def test_a_part_that_lacks_nothing_is_checked(
    server: FaultyServer, target: Path, extra: bytes, ranges: list[str | None]
) -> None:
    write_part(target, BODY + extra)
    assert fetch(server, target) is None
    assert target.read_bytes() == BODY
    assert server.ranges(PATH) == [f"bytes={len(BODY + extra)}-", *ranges]


def test_retry_after_is_respected(server: FaultyServer, target: Path) -> None:
    server.faults[PATH] = [{"status": 429, "headers": {"Retry-After": "1"}}]
    start = time.monotonic()
    assert fetch(server, target) is None
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 404}, "404 Not Found"),
        ({"status": 403}, "403 Forbidden"),
    ],
)
def test_a_refusal_is_final_and_keeps_the_part(
    server: FaultyServer, target: Path, fault: dict[str, Any], error: str
) -> None:
    write_part(target, BODY[:9000])
    before = names(target)
    server.faults[PATH] = [{"no_range": True, **fault}]
    message = fetch(server, target)
    assert message is not None and message.startswith(server.address + PATH) and error in message
    assert len(server.requests) == 1 and names(target) == before


@pytest.mark.parametrize("body", [DAMAGED, BODY[:1000], b"<html>log in</html>", b""])
def test_a_file_damaged_at_its_source_never_gets_its_name(
    server: FaultyServer, target: Path, body: bytes
) -> None:
    server.files[PATH] = body
    assert "damaged at its source" in str(fetch(server, target))
    assert not target.exists() and len(server.requests) == 2


def test_giving_up_keeps_the_part(server: FaultyServer, target: Path) -> None:
    server.faults[PATH] = [{"cut": 50_000}, *[{"cut": 0}] * 9]
    assert "tried" in str(fetch(server, target))
    server.faults = {PATH: [{"status": 503}] * 9}
    assert "503 Service Unavailable" in str(fetch(server, target))
    server.faults.clear()
    assert fetch(server, target) is None
    assert server.ranges(PATH)[-1] == "bytes=50000-" and target.read_bytes() == BODY


def test_no_server_at_all_ends_the_download(target: Path) -> None:
    with serve() as closed:
        pass
    files = [RemoteFile(target.with_name(f"{n}"), closed.address, check_nifti_gz) for n in range(99)]
    with pytest.raises(ConnectionError, match="Connection refused"):
        Fetcher(2, 10, 1, 0.01, check_existing=False).fetch_all(files)


def test_a_full_disk_ends_the_download_and_keeps_the_parts(server: FaultyServer, target: Path) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files = [RemoteFile(target, server.address + PATH, fail)]
    files += [RemoteFile(target.with_name(f"{n}"), server.address, check_nifti_gz) for n in range(99)]
    with pytest.raises(OSError, match="No space left"):
        Fetcher(1, 10, 3, 0.01, check_existing=False).fetch_all(files)
    assert names(target)[0] == f".{target.name}.part"
    assert len(server.requests) < 99
    assert fetch(server, target) is None and target.read_bytes() == BODY


def test_stopping_ends_a_wait(server: FaultyServer, target: Path) -> None:
    server.faults[PATH] = [{"status": 503, "headers": {"Retry-After": "600"}}]
    file = RemoteFile(target, server.address + PATH, check_nifti_gz)
    fetcher = Fetcher(1, 10, 3, 0.01, check_existing=False)
    threading.Timer(0.3, fetcher.stop.set).start()
    start = time.monotonic()
    with pytest.raises(StoppedError):
        fetcher.fetch_all([file])
    assert time.monotonic() - start < 5


def test_a_copied_file_is_checked(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source.nii.gz"
    file = RemoteFile(target, source, check_nifti_gz)
    for body, error in ((None, "does not exist"), (DAMAGED, "is damaged"), (BODY, "None")):
        if body is not None:
            source.write_bytes(body)
        results = Fetcher(1, 10, 3, 0.01, check_existing=False).fetch_all([file])
        assert error in str(results[file])
    assert target.read_bytes() == BODY


def test_check_existing_fetches_damaged_files_only(server: FaultyServer, target: Path) -> None:
    file = RemoteFile(target, server.address + PATH, check_nifti_gz)
    for body, requests in ((BODY, 0), (DAMAGED, 1)):
        target.write_bytes(body)
        Fetcher(1, 10, 3, 0.01, check_existing=True).fetch_all([file])
        assert len(server.requests) == requests and target.read_bytes() == BODY
