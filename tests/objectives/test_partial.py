"""PIWAE: encoder and decoder trained by bounds of their own in one scalar loss."""

from __future__ import annotations

import pytest
import torch
from parts import composed, experiment, grey

from vae_run.config.check import check
from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.objectives import IWAE

ENCODING = ("encoder", "posterior")


@pytest.mark.parametrize("words", [[], ["prior=mixture"], ["model=hierarchical_vae"]], ids=str)
def test_each_players_gradient_is_that_of_its_bound(words: list[str]) -> None:
    torch.manual_seed(0)
    made = experiment("likelihood=gaussian", *words)
    x = grey(11).images
    batch = Batch(x, x, torch.randn(12, 11, 3))
    names, parameters = zip(*made.model.named_parameters(), strict=True)

    def found(objective: IWAE) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with torch.enable_grad():
            loss = objective(made.model, batch, 0.0)["loss"]
            slopes = torch.autograd.grad(loss.mean(), parameters)
        return loss.detach(), dict(zip(names, slopes, strict=True))

    loss, partial = found(IWAE(importance_samples=4, groups=3, partial=True))
    whole, of_all = found(IWAE(importance_samples=12))
    mean, of_groups = found(IWAE(importance_samples=4, groups=3))
    torch.testing.assert_close(loss, whole)
    assert (whole < mean).all()
    for name in names:
        own = of_groups if name.startswith(ENCODING) else of_all
        other = of_all if name.startswith(ENCODING) else of_groups
        torch.testing.assert_close(partial[name], own[name], rtol=1e-4, atol=1e-6)
        assert not torch.allclose(partial[name], other[name], rtol=1e-3), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "^objective: objective.partial: with objective.groups=1|^objective.partial: with"),
        (["objective.groups=2", "objective.elbo_share=0.5"], "objective.partial: trains encoder"),
        (
            ["objective.groups=2", "objective.gradient=doubly_reparameterized"],
            "objective.partial: trains encoder",
        ),
        (["objective.groups=2", "prior=vamp"], "^objective.partial: NormalPosterior and VampPrior"),
    ],
)
def test_what_has_no_two_players_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(composed("objective=iwae", "objective.partial=true", *words))
