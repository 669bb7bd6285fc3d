"""Each command: what its config holds, what of that is built, and what else is checked."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore

from kitsseg.config import ranges, schema
from kitsseg.config.components import Section


class Command(NamedTuple):
    """The schema of a command's root, its components in the order of building, and what is left."""

    schema: type
    sections: Mapping[str, Section]
    check: Callable[[dict[str, Any], dict[str, Any]], list[str]]


# What every command that opens data gives to its data module.
_DATA = Section(given=("split", "augmentation", "seed"))
_CLEANING = Section(optional=True)

COMMANDS = {
    "download": Command(schema.DownloadConfig, {}, ranges.check_download),
    "verify": Command(schema.VerifyConfig, {"source": Section()}, ranges.check_verify),
    "evaluate": Command(
        schema.EvaluateConfig,
        {"source": Section(), "lesions": Section(), "postprocess": _CLEANING},
        ranges.check_evaluate,
    ),
    "predict": Command(
        schema.PredictConfig, {"postprocess": Section(optional=True)}, ranges.check_predict
    ),
    "export": Command(schema.ExportConfig, {}, ranges.check_export),
    "prepare": Command(schema.PrepareConfig, {"data": _DATA}, lambda plain, built: []),
    "report": Command(schema.ReportConfig, {}, ranges.check_report),
    "dashboard": Command(schema.DashboardConfig, {}, ranges.check_report),
    "train": Command(
        schema.TrainConfig,
        {
            "window": Section(),
            "split": Section(),
            "augmentation": Section(),
            "model": Section(),
            "loss": Section(),
            "finetune": Section(optional=True),
            "data": _DATA,
            "optimizer": Section(given=("params",), partial=True),
            "scheduler": Section(given=("optimizer",), offered=("total_steps",), partial=True),
            "trainer": Section(
                given=("logger", "callbacks", "plugins"), resolved={"precision": "auto"}, build=False
            ),
            "logger": Section(optional=True, many=True, build=False),
            "callbacks": Section(optional=True, many=True, build=False),
        },
        ranges.check_train,
    ),
}

for _name, _command in COMMANDS.items():
    ConfigStore.instance().store(name=f"{_name}_schema", node=_command.schema)
