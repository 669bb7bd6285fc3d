"""W&B logger of a run: starts without a login prompt and falls back to offline mode.

A resumed run passes its stored id to ``wandb.init(resume="allow")``. Each process of an offline run
writes its own folder ``wandb/offline-run-*``; ``wandb sync`` sends them in order of start time. Sync
them before an online process resumes the run. If an online process is killed, rows that W&B has not
sent stay in ``wandb/run-*``; ``wandb sync --include-online`` sends them.
"""

import logging
import os
import re
import secrets
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from kitsseg.data.labels import CLASSES
from kitsseg.reporting.run_record import RESULT, Record
from kitsseg.system import provenance
from kitsseg.tracking import run_content, tracking_file

log = logging.getLogger("kitsseg")

TRACKER = "wandb"
TIMEOUT_S = 30.0  # longest wait for the server when a run starts and when it ends

NO_API_KEY = "no API key; run wandb login, or set WANDB_API_KEY"
Mode = Literal["online", "offline", "disabled"]
CLASS_NAMES = {number: name for number, name in enumerate(CLASSES) if number > 0}
STAGE_PREFIXES = ("", "finetune/")


class WandbRun(WandbLogger):
    """Log to a W&B run whose id is stored in the run's folder, so that it can be resumed.

    Args:
        folder: folder of the run.
        project: W&B project.
        entity: W&B entity; None for the user's default.
        offline: store the run in ``folder/wandb`` for ``wandb sync``.
        sweep: folder of the sweep. A run inside it belongs to the group of the sweep.
        experiment_name: first part of the name of that group.
        group: overrides the name of the group; empty for no group.
        model: name of the model configuration; logged as ``config.model_name`` and as a tag.
        tags: additional tags.
        checkpoints: log the best checkpoint of each stage as an artifact.
        settings: arguments of `wandb.Settings`.
    """

    def __init__(
        self,
        folder: str,
        project: str = "kitsseg",
        entity: str | None = None,
        offline: bool = True,
        sweep: str | None = None,
        experiment_name: str | None = None,
        group: str | None = None,
        model: str | None = None,
        tags: list[str] | None = None,
        checkpoints: bool = True,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name=Path(folder).name, save_dir=folder, project=project)
        self.folder, self.model, self.checkpoints = Path(folder), model, checkpoints
        if group is None:
            group = group_name(self.folder, sweep, experiment_name)
        self.start_args: dict[str, Any] = {
            "offline": offline, "settings": {} if settings is None else settings, "project": project,
            "entity": entity, "group": group if group else None, "job_type": "train",
            "name": self.folder.name, "tags": [t for t in (model, *([] if tags is None else tags)) if t],
        }  # fmt: skip

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the `wandb.Run`; it starts on first access."""
        if self._experiment is None and hasattr(self, "_attach_id"):  # unpickled in another process
            return WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
        if self._experiment is None:
            run = start(self.folder, **self.start_args)
            for prefix in STAGE_PREFIXES:  # fine-tuning starts at epoch 0 again, on its own axis
                run.define_metric(f"{prefix}epoch", hidden=True)
                for part in ("train", "val"):
                    run.define_metric(f"{prefix}{part}/*", step_metric=f"{prefix}epoch")
            values = {"model_name": self.model, "commit": provenance.commit()}
            run.config.update(values, allow_val_change=True)
            if run.resumed:
                for name in {"outcome", "error"} & set(run.summary.keys()):  # of an earlier attempt
                    del run.summary[name]
            self._experiment = run
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log metrics; ``epoch`` is logged along the axis of the current stage."""
        values = dict(metrics)
        matches = [match for name in values if (match := re.match(r"(.*?)(?:train|val)/", name))]
        prefixes = {match[1] for match in matches} & set(STAGE_PREFIXES)
        if "epoch" in values and len(prefixes) == 1:
            values[f"{prefixes.pop()}epoch"] = values.pop("epoch")
        if step is not None:
            values["trainer/global_step"] = step
        log_row(self.experiment, self.folder, values)

    @rank_zero_only
    def log_run(self, record: Record, folder: Path) -> None:
        """Log the table of cases, the example slices with masks, the record and the checkpoints."""
        import wandb

        head, rows = run_content.case_table(record)
        values = {
            "environment": record.environment,
            "cases": record.split,
            "overrides": record.overrides,
        }
        self.experiment.config.update(values, allow_val_change=True)
        images: dict[str, list[Any]] = {}
        for example in run_content.example_slices(folder, record.final["validation"]):
            masks: Any = {
                name: {"mask_data": mask, "class_labels": CLASS_NAMES}
                for name, mask in example.masks.items()
            }
            image = wandb.Image(example.image, masks=masks, caption=example.caption)
            images.setdefault(f"slices/{example.role}", []).append(image)
        table = wandb.Table(columns=[*head], data=rows)
        log_row(self.experiment, self.folder, {"cases": table, **images})
        self._log_artifact("result", {RESULT: folder / RESULT}, record)
        if self.checkpoints:
            best = run_content.best_checkpoints(folder)
            files = {f"{stage}/best.ckpt": path for stage, path in best.items()}
            self._log_artifact("model", files, record)

    def _log_artifact(self, kind: str, files: dict[str, Path], record: Record) -> None:
        """Log files as one artifact, without copying them."""
        import wandb

        run = self.experiment
        metadata = {"model_name": record.model, "seed": record.seed}
        metadata |= run_content.summary_metrics(record)
        artifact = wandb.Artifact(f"{kind}-{run.id}", kind, metadata=metadata)
        for name, path in files.items():
            artifact.add_file(str(path.resolve()), name, policy="immutable", skip_cache=True)
        if files:
            run.log_artifact(artifact)

    @rank_zero_only
    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run; its summary contains the state and the reason of a failure."""
        if self._experiment is not None:
            run, self._experiment = self._experiment, None
            run.summary["outcome"] = state
            if reason:
                run.summary["error"] = reason[:1000]
            finish(run, self.folder, exit_code)


def group_name(folder: Path, sweep: str | None, experiment_name: str | None) -> str:
    """Return ``EXPERIMENT/SWEEP`` for a job inside a sweep's folder; empty for a single run."""
    if sweep is None:
        return ""
    parent = Path(sweep).resolve()
    if folder.resolve() == parent or not folder.resolve().is_relative_to(parent):
        return ""
    names = [experiment_name, parent.name] if experiment_name != parent.name else [parent.name]
    return "/".join(name for name in names if name)


def start(folder: Path, offline: bool, settings: dict[str, Any], **init_args: Any) -> Any:
    """Start or resume the W&B run of ``folder`` and return the `wandb.Run`.

    Args:
        folder: folder of the run. Its W&B files are in ``folder/wandb``, its id is in
            ``folder/tracking.json``.
        offline: store the run for ``wandb sync``. ``WANDB_MODE`` may also set this, or ``disabled``.
        settings: arguments of `wandb.Settings`.
        init_args: arguments of `wandb.init`: project, entity, group, name, job_type, tags.
    """
    import wandb

    folder = folder.resolve()
    run_id = tracking_file.read(folder, TRACKER).get("id")
    if run_id is None:
        run_id = secrets.token_hex(8)  # not from a seeded generator: equal seeds are different runs
    place = {name: init_args.get(name) for name in ("project", "entity", "group")}
    server = settings.get("base_url")
    tracking_file.update(folder, TRACKER, id=run_id, offline=offline, server=server, **place)
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # staging of artifacts, by default in the home
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    defaults = {"silent": True, "reinit": "finish_previous", "login_timeout": 1, **_code_settings(),
                "init_timeout": TIMEOUT_S, "finish_timeout": TIMEOUT_S}  # fmt: skip
    wandb_settings = wandb.Settings(**{**defaults, **settings, "finish_timeout_raises": True})
    args = {"dir": str(folder), "id": run_id, "resume": "allow", "settings": wandb_settings, **init_args}
    mode = select_mode(offline)
    if mode == "online":
        reason = "" if has_api_key(server) else NO_API_KEY
        if not reason:
            try:
                return wandb.init(mode=mode, **args)
            except Exception as error:  # wandb raises errors of any class
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                wandb.teardown()  # otherwise its service keeps the id of the run in use
        log.warning(f"W&B: {reason}; the run is offline, send it later: {sync_command(folder)}")
        mode = "offline"
    return wandb.init(mode=mode, **args)


def log_row(run: Any, folder: Path, values: dict[str, Any]) -> None:
    """Log values at the next step.

    The step is stored in ``tracking.json``, because an offline run counts from 0 in each process and
    W&B drops rows with a smaller step than an earlier one.
    """
    step = max(tracking_file.read(folder, TRACKER).get("step", -1), run.step - 1) + 1
    tracking_file.update(folder, TRACKER, step=step)
    run.log(values, step=step, commit=True)


def finish(run: Any, folder: Path, exit_code: int = 0) -> None:
    """End the run; warn if the server did not receive everything in time."""
    online = not (run.offline or run.disabled)
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        if online:
            limit = run.settings.finish_timeout
            log.warning(f"W&B: not sent within {limit:g} s; send it later: {sync_command(folder, run)}")


def select_mode(offline: bool) -> Mode:
    """Return the W&B mode; ``WANDB_MODE`` can disable sending but not enable it."""
    value = os.environ.get("WANDB_MODE", "")
    if value == "disabled":
        return "disabled"
    return "offline" if offline or value in ("offline", "dryrun") else "online"


def has_api_key(server: str | None = None) -> bool:
    """Return whether W&B can log in without a prompt.

    Args:
        server: URL of the server; None for the configured one.
    """
    import requests
    import wandb

    settings = wandb.setup().settings
    variables = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
    netrc = requests.utils.get_netrc_auth(settings.base_url if server is None else server)
    return any([*map(os.environ.get, variables), netrc, settings.api_key])


def sync_command(folder: Path, run: Any = None) -> str:
    """Return the command that sends the offline runs of ``folder``, or one online run."""
    if run is None:
        return f"wandb sync {folder}/wandb/offline-run-*"
    return f"wandb sync --include-online {Path(run.settings.sync_dir)}"


def _code_settings() -> dict[str, Any]:
    """Return settings that record kitsseg's own commit, not that of the working directory."""
    root = Path(__file__).resolve().parents[2]
    return {"git_root": str(root)} if (root / ".git").exists() else {"disable_git": True}
