"""Download KiTS19 in its official layout."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import print_error, run_command
from kitsseg.config.validation import Command, outside, plain
from kitsseg.data.case import CLINICAL_NAME, IMAGE_NAME, LABEL_NAME, case_folders
from kitsseg.data.io.nifti.stream import check_nifti_gz
from kitsseg.data.sources.fetch import Fetcher, RemoteFile
from kitsseg.data.sources.kits import NUMBERS, parse_cases
from kitsseg.system.obstacles import is_file


@dataclass
class DownloadConfig:
    """Schema of ``conf/download.yaml``."""

    root: str = MISSING
    cases: Any = MISSING
    workers: int = MISSING
    check: bool = MISSING
    labels_from: str | None = None
    imaging_revision: str = MISSING
    labels_revision: str = MISSING
    imaging_url: str = MISSING
    labels_url: str = MISSING
    clinical_url: str = MISSING
    timeout_s: float = MISSING
    retries: int = MISSING
    backoff_s: float = MISSING


def check(values: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """Return the problems of ``cases``, the numbers and the addresses."""
    problems = outside(
        values, workers=(1, 64), retries=(0, 100), timeout_s=(0.1, 3600), backoff_s=(0, 3600)
    )
    try:
        parse_cases(values["cases"])
    except ValueError as error:
        problems.append(str(error))
    for name in ("imaging_url", "labels_url", "clinical_url"):
        url = values[name]
        try:
            varies = url.format(case=0) != url.format(case=1)
        except (LookupError, ValueError, AttributeError) as error:
            problems.append(f"{name}={url}: only {{case:05d}} may be in braces ({error!r})")
            continue
        if not url.startswith(("http://", "https://")):
            problems.append(f"{name}={url}: must begin with http:// or https://")
        if not varies and name != "clinical_url":
            problems.append(f"{name}={url}: must contain {{case:05d}}, or all cases are the same file")
    return problems


COMMAND = Command("download", DownloadConfig, check=check)
HINT = "partial files are kept; run the same command again to resume"


def run(cfg: DictConfig) -> int:
    """Download the missing files, print a summary, and return the exit code."""
    root = Path(cfg.root).expanduser()
    files = list_files(cfg, root)
    root.mkdir(parents=True, exist_ok=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns about its own pool
    fetcher = Fetcher(cfg.workers, cfg.timeout_s, cfg.retries, cfg.backoff_s, cfg.check)
    return report(files, fetcher.fetch_all(files), root)


def list_files(cfg: DictConfig, root: Path) -> list[RemoteFile]:
    """Return the files of the cases. Labels are copied from ``labels_from``, if it is set."""
    clinical, labels = cfg.clinical_url, None
    if cfg.labels_from is not None:
        folders = case_folders(Path(cfg.labels_from).expanduser())
        if not folders:
            raise ValueError(f"labels_from={cfg.labels_from}: contains no folder case_XXXXX")
        labels = folders[0].parent
        clinical = labels / CLINICAL_NAME
    files = [
        RemoteFile(root / CLINICAL_NAME, clinical, lambda p: json.loads(p.read_text("utf-8")), True)
    ]
    for case in parse_cases(plain(cfg.cases)):
        name = f"case_{case:05d}"
        if case in NUMBERS.labelled:
            label = cfg.labels_url.format(case=case) if labels is None else labels / name / LABEL_NAME
            files.append(RemoteFile(root / name / LABEL_NAME, label, check_nifti_gz))
        image = cfg.imaging_url.format(case=case)
        files.append(RemoteFile(root / name / IMAGE_NAME, image, check_nifti_gz))
    return files


def report(files: list[RemoteFile], results: dict[RemoteFile, str | None], root: Path) -> int:
    """Print a summary and one line per case with errors; return the exit code."""
    targets = [file.target for file in files if not file.optional]
    folders = {target.parent for target in targets}
    incomplete = {target.parent for target in targets if not is_file(target)}
    size = sum(file.target.stat().st_size for file, error in results.items() if error is None)
    errors: dict[str, list[str]] = {}
    for file in files:
        if (error := results.get(file)) is not None:
            errors.setdefault(file.target.relative_to(root).parts[0], []).append(error)
    print(
        f"{len(folders - incomplete)} of {len(folders)} cases are complete in {root}: "
        f"{list(results.values()).count(None)} files downloaded ({size / 1e6:.1f} MB)"
    )
    for name, lines in errors.items():
        print_error("download", f"{name}: {'; '.join(lines)}")
    if errors:
        print_error("download", "check the settings *_url, *_revision and labels_from; run it again")
    return int(bool(errors))


if __name__ == "__main__":
    run_command(COMMAND, run, HINT)
