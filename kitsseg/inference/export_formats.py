"""Write networks as ONNX and torch.export files, and load ONNX files.

Input ``image_hu``: float32 HU, ``[slices, 2 neighbours + 1, rows, columns]``, of any size. Output
``logits``: ``[slices, classes, rows, columns]``. The graph includes the window and the padding.

In 3D, the input is ``[patches, 1, D, H, W]`` and the output ``[patches, classes, D, H, W]``. The patch
has the same size as in training, and the graph has no padding.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kitsseg.data.io.nifti.voxels import INT16
from kitsseg.data.labels import AIR_HU
from kitsseg.data.store.grid import DIVISOR
from kitsseg.inference import checkpoint
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.description import MAX_SIZE, parse_description
from kitsseg.models.window import Window
from kitsseg.system.files import replacing
from kitsseg.system.optional_packages import require
from kitsseg.system.package_messages import error_line

KEY = "kitsseg"  # key of the description in the metadata
INPUT, OUTPUT = "image_hu", "logits"
TOLERANCE = 1e-3  # relative to the largest logit; rounding errors are far smaller


class FromHU(nn.Module):
    """A network preceded by its window and, in 2D, by padding with air to multiples of `DIVISOR`."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self.window, self.net = loaded.window, loaded.net

    def forward(self, image_hu: Tensor) -> Tensor:
        """Return the logits of slices or patches in HU."""
        if image_hu.ndim == 5:
            patches: Tensor = self.net(self.window(image_hu))
            return patches
        rows, columns = image_hu.shape[-2:]
        # Padding by a variable number, or slicing the logits, would make torch.export distinguish
        # whether there is any padding.
        padded = F.pad(image_hu, (0, DIVISOR, 0, DIVISOR), value=float(AIR_HU))
        height, width = ((n + DIVISOR - 1) // DIVISOR * DIVISOR for n in (rows, columns))
        padded = padded[..., :height, :width]
        logits: Tensor = self.net(self.window(padded))
        device = logits.device
        logits = logits.index_select(-2, torch.arange(rows, device=device))
        return logits.index_select(-1, torch.arange(columns, device=device))


class OnnxNet(nn.Module):
    """An ONNX graph, run by ONNX Runtime on the CPU; the output is on the device of the input."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        runtime = require("onnxruntime", "onnx", "running ONNX")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self.session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def forward(self, image_hu: Tensor) -> Tensor:
        """Return the logits of slices or patches in HU."""
        values = np.ascontiguousarray(image_hu.float().cpu().numpy())
        (logits,) = self.session.run([OUTPUT], {INPUT: values})
        return torch.from_numpy(logits).to(image_hu.device)


def export_onnx(loaded: Loaded, path: Path) -> float:
    """Write an ONNX file, and return by how much its logits differ from those of the network.

    The largest difference is divided by the largest logit. Raises `ValueError` if a package is missing,
    the export fails, or the difference exceeds `TOLERANCE`, and `OSError` if the file cannot be written.
    """
    require("onnxscript", "onnx", "exporting to ONNX")
    # They log hints about optional packages, and every step.
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    net = FromHU(loaded).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                net, **_example(loaded), dynamo=True, input_names=[INPUT], output_names=[OUTPUT],
                verbose=False,
            )  # fmt: skip
        assert program is not None
        model = program.model_proto
    except Exception as error:  # arbitrary networks
        raise ValueError(f"the network cannot be exported to ONNX ({error_line(error)})") from error
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]  # source lines with the paths of this machine
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, _description(loaded)
    content = model.SerializeToString()
    difference = _difference(net, OnnxNet(content), loaded)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def export_program(loaded: Loaded, path: Path) -> float:
    """Write a file for ``torch.export.load``; return the difference and raise as `export_onnx` does."""
    net = FromHU(loaded).eval()
    try:
        with warnings.catch_warnings(), replacing(path) as temporary:
            warnings.simplefilter("ignore")
            program = torch.export.export(
                net, **_example(loaded),
                prefer_deferred_runtime_asserts_over_guards=True,  # the padding may be 0 or not
            )  # fmt: skip
            torch.export.save(program, temporary, extra_files={KEY: _description(loaded)})
            return _difference(net, torch.export.load(temporary).module(), loaded)
    except (OSError, ValueError):
        raise
    except Exception as error:  # arbitrary networks
        raise ValueError(f"the network cannot be exported ({error_line(error)})") from error


def load_onnx(path: Path) -> Loaded:
    """Return the network of a file of `export_onnx`, run by ONNX Runtime.

    The graph includes the window, so `Loaded.window` leaves int16 HU unchanged. Raises `ValueError` if a
    package is missing, or the file is damaged, foreign or refers to other files.
    """
    onnx = require("onnx", "onnx", "reading ONNX")
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # protobuf errors
        raise ValueError(f"{path}: not an ONNX file ({error_line(error)})") from error
    if _has_external_data(model, onnx.TensorProto.EXTERNAL):
        raise ValueError(
            f"{path}: refers to other files or has subgraphs; not written by kitsseg.export"
        )
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        description = {"provenance": {}, **json.loads(metadata.get(KEY, "{}"))}
        about = parse_description(description)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: invalid metadata ({error}); write it by kitsseg.export") from error
    try:
        net = OnnxNet(content)
        checkpoint.check_description(net, about)
    except Exception as error:  # ONNX Runtime errors
        raise ValueError(f"{path}: cannot be run ({error_line(error)})") from error
    window = Window(INT16.min, INT16.max, 0, 1)
    return Loaded(net, window, local=description.get("local") is True, **about)


def _description(loaded: Loaded) -> str:
    values = {name: value for name, value in vars(loaded).items() if name not in ("net", "local")}
    about = checkpoint.header({}, **values)
    del about["network"], about["window"]  # the graph contains them
    return json.dumps(about | {"local": loaded.local})


def _has_external_data(model: Any, external: int) -> bool:
    """Return whether a tensor may be stored in another file, which an untrusted model must not read."""
    tensors = [*model.graph.initializer]
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        for attribute in node.attribute:
            if attribute.graphs or attribute.HasField("g"):
                return True  # subgraphs, which exported networks do not have, are not searched
            tensors += [attribute.t, *attribute.tensors]
    return any(tensor.data_location == external for tensor in tensors)


def _example(loaded: Loaded) -> dict[str, Any]:
    """Return an example image, and which of its axes may vary, as arguments of an export."""
    if loaded.patch is not None:
        batch = torch.export.Dim("patches", min=1, max=MAX_SIZE)
        return {"args": (torch.randn(2, 1, *loaded.patch) * 100,), "dynamic_shapes": ({0: batch},)}
    # torch.export would treat sizes of 1, and equal sizes, as constants.
    image = torch.randn(2, 2 * loaded.neighbours + 1, 3 * DIVISOR + 5, 5 * DIVISOR + 7) * 100
    names = {0: "slices", 2: "rows", 3: "columns"}
    shapes = {axis: torch.export.Dim(name, min=1, max=MAX_SIZE) for axis, name in names.items()}
    return {"args": (image,), "dynamic_shapes": (shapes,)}


@torch.inference_mode()
def _difference(net: nn.Module, exported: Any, loaded: Loaded) -> float:
    """Return the relative difference on an image of another shape or batch than the example."""
    sides = (2 * DIVISOR + 9, DIVISOR - 3) if loaded.patch is None else loaded.patch
    image = torch.randn(1, 2 * loaded.neighbours + 1, *sides) * 100
    expected, actual = net(image), exported(image)
    difference = float((expected - actual).abs().max() / expected.abs().max().clamp_min(1e-6))
    if not difference <= TOLERANCE:
        raise ValueError(f"the exported network differs by {difference:.2g} of the largest logit")
    return difference
