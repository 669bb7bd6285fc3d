"""Fetch files over HTTP: resume partial files, check complete files, then rename them."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from kitsseg import __version__
from kitsseg.system.locks import StoppedError, locked
from kitsseg.system.obstacles import is_file, obstacle

CHUNK_BYTES = 1 << 16
RETRY_STATUS = (429, 500, 502, 503, 504)
MAX_BACKOFF_S, MAX_RETRY_AFTER_S = 60, 600


class FetchError(Exception):
    """A file cannot be fetched. The message is one line that names the file or its URL."""


class MissingError(FetchError):
    """The source does not have the file."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch."""

    target: Path
    source: str | Path  # URL, or path of a file to copy
    check: Callable[[Path], None]  # raises `ValueError` if the file is damaged
    optional: bool = False  # whether the source may lack the file

    def damage(self, path: Path) -> str | None:
        """Return why ``path`` fails the check; None if it passes."""
        try:
            self.check(path)
        except ValueError as error:
            return str(error)
        return None


class Fetcher:
    """Fetch files over HTTP in several threads, with a progress bar.

    ``timeout_s``, ``retries`` and ``backoff_s`` are explained in ``conf/download.yaml``. With
    ``check_existing``, existing files are checked, and damaged files fetched again.
    """

    def __init__(
        self, workers: int, timeout_s: float, retries: int, backoff_s: float, check_existing: bool
    ) -> None:
        self.workers, self.timeout_s, self.check_existing = workers, timeout_s, check_existing
        self.retries, self.backoff_s = retries, backoff_s
        self.stop = Event()
        self._session = requests.Session()
        # With compression, Content-Length and Range would not refer to the bytes of the file.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.headers["User-Agent"] = f"kitsseg/{__version__}"

    def fetch_all(self, files: list[RemoteFile]) -> dict[RemoteFile, str | None]:
        """Fetch the files that do not exist; return None per fetched file and the error per failure.

        Raises `ConnectionError` if no server answers, and `OSError` if a file cannot be written. Partial
        files are kept, also when the user interrupts.
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
        target, part = file.target, file.target.with_name(f".{file.target.name}.part")
        if (problem := obstacle(target)) is not None:
            raise FetchError(f"{target.name} {problem}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, self.stop.is_set):
            if is_file(target) and not (self.check_existing and file.damage(target)):
                return False
            if target.suffix != ".gz":  # without a checksum, parts of two versions could mix
                part.unlink(missing_ok=True)
            for _ in range(2):
                if isinstance(file.source, str):
                    self._download(file.source, part)
                elif is_file(file.source):
                    shutil.copyfile(file.source, part)
                else:
                    raise MissingError(f"{file.source}: does not exist")
                if (damage := file.damage(part)) is None:
                    os.replace(part, target)
                    return True
                part.unlink()
            raise FetchError(f"{file.source}: damaged at its source: {damage}")

    def _download(self, url: str, part: Path) -> None:
        """Complete ``part``; give up after ``retries`` failures in a row without a new byte."""
        largest, failures = _size(part), 0
        while True:
            asked_s = None  # how long the server asks to wait
            headers = {"Range": f"bytes={size}-"} if (size := _size(part)) else {}
            try:
                with self._session.get(url, headers=headers, stream=True, timeout=self.timeout_s) as got:
                    if got.status_code in RETRY_STATUS:
                        asked_s = Retry().get_retry_after(got.raw)
                        raise HTTPError(f"{got.status_code} {got.reason}")
                    return self._receive(got, url, part)
            except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
                failures = 1 if _size(part) > largest else failures + 1
                largest = max(largest, _size(part))
                if failures > self.retries:
                    reason = getattr(error.args[0], "reason", error) if error.args else error
                    raise FetchError(f"{url}: {reason}; tried {failures} times") from error
                wait_s = min(MAX_BACKOFF_S, self.backoff_s * 2 ** (failures - 1))
                if self.stop.wait(wait_s if asked_s is None else min(MAX_RETRY_AFTER_S, asked_s)):
                    raise StoppedError from error
            except requests.RequestException as error:
                raise FetchError(f"{url}: {error}") from error

    def _receive(self, response: requests.Response, url: str, part: Path) -> None:
        """Append the body of a response to ``part``; urllib3 checks the number of bytes."""
        if response.status_code == 416 and _size(part):  # nothing is missing
            return
        if response.status_code not in (200, 206):
            kind = MissingError if response.status_code in (404, 410) else FetchError
            raise kind(f"{url}: {response.status_code} {response.reason}")
        with part.open("ab" if response.status_code == 206 else "wb") as file:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                self._bar.update(len(chunk))
                if self.stop.is_set():
                    raise StoppedError


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
