"""Stage two (paper section 2.3): train on slices with the target, with the shallow layers frozen."""

from collections.abc import Sequence

from torch import nn


def check_frozen(net: nn.Module, names: Sequence[str]) -> None:
    """Raise `ValueError` unless ``names`` are submodules of ``net`` and leave parameters to train."""
    children = ", ".join(name for name, _ in net.named_children())
    if not names:
        raise ValueError(
            "finetune.frozen: names no layers, and the model's configuration sets no `shallow`; "
            f"choose layers of {type(net).__name__}: {children} (or set finetune=none)"
        )
    modules = dict(net.named_modules())
    if unknown := [name for name in names if name not in modules or not name]:
        raise ValueError(
            f"finetune.frozen={unknown}: {type(net).__name__} has no such layers; it has {children}"
        )
    frozen = {id(p) for name in names for p in modules[name].parameters()}
    if all(id(p) in frozen for p in net.parameters()):
        raise ValueError(f"finetune.frozen={list(names)}: leaves no parameter to train; freeze fewer")


class FineTune:
    """Settings of stage two.

    Args:
        frozen: names of the submodules to freeze, batch norms included.
        epochs: passes over the slices with the target region.
        lr: learning rate, which replaces the one of stage one.

    Raises:
        ValueError: ``epochs`` or ``lr`` is out of range.
    """

    def __init__(self, frozen: Sequence[str] | None, epochs: int, lr: float) -> None:
        if epochs < 1:
            raise ValueError(f"epochs={epochs}: must be at least 1; finetune=none omits stage two")
        if not lr > 0:
            raise ValueError(f"lr={lr}: must be above 0")
        self.frozen = list(frozen) if frozen is not None else []
        self.epochs, self.lr = epochs, lr

    def freeze(self, net: nn.Module) -> list[str]:
        """Exclude the frozen layers from training and return their names for `SegmentationTask`."""
        check_frozen(net, self.frozen)
        for name in self.frozen:
            net.get_submodule(name).requires_grad_(False)
        return self.frozen
