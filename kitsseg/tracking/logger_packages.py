"""Check that the optional packages of the configured loggers are installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

# class of the logger: (packages that it imports, extra of kitsseg that installs them)
REQUIRED = {
    "kitsseg.tracking.tensorboard_run.TensorBoardRun": (("tensorboard",), "tensorboard"),
    "kitsseg.tracking.mlflow_run.MLflowRun": (("mlflow", "sqlalchemy", "alembic"), "mlflow"),
}


def missing_packages(loggers: Mapping[str, Any]) -> list[str]:
    """Return one error message per configured logger whose packages are not installed."""
    problems = []
    for name, node in loggers.items():
        target = str(node.get("_target_")) if isinstance(node, Mapping) else ""
        packages, extra = REQUIRED.get(target, ((), ""))
        if missing := ", ".join(package for package in packages if find_spec(package) is None):
            remedy = f"pip install 'kitsseg[{extra}]', or set logger=csv"
            problems.append(f"logger.{name}: not installed: {missing}; {remedy}")
    return problems
