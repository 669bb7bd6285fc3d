"""Packages that only some features need."""

import importlib
from importlib.util import find_spec
from typing import Any


def is_installed(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def require(module: str, extra: str, use: str) -> Any:
    """Return the imported ``module``, or raise `ValueError` with its ``use`` and the remedy."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        needs, remedy = f"{use} needs {module.split('.')[0]}", f"pip install 'kitsseg[{extra}]'"
        raise ValueError(f"{needs}, which is not installed: {remedy}") from error
