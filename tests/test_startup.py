"""A quick start: no collections while it imports, and afterwards as ever."""

import gc

import pytest

from kitsseg.startup import uncollected


def test_collections_go_on_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count() > 0
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()
