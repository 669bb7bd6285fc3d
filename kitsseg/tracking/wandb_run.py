"""W&B logger of a run: starts without a login prompt and falls back to offline mode."""

import csv
import io
import logging
import os
import secrets
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger

from kitsseg.reporting.run_record import RESULT, Record
from kitsseg.system import provenance
from kitsseg.system.package_messages import error_line
from kitsseg.tracking import run_content, tracking_file

log = logging.getLogger("kitsseg")

TRACKER = "wandb"
START_S, FINISH_S = 10.0, 30.0  # longest waits for the server when a run starts and when it ends
NO_API_KEY = "no API key; run wandb login, or set WANDB_API_KEY"


class WandbRun(WandbLogger):
    """Log to a W&B run whose id is stored in ``folder``, so that it can be resumed.

    ``offline`` stores the run in ``folder/wandb`` for ``wandb sync``. A run inside the folder ``sweep``
    belongs to the group ``experiment_name/SWEEP``; ``group`` overrides its name, empty for no group. The
    name of the configuration ``model`` is logged as ``config.model_name`` and as a tag. ``checkpoints``
    logs the best checkpoint of each stage as an artifact. ``settings`` are those of `wandb.Settings`.
    """

    limits_its_start = True  # by W&B's settings; then it continues offline

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
        all_tags = [model, *([] if tags is None else tags), *os.environ.get("WANDB_TAGS", "").split(",")]
        self.start_args: dict[str, Any] = {
            "offline": offline, "settings": {} if settings is None else settings, "project": project,
            "entity": entity, "group": group if group else None, "job_type": "train",
            "name": os.environ.get("WANDB_NAME", self.folder.name), "tags": list(filter(None, all_tags)),
        }  # fmt: skip

    @property
    def experiment(self) -> Any:
        """Return the `wandb.Run`; it starts on first access."""
        if self._experiment is None:
            run = start(self.folder, **self.start_args)
            for prefix in ("", "finetune/"):  # fine-tuning starts at epoch 0 again, on its own axis
                run.define_metric(f"{prefix}epoch", hidden=True)
                for part in ("train", "val"):
                    run.define_metric(f"{prefix}{part}/*", step_metric=f"{prefix}epoch")
            values = {"model_name": self.model, "commit": provenance.commit()}
            run.config.update(values, allow_val_change=True)
            for name in {"outcome", "error"} & set(run.summary.keys()):  # left by an earlier attempt
                del run.summary[name]
            self._experiment = run
        return self._experiment

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log metrics; ``epoch`` is logged along the axis of the current stage."""
        values = dict(metrics)
        if "epoch" in values and any(name.startswith("finetune/") for name in values):
            values["finetune/epoch"] = values.pop("epoch")
        if step is not None:
            values["trainer/global_step"] = step
        log_row(self.experiment, self.folder, values)

    def log_run(self, record: Record, folder: Path) -> None:
        """Log the table of cases, the example slices with masks, the record and the checkpoints."""
        import wandb

        run = self.experiment
        about = {"environment": record.environment, "cases": record.split, "overrides": record.overrides}
        run.config.update(about, allow_val_change=True)
        head, rows = run_content.case_table(record)
        values: dict[str, Any] = {"cases": wandb.Table(columns=[*head], data=rows)}
        classes = dict(enumerate(record.label_set.classes[1:], 1))
        for example in run_content.example_slices(folder, record):
            masks: Any = {
                kind: {"mask_data": mask, "class_labels": classes}
                for kind, mask in example.masks.items()
            }
            image = wandb.Image(example.image, masks=masks, caption=example.caption)
            values.setdefault(f"slices/{example.role}", []).append(image)
        log_row(run, self.folder, values)
        metadata = {"model_name": record.model, "seed": record.seed}
        metadata |= run_content.summary_metrics(record)
        _log_files(run, "result", "result", {RESULT: folder / RESULT}, metadata)
        best = run_content.best_checkpoints(folder)
        if self.checkpoints and best:
            files = {f"{stage}/best.ckpt": path for stage, path in best.items()}
            _log_files(run, "model", "model", files, metadata)

    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run; its summary contains the state and the reason of a failure."""
        if self._experiment is not None:
            run, self._experiment = self._experiment, None
            run.summary["outcome"] = state
            if reason:
                run.summary["error"] = reason[:1000]
            finish(run, exit_code)


def log_sweep(folder: Path, job_values: dict[str, Any], files: list[Path]) -> None:
    """Log the table, the report and all files as one more W&B run in the group of the jobs."""
    import wandb

    place = {name: job_values.get(name) for name in ("project", "entity", "group")}
    settings = {"base_url": job_values["server"]} if job_values.get("server") else {}
    name, offline = f"{folder.name}: Table 1", bool(job_values.get("offline", True))
    run = start(folder, offline, settings, **place, name=name, job_type="table")
    try:
        values: dict[str, Any] = {}
        for path in files:
            if path.name == "table1.csv":
                head, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
                cells = [[_parse_cell(cell) for cell in row] for row in rows]
                values["table1"] = wandb.Table(columns=[*head], data=cells)
            elif path.suffix == ".html":
                values[path.stem] = wandb.Html(str(path), inject=False)
        log_row(run, folder, values)
        _log_files(run, "table1", "result", {path.name: path for path in files})
    finally:
        finish(run)


def group_name(folder: Path, sweep: str | None, experiment_name: str | None) -> str:
    """Return the name of the sweep for a job inside its folder; empty for a single run.

    It is ``NAME/FOLDER`` if the folder of the sweep has another name than the experiment.
    """
    if sweep is None or Path(sweep).resolve() not in folder.resolve().parents:
        return ""
    name = Path(sweep).resolve().name
    return f"{experiment_name}/{name}" if experiment_name and experiment_name != name else name


def start(folder: Path, offline: bool, settings: dict[str, Any], **init_args: Any) -> Any:
    """Start or resume the W&B run of ``folder``, whose id is in ``tracking.json``, and return it.

    ``settings`` are passed to `wandb.Settings`, ``init_args`` (project, entity, ...) to `wandb.init`.
    """
    import wandb

    folder = folder.resolve()
    new_id = secrets.token_hex(8)  # not from a seeded generator: equal seeds are different runs
    run_id = tracking_file.read(folder, TRACKER).get("id", new_id)
    place = {name: init_args.get(name) for name in ("project", "entity", "group")}
    server = settings.get("base_url")
    tracking_file.update(folder, TRACKER, id=run_id, offline=offline, server=server, **place)
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # staging of artifacts, by default in the home
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[2]  # kitsseg's own commit, not the working directory's
    code = {"git_root": str(root)} if (root / ".git").exists() else {"disable_git": True}
    defaults = {"silent": True, "reinit": "finish_previous", "login_timeout": 1, **code,
                "init_timeout": START_S, "finish_timeout": FINISH_S}  # fmt: skip
    init_args["settings"] = wandb.Settings(**{**defaults, **settings, "finish_timeout_raises": True})
    files = os.environ.get("WANDB_DIR", str(folder))
    args = {"dir": files, "id": run_id, "resume": "allow", **init_args}
    mode = select_mode(offline)
    if mode == "online":
        reason = NO_API_KEY
        if has_api_key(server):
            try:
                return wandb.init(mode="online", **args)
            except Exception as error:  # wandb raises errors of any class
                reason = error_line(error)
                wandb.teardown()  # otherwise its service keeps the id of the run in use
        command = f"wandb sync {files}/wandb/offline-run-*"
        log.warning(f"W&B: {reason}; the run is offline, send it later: {command}")
        mode = "offline"
    return wandb.init(mode=mode, **args)


def log_row(run: Any, folder: Path, values: dict[str, Any]) -> None:
    """Log values at the next step."""
    # It is stored: offline, each process counts from 0, and W&B drops rows with an earlier step.
    step = max(tracking_file.read(folder, TRACKER).get("step", -1), run.step - 1) + 1
    tracking_file.update(folder, TRACKER, step=step)
    run.log(values, step=step, commit=True)


def finish(run: Any, exit_code: int = 0) -> None:
    """End the run; warn if the server did not receive everything in time."""
    online = not (run.offline or run.disabled)
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        if online:
            late = f"not sent within {run.settings.finish_timeout:g} s; send it later"
            log.warning(f"W&B: {late}: wandb sync --include-online {Path(run.settings.sync_dir)}")


def select_mode(offline: bool) -> Literal["online", "offline", "disabled"]:
    """Return the W&B mode; ``WANDB_MODE`` can disable sending but not enable it."""
    value = os.environ.get("WANDB_MODE", "")
    if offline or value in ("offline", "dryrun", "disabled"):
        return "disabled" if value == "disabled" else "offline"
    return "online"


def has_api_key(server: str | None = None) -> bool:
    """Return whether W&B can log in without a prompt at the URL ``server``, or the configured one."""
    import requests
    import wandb

    settings = wandb.setup().settings
    netrc = requests.utils.get_netrc_auth(settings.base_url if server is None else server)
    variables = map(os.environ.get, ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"))
    return any([*variables, netrc, settings.api_key])


def _log_files(run: Any, name: str, kind: str, files: dict[str, Path], metadata: Any = None) -> None:
    """Log files as one artifact, without copying them."""
    import wandb

    artifact = wandb.Artifact(f"{name}-{run.id}", kind, metadata=metadata)
    for stored_as, path in files.items():
        artifact.add_file(str(path.resolve()), stored_as, policy="immutable", skip_cache=True)
    run.log_artifact(artifact)


def _parse_cell(cell: str) -> float | str | None:
    """Return a number as float and an empty cell as None."""
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell
