import io
import sys

import pytest

from kitsseg.data import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_every_minute_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(progress.progress([1, 2, 3], "reading")) == [1, 2, 3]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "EVERY_S", 0)
    for _ in progress.progress([1, 2, 3], "reading", leave=False):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert [line[:15] for line in lines] == ["reading: 1 of 3", "reading: 2 of 3", "reading: 3 of 3"]
    assert lines[-1].endswith("00:00 left")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(progress.progress([1, 2, 3], "reading", file=terminal, position=0))  # below no other bar
    assert "\rreading: 100%" in terminal.getvalue() and terminal.getvalue().count("\n") == 1


def test_a_disabled_bar_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(None, "reading", total=2, disable=True) as bar:
        bar.update()
    assert capsys.readouterr().err == ""
