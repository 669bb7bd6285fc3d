"""Tests that need a CUDA GPU. Other tests cover the same logic on CPUs."""

import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from kitsseg.data.case import Case
from kitsseg.inference import checkpoint, segmenter
from kitsseg.inference.segmenter import Segmenter
from kitsseg.models.unet import AttentionUNet, UNet
from kitsseg.reporting import run_record
from kitsseg.system import hardware
from kitsseg.training.losses import DiceCrossEntropy, Loss, SorensenDice
from tests.commands.test_train import SMALL, start
from tests.helpers import forks
from tests.helpers.parts import make_data, make_task
from tests.helpers.records import find_records
from tests.inference.test_checkpoint_3d import trained3d
from tests.inference.test_segmenter import trained
from tests.jobs.test_resume import RUN, same
from tests.training.test_task import trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
GPU = torch.device("cuda", 0)
ON_GPU = ["trainer=gpu", "logger=none"]


# ---- training step


class Asks(pl.Callback):
    """Make synchronisation with the host an error from the first to the last batch of an epoch."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_start(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(
        self, loop: pl.Trainer, module: Any, out: Any, batch: Any, index: int
    ) -> None:
        assert batch["image"].is_cuda and torch.cuda.get_sync_debug_mode() == 2
        self.batches += 1
        if index == loop.num_training_batches - 1:
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def watched() -> Any:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("loss", [SorensenDice(), DiceCrossEntropy()])
def test_training_step_does_not_synchronise(block_cases: list[Case], tmp_path: Path, loss: Loss) -> None:
    optimizer = partial(torch.optim.Adam, lr=0.001, fused=True)
    task = make_task(AttentionUNet(width=4, depth=2), loss=loss, optimizer=optimizer)
    options = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed", "max_epochs": 2}
    data = make_data(block_cases[0].image.parent.parent, tmp_path, workers=1, batch_size=2)
    asks = Asks()
    fit = trainer(**options, callbacks=[asks])
    fit.fit(task, data)
    assert asks.batches == 2 * fit.num_training_batches > 2


@pytest.mark.usefixtures("watched")
def test_synchronisation_is_detected(block_cases: list[Case], tmp_path: Path) -> None:
    class Looks(SorensenDice):
        def terms(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            assert not target.is_cuda or target.max() < 3
            return super().terms(logits, target)

    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    with pytest.raises(RuntimeError, match="synchroniz"):
        trainer(accelerator="gpu", devices=1, max_epochs=1, callbacks=[Asks()]).fit(
            make_task(UNet(width=4, depth=2), loss=Looks()), data
        )


def test_batches_are_in_pinned_memory(block_cases: list[Case], tmp_path: Path) -> None:
    data = make_data(block_cases[0].image.parent.parent, tmp_path)
    data.trainer = trainer(accelerator="gpu", devices=1)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        assert all(batch[name].is_pinned() for name in ("image", "label"))


@pytest.mark.parametrize("kind", [UNet, AttentionUNet])
def test_gpu_gives_the_same_logits_and_gradients_as_cpu(kind: type[UNet]) -> None:
    """In float32 without TF32, with and without compilation."""
    torch.manual_seed(0)
    net = hardware.optimize(kind(width=8, depth=3), channels_last=True, compile=False)
    image, label = torch.randn(2, 1, 64, 64), torch.randint(0, 3, (2, 64, 64))
    found = []
    for device, compiled in (("cpu", False), (GPU, False), (GPU, True)):
        copy = hardware.optimize(kind(width=8, depth=3), channels_last=True, compile=compiled)
        copy.load_state_dict(net.state_dict())
        copy = copy.to(device)
        with torch.backends.cudnn.flags(allow_tf32=False):
            logits = copy(image.to(device))
            SorensenDice()(logits, label.to(device)).backward()
        gradients = [p.grad.cpu().flatten() for p in copy.parameters() if p.grad is not None]
        found.append((logits.detach().cpu(), torch.cat(gradients)))
    for logits, gradient in found[1:]:
        assert torch.allclose(logits, found[0][0], atol=1e-4)
        # If rounding changes the branch of a ReLU or maximum, a gradient changes by about 0.1 %.
        assert (gradient - found[0][1]).norm() < 1e-2 * found[0][1].norm()


# ---- commands


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a sweep of two jobs at once; each waits until the GPU is free."""
    home = tmp_path_factory.mktemp("gpu")
    line = ["-m", *SMALL, *ON_GPU, "model=attn_unet", "compile=null,false", "trainer.max_epochs=1"]
    done = start(home, *line, "hydra/launcher=parallel", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    return home


def test_precision_and_compilation_match_the_hardware(run: Path) -> None:
    records = [run_record.read(path) for path in find_records(run / "outputs")]
    assert len(records) == 2
    for record in records:
        about = record.environment
        assert about["device"] == f"cuda: {torch.cuda.get_device_name()}"
        assert about["precision"] == hardware.choose_precision("gpu")
        compiled = hardware.choose_compile("gpu", record.config["compile"])
        assert about["compiled"] == ("yes" if compiled else "no")


def test_checkpoint_gives_the_same_labels_on_cpu_and_gpu(run: Path) -> None:
    path = next((run / "outputs").rglob("finetune/best.ckpt"))
    assert not any("_orig_mod" in name for name in checkpoint.weights(checkpoint.read(path)))
    image = np.random.default_rng(0).integers(-200, 300, (5, 64, 64)).astype(np.int16)
    on = {d: Segmenter.load(path, device=d, precision="32-true") for d in ("cpu", "cuda")}
    labels = {name: each(image) for name, each in on.items()}
    assert (labels["cpu"] != labels["cuda"]).mean() < 1e-3


def test_a_3d_network_gives_the_same_labels_on_cpu_and_gpu(tmp_path: Path) -> None:
    path = trained3d(tmp_path / "x.ckpt")
    image = np.random.default_rng(0).integers(-200, 300, (30, 40, 44)).astype(np.int16)
    on = {d: Segmenter.load(path, device=d, precision="32-true") for d in ("cpu", "cuda")}
    labels = {name: each(image, (2, 1, 1)) for name, each in on.items()}
    assert (labels["cpu"] != labels["cuda"]).mean() < 1e-3


def test_requesting_too_many_gpus_is_reported_in_one_line(tmp_path: Path) -> None:
    more = torch.cuda.device_count() + 1
    done = start(tmp_path, *SMALL, *ON_GPU, f"trainer.devices={more}", "trainer.strategy=ddp")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert f"trainer.devices={more}: this machine has {more - 1} GPUs to use" in done.stderr


def test_one_rank_of_ddp_over_nccl(tmp_path: Path) -> None:
    line = [*SMALL, *ON_GPU, "model=unet", "trainer.strategy=ddp", "finetune=none"]
    done = start(tmp_path, *line)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiled", [False, True])
def test_killed_run_resumes_bit_identically(tmp_path: Path, compiled: bool) -> None:
    line = [*RUN, *ON_GPU, f"compile={str(compiled).lower()}"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for home in (whole, killed):
        home.mkdir()
    assert forks.run(whole, *line) == [0]
    assert forks.run(killed, *line, env={"KILL": "train:3"}) == [-signal.SIGKILL]
    assert forks.run(killed, *line) == [0]
    same(whole, killed)


# ---- memory


def test_batch_size_is_reduced_when_gpu_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.random.default_rng(0).integers(-200, 300, (64, 512, 512)).astype(np.int16)
    path = trained(tmp_path / "best.ckpt", 512, seed=0)
    expected = Segmenter.load(path, device="cuda", precision="32-true")(image)
    monkeypatch.setattr(segmenter, "PIXELS_PER_BATCH_GPU", image.size)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(0.6e9 / total)
    try:
        found = Segmenter.load(path, device="cuda", precision="32-true")(image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "its memory is too small for 64 slices at once" in caplog.text
    assert (found != expected).mean() < 1e-4


def test_out_of_memory_error_is_recognised() -> None:
    with pytest.raises(torch.OutOfMemoryError) as full:
        torch.empty(1 << 50, device=GPU)
    assert hardware.is_out_of_memory(full.value)
