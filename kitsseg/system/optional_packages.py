"""Packages that only some features need."""

import importlib
from typing import Any


def require(module: str, extra: str, use: str) -> Any:
    """Import and return ``module``.

    Args:
        module: name of the module.
        extra: extra of kitsseg that installs it.
        use: what needs it, for the message.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ValueError(
            f"{use} needs {package}, which is not installed: pip install 'kitsseg[{extra}]'"
        ) from error
