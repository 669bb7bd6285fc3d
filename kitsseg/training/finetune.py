"""Stage two (paper section 2.3): tumour slices only, the shallow layers frozen with their norms."""

from collections.abc import Sequence

from torch import nn


def check_frozen(net: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The submodules ``names`` of ``net``.

    Raises:
        ValueError: none are named, one doesn't exist, or nothing would be left to train.
    """
    children = ", ".join(name for name, _ in net.named_children())
    if not names:
        raise ValueError(
            "finetune.frozen names no layers, and the model's configuration sets no `shallow`; "
            f"name some of {type(net).__name__}'s: {children} (or use finetune=none)"
        )
    modules = dict(net.named_modules())
    if unknown := [name for name in names if name not in modules or not name]:
        raise ValueError(
            f"finetune.frozen={unknown}: {type(net).__name__} has no such layers; it has {children}"
        )
    frozen = [modules[name] for name in names]
    held = {id(p) for module in frozen for p in module.parameters()}
    if all(id(p) in held for p in net.parameters()):
        raise ValueError(f"finetune.frozen={list(names)} leaves no parameter to train; name fewer")
    return frozen


class FineTune:
    """How stage two trains.

    Args:
        frozen: names of the submodules that stay as they are.
        epochs: how many passes over the tumour slices.
        lr: learning rate, in place of stage one's.
    """

    def __init__(self, frozen: Sequence[str] | None, epochs: int, lr: float) -> None:
        if epochs < 1:
            raise ValueError(f"epochs={epochs} must be at least 1; finetune=none leaves it out")
        if not lr > 0:
            raise ValueError(f"lr={lr} must be above 0")
        self.frozen = list(frozen) if frozen is not None else []
        self.epochs, self.lr = epochs, lr

    def freeze(self, net: nn.Module) -> list[nn.Module]:
        """Exclude the shallow layers from training; the result goes to the task, for their norms."""
        frozen = check_frozen(net, self.frozen)
        for module in frozen:
            module.requires_grad_(False)
        return frozen
