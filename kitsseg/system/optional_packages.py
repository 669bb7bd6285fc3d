"""Packages that only some features need."""

import importlib
from typing import Any


def require(module: str, extra: str, use: str) -> Any:
    """Import and return ``module``, which ``extra`` of kitsseg installs.

    Raises:
        ValueError: it is not installed; the message names what needs it (``use``) and the remedy.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ValueError(
            f"{use} needs {package}, which is not installed: pip install 'kitsseg[{extra}]'"
        ) from error
