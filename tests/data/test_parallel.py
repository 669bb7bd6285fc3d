"""`kitsseg.data.parallel`."""

import os

import pytest

from kitsseg.data.parallel import ENVIRONMENT, over_cases


def test_the_environment_is_set_for_workers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "123")
    before = dict(os.environ)
    names = [*ENVIRONMENT, *ENVIRONMENT]
    found = list(over_cases(os.getenv, names, 2, "asking"))
    assert found == [{**ENVIRONMENT, "MALLOC_TRIM_THRESHOLD_": "123"}[name] for name in names]
    assert dict(os.environ) == before


def test_a_process_that_ends_is_reported_in_one_line() -> None:
    with pytest.raises(ValueError, match="ended after 0 of 2 cases, probably .* set fewer workers"):
        list(over_cases(os._exit, [1, 1], 2, "ending"))
