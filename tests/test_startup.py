"""A quick start: no collections while it imports, and afterwards as ever; a quick help."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from kitsseg.startup import uncollected

ROOT = Path(__file__).parents[1]


def test_collections_go_on_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()


def test_help_says_all_that_hydras_own_does() -> None:
    code = "import sys; from kitsseg import cli, train; {}; sys.argv[1:] = ['--help']; train.main()"
    said = [
        subprocess.run(
            [sys.executable, "-c", code.format(change)], cwd=ROOT, capture_output=True, text=True
        ).stdout
        for change in ("pass", "cli._remember_choices = lambda: None")
    ]
    assert "model: attn_unet, monai" in said[0] and said[0] == said[1]
