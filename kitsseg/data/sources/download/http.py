"""One file over HTTP, whole or not at all: resumed after a break, checked, renamed at the very end."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event
from typing import IO

import requests
from requests import Response, Session
from urllib3.exceptions import HTTPError

from kitsseg.data.sources.download.part import Part
from kitsseg.system.locks import StoppedError

CHUNK = 1 << 18  # bytes asked of the socket at once
LONGEST_WAIT_S = 3600  # a host that wants more is left alone for today

# Anything that the network does; `OSError` is left to the disk, so these never get further than here.
NETWORK_ERRORS = (requests.RequestException, HTTPError)


class FetchError(Exception):
    """A file that can't be had; the message is one line that names its address."""


class NotThereError(FetchError):
    """The host says that it has no such file."""


class UnreachableError(FetchError):
    """The host itself gave no answer."""


class _AgainError(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, message: str, wait_s: float = 0, answered: bool = True) -> None:
        super().__init__(message)
        self.wait_s, self.answered = wait_s, answered


@dataclass(frozen=True)
class Patience:
    """When to try again.

    Args:
        timeout_s: a connection on which nothing arrives for so long is given up.
        retries: how many attempts in a row may fail without a new byte, after the first.
        backoff_s: the wait after the first failure; it doubles with each, up to 60 s, give or take half.
    """

    timeout_s: float = 60
    retries: int = 6
    backoff_s: float = 1

    def wait_s(self, failures: int, at_least: float) -> float:
        """How long to wait after so many failures in a row."""
        backoff: float = self.backoff_s * 2.0 ** (failures - 1)
        return max(at_least, min(60, backoff) * random.uniform(0.5, 1.5))


def fetch(
    url: str,
    target: Path,
    check: Callable[[Path], None],
    session: Session,
    *,
    magic: bytes = b"",
    patience: Patience | None = None,
    stop: Event | None = None,
    watch: Callable[[int, int | None], None] = lambda size, length: None,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Fetch ``url`` into ``target``, going on from what an earlier call left behind.

    Args:
        check: raises `ValueError` if a file that has come in full is damaged; such a file is fetched
            once more from the beginning.
        session: carries the connections; one thread's own.
        magic: the bytes that the file begins with; something else is refused before it's kept.
        patience: when to try again; by default as `Patience` has it.
        stop: once set, the call ends soon and keeps what has come.
        watch: told the bytes that are there and the file's length (None: unknown) as they change.
        note: told why it tries again.

    Raises:
        FetchError: it can't be had.
        StoppedError: ``stop`` was set.
        OSError: the disk doesn't take it (full, read-only); what has come is kept.
    """
    patience, stop = patience or Patience(), stop or Event()
    part, failures, damaged = Part(target, url), 0, False
    furthest = part.size
    while True:
        try:
            watch(part.size, part.length)
            _attempt(part, session, magic, patience.timeout_s, stop, watch)
            try:
                check(part.path)
            except ValueError as error:
                part.restart(None, None)
                if damaged:
                    raise FetchError(f"{url}: what comes is damaged, twice: {error}") from error
                damaged = True
                raise _AgainError(f"what came is damaged: {error}") from error
            return part.finish()
        except _AgainError as problem:
            if part.size > furthest:
                failures, furthest = 0, part.size
            failures += 1
            if failures > patience.retries or problem.wait_s > LONGEST_WAIT_S:
                kept = f"; {part.size / 1e6:.1f} MB of it are kept" if part.size else ""
                kind = FetchError if problem.answered else UnreachableError
                tries = f"{failures} attempts" if failures > 1 else "1 attempt"
                raise kind(f"{url}: {problem} (given up after {tries}{kept})") from problem
            note(str(problem))
            if stop.wait(patience.wait_s(failures, problem.wait_s)):
                raise StoppedError from problem


def _attempt(
    part: Part,
    session: Session,
    magic: bytes,
    timeout_s: float,
    stop: Event,
    watch: Callable[[int, int | None], None],
) -> None:
    """Fetch what ``part`` lacks with one request."""
    if stop.is_set():
        raise StoppedError
    if part.length is not None and part.size == part.length:
        return  # it was stopped between the last byte and the name
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes: lengths must mean the same
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.validator is not None:
            headers["If-Range"] = part.validator
    answered = False
    try:
        with session.get(part.url, headers=headers, stream=True, timeout=timeout_s) as response:
            answered = True
            chunks = _chunks(response)
            chunk = _begin(part, response, chunks, magic)
            watch(part.size, part.length)
            with part.path.open("ab", buffering=0) as file:
                while chunk:
                    _write(file, chunk)
                    part.size += len(chunk)
                    watch(part.size, part.length)
                    if stop.is_set():
                        raise StoppedError
                    chunk = next(chunks, b"")
    except NETWORK_ERRORS as error:
        if isinstance(error, (ValueError, requests.TooManyRedirects)):  # no address at all
            raise FetchError(f"{part.url}: {_brief(error, timeout_s)}") from error
        raise _AgainError(_brief(error, timeout_s), answered=answered) from error
    if part.length is not None and part.size != part.length:
        came, length = part.size, part.length
        if came > length:
            part.restart(None, None)
        raise _AgainError(f"{came} bytes came instead of {length}")


def _chunks(response: Response) -> Iterator[bytes]:
    """The body as it arrives. ``iter_content`` would lose what came just before a break."""
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        yield chunk


def _begin(part: Part, response: Response, chunks: Iterator[bytes], magic: bytes) -> bytes:
    """Make ``part`` ready for a body, whose first bytes are returned; or say why it isn't the file's."""
    status, where = response.status_code, response.headers.get("Content-Range", "")
    said = f"{status} {response.reason or ''}".strip()
    if status in (408, 425, 429) or status >= 500:
        wait_s = _retry_after(response.headers.get("Retry-After", ""))
        asked = f", asks to wait {wait_s:.0f} s" if wait_s else ""
        if wait_s > LONGEST_WAIT_S:
            asked = f", asks to wait longer than {LONGEST_WAIT_S} s; try again another day"
        raise _AgainError(f"the host answers {said}{asked}", wait_s)
    validator = _validator(response)
    if status == 416 and part.size and where.rpartition("/")[2] == str(part.size):
        part.length = part.size  # nothing is left to come
        return b""
    if status == 206 and part.size:
        span, _, total = where.removeprefix("bytes").strip().partition("/")
        length = part.length if (count := _count(total)) is None else count
        same = validator is None or part.validator is None or validator == part.validator
        if span.startswith(f"{part.size}-") and same and part.length in (None, length):
            part.length = length
            return next(chunks, b"")
    if status in (206, 416):
        part.restart(None, None)
        raise _AgainError(f"the host answers {said} with another part than what's missing")
    if status in (404, 410):
        raise NotThereError(f"{part.url}: the host answers {said}")
    if status != 200:
        raise FetchError(f"{part.url}: the host answers {said}")
    # Before the part gives way: a login page is no reason to lose what has come.
    first = next(chunks, b"")
    while 0 < len(first) < len(magic) and (more := next(chunks, b"")):
        first += more
    kind = response.headers.get("Content-Type", "").lower()
    if kind.startswith("text/html") or first.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise FetchError(f"{part.url}: an HTML page comes instead (a login or an error page?)")
    if first and not first.startswith(magic):
        raise FetchError(f"{part.url}: another kind of file comes; it begins with {first[:24]!r}")
    part.restart(_count(response.headers.get("Content-Length", "")), validator)
    return first


def _write(file: IO[bytes], chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _validator(response: Response) -> str | None:
    """What tells one version of the file from another; a weak ETag isn't allowed in If-Range."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


def _count(text: str) -> int | None:
    """The number that a header gives; None if it gives none (``²`` is a digit, too) or a useless one."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None


def _retry_after(text: str) -> float:
    """``Retry-After`` in seconds: a number of them or a date."""
    if (seconds := _count(text)) is not None:
        return float(seconds)
    if text.strip().isascii() and text.strip().isdecimal():
        return float("inf")
    with suppress(ValueError, TypeError, OverflowError):  # no date, or one beyond all clocks
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _brief(error: Exception, timeout_s: float) -> str:
    """A network error without the wrapping."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"nothing came for {timeout_s:g} s"
    inner = error.args[0] if error.args else error
    return " ".join(str(getattr(inner, "reason", inner)).split()) or repr(error)
