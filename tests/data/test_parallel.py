"""What the processes that read cases are given, and that this one keeps its own."""

import os

import pytest

from kitsseg.data.parallel import ENVIRONMENT, over_cases


def test_their_settings_are_theirs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process starts afterwards is to compute with all cores."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "123")
    before = dict(os.environ)
    names = [*ENVIRONMENT, *ENVIRONMENT]
    found = list(over_cases(os.getenv, names, 2, "asking"))
    assert found == [{**ENVIRONMENT, "MALLOC_TRIM_THRESHOLD_": "123"}[name] for name in names]
    assert dict(os.environ) == before
