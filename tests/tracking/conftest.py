"""Fixture: a local W&B server with an account."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.service import KEY, Service, serving


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """Start a local W&B server and remove all other W&B settings from the environment."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with serving(Service()) as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        import wandb

        wandb.teardown()
        yield found
        wandb.teardown()
