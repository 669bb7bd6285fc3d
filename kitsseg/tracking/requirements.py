"""Which logger needs a package that kitsseg doesn't install by itself."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

# Of a logger's module: the packages that it imports, and the extra that brings them.
NEEDS = {
    "kitsseg.tracking.tensorboard_run": (("tensorboard",), "tensorboard"),
    "kitsseg.tracking.mlflow_run": (("mlflow", "sqlalchemy", "alembic"), "mlflow"),
}


def missing(loggers: Mapping[str, Any]) -> list[str]:
    """A line for each configured logger whose packages aren't there."""
    problems = []
    for name, node in loggers.items():
        target = node.get("_target_") if isinstance(node, Mapping) else None
        module = target.rpartition(".")[0] if isinstance(target, str) else ""
        packages, extra = NEEDS.get(module, ((), ""))
        lacking = [package for package in packages if find_spec(package) is None]
        if lacking:
            problems.append(
                f"logger.{name}: {' and '.join(lacking)} isn't installed; "
                f"pip install 'kitsseg[{extra}]', or logger=csv"
            )
    return problems
