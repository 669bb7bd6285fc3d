"""A server for one file, where it is to lie, and `fetch` between them."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from kitsseg.data.io.stream import GZIP_MAGIC, check_nifti_gz
from kitsseg.data.sources.download.http import Patience, fetch
from tests.helpers.faulty import FaultyServer, etag_of, serve

PATH = "/case.nii.gz"
QUICK = Patience(timeout_s=10, retries=3, backoff_s=0.01)
HASTY = Patience(timeout_s=0.3, retries=3, backoff_s=0.01)


def volume(seed: int, size: int = 300_000) -> bytes:
    """A gzipped file that begins like NIfTI-1 and doesn't shrink."""
    noise = np.random.default_rng(seed).bytes(size)
    return gzip.compress((348).to_bytes(4, "little") + noise, 1, mtime=0)


BODY = volume(0)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serve() as faulty:
        faulty.files[PATH] = BODY
        yield faulty


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "imaging.nii.gz"


def get(server: FaultyServer, target: Path, **options: Any) -> None:
    settings: dict[str, Any] = {"magic": GZIP_MAGIC, "patience": QUICK, **options}
    with requests.Session() as session:
        fetch(server.address + PATH, target, check_nifti_gz, session, **settings)


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def leave_part(server: FaultyServer, target: Path, body: bytes, cut: int) -> None:
    """What a process that was killed leaves behind."""
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(body[:cut])
    card = {"url": server.address + PATH, "length": len(body), "validator": etag_of(body)}
    part.with_name(f"{part.name}.json").write_text(json.dumps(card))
