"""Values that the configuration derives from other sections."""

from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf

from kitsseg.config.components import instantiate
from kitsseg.config.validation import plain
from kitsseg.data.labels import KITS19


def _labels(root: Any) -> Any:
    """Return the labels of a configuration."""
    try:
        return instantiate(plain(root.labels))
    except Exception:  # the check of the section says why
        return KITS19


def _target_classes(*, _root_: Any) -> list[int]:
    labels = _labels(_root_)
    return list(labels.ids(labels.target))


def _regions(*, _root_: Any) -> list[list[int]]:
    labels = _labels(_root_)
    return [list(labels.ids(region)) for region in labels.table_regions]


RESOLVERS: dict[str, Callable[..., Any]] = {
    "classes": lambda *, _root_: len(_labels(_root_).classes),
    "target_classes": _target_classes,
    "regions": _regions,
    "channels": lambda neighbours: 2 * neighbours + 1,
}


def register() -> None:
    """Register ``${classes:}``, ``${target_classes:}``, ``${regions:}`` and ``${channels:N}``."""
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
