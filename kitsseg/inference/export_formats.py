"""Checkpoints as ONNX and torch.export files, for programs without kitsseg; ONNX files as networks.

The graph takes HU as float32, ``image_hu`` ``[slices, 2 neighbours + 1, rows, columns]``, rows and
columns multiples of `DIVISOR`, and gives ``logits`` ``[slices, classes, rows, columns]``; the window is
part of it.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kitsseg.data.labels import CLASSES
from kitsseg.data.store.grid import DIVISOR
from kitsseg.inference.checkpoint import MAX_NEIGHBOURS, MAX_SIZE, Loaded
from kitsseg.models.window import Window
from kitsseg.system.files import replacing
from kitsseg.system.optional_packages import require

KEY, FORMAT = "kitsseg", 1
INPUT, OUTPUT = "image_hu", "logits"
TOLERANCE = 1e-3  # of the largest logit; rounding stays far below


class FromHU(nn.Module):
    """A network with its window before it."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self.window, self.net = loaded.window, loaded.net

    def forward(self, image_hu: Tensor) -> Tensor:
        return self.net(self.window(image_hu))


class OnnxNet(nn.Module):
    """An ONNX graph run by ONNX Runtime on the processor, wherever its input lies."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        runtime = require("onnxruntime", "onnx", "running ONNX")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def forward(self, image_hu: Tensor) -> Tensor:
        values = np.ascontiguousarray(image_hu.float().cpu().numpy())
        (logits,) = self.session.run([OUTPUT], {INPUT: values})
        return torch.from_numpy(logits).to(image_hu.device)


def export_onnx(loaded: Loaded, path: Path) -> float:
    """Write ``path``; the largest difference of its logits from the network's, over the largest logit.

    Raises:
        ValueError: a package is missing, the network can't be exported, or the graph gives other values.
    """
    require("onnxscript", "onnx", "exporting to ONNX")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # says which packages it could also use
    net = FromHU(loaded).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                net, (_example(loaded),), dynamo=True, dynamic_shapes=(_shapes(),),
                input_names=[INPUT], output_names=[OUTPUT], verbose=False,
            )  # fmt: skip
        assert program is not None
        model = program.model_proto
    except Exception as error:  # any network
        raise ValueError(f"its network can't be exported to ONNX ({_reason(error)})") from error
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(_about(loaded))
    content = model.SerializeToString()
    difference = _difference(net, OnnxNet(content), loaded)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def export_program(loaded: Loaded, path: Path) -> float:
    """Write ``path`` for ``torch.export.load``; the difference as in `export_onnx`.

    Raises:
        ValueError: the network can't be exported, or the file gives other values.
    """
    net = FromHU(loaded).eval()
    try:
        with warnings.catch_warnings(), replacing(path) as temporary:
            warnings.simplefilter("ignore")
            program = torch.export.export(net, (_example(loaded),), dynamic_shapes=(_shapes(),))
            torch.export.save(program, temporary, extra_files={KEY: json.dumps(_about(loaded))})
            difference = _difference(net, torch.export.load(temporary).module(), loaded)
    except (OSError, ValueError):
        raise
    except Exception as error:  # any network
        raise ValueError(f"its network can't be exported ({_reason(error)})") from error
    return difference


def load_onnx(path: Path) -> Loaded:
    """The network in a file of `export_onnx`; its window is within, so `Loaded.window` does nothing.

    Raises:
        ValueError: it's damaged, foreign, or reads other files.
    """
    onnx = require("onnx", "onnx", "reading ONNX")
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # protobuf's own
        raise ValueError(f"{path}: isn't an ONNX file ({_reason(error)})") from error
    if _reads_other_files(model, onnx.TensorProto.EXTERNAL):
        raise ValueError(f"{path}: keeps weights in other files; kitsseg's ONNX files are whole")
    size, neighbours, provenance, local = _described(path, model)
    try:
        net = OnnxNet(content)
        shape = tuple(net(torch.zeros(1, 2 * neighbours + 1, DIVISOR, DIVISOR)).shape)
    except ValueError:
        raise
    except Exception as error:  # ONNX Runtime's own
        raise ValueError(f"{path}: can't be run ({_reason(error)})") from error
    if shape != (1, len(CLASSES), DIVISOR, DIVISOR):
        raise ValueError(f"{path}: gives {shape}, not (1, {len(CLASSES)}, {DIVISOR}, {DIVISOR})")
    limits = np.iinfo(np.int16)
    return Loaded(net, Window(limits.min, limits.max, 0, 1), size, neighbours, provenance, local)


def _about(loaded: Loaded) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "size": loaded.size,
        "neighbours": loaded.neighbours,
        "classes": list(CLASSES),
        "provenance": loaded.provenance,
        "local": loaded.local,
    }


def _described(path: Path, model: Any) -> tuple[int | None, int, dict[str, Any], bool]:
    texts = {entry.key: entry.value for entry in model.metadata_props}
    try:
        about = json.loads(texts[KEY])
        size, neighbours, classes = about["size"], about["neighbours"], about["classes"]
        known = about["format"] == FORMAT and classes == list(CLASSES)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: lacks kitsseg's description; make it by kitsseg.export") from error
    fits = size is None or (type(size) is int and DIVISOR <= size <= MAX_SIZE)
    if not (known and fits and type(neighbours) is int and 0 <= neighbours <= MAX_NEIGHBOURS):
        raise ValueError(f"{path}: has a description that can't be; make it by kitsseg.export")
    return size, neighbours, dict(about.get("provenance", {})), about.get("local") is True


def _reads_other_files(model: Any, external: int) -> bool:
    """Whether any tensor of the graph says that it lies elsewhere, which a stranger's mustn't."""
    tensors = [*model.graph.initializer]
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        for attribute in node.attribute:
            if attribute.graphs or attribute.HasField("g"):
                return True  # a graph within, which no network of ours has
            tensors += [attribute.t, *attribute.tensors]
    return any(tensor.data_location == external for tensor in tensors)


def _example(loaded: Loaded) -> Tensor:
    # Of two slices and unlike sides: what is 1 or equal would be taken for fixed.
    return torch.randn(2, 2 * loaded.neighbours + 1, 4 * DIVISOR, 6 * DIVISOR) * 100


def _shapes() -> dict[int, Any]:
    rows, columns = (DIVISOR * torch.export.Dim(name, min=1, max=128) for name in ("rows", "columns"))
    return {0: torch.export.Dim("slices", min=1, max=4096), 2: rows, 3: columns}


@torch.inference_mode()
def _difference(net: nn.Module, exported: Any, loaded: Loaded) -> float:
    """On an image of another shape than the one exported with."""
    image = torch.randn(1, 2 * loaded.neighbours + 1, 3 * DIVISOR, 2 * DIVISOR) * 100
    wanted, made = net(image), exported(image)
    difference = float((wanted - made).abs().max() / wanted.abs().max().clamp_min(1e-6))
    if not difference <= TOLERANCE:
        raise ValueError(f"the exported network gives other values, by {difference:.2g}")
    return difference


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
