"""Each network learns the digits: within some epochs it halves the error of the mean image."""

from __future__ import annotations

import pytest
import torch
from parts import composed, stepped

from vae_run.config.check import check
from vae_run.evaluation.codes import evaluating


@pytest.mark.parametrize(
    ("network", "epochs"),
    [
        (("network=mlp",), 14),
        pytest.param(("network=mlp", "network.init=auto"), 20, marks=pytest.mark.scale),
        (("network=conv", "network.widths=[16,32]"), 8),
        pytest.param(
            ("network=conv", "network.widths=[16,32]", "network.norm=group"),
            16,
            marks=pytest.mark.scale,
        ),
        pytest.param(
            ("network=resnet", "network.widths=[16,32]", "network.blocks=1"),
            6,
            marks=pytest.mark.scale,
        ),
    ],
    ids=str,
)
def test_a_network_halves_the_error_of_the_mean_image(
    network: tuple[str, ...], epochs: int
) -> None:
    settings = check(composed("model=ae", "likelihood=mse", "optimizer.lr=3e-3", *network))
    made, _ = stepped(settings, 11 * epochs, batch_size=128)  # 1,294 images
    x = made.splits.test.pixels(slice(None))
    mean = made.splits.train.pixels(slice(None)).mean(0)
    with evaluating(made.model), torch.no_grad():
        error = float((made.model.reconstruct(x) - x).square().mean())
    assert error < 0.5 * float((x - mean).square().mean())
