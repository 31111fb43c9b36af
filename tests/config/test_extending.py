"""The examples of docs/extending.md work as they are printed there."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from parts import composed
from scipy import stats

from vae_run import load
from vae_run.config.check import check
from vae_run.errors import ConfigError
from vae_run.models.build import build_model
from vae_run.models.distributions.kl import kl

if TYPE_CHECKING:
    from conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's own files."""
    folder = tmp_path_factory.mktemp("extending")
    for block in re.findall(
        r"^```\w+\n(# \S+\.(?:py|yaml)\n.*?)^```", PAGE.read_text(), re.M | re.S
    ):
        file = folder / block.split("\n", 1)[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    return folder


EXAMPLES = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.mark.parametrize(
    ("number", "key", "module"), [(0, "corruption", "noises"), (1, "prior", "toys")]
)
def test_the_example_trains_and_needs_trust(
    number: int, key: str, module: str, place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    words = [word for word in shlex.split(EXAMPLES[number]) if not word.startswith("PYTHONPATH=")]
    assert words.pop(0) == "vae-run"
    run = f"run-{key}"
    finished = vae_run(*words, f"hydra.run.dir={run}", "device=cpu", cwd=place)
    assert finished.code == 0, finished.said
    with pytest.raises(ConfigError, match=rf"{key}._target_.*trust=\[{module}\]"):
        load(place / run)
    model = load(place / run, trust=[module])
    assert model.reconstruct(torch.rand(3, 1, 8, 8)).shape == (3, 1, 8, 8)
    assert (place / run / "figures" / "robustness.png").is_file() == (key == "corruption")
    assert model.sample(2).shape == (2, 1, 8, 8)
    sample = (f"run={run}", "n=4", "output=drawn.npz", "task=sample")
    refused = vae_run(*sample, cwd=place)
    assert refused.code == 1
    assert f"trust=[{module}]" in refused.said
    assert not (place / "drawn.npz").exists()
    assert vae_run(*sample, f"trust=[{module}]", cwd=place).code == 0
    (place / "drawn.npz").unlink()


def test_the_tracker_of_the_page_gets_every_number(
    place: Path, vae_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    words = [word for word in shlex.split(EXAMPLES[2]) if not word.startswith("PYTHONPATH=")]
    finished = vae_run(*words[1:], "hydra.run.dir=run-tracker", "device=cpu", cwd=place)
    assert finished.code == 0, finished.said
    lines = (place / "run-tracker" / "numbers.jsonl").read_text().splitlines()
    found = {tag: value for line in lines for tag, value in json.loads(line).items()}
    test = json.loads((place / "run-tracker" / "metrics.json").read_text())["test"]
    assert {name: found[f"test/{name}"] for name in test} == test
    assert load(place / "run-tracker").sample(2).shape == (2, 1, 8, 8), "without trust"


def test_every_command_of_the_page_is_run_above() -> None:
    assert len(EXAMPLES) == 3


def test_the_laplace_prior_is_what_it_says(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(place))
    config = composed("latent_dim=2", "network.widths=[8]")
    config["prior"] = {"_target_": "toys.LaplacePrior", "scale": 0.7}
    model = build_model(check(config), (1, 4, 5))
    z = torch.tensor([[0.0, 0.0], [1.4, -0.7]])
    expected = -2 * math.log(1.4) - z.abs().sum(-1) / 0.7
    torch.testing.assert_close(model.latent_prior().log_prob(z), expected)
    q, noise = model.encode(torch.rand(1, 1, 4, 5)), torch.randn(50_000, 1, 2)
    draws = model.posterior.sample(q, noise)
    mean, scale = (each.detach().double().numpy() for each in (q.mean[0], q.stddev[0]))
    # E|z| of a normal, and the normal's entropy, give the exact KL.
    distance = scale * math.sqrt(2 / math.pi) * np.exp(-0.5 * (mean / scale) ** 2)
    distance += mean * (1 - 2 * stats.norm.cdf(-mean / scale))
    entropy = 0.5 * np.log(2 * math.pi * math.e * scale**2)
    exact = float((distance / 0.7 + math.log(1.4) - entropy).sum())
    assert kl(q, model.latent_prior(), draws).item() == pytest.approx(exact, abs=0.03)
    with pytest.raises(ConfigError, match=r"prior\.scale: found 0"):
        check({**config, "prior": {"_target_": "toys.LaplacePrior", "scale": 0.0}})


def test_help_lists_the_users_own_option(place: Path, vae_run: Run) -> None:
    finished = vae_run("--config-dir", "myconf", "--help", cwd=place)
    assert finished.code == 0, finished.said
    assert "speckle" in finished.out
    assert "laplace" in finished.out
