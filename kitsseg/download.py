"""Fetch KiTS19's volumes and labels into its own layout, checked, several at once.

``python -m kitsseg.download --help``
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from kitsseg.config.command_line import print_error, run_command
from kitsseg.config.validation import Command, outside, plain
from kitsseg.data.case import CLINICAL_NAME, IMAGE_NAME, LABEL_NAME, case_folders
from kitsseg.data.io.stream import GZIP_MAGIC, check_nifti_gz
from kitsseg.data.sources.download.http import Patience
from kitsseg.data.sources.download.many import Fetching, Wanted
from kitsseg.data.sources.kits import LABELLED, parse_cases
from kitsseg.system.obstacles import is_file


@dataclass
class DownloadConfig:
    """The root of ``conf/download.yaml``."""

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
AGAIN = "what came is kept, and the same command goes on from there"


def run(cfg: DictConfig) -> int:
    """Fetch what is missing and say what came of it; the exit code.

    Raises:
        ValueError: ``cases`` or ``labels_from`` can't be used.
    """
    root = Path(cfg.root).expanduser()
    cases = parse_cases(plain(cfg.cases))
    labels_from = None if cfg.labels_from is None else Path(cfg.labels_from).expanduser()
    wanted = list_wanted(root, cases, cfg.imaging_url, cfg.labels_url, cfg.clinical_url, labels_from)
    root.mkdir(parents=True, exist_ok=True)  # if that fails, so would every file
    patience = Patience(cfg.timeout_s, cfg.retries, cfg.backoff_s)
    fetching = Fetching(wanted, cfg.workers, patience, cfg.check)
    fetching.run()
    return report(fetching, wanted, root)


def list_wanted(
    root: Path,
    cases: list[int],
    imaging_url: str,
    labels_url: str,
    clinical_url: str,
    labels_from: Path | None,
) -> list[Wanted]:
    """The files of these cases, labels first: a case is complete with its image.

    Raises:
        ValueError: ``labels_from`` holds no cases.
    """
    copied = None if labels_from is None else _folder_of_cases(labels_from)
    wanted = []
    clinical: str | Path = clinical_url if copied is None else copied / CLINICAL_NAME
    if copied is None or is_file(copied / CLINICAL_NAME):
        wanted.append(
            Wanted(root / CLINICAL_NAME, clinical, check_json, b"", "see clinical_url", optional=True)
        )
    for case in cases:
        folder = f"case_{case:05d}"
        if case in LABELLED:
            label: str | Path = labels_url.format(case=case)
            remedy = "see labels_url and labels_revision, or labels_from for a checkout"
            if copied is not None:
                label, remedy = copied / folder / LABEL_NAME, "labels_from lacks it"
            target = root / folder / LABEL_NAME
            wanted.append(Wanted(target, label, check_nifti_gz, GZIP_MAGIC, remedy))
        target, url = root / folder / IMAGE_NAME, imaging_url.format(case=case)
        remedy = "see imaging_url and imaging_revision"
        wanted.append(Wanted(target, url, check_nifti_gz, GZIP_MAGIC, remedy))
    return wanted


def _folder_of_cases(checkout: Path) -> Path:
    folders = case_folders(checkout)
    if not folders:
        raise ValueError(f"labels_from={checkout} holds no case_XXXXX folders, nor does its data/")
    return folders[0].parent


def check_json(path: Path) -> None:
    """Raise `ValueError` unless it is JSON."""
    json.loads(path.read_text(encoding="utf-8"))


def report(fetching: Fetching, wanted: list[Wanted], root: Path) -> int:
    """Print what there is and a line for every case that isn't; the exit code."""
    folders: dict[Path, bool] = {}
    for each in wanted:
        if not each.optional:
            folder = each.target.parent
            folders[folder] = folders.get(folder, True) and is_file(each.target)
    size = sum(each.target.stat().st_size for each in fetching.fetched)
    print(
        f"{sum(folders.values())} of {len(folders)} cases are complete in {root}: "
        f"{len(fetching.fetched)} files came now ({size / 1e6:.1f} MB), "
        f"{len(wanted) - len(fetching.missing)} were there"
    )
    problems: dict[str, list[str]] = {}
    for each, reason in sorted(fetching.failed, key=lambda failure: failure[0].target):
        folder = each.target.parent
        problems.setdefault((each.target if folder == root else folder).name, []).append(reason)
    for name, reasons in problems.items():
        print_error("download", f"{name}: {'; '.join(reasons)}")
    for host, count in fetching.untried.items():
        print_error(
            "download",
            f"{host} doesn't answer, so {count} more files were not tried; is there a network?",
        )
    return 1 if problems else 0


def main() -> None:
    """The command."""
    run_command(COMMAND, run, AGAIN)


if __name__ == "__main__":
    main()
