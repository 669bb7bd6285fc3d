"""Fetch files over HTTP: resume partial files, check complete files, then rename them."""

import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from kitsseg import __version__
from kitsseg.system.locks import StoppedError, locked
from kitsseg.system.obstacles import is_file, obstacle

CHUNK_BYTES = 1 << 16
RETRY_STATUS = (429, 500, 502, 503, 504)
MAX_WAIT_S = 600  # limit of a server's Retry-After


class FetchError(Exception):
    """A file cannot be fetched. The message is one line that names the file or its URL."""


class MissingError(FetchError):
    """The source does not have the file."""


class _IncompleteError(Exception):
    """An attempt ended before the file was complete. Another attempt may succeed."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        target: path of the file.
        source: URL, or path of a file to copy.
        check: raises `ValueError` if the file is damaged.
        optional: whether the source may lack the file.
    """

    target: Path
    source: str | Path
    check: Callable[[Path], None]
    optional: bool = False

    def is_intact(self) -> bool:
        """Return whether the target exists and passes the check."""
        with suppress(ValueError):
            self.check(self.target)
            return True
        return False


class Part:
    """The received bytes of a file, in ``.NAME.part``, and their origin, in ``.NAME.part.json``.

    Attributes:
        size: number of received bytes.
        length: number of bytes of the whole file; None if unknown.
        etag: strong ETag of the file; None if the server sent none.
    """

    def __init__(self, file: RemoteFile) -> None:
        self.target, self.url = file.target, str(file.source)
        self.path = self.target.with_name(f".{self.target.name}.part")
        self.origin = self.target.with_name(f".{self.target.name}.part.json")
        self.size, self.length, self.etag = 0, None, None
        with suppress(OSError, ValueError, KeyError, TypeError):  # nothing to resume
            origin, size = json.loads(self.origin.read_text()), self.path.stat().st_size
            if origin["url"] == self.url:
                self.size, self.length, self.etag = size, origin["length"], origin["etag"]

    def restart(self, length: int | None = None, etag: str | None = None) -> None:
        """Discard the received bytes."""
        self.path.unlink(missing_ok=True)
        self.size, self.length, self.etag = 0, length, etag
        self.origin.write_text(json.dumps({"url": self.url, "length": length, "etag": etag}))

    def finish(self) -> None:
        """Rename the part to its target."""
        os.replace(self.path, self.target)
        self.origin.unlink(missing_ok=True)


class Fetcher:
    """Fetch files over HTTP in several threads, with a progress bar.

    Args:
        workers: number of threads.
        timeout_s: seconds without data after which a connection is closed.
        retries: number of consecutive retries without a new byte before a file is given up.
        backoff_s: wait before a retry in seconds; doubles with each further retry.
        check_existing: check existing files, and fetch damaged files again.
    """

    def __init__(
        self, workers: int, timeout_s: float, retries: int, backoff_s: float, check_existing: bool
    ) -> None:
        self.workers, self.timeout_s, self.check_existing = workers, timeout_s, check_existing
        self.retries, self.backoff_s = retries, backoff_s
        self.stop, self._lock = Event(), Lock()
        stop = self.stop

        class StoppableRetry(Retry):  # its waits end when `stop` is set
            def sleep(self, response: BaseHTTPResponse | None = None) -> None:
                wait_s = None if response is None else self.get_retry_after(response)
                if stop.wait(self.get_backoff_time() if wait_s is None else min(wait_s, MAX_WAIT_S)):
                    raise StoppedError

        retry = StoppableRetry(
            retries, backoff_factor=backoff_s, status_forcelist=RETRY_STATUS, raise_on_status=False
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=workers, max_retries=retry))
        # With compression, Content-Length and Range would not refer to the bytes of the file.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.headers["User-Agent"] = f"kitsseg/{__version__}"

    def fetch_all(self, files: list[RemoteFile]) -> dict[RemoteFile, str | None]:
        """Fetch the files that do not exist; return None per fetched file and the error per failure.

        Raises:
            ConnectionError: no server answers.
            OSError: a file cannot be written, for example because the disk is full.
            KeyboardInterrupt: the user interrupts. Partial files are kept, as after any error.
        """
        results: dict[RemoteFile, str | None] = {}
        todo = [file for file in files if self.check_existing or not is_file(file.target)]
        self._bar = tqdm(
            desc=f"0/{len(todo)} files", unit="B", unit_scale=True, mininterval=1, disable=not todo
        )
        with self._bar, self._session, ThreadPoolExecutor(self.workers) as pool:
            futures = {pool.submit(self._obtain, file): file for file in todo}
            try:
                for count, future in enumerate(as_completed(futures), 1):
                    file = futures[future]
                    try:
                        if future.result():
                            results[file] = None
                    except FetchError as error:
                        if self._bar.n == 0 and isinstance(error.__cause__, requests.ConnectionError):
                            raise ConnectionError(f"{error}; check the network") from error
                        if not (file.optional and isinstance(error, MissingError)):
                            results[file] = str(error)
                    self._bar.set_description_str(f"{count}/{len(todo)} files", refresh=False)
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _obtain(self, file: RemoteFile) -> bool:
        """Fetch a file and return True; return False if it exists."""
        if (problem := obstacle(file.target)) is not None:
            raise FetchError(f"{file.target.name} {problem}")
        file.target.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.target, self.stop, self._bar.set_postfix_str):
            if is_file(file.target) and (not self.check_existing or file.is_intact()):
                return False
            self._fetch(file)
        return True

    def _fetch(self, file: RemoteFile) -> None:
        part = Part(file)
        max_size, failures, was_damaged = part.size, 0, False
        while True:
            try:
                self._receive(part) if isinstance(file.source, str) else _copy(file.source, part)
            except (_IncompleteError, HTTPError) as error:
                failures = 1 if part.size > max_size else failures + 1
                max_size = max(max_size, part.size)
                if failures > self.retries:
                    raise FetchError(f"{file.source}: {error}; tried {failures} times") from error
                if self.stop.wait(min(60, self.backoff_s * 2 ** (failures - 1))):
                    raise StoppedError from error
                continue
            try:
                file.check(part.path)
            except ValueError as error:
                part.restart()
                if was_damaged:
                    raise FetchError(f"{file.source}: damaged at its source: {error}") from error
                was_damaged = True
                continue
            return part.finish()

    def _receive(self, part: Part) -> None:
        """Request the missing bytes of ``part`` and append them."""
        if part.size == part.length:
            return  # an earlier process ended between the last byte and the renaming
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        if part.size and part.etag is not None:
            headers["If-Range"] = part.etag
        try:
            response = self._session.get(part.url, headers=headers, stream=True, timeout=self.timeout_s)
        except requests.RequestException as error:
            reason = getattr(error.args[0], "reason", error) if error.args else error
            raise FetchError(f"{part.url}: {reason}") from error
        with response:
            _apply_headers(part, response)
            with part.path.open("ab") as file:
                for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                    file.write(chunk)
                    part.size += len(chunk)
                    with self._lock:
                        self._bar.update(len(chunk))
                    if self.stop.is_set():
                        raise StoppedError
        if part.length is not None and part.size != part.length:
            raise _IncompleteError(f"received {part.size} of {part.length} bytes")


def _apply_headers(part: Part, response: requests.Response) -> None:
    """Restart ``part`` unless the response continues it; raise if the response is not the file."""
    answer = f"{response.status_code} {response.reason}"
    if response.status_code in (404, 410):
        raise MissingError(f"{part.url}: {answer}")
    if response.status_code not in (200, 206, 416):
        raise FetchError(f"{part.url}: {answer}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise FetchError(f"{part.url}: the server sent an HTML page")
    etag = response.headers.get("ETag")
    if etag is not None and etag.startswith("W/"):
        etag = None  # If-Range requires a strong ETag
    if response.status_code == 200:
        part.restart(response.raw.length_remaining, etag)
        return
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    start, length = (int(match[1]), int(match[2])) if match else (None, None)
    if start != part.size or part.length not in (None, length) or part.etag not in (None, etag):
        part.restart()
        raise _IncompleteError(f"{answer} does not continue the partial file")
    part.length = length


def _copy(source: Path, part: Part) -> None:
    if not is_file(source):
        raise MissingError(f"{source}: does not exist")
    part.restart()
    shutil.copyfile(source, part.path)
