"""Runs of one row have the same overrides; the note names settings in which they differ nevertheless."""

from kitsseg.reporting import tables
from tests.helpers.records import record


def config(**changes: object) -> dict[str, object]:
    return {"optimizer": {"lr": 0.1}, "data": {"workers": 0}, "paths": {"output": "a"}, **changes}


def test_note_names_settings_that_differ_within_a_row() -> None:
    runs = [
        record(config=config()),
        record(seed=1, config=config(seed=1, paths={"output": "b"}, data={"workers": 2})),
        record(seed=2, config=config(compile=True)),  # of a version with another option
    ]
    assert "also differ" not in tables.note(tables.study(runs))
    edited = record(seed=3, config=config(optimizer={"lr": 0.5}))
    note = tables.note(tables.study([*runs, edited]))
    assert "The runs of unet also differ in optimizer.lr (0.1, 0.5). " in note


def test_long_lists_of_settings_are_shortened() -> None:
    runs = [record(seed=seed, config={key: seed for key in "abcde"}) for seed in range(2)]
    note = tables.note(tables.study(runs))
    assert "also differ in a (0, 1), b (0, 1), c (0, 1), 2 more keys. " in note
