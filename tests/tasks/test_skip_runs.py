"""A run whose decoder sees images beside codes: it restores, and nothing else is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from vae_run.errors import ConfigError
from vae_run.runs.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Run, Train


@pytest.fixture(scope="module")
def restorer(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("skip") / "run"
    words = ("model=dae", "network=conv", "network.widths=[2,3]", "network.skip=true")
    return train(place, *words, "corruption=inpainting")


def test_reconstruct_restores_the_users_images(
    restorer: Path, vae_run: Run, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    typed = ("task=reconstruct", f"run={restorer}", "input=x.npy", "output=y.npz")
    finished = vae_run(*typed)
    assert finished.code == 0, finished.said
    model = load(restorer)
    expected = model.reconstruct(torch.from_numpy(pixels / np.float32(255))[:, None])
    assert np.load(tmp_path / "y.npz")["images"] == pytest.approx(expected.numpy(), abs=1e-6)
    with pytest.raises(ConfigError, match=r"beside\(x\)"):
        model.sample(2)


@pytest.mark.parametrize("task", ["sample", "encode", "score"])
def test_what_needs_codes_alone_is_refused(
    task: str, restorer: Path, vae_run: Run, tmp_path: Path
) -> None:
    read = () if task == "sample" else ("input=test",)
    finished = vae_run(f"task={task}", f"run={restorer}", *read, "output=z.npz")
    assert finished.code == 1
    assert f"run: task={task} needs a decoder that sees nothing but codes" in finished.said
    assert "task=reconstruct" in finished.said
    assert list(tmp_path.iterdir()) == []
