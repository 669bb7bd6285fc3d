"""How a download ends that doesn't come whole: refused, damaged, given up, stopped."""

import errno
import gzip
import threading
from pathlib import Path
from typing import Any

import pytest

from kitsseg.data.sources.download import http as module
from kitsseg.data.sources.download.http import FetchError, NotThereError, Patience, UnreachableError
from kitsseg.system.locks import StoppedError
from tests.helpers.faulty import FaultyServer, serve
from tests.helpers.fetching import BODY, PATH, get, leave_part, names, volume

pytest_plugins = ("tests.helpers.fetching",)


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (404, NotThereError, "404 Not Found"),
        (410, NotThereError, "410 Gone"),
        (403, FetchError, "403 Forbidden"),
        (401, FetchError, "401 Unauthorized"),
    ],
)
def test_refusals_are_final(
    server: FaultyServer, target: Path, status: int, kind: type[Exception], text: str
) -> None:
    server.faults[PATH] = [{"status": status}]
    with pytest.raises(kind, match=f"^http://127.0.0.1:.*{PATH}: the host answers {text}$"):
        get(server, target)
    assert len(server.asked) == 1 and names(target) == []


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"body": b"<html>please log in</html>", "type": "text/html; charset=utf-8"}, "an HTML page"),
        ({"body": b"\n<!DOCTYPE html><html></html>"}, "an HTML page"),
        ({"body": b"version https://git-lfs.github.com/spec/v1\n"}, "begins with b'version https://git-lfs"),
    ],
)  # fmt: skip
def test_another_kind_of_file_is_named_and_costs_nothing(
    server: FaultyServer, target: Path, fault: dict[str, Any], text: str
) -> None:
    leave_part(server, target, volume(1), 9000)
    server.faults[PATH] = [{"ignore_range": True, **fault}]
    before = names(target)
    with pytest.raises(FetchError, match=text):
        get(server, target)
    assert len(server.asked) == 1 and names(target) == before


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (BODY[:-9] + b"x" + BODY[-8:], "is damaged"),
        (BODY[:1000], "is truncated after 1000 bytes"),
        (gzip.compress(b"hello"), "is not a NIfTI file"),
        (b"", "is not a gzip file"),
    ],
    ids=["checksum", "cut", "other", "empty"],
)
def test_what_is_damaged_at_the_source_is_never_named_a_case(
    server: FaultyServer, target: Path, body: bytes, text: str
) -> None:
    server.files[PATH] = body
    with pytest.raises(FetchError, match=f"what comes is damaged, twice: .*{text}"):
        get(server, target)
    assert not target.exists() and len(server.asked) == 2


def test_it_gives_up_and_keeps_what_came(server: FaultyServer, target: Path) -> None:
    server.faults[PATH] = [{"cut": 50_000}, *[{"status": 503}] * 9]
    with pytest.raises(FetchError, match=r"503 .*given up after 4 attempts; 0.1 MB of it are kept"):
        get(server, target)
    assert len(server.asked) == 4
    server.faults.clear()
    get(server, target)
    assert server.ranges(PATH)[-1] == "bytes=50000-" and target.read_bytes() == BODY


def test_no_host_is_told_from_a_bad_one(target: Path) -> None:
    with serve() as gone:
        pass
    with pytest.raises(UnreachableError, match="Connection refused"):
        get(gone, target, patience=Patience(retries=1, backoff_s=0.01))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_an_os_error_and_keeps_the_part(
    server: FaultyServer, target: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real, room = module._write, [40_000]

    def write(file: Any, chunk: bytes) -> None:
        real(file, chunk[: room[0]])
        room[0] -= len(chunk)
        if room[0] < 0:
            raise OSError(code, "No space left on device")

    server.rate = 1e8  # in small chunks
    monkeypatch.setattr(module, "_write", write)
    with pytest.raises(OSError, match="No space left"):
        get(server, target)
    assert names(target) == [f".{target.name}.part", f".{target.name}.part.json"]
    monkeypatch.undo()
    get(server, target)
    assert target.read_bytes() == BODY and server.ranges(PATH)[-1] == "bytes=40000-"


def test_stopping_keeps_the_part(server: FaultyServer, target: Path) -> None:
    stop = threading.Event()
    server.rate = 1e6

    def watch(size: int, length: int | None) -> None:
        if size > 20_000:
            stop.set()

    with pytest.raises(StoppedError):
        get(server, target, stop=stop, watch=watch)
    came = target.with_name(f".{target.name}.part").stat().st_size
    server.rate = None
    get(server, target)
    assert 20_000 < came < len(BODY) and server.ranges(PATH)[-1] == f"bytes={came}-"


def test_what_is_told_adds_up(server: FaultyServer, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    server.faults[PATH] = [{"cut": 1000}]
    get(server, target, watch=lambda size, length: seen.append((size, length)))
    assert seen[0] == (0, None) and (1000, len(BODY)) in seen and seen[-1] == (len(BODY), len(BODY))
