"""One file over HTTP, against a server that does everything wrong."""

import json
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from kitsseg.data.sources.download import http as module
from kitsseg.data.sources.download.http import FetchError, Patience
from tests.helpers.faulty import FaultyServer, etag_of
from tests.helpers.fetching import BODY, HASTY, PATH, QUICK, get, leave_part, names, volume

pytest_plugins = ("tests.helpers.fetching",)


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        pytest.param([], [None], id="no fault"),
        pytest.param([{"cut": 1000}], [None, "bytes=1000-"], id="cut once"),
        pytest.param([{"cut": 0}], [None, None], id="cut before the first byte"),
        pytest.param(
            [{"cut": 10_000}] * 9,
            [None, *(f"bytes={n * 10_000}-" for n in range(1, 10))],
            id="more breaks than retries, each after new bytes",
        ),
        pytest.param([{"stall": 5000}], [None, "bytes=5000-"], id="stall"),
        pytest.param([{"slam": True}] * 2, [None] * 3, id="no answer"),
        pytest.param(
            [{"cut": 1000}, {"cut": 2000, "ignore_range": True}],
            [None, "bytes=1000-", "bytes=2000-"],
            id="Range ignored",
        ),
        pytest.param([{"status": 503}] * 2, [None] * 3, id="503 twice"),
        pytest.param([{"status": 500}, {"status": 502}, {"status": 504}], [None] * 4, id="5xx"),
        pytest.param([{"no_length": True}], [None], id="no length"),
        pytest.param(
            [{"no_length": True, "cut": 900}], [None, None], id="no length, cut: the check alone tells"
        ),
        pytest.param([{"chunked": True}], [None], id="chunked"),
        pytest.param(
            [{"chunked": True, "cut": 12_000}] * 2,
            [None, "bytes=12000-", "bytes=24000-"],
            id="chunked, cut in a chunk",
        ),
        pytest.param(
            [{"chunked": True, "cut": 10_000}], [None, "bytes=10000-"], id="chunked, cut between two"
        ),
        pytest.param(
            [{"chunked": True, "stall": 12_000}], [None, "bytes=12000-"], id="chunked, stall"
        ),
        pytest.param(
            [{"claim": len(BODY) + 500}], [None, f"bytes={len(BODY)}-"], id="length too great"
        ),
        pytest.param([{"claim": len(BODY) - 500}], [None, None], id="length too small"),
        pytest.param([{"body": BODY[:-9] + b"x" + BODY[-8:]}], [None, None], id="damaged once"),
        pytest.param(
            [{"cut": 1000}, {"status": 416, "headers": {"Content-Range": "bytes */77"}}],
            [None, "bytes=1000-", None],
            id="416 for another length",
        ),
        pytest.param(
            [{"cut": 1000}, {"status": 206, "headers": {"Content-Range": "bytes 5-10/11"}}],
            [None, "bytes=1000-", None],
            id="another part than asked for",
        ),
    ],
)  # fmt: skip
def test_it_comes_whole_in_the_end(
    server: FaultyServer, target: Path, faults: list[dict[str, Any]], ranges: list[str | None]
) -> None:
    server.faults[PATH] = list(faults)
    stalls = any("stall" in fault for fault in faults)
    get(server, target, patience=HASTY if stalls else QUICK)
    assert target.read_bytes() == BODY
    assert names(target) == [target.name]
    assert server.ranges(PATH) == ranges


def test_a_changed_file_is_not_glued_to_an_old_part(server: FaultyServer, target: Path) -> None:
    leave_part(server, target, volume(1), 9000)
    get(server, target)
    assert target.read_bytes() == BODY
    assert server.asked[0].if_range == etag_of(volume(1))


def test_a_server_that_knows_no_if_range_is_seen_through(server: FaultyServer, target: Path) -> None:
    """It sends the rest of the new file: its ETag tells."""
    leave_part(server, target, volume(1), 9000)
    rest = {"Content-Range": f"bytes 9000-{len(BODY) - 1}/{len(BODY)}", "ETag": etag_of(BODY)}
    server.faults[PATH] = [{"status": 206, "headers": rest}]
    get(server, target)
    assert target.read_bytes() == BODY and server.ranges(PATH) == ["bytes=9000-", None]


def test_without_any_validator_the_check_tells(server: FaultyServer, target: Path) -> None:
    server.etags = False
    old = volume(1)
    assert len(old) == len(BODY)
    leave_part(server, target, old, 9000)
    card = target.with_name(f".{target.name}.part.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "validator": None}))
    get(server, target)
    assert target.read_bytes() == BODY and server.ranges(PATH) == ["bytes=9000-", None]


def test_a_part_of_another_address_is_not_used(server: FaultyServer, target: Path) -> None:
    leave_part(server, target, BODY, 9000)
    card = target.with_name(f".{target.name}.part.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "url": "http://elsewhere"}))
    get(server, target)
    assert server.ranges(PATH) == [None]


@pytest.mark.parametrize("card", ["", "[1]", "{}", '{"url": 3'])
def test_an_unreadable_card_means_from_the_beginning(
    server: FaultyServer, target: Path, card: str
) -> None:
    leave_part(server, target, BODY, 9000)
    target.with_name(f".{target.name}.part.json").write_text(card)
    get(server, target)
    assert target.read_bytes() == BODY and server.ranges(PATH) == [None]


def test_a_part_that_lacks_only_its_name_needs_no_request(server: FaultyServer, target: Path) -> None:
    leave_part(server, target, BODY, len(BODY))
    get(server, target)
    assert target.read_bytes() == BODY and server.asked == []


def test_retry_after_is_honoured(server: FaultyServer, target: Path) -> None:
    server.faults[PATH] = [{"status": 429, "headers": {"Retry-After": "1"}}]
    notes: list[str] = []
    start = time.monotonic()
    get(server, target, note=notes.append)
    assert time.monotonic() - start >= 1 and target.read_bytes() == BODY
    assert notes == ["the host answers 429 Too Many Requests, asks to wait 1 s"]


def test_retry_after_as_a_date() -> None:
    assert module._retry_after(formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=2)
    assert module._retry_after(formatdate(time.time() - 100, usegmt=True)) == 0
    for nonsense in ("soon", "²", "-3", "Mon, 01 Jan 0001 00:00:00 +2359", "1 Jan 99999999999"):
        assert module._retry_after(nonsense) == 0


def test_a_host_that_asks_for_too_long_a_wait_is_left(server: FaultyServer, target: Path) -> None:
    for asked in ("3601", "9" * 400):
        server.faults[PATH] = [{"status": 429, "headers": {"Retry-After": asked}}]
        said = (
            r"429 Too Many Requests, asks to wait longer than 3600 s; try again another day \(given up"
        )
        with pytest.raises(FetchError, match=said):
            get(server, target)


@pytest.mark.parametrize("header", ["Retry-After", "Content-Length"])
@pytest.mark.parametrize("value", ["²", "1²", "-1", "1e3", "9" * 5000])
def test_a_number_that_is_none_is_no_mistake_of_ours(
    server: FaultyServer, target: Path, header: str, value: str
) -> None:
    if header == "Content-Length":
        server.faults[PATH] = [{"claim": value}]
    elif not value.startswith("9"):
        server.faults[PATH] = [{"status": 503, "headers": {header: value}}]
    get(server, target)
    assert target.read_bytes() == BODY


def test_waits_double_up_to_a_minute_and_vary() -> None:
    patience = Patience(backoff_s=2)
    for failures, wait_s in ((1, 2), (2, 4), (3, 8), (20, 60)):
        drawn = [patience.wait_s(failures, 0) for _ in range(200)]
        assert 0.5 * wait_s <= min(drawn) < 0.7 * wait_s and 1.3 * wait_s < max(drawn) <= 1.5 * wait_s
    assert patience.wait_s(1, 30) == 30
