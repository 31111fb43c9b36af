"""The threads of a training: by a step's arithmetic, and the same when it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from parts import experiment

from vae_run.system import hardware
from vae_run.training.threads import (
    NARROW_FLOPS,
    WIDE_FLOPS,
    by_arithmetic,
    computing_with,
    flops_a_thread,
    step_flops,
    threads_of,
)

if TYPE_CHECKING:
    from conftest import Run, Train


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of sixteen cores where nobody has said how many threads there are."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "_by_quota", None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)


def flops(*words: str, samples: int = 1, images: int = 10) -> float:
    made = experiment(*words)
    size = made.settings.fixed.latent_dim
    image = torch.zeros(1, *made.splits.event_shape)
    return step_flops(made.model, image, latent_dim=size, samples=samples, images=images)


def test_the_operations_of_a_step_are_those_of_its_products() -> None:
    """20 pixels, 8 hidden units, D = 3: six for each weight and image."""
    encoder, decoder = 20 * 8 + 8 * 6, 3 * 8 + 8 * 20
    assert flops() == 6 * 10 * (encoder + decoder)
    assert flops(samples=5) == 6 * 10 * (encoder + 5 * decoder)
    tied = ("model=ae", "network.tied=true")
    assert flops(*tied) == 6 * 10 * 2 * (20 * 8 + 8 * 3)
    assert flops("condition=label") > flops()


def test_those_of_convolutions_are_counted_at_every_place() -> None:
    """A kernel of 3 x 3 from 1 to c channels at n places has 9 c n multiplications."""
    made = experiment("network=conv")
    seen = []

    def count(layer: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        transposed = isinstance(layer, torch.nn.ConvTranspose2d)
        at = given[0] if transposed else out
        seen.append(at.numel() * layer.weight[0].numel())

    for layer in made.model.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    image = torch.zeros(1, *made.splits.event_shape)
    found = step_flops(made.model, image, latent_dim=3, samples=1, images=1)
    assert len(seen) > 4
    assert found == 6 * sum(seen)


@pytest.mark.parametrize(
    ("capability", "gflop", "threads"),
    [
        ("AVX512", 0.75, 1),  # MNIST 784-400-20
        ("AVX512", 0.8, 2),
        ("AVX512", 1.24, 2),
        ("AVX2", 0.39, 1),
        ("AVX2", 0.75, 2),
        ("AVX2", 1.24, 4),
        ("DEFAULT", 0.75, 2),  # ARM without SVE
        ("SVE256", 0.4, 2),
        ("AVX2", 80.0, 16),
    ],
)
def test_there_is_a_thread_more_for_every_share_of_arithmetic(
    capability: str, gflop: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product takes twice as long with vectors of half the width, and a wait does not."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert by_arithmetic(gflop * 1e9, 16, flops_a_thread()) == threads
    assert by_arithmetic(gflop * 1e9, 1, flops_a_thread()) == 1


@pytest.mark.usefixtures("sixteen")
@pytest.mark.parametrize(("capability", "threads"), [("AVX512", 2), ("AVX2", 4)])
def test_the_threads_of_a_run_depend_on_the_processor(
    capability: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of 1.5 * WIDE_FLOPS = 3 * NARROW_FLOPS, as counted for the run's own network."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert WIDE_FLOPS == 2 * NARROW_FLOPS
    large = experiment(f"trainer.batch_size={int(1.51 * WIDE_FLOPS / flops(images=1))}")
    assert threads_of(large, {}) == threads


@pytest.mark.usefixtures("sixteen")
def test_what_is_said_counts_before_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    small = experiment()
    assert threads_of(small, {}) == 1
    assert threads_of(small, {"threads": 7}) == 7, "a run that goes on keeps its own"
    assert threads_of(small, {"threads": 20}) == 16
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert threads_of(small, {}) == 16
    assert threads_of(small, {"threads": 7}) == 7
    assert threads_of(experiment("trainer.threads=3"), {"threads": 7}) == 3
    monkeypatch.setattr(hardware, "_by_quota", "16")  # a container's quota is nobody's choice
    assert threads_of(small, {}) == 1
    assert threads_of(experiment("model=pca", "network.widths=[]"), {}) == 16


def test_counting_leaves_model_and_random_numbers_alone() -> None:
    made = experiment("network.spectral_norm=true").model.train()
    before = {name: t.clone() for name, t in made.state_dict().items()}
    state = torch.random.get_rng_state()
    step_flops(made, torch.zeros(1, 1, 4, 5), latent_dim=3, samples=1, images=1)
    assert made.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(t, before[name]) for name, t in made.state_dict().items())


def test_a_run_records_its_threads_and_keeps_them(
    train: Train, vae_run: Run, tmp_path: Path
) -> None:
    def recorded() -> tuple[int, int]:
        about = json.loads((run / "environment.json").read_text(encoding="utf-8"))
        return about["threads"], about["evaluation_threads"]

    words = ("evaluation.figures=[]", "trainer.steps=3")
    run = train(tmp_path / "run", *words, "trainer.threads=2")
    granted = torch.get_num_threads()
    assert recorded() == (2, granted)
    assert torch.get_num_threads() == granted
    path = run / "environment.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**about, "threads": 1}), encoding="utf-8")
    with computing_with(2):
        assert vae_run("task=resume", f"run={run}", "trainer.steps=5").code == 0
        assert recorded() == (2, 2), "what was typed holds for all of the run"


def test_a_run_that_goes_on_takes_the_recorded_threads(
    train: Train, vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(hardware, "_by_quota", None)
    with computing_with(2):
        run = train(tmp_path / "run", "evaluation.figures=[]", "trainer.steps=3")
        path = run / "environment.json"
        about = json.loads(path.read_text(encoding="utf-8"))
        assert about["threads"] == 2, "what is said"
        path.write_text(json.dumps({**about, "threads": 1}), encoding="utf-8")
        assert vae_run("task=resume", f"run={run}", "trainer.steps=5").code == 0
        assert json.loads(path.read_text(encoding="utf-8"))["threads"] == 1
