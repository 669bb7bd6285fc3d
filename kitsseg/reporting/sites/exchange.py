"""Exchange the results of runs between sites as one JSON file without images.

The file holds what the tables need. It does not hold the configuration, the overrides that name folders
or loggers, nor the names of folders, users and machines. Case ids can be replaced by keyed hashes: plain
hashes could be reversed by hashing every id of the hospital.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kitsseg.reporting import run_record
from kitsseg.reporting.run_record import Record
from kitsseg.reporting.runs import Job
from kitsseg.reporting.table_rows import PLACES

VERSION = 1
METRICS = ("dice", "voxels", "voxel_ml")
CLINICAL = ("radiographic_size", "pathology_t_stage")
ENVIRONMENT = ("kitsseg", "commit", "python", "device", "precision", "torch", "numpy", "monai")
SECRET_BYTES = 16  # least length


def shared(records: Sequence[Record], site: str, secret: bytes | None = None) -> dict[str, Any]:
    """Return the content of a file that ``site`` can send to others.

    With ``secret``, case ids and hashes of files are replaced by keyed hashes. The same secret gives the
    same ids, so that cases of several files can be paired.
    """
    if secret is not None:
        records = [_hashed(record, secret) for record in records]
    kept = [asdict(_reduced(record, site)) for record in records]
    return {"kitsseg_records": VERSION, "site": site, "records": kept}


def _reduced(record: Record, site: str) -> Record:
    """Return a record with only what tables need."""

    def numbers(parts: Any) -> Any:
        return {
            part: {c: {k: e[k] for k in METRICS if k in e} for c, e in cases.items()}
            for part, cases in parts.items()
        }

    clinical = {c: {k: v[k] for k in CLINICAL if k in v} for c, v in record.clinical.items()}
    own = [o for o in record.overrides if not o.lstrip("+~").startswith(PLACES)]
    return replace(
        record,
        name=site,
        site=site,
        overrides=[_without_path(override) for override in own],
        before=numbers(record.before),
        after=None if record.after is None else numbers(record.after),
        config={},
        validated={},
        clinical=clinical,
        environment={k: v for k, v in record.environment.items() if k in ENVIRONMENT},
    )


def _without_path(override: str) -> str:
    """Return an override, with a hash instead of a value that may be a path."""
    key, _, value = override.partition("=")
    if not set(value) & set("/\\~"):
        return override
    return f"{key}=#{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _hashed(record: Record, secret: bytes) -> Record:
    """Return a record with keyed hashes (HMAC-SHA256) instead of case ids and hashes of files."""

    def keyed(text: str) -> str:
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    files = {case: {kind: keyed(h) for kind, h in own.items()} for case, own in record.hashes.items()}
    return renamed(replace(record, hashes=files), lambda case: keyed(case)[:16])


def renamed(record: Record, name: Callable[[str], str]) -> Record:
    """Return a record with other case ids."""

    def cases(entries: Mapping[str, Any]) -> dict[str, Any]:
        return {name(case): entry for case, entry in entries.items()}

    return replace(
        record,
        before={part: cases(entries) for part, entries in record.before.items()},
        after=None if record.after is None else {p: cases(e) for p, e in record.after.items()},
        split={part: sorted(map(name, ids)) for part, ids in record.split.items()},
        clinical=cases(record.clinical),
        validated={
            stage: replace(found, cases=[*map(name, found.cases)])
            for stage, found in record.validated.items()
        },
        hashes=cases(record.hashes),
    )


def at_site(record: Record, site: str) -> Record:
    """Return a record of a named site, whose case ids start with it: sites may use the same ids."""
    overrides = [_without_path(override) for override in record.overrides]  # as in a shared file
    return replace(renamed(record, lambda case: case_at(site, case)), site=site, overrides=overrides)


def case_at(site: str, case: str) -> str:
    """Return the id of a case, preceded by its site."""
    return f"{site}/{case}" if site else case


def read_secret(path: Path) -> bytes:
    """Return the secret in a file, which is created with a random one if it does not exist.

    Raises:
        ValueError: the secret is too short.
    """
    if not path.exists():
        path.touch(0o600, exist_ok=False)
        path.write_text(secrets.token_hex(32) + "\n")
    secret = path.read_bytes().strip()
    if len(secret) < SECRET_BYTES:
        raise ValueError(
            f"hash_ids={path}: holds {len(secret)} bytes, at least {SECRET_BYTES} are needed; to create "
            "a random secret, name a file that does not exist"
        )
    return secret


def read(path: Path, site: str = "") -> list[Job]:
    """Return the runs in a file of `shared`, as runs of ``site``, by default of the site in the file.

    Raises:
        ValueError: the file has no such content.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version, own, entries = values["kitsseg_records"], str(values["site"]), list(values["records"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"runs={path}: not a file of kitsseg.report share= ({error!r})") from error
    if version != VERSION:
        raise ValueError(f"runs={path}: version {version} is not supported (supported: {VERSION})")
    jobs = []
    for number, entry in enumerate(entries, 1):
        record = run_record.parse(entry, f"{path}, record {number}")
        jobs.append(Job(path, "complete", "", at_site(record, site if site else own), None))
    return jobs
