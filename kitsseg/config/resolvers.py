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


RESOLVERS: dict[str, Callable[..., Any]] = {
    "classes": lambda *, _root_: len(_labels(_root_).classes),
    "target_classes": lambda *, _root_: list((found := _labels(_root_)).ids(found.target)),
    "channels": lambda neighbours: 2 * neighbours + 1,
}


def register() -> None:
    """Register ``${classes:}``, ``${target_classes:}`` and ``${channels:NEIGHBOURS}``."""
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
