"""Weights & Biases: a run a job, grouped by sweep, with its cases, slices and weights."""

import re
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from kitsseg.data.labels import CLASSES
from kitsseg.reporting.run_record import RESULT, Record
from kitsseg.system import provenance
from kitsseg.tracking import logged_content, run_ids, wandb_parts
from kitsseg.tracking.wandb_start import TRACKER, start

NAMES = {number: name for number, name in enumerate(CLASSES) if number > 0}
STAGES = ("", "finetune/")


class WandbRun(WandbLogger):
    """Lightning's logger, whose run has the id that its folder keeps, so that it can be continued.

    Args:
        folder: of the run.
        project, entity: where it belongs; without an entity W&B's default one.
        offline: keep it in ``folder/wandb`` for ``wandb sync``.
        sweep: the sweep's folder, of which the run is a job if ``folder`` lies in it.
        experiment_name: put before the name of that folder to make the group's.
        group: another name of the group; empty for none.
        model: the chosen model configuration, kept as ``config.model_name`` and as a tag.
        tags: more of them.
        checkpoints: whether the best weights of each stage go along, as an artifact.
        settings: of `wandb.Settings`.
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
            group = group_of(self.folder, sweep, experiment_name)
        self.begin: dict[str, Any] = {
            "offline": offline, "settings": {} if settings is None else settings, "project": project,
            "entity": entity, "group": group if group else None, "job_type": "train",
            "name": self.folder.name, "tags": [t for t in (model, *([] if tags is None else tags)) if t],
        }  # fmt: skip

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The `wandb.Run`, started when it is first asked for."""
        if self._experiment is None and hasattr(self, "_attach_id"):
            return WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
        if self._experiment is None:
            run = start(self.folder, **self.begin)
            for stage in STAGES:  # stage two begins at epoch 0 again, on an axis of its own
                run.define_metric(f"{stage}epoch", hidden=True)
                for part in ("train", "val"):
                    run.define_metric(f"{stage}{part}/*", step_metric=f"{stage}epoch")
            about = {"model_name": self.model, "commit": provenance.commit()}
            run.config.update(about, allow_val_change=True)
            if run.resumed:
                for name in {"outcome", "error"} & set(run.summary.keys()):  # of an earlier part
                    del run.summary[name]
            if wandb_parts.online(run):
                wandb_parts.catch_up(run, self.folder)
            self._experiment = run
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log at a step that is always later than all before, also of an earlier process."""
        values = dict(metrics)
        stages = {found[1] for name in values if (found := re.match(r"(.*?)(?:train|val)/", name))}
        if "epoch" in values and len(stages & set(STAGES)) == 1:
            values[f"{stages.pop()}epoch"] = values.pop("epoch")
        if step is not None:
            values["trainer/global_step"] = step
        self.log(values)

    def log(self, values: dict[str, Any]) -> None:
        """What `wandb.Run.log` takes."""
        run = self.experiment
        step = max(run_ids.read(self.folder, TRACKER).get("step", -1), run.step - 1) + 1
        run_ids.keep(self.folder, TRACKER, step=step)
        if not run.disabled:
            wandb_parts.remember(self.folder, step, values)
        run.log(values, step=step, commit=True)  # whole, not to grow: a kill can't take it away

    @rank_zero_only
    def log_run(self, record: Record, folder: Path) -> None:
        """The table of its cases, slices with the masks over them, its weights and its record."""
        import wandb

        head, rows = logged_content.cases(record)
        about = {"environment": record.environment, "cases": record.split, "overrides": record.overrides}
        self.experiment.config.update(about, allow_val_change=True)
        found: dict[str, list[Any]] = {}
        for picture in logged_content.pictures(folder, record.final["validation"]):
            masks = {
                name: {"mask_data": mask, "class_labels": NAMES} for name, mask in picture.masks.items()
            }
            image = wandb.Image(picture.image, masks=masks, caption=picture.caption)
            found.setdefault(f"slices/{picture.role}", []).append(image)
        self.log({"cases": wandb.Table(columns=head, data=rows), **found})
        self._keep_files("result", {RESULT: folder / RESULT}, record)
        if self.checkpoints:
            best = logged_content.best_checkpoints(folder)
            self._keep_files(
                "model", {f"{stage}/best.ckpt": path for stage, path in best.items()}, record
            )

    def _keep_files(self, kind: str, files: dict[str, Path], record: Record) -> None:
        """Log files as an artifact; they are read where they lie, when they are sent."""
        import wandb

        run = self.experiment
        about = {"model_name": record.model, "seed": record.seed, **logged_content.numbers(record)}
        artifact = wandb.Artifact(f"{kind}-{run.id}", kind, metadata=about)
        for name, path in files.items():
            artifact.add_file(str(path.resolve()), name, policy="immutable", skip_cache=True)
        if files:
            run.log_artifact(artifact)

    @rank_zero_only
    def close(self, exit_code: int, reason: str, state: str) -> None:
        """End the run; one that didn't come to its end says why in its summary."""
        if self._experiment is not None:
            run, self._experiment = self._experiment, None
            run.summary["outcome"] = state
            if reason:
                run.summary["error"] = reason[:1000]
            wandb_parts.finish(run, self.folder, exit_code)


def group_of(folder: Path, sweep: str | None, experiment_name: str | None) -> str:
    """The group of a sweep's job: the experiment's name and the sweep folder's; empty for a lone run."""
    if sweep is None or not folder.resolve().is_relative_to(Path(sweep).resolve()):
        return ""
    own = Path(sweep).resolve()
    if folder.resolve() == own:
        return ""
    names = [experiment_name, own.name] if experiment_name != own.name else [own.name]
    return "/".join(name for name in names if name)
