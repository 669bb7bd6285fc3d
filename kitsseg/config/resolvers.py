"""Values that the configuration derives from other sections."""

from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf

from kitsseg.config.components import instantiate
from kitsseg.config.validation import plain
from kitsseg.data.labels import KITS19, Labels


def _labels(root: Any) -> Labels:
    """Return the labels of a configuration."""
    try:
        labels: Labels = instantiate(plain(root.labels))
        return labels
    except Exception:  # the check of the section says why
        return KITS19


def _from_labels(values: Callable[[Labels], Any]) -> Callable[..., Any]:
    """Return a resolver of values that the labels determine."""
    return lambda *, _root_: values(_labels(_root_))


RESOLVERS: dict[str, Callable[..., Any]] = {
    "classes": _from_labels(lambda labels: len(labels.classes)),
    "target_classes": _from_labels(lambda labels: list(labels.ids(labels.target))),
    "regions": _from_labels(lambda labels: [list(labels.ids(r)) for r in labels.table_regions]),
    "channels": lambda neighbours: 2 * neighbours + 1,
}


def register() -> None:
    """Register ``${classes:}``, ``${target_classes:}``, ``${regions:}`` and ``${channels:N}``."""
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
