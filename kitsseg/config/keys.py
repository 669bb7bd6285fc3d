"""A key that a config doesn't have, and which one may have been meant."""

from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import Container, DictConfig

from kitsseg.config.signatures import arguments, locate, nearest


def unknown_key(override: Override, cfg: DictConfig) -> str | None:
    """The problem with a key that the config doesn't have, with the nearest that it does have."""
    key = override.key_or_group
    parent: Any = cfg
    prefix = ""
    for part in key.split("."):
        if not isinstance(parent, DictConfig):
            # An item of a list or something interpolated: Hydra can say.
            is_value = not isinstance(parent, Container)
            return f"{key}: no such key; {prefix[:-1]} is a value" if is_value else None
        if part not in list(parent):  # `in parent` says no to a key that waits for its value
            break
        prefix, parent = f"{prefix}{part}.", parent._get_node(part)
        if parent._is_interpolation():
            return None
    else:
        return None
    target, problem = locate(parent.get("_target_"))
    hints = (arguments(target) or {}) if problem is None else {}
    if key == prefix + part and part in hints:
        return f"{key}: the config doesn't set it; add it with +{override.input_line}"
    elsewhere = [full for full in _keys(cfg) if full.rpartition(".")[2] == part]
    for name, options, before in (
        (part, [str(sibling) for sibling in parent], prefix),
        (part, [name for name in hints if name not in ("*", "**")], f"+{prefix}"),
        (key, elsewhere, ""),
    ):
        remedy = nearest(name, options, before)
        if remedy.endswith("?"):
            return f"{key}: no such key{remedy}"
    if elsewhere:
        return f"{key}: no such key; did you mean {' or '.join(elsewhere)}?"
    return f"{key}: no such key{nearest(part, map(str, parent))}"


def _keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """All dotted keys of a config."""
    for name in cfg:
        yield f"{prefix}{name!s}"
        node = cfg._get_node(name)
        if isinstance(node, DictConfig) and not node._is_missing() and not node._is_none():
            yield from _keys(node, f"{prefix}{name!s}.")
