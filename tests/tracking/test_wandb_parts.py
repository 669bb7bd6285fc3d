"""Rows that are kept, and which parts `wandb sync` is still to send. With W&B: test_wandb_sync.py."""

from pathlib import Path

from kitsseg.tracking import run_ids, wandb_parts


def written(folder: Path, name: str) -> Path:
    path = folder / "wandb" / name / "run-x.wandb"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_rows_are_kept_but_not_what_a_kill_tore(tmp_path: Path) -> None:
    assert wandb_parts.rows(tmp_path, 0) == []
    (tmp_path / "wandb").mkdir()
    for step in range(3):
        wandb_parts.remember(tmp_path, step, {"loss": step / 2, "cases": object()})
    wandb_parts.remember(tmp_path, 3, {"cases": object()})
    with (tmp_path / "wandb" / "rows.jsonl").open("a") as file:
        file.write('[4, {"lo')
    assert wandb_parts.rows(tmp_path, 1) == [(1, {"loss": 0.5}), (2, {"loss": 1.0})]


def test_a_part_that_was_not_sent_whole_is_an_offline_one(tmp_path: Path) -> None:
    synced = written(tmp_path, "offline-run-20260101_000000-x")
    synced.with_suffix(".wandb.synced").touch()
    offline = written(tmp_path, "offline-run-20260102_000000-x")
    written(tmp_path, "run-20260103_000000-x")  # sent while it ran
    cut = written(tmp_path, "run-20260104_000000-x")
    run_ids.keep(tmp_path, "wandb", open=cut.parent.name)
    renamed = tmp_path / "wandb" / "offline-run-20260104_000000-x" / "run-x.wandb"
    assert wandb_parts.unsent(tmp_path) == [offline, renamed]
    assert wandb_parts.unsent(tmp_path) == [offline, renamed] and not cut.exists()
