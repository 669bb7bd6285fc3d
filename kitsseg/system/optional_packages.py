"""Packages that only some features need."""

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

# Class of a logger: packages that it imports, and the extra of kitsseg that installs them.
LOGGERS = {
    "kitsseg.tracking.tensorboard_run.TensorBoardRun": (("tensorboard",), "tensorboard"),
    "kitsseg.tracking.mlflow_run.MLflowRun": (("mlflow", "sqlalchemy", "alembic"), "mlflow"),
}


def is_installed(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of its package
        return False


def require(module: str, extra: str, use: str) -> Any:
    """Return the imported ``module``, or raise `ValueError` with its ``use`` and the remedy."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        needs, remedy = f"{use} needs {module.split('.')[0]}", f"pip install 'kitsseg[{extra}]'"
        raise ValueError(f"{needs}, which is not installed: {remedy}") from error


def missing_packages(loggers: Mapping[str, Any]) -> list[str]:
    """Return one error message per configured logger whose packages are not installed."""
    problems = []
    for name, node in loggers.items():
        target = str(node.get("_target_")) if isinstance(node, Mapping) else ""
        packages, extra = LOGGERS.get(target, ((), ""))
        if missing := ", ".join(package for package in packages if not is_installed(package)):
            remedy = f"pip install 'kitsseg[{extra}]', or set logger=csv"
            problems.append(f"logger.{name}: not installed: {missing}; {remedy}")
    return problems
