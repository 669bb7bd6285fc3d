"""Which program computes a network: chosen by rule and trial, said, and the same to rounding."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from kitsseg.config.command_line import find_problems
from kitsseg.config.validation import CONFIG_DIR
from kitsseg.inference import backends, checkpoint, export_formats
from kitsseg.inference.checkpoint import Loaded
from kitsseg.inference.segmenter import Segmenter
from kitsseg.predict import run
from kitsseg.system import hardware, optional_packages
from tests.conftest import blocky
from tests.inference.test_segmenter import trained

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def old_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without bf16."""
    monkeypatch.setattr(hardware, "cpu_computes_bf16", lambda: False)


def quicker(monkeypatch: pytest.MonkeyPatch, onnx: float) -> None:
    """The trial finds ONNX Runtime to take ``onnx`` of PyTorch's time."""
    taken = {True: onnx, False: 1.0}
    monkeypatch.setattr(
        backends, "_seconds", lambda net, image: taken[isinstance(net, export_formats.OnnxNet)]
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runtime") / "x.ckpt", 64, neighbours=1)


@pytest.fixture(scope="module")
def exported(path: Path) -> bytes:
    """The network as ONNX, made once."""
    pytest.importorskip("onnxscript")
    export_formats.export_onnx(checkpoint.load(path), path.with_suffix(".onnx"))
    return path.with_suffix(".onnx").read_bytes()


@pytest.fixture
def quick_export(exported: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Exporting takes no time; where to, each time."""
    written: list[Path] = []

    def export(member: Loaded, path: Path) -> None:
        path.write_bytes(exported)
        written.append(path)

    monkeypatch.setattr(export_formats, "export_onnx", export)
    return written


def chosen(path: Path, device: torch.device = CPU, precision: str = "auto") -> tuple[str, str]:
    one = backends.choose(checkpoint.load(path), path, "auto", device, precision)
    return one.runtime, one.why


@pytest.mark.parametrize(("share", "by"), [(0.5, "onnx"), (0.99, "torch"), (2, "torch")])
def test_the_faster_one_computes_where_there_is_no_bf16(
    path: Path, old_processor: None, quick_export: list[Path], monkeypatch: pytest.MonkeyPatch,
    share: float, by: str,
) -> None:  # fmt: skip
    quicker(monkeypatch, share)
    slices = 2**17 // 64**2
    found, why = chosen(path)
    assert found == by
    ms = f"PyTorch {1000 / slices:.1f}, ONNX Runtime {1000 * share / slices:.1f}"
    assert why == f"{ms} ms a slice of 64 x 64"


def test_a_trial_measures(path: Path) -> None:
    net = checkpoint.load(path).net
    image = torch.randn(1, 3, 64, 64)
    assert 0 < backends._seconds(net, image) < 1


def test_otherwise_pytorch_does(
    path: Path, old_processor: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_exported", lambda *_: pytest.fail("nothing is to be exported"))
    assert chosen(path, torch.device("meta")) == ("torch", "on meta")
    assert chosen(path, precision="bf16-mixed") == ("torch", "precision=bf16-mixed")
    monkeypatch.setattr(hardware, "cpu_computes_bf16", lambda: True)
    assert chosen(path) == ("torch", "this processor computes in bf16")


def test_without_the_extra_nothing_fails(
    path: Path, old_processor: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(module: str) -> None:
        raise ImportError(module)

    member = checkpoint.load(path)
    monkeypatch.setattr(optional_packages.importlib, "import_module", gone)
    one = backends.choose(member, path, "auto", CPU, "auto")
    assert one.runtime == "torch"
    assert one.why.startswith(
        "no ONNX of it: computing by ONNX Runtime needs onnx, which isn't installed"
    )
    with pytest.raises(ValueError, match=r"needs onnx, .*pip install 'kitsseg\[onnx\]'"):
        backends.choose(member, path, "onnx", CPU, "auto")


def test_without_a_place_to_keep_it_nothing_fails(
    path: Path, old_processor: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found, why = chosen(path)
    assert found == "torch" and why.startswith("no ONNX of it: ") and "Not a directory" in why


def test_it_gives_the_same_as_pytorch(path: Path, quick_export: list[Path]) -> None:
    image = blocky(0, slices=9, height=100, width=70)[0]
    both = [
        Segmenter.load(path, (1,), device="cpu", precision="32-true", runtime=name)
        for name in ("torch", "onnx")
    ]
    assert [each.computed["runtime"] for each in both] == [["torch"], ["onnx"]]
    made = [each.segment(image, (1, 1, 1), ("kidney", "tumour")) for each in both]
    assert np.bincount(made[0].label.ravel(), minlength=3).min() > 100
    assert (made[0].label != made[1].label).mean() < 1e-4
    for name in ("kidney", "tumour"):
        maps = [each.maps[name].astype(int) for each in made]
        assert np.abs(maps[0] - maps[1]).max() <= 1


def test_it_is_exported_once_unless_it_is_another(
    path: Path, exported: bytes, quick_export: list[Path], tmp_path: Path
) -> None:
    for count in (1, 1):
        Segmenter.load(path, device="cpu", runtime="onnx")
        assert len(quick_export) == count
    (kept,) = (tmp_path / "cache" / "kitsseg" / "onnx").iterdir()
    assert quick_export == [kept]
    model = onnx.load_model_from_string(exported)
    values = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(values + 1, model.graph.initializer[0].name)
    )
    # Damaged, or of a network whose code has changed since, it is made anew.
    for number, content in enumerate((b"damaged", model.SerializeToString())):
        kept.write_bytes(content)
        Segmenter.load(path, device="cpu", runtime="onnx")
        assert len(quick_export) == 2 + number and kept.read_bytes() == exported


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("fast", CPU, "auto"), "runtime=fast must be one of auto, torch, onnx"),
        (
            ("onnx", torch.device("meta"), "auto"),
            "runtime=onnx computes on the processor, not on meta; add",
        ),
        (
            ("onnx", CPU, "bf16-mixed"),
            "runtime=onnx computes in float32, not in bf16-mixed; use precisi",
        ),
    ],
)
def test_what_cannot_be(path: Path, arguments: tuple[str, torch.device, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        backends.choose(checkpoint.load(path), path, *arguments)


def test_an_onnx_file_is_computed_as_such(exported: bytes, tmp_path: Path) -> None:
    (tmp_path / "z.onnx").write_bytes(exported)
    made = Segmenter.load(tmp_path / "z.onnx", device="cpu")
    assert (made.computed["runtime"], made.computed["why"]) == (["onnx"], ["it is an ONNX file"])
    with pytest.raises(ValueError, match="z.onnx: is an ONNX file; runtime=torch needs the checkpoint"):
        Segmenter.load(tmp_path / "z.onnx", device="cpu", runtime="torch")


def test_the_command_says_and_keeps_what_computes(
    path: Path, blocks: Path, tmp_path: Path, old_processor: None, quick_export: list[Path],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    quicker(monkeypatch, 0.5)
    given = [f"checkpoint={path}", f"input={blocks}", f"output={tmp_path}/out", "cases=0", "device=cpu"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        assert run(compose("predict", given)) == 0
    computed = json.loads((tmp_path / "out" / "predict.json").read_text())["computed"]
    assert (computed["device"], computed["precision"]) == ("cpu", "32-true")
    assert computed["runtime"] == ["onnx"]
    assert f"{path}: computed by ONNX Runtime ({computed['why'][0]})\n" in capsys.readouterr().out
    assert find_problems("predict", [*given, "runtime=tensorrt"]) == [
        "runtime: tensorrt must be one of auto, torch, onnx"
    ]
