"""The parts of a W&B run, a folder a process: which are still to be sent, which rows never arrived."""

import json
import logging
from pathlib import Path
from typing import Any

from kitsseg.tracking import run_ids

log = logging.getLogger("kitsseg")

TRACKER = "wandb"
ROWS = "rows.jsonl"
OFFLINE = "offline-"  # a folder's name that begins so is what `wandb sync` sends


def remember(folder: Path, step: int, values: dict[str, Any]) -> None:
    """Add a row to those of the run in ``folder``, but for tables and pictures, logged at its end."""
    plain = {name: value for name, value in values.items() if isinstance(value, (int, float, str))}
    if plain:
        with (folder / "wandb" / ROWS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([step, plain]) + "\n")


def rows(folder: Path, first: int) -> list[tuple[int, dict[str, Any]]]:
    """The remembered rows from step ``first`` on."""
    try:
        lines = (folder / "wandb" / ROWS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            step, values = json.loads(line)
        except ValueError:  # the last one of a process that was killed while it wrote
            continue
        if step >= first:
            found.append((step, values))
    return found


def catch_up(run: Any, folder: Path) -> None:
    """Log again, before anything new, what the server lacks of a run that it goes on with."""
    for step, values in rows(folder, run.starting_step):
        run.log(values, step=step, commit=True)


def unsent(folder: Path) -> list[Path]:
    """The ``.wandb`` files of ``folder`` that ``wandb sync`` would send, oldest first.

    A part that was sent while it ran but didn't come to its end, or not in time, becomes one of them.
    """
    name = run_ids.read(folder, TRACKER).get("open")
    part = folder / "wandb" / str(name)
    if name is not None and part.is_dir():
        part.rename(part.with_name(OFFLINE + part.name))
    if name is not None:
        run_ids.keep(folder, TRACKER, open=None)
    found = sorted((folder / "wandb").glob(f"{OFFLINE}run-*/run-*.wandb"))
    return [path for path in found if not _mark(path).exists()]


def finish(run: Any, folder: Path, exit_code: int = 0) -> None:
    """End the run; what couldn't be sent in time is left for ``wandb sync``, and a line says so."""
    sending, limit = online(run), run.settings.finish_timeout
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        if sending:
            unsent(folder)
            log.warning(f"W&B: not all was sent within {limit:g} s; it is kept: {command(folder)}")
        return
    if sending:
        run_ids.keep(folder, TRACKER, open=None)
        for path in unsent(folder):  # their rows went along with this part
            _mark(path).touch()


def online(run: Any) -> bool:
    """Whether a `wandb.Run` is sent while it runs."""
    return not (run.offline or run.disabled)


def command(folder: Path) -> str:
    """What sends the parts of ``folder`` that haven't been sent."""
    return f"wandb sync {folder}/wandb/{OFFLINE}run-*"


def _mark(path: Path) -> Path:
    """The file by which ``wandb sync`` knows that it has sent ``path``."""
    return path.with_suffix(".wandb.synced")
