"""Packages that only some uses need: imported when they are, with a line that says how to get them."""

import importlib
from typing import Any


def require(module: str, extra: str, use: str) -> Any:
    """The module ``module``, which the extra ``extra`` of kitsseg installs.

    Raises:
        ValueError: it isn't installed; ``use`` says what it is for.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ValueError(
            f"{use} needs {package}, which isn't installed: pip install 'kitsseg[{extra}]'"
        ) from error
