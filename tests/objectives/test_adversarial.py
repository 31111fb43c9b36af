"""Objectives with a critic: what each player learns, and from which loss alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from parts import composed, experiment, grey
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import softplus

from vae_run.config.check import check
from vae_run.data.batches import Batch, evaluation_batches
from vae_run.errors import ConfigError
from vae_run.models.critics import CodeCritic, PatchCritic
from vae_run.objectives import AdversarialELBO, FactorVAE, frozen, trained_loss
from vae_run.objectives.adversarial_codes import cross_entropy, permuted
from vae_run.objectives.adversarial_images import gradient_norm, hinge
from vae_run.training import distributed
from vae_run.training.optimizers import Adam

ADVERSARIAL = [
    ["model=factor_vae"],
    ["model=aae"],
    ["model=aae", "posterior=normal"],
    ["model=vae_gan", "objective.critic_start=0"],
    ["model=vae_gan", "objective.critic_start=0", "objective.adaptive=false"],
    ["model=kl_autoencoder", "objective.adversarial=0.5", "objective.critic_start=0"],
]


def batch_of(made, images=None):
    images = grey(20) if images is None else images
    noise = (made.objective.samples, made.settings.fixed.latent_dim)
    return next(evaluation_batches(images, made.corruption, batch_size=50, noise=noise))


def gradients(model, loss):
    """Gradients of `loss` by the model's parameters and by the critic's; None where it has none."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    named = dict(zip(names, found, strict=True))
    critic = {name: g for name, g in named.items() if name.startswith("critic.")}
    return {name: g for name, g in named.items() if name not in critic}, critic


# two players in one backward pass


@pytest.mark.parametrize("words", ADVERSARIAL, ids=" ".join)
def test_each_player_has_a_gradient_of_its_own_loss_alone(words):
    made = experiment(*words, "likelihood=gaussian")
    terms = made.objective(made.model, batch_of(made), 0.0)
    model, critic = gradients(made.model, terms["loss"].mean())
    assert all(g is None for g in critic.values()), "the model does not train the critic"
    assert all(g is not None for g in model.values())
    untouched, own = gradients(made.model, terms["critic_loss"].mean())
    assert all(g is None for g in untouched.values()), "the critic does not train the model"
    assert all(g is not None for g in own.values())
    both = gradients(made.model, trained_loss(terms).mean())
    for name, gradient in {**both[0], **both[1]}.items():
        torch.testing.assert_close(gradient, {**model, **own}[name], msg=name)


@pytest.mark.parametrize("words", ADVERSARIAL, ids=" ".join)
def test_the_critic_moves_the_model(words):
    """The loss without the critic's word has another gradient at the encoder or the decoder."""
    made = experiment(*words, "likelihood=gaussian")
    batch = batch_of(made)
    terms = made.objective(made.model, batch, 0.0)
    rest = terms["loss"] - terms["loss"].detach()
    model, _ = gradients(made.model, rest.mean())
    for parameter in made.model.critic.parameters():
        parameter.data.mul_(3.0)
    other, _ = gradients(made.model, made.objective(made.model, batch, 0.0)["loss"].mean())
    assert any(not torch.allclose(model[name], other[name]) for name in model)


def test_a_frozen_critic_passes_gradients_to_its_inputs_alone_and_under_vmap():
    torch.manual_seed(0)
    critics, z = [CodeCritic(3, [4]) for _ in range(2)], torch.randn(2, 5, 3)
    values = {
        name: torch.stack([dict(c.named_parameters())[name].detach() for c in critics])
        for name, _ in critics[0].named_parameters()
    }

    def loss(tensors, codes):
        holder = torch.nn.Module()
        holder.critic = critics[0]
        holder.forward = lambda x: frozen(holder.critic)(x).sum()
        named = {f"critic.{name}": tensor for name, tensor in tensors.items()}
        return torch.func.functional_call(holder, named, (codes,))

    by_weights, by_codes = torch.func.vmap(torch.func.grad(loss, argnums=(0, 1)))(values, z)
    assert all(not g.any() for g in by_weights.values())
    for critic, codes, found in zip(critics, z, by_codes, strict=True):
        codes = codes.clone().requires_grad_()
        (expected,) = torch.autograd.grad(critic(codes).sum(), codes)
        torch.testing.assert_close(found, expected)
        assert expected.abs().min() > 0


@pytest.mark.parametrize("widths", [[], [4], [8, 6]], ids=str)
def test_a_critic_of_codes_tells_its_slopes_with_its_logits(widths):
    torch.manual_seed(0)
    critics, z = [CodeCritic(3, widths).double() for _ in range(2)], torch.randn(2, 7, 3).double()
    values = {
        name: torch.stack([dict(c.named_parameters())[name].detach() for c in critics])
        for name, _ in critics[0].named_parameters()
    }

    class Judge(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.critic = critics[0]

        def forward(self, codes):
            return self.critic.with_slopes(codes)

    def found(tensors, codes):
        named = {f"critic.{name}": tensor for name, tensor in tensors.items()}
        return torch.func.functional_call(Judge(), named, (codes,))

    stacked = torch.func.vmap(found)(values, z)
    for index, critic in enumerate(critics):
        codes = z[index].clone().requires_grad_()
        logits, slopes = critic.with_slopes(codes)
        usual = critic(codes)
        torch.testing.assert_close(logits, usual.float())
        (expected,) = torch.autograd.grad(usual.sum(), codes, retain_graph=True)
        assert expected.abs().min() > 0
        torch.testing.assert_close(slopes, expected.float())
        assert not slopes.requires_grad
        own = torch.autograd.grad(
            logits.sin().sum(), [*critic.parameters(), codes], allow_unused=True
        )
        assert own[-1] is None
        theirs = torch.autograd.grad(usual.sin().sum(), [*critic.parameters()])
        for found_one, wanted in zip(own[:-1], theirs, strict=True):
            torch.testing.assert_close(found_one, wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(stacked[0][index], logits)
        torch.testing.assert_close(stacked[1][index], slopes)


def test_the_critic_has_a_rate_and_betas_of_its_own():
    made = experiment(
        "model=factor_vae", "objective.critic_rate=0.3", "objective.critic_betas=[0.1,0.2]"
    )
    model, critic = made.optimizer(made.model).param_groups
    assert critic["relative_rate"] == 0.3
    assert (critic["betas"], model["betas"]) == ((0.1, 0.2), (0.9, 0.999))
    assert {id(p) for p in critic["params"]} == {id(p) for p in made.model.critic.parameters()}
    assert len(model["params"]) + len(critic["params"]) == len(list(made.model.parameters()))


def test_a_critic_has_no_betas_where_the_optimiser_has_none(monkeypatch):
    told = []
    monkeypatch.setattr(
        "vae_run.training.experiment.log.log", lambda level, text, *what: told.append(text % what)
    )
    for words in (), ("objective.critic_betas=[0.1,0.2]",):
        made = experiment("model=factor_vae", "optimizer=sgd", "objective.critic_rate=0.3", *words)
        model, critic = made.optimizer(made.model).param_groups
        assert (critic["relative_rate"], "betas" in critic, "betas" in model) == (0.3, False, False)
    told = [line for line in told if line.startswith("objective")]
    assert told == ["objective.critic_betas: not used, for SGD has no betas."]


# what a critic of codes finds


def test_a_permutation_is_across_the_batch_for_each_dimension_by_itself():
    z = torch.arange(12.0).reshape(4, 3)
    noise = torch.tensor([[0.3, 1.0, 5.0], [0.1, 2.0, 1.0], [0.2, 3.0, 2.0], [0.4, 0.0, 3.0]])
    expected = torch.tensor([[3.0, 10, 5], [6, 1, 8], [0, 4, 11], [9, 7, 2]])
    assert torch.equal(permuted(z, noise), expected)
    many = torch.randn(50_000, 1) @ torch.ones(1, 2)
    mixed = permuted(many, torch.randn_like(many))
    assert torch.equal(mixed.sort(0).values, many.sort(0).values), "the marginals are kept"
    assert abs(float(mixed.T.corrcoef()[0, 1])) < 0.02, "dimensions are independent"


def trained(critic, draw, steps, rate=2e-3):
    """`critic` after `steps` of its cross-entropy on the two sets that `draw` makes."""
    optimizer = Adam(critic.parameters(), lr=rate, betas=[0.5, 0.9])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        cross_entropy(*(critic(codes) for codes in draw(1000))).mean().backward()
        optimizer.step()
    return critic


@pytest.mark.scale
def test_a_critic_of_correlated_normal_codes_finds_their_total_correlation():
    """TC = -1/2 log det R of normal codes with the correlations R."""
    torch.manual_seed(0)
    correlations = torch.tensor([[1.0, 0.7, 0.3], [0.7, 1.0, 0.0], [0.3, 0.0, 1.0]])
    exact = -0.5 * float(correlations.logdet())
    codes = MultivariateNormal(torch.zeros(3), correlations)

    def draw(n):
        z = codes.sample((n,))
        return z, permuted(z, torch.randn_like(z))

    critic = trained(CodeCritic(3, [64, 64]), draw, 700)
    with torch.no_grad():
        found = float(critic(codes.sample((100_000,))).mean())
    assert found == pytest.approx(exact, rel=0.05)
    assert exact == pytest.approx(-0.5 * math.log(0.42))


@pytest.mark.scale
def test_a_critic_of_codes_against_the_prior_finds_the_log_ratio_of_the_densities():
    """Against N(0, I), the logit of N(1, 0.5^2) is log q - log p, whose mean is the KL."""
    torch.manual_seed(0)
    q, p = Normal(1.0, 0.5), Normal(0.0, 1.0)

    def draw(n):
        return p.sample((n, 1)), q.sample((n, 1))

    critic = trained(CodeCritic(1, [64, 64]), draw, 500)
    with torch.no_grad():
        found = -float(critic(q.sample((100_000, 1))).mean())
        word = float(softplus(-critic(p.sample((1000, 1)))).mean())
    assert found == pytest.approx(float(kl_divergence(q, p)), rel=0.07)
    assert word < math.log(2)
    alike = trained(CodeCritic(1, [64, 64]), lambda n: (p.sample((n, 1)), p.sample((n, 1))), 300)
    with torch.no_grad():
        chance = cross_entropy(alike(p.sample((2000, 1))), alike(p.sample((2000, 1)))).mean()
    assert float(chance) == pytest.approx(math.log(2), abs=0.01)


def test_the_loss_of_factor_vae_counts_the_critics_logit():
    made = experiment("model=factor_vae", "objective.gamma=3", "likelihood=gaussian")
    batch = batch_of(made)
    terms = made.objective(made.model, batch, 0.0)
    q = made.model.encode(batch.input)
    z = made.model.posterior.sample(q, batch.noise[0])
    torch.testing.assert_close(terms["tc_critic"], made.model.critic(z))
    expected = terms["reconstruction"] + terms["kl"] + 3 * terms["tc_critic"]
    torch.testing.assert_close(terms["loss"], expected)


def test_the_adversarial_autoencoder_has_the_loss_that_does_not_saturate():
    made = experiment("model=aae", "objective.weight=2", "likelihood=gaussian")
    batch = batch_of(made)
    terms = made.objective(made.model, batch, 0.0)
    z = made.model.encode(batch.input).mean
    word = -made.model.critic(z).sigmoid().log()
    torch.testing.assert_close(terms["adversarial"], word)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 2 * word)
    drawn = made.model.critic(batch.noise[1]).sigmoid()  # N(0, I): the noise itself
    told = -0.5 * (drawn.log() + (1 - made.model.critic(z).sigmoid()).log())
    torch.testing.assert_close(terms["critic_loss"], told)
    assert "kl" not in terms
    sampled = experiment("model=aae", "posterior=normal")
    assert "kl" in sampled.objective(sampled.model, batch_of(sampled), 0.0)
    assert made.objective.merit({"loss": 9.0, "reconstruction": 4.0, "elbo": -7.0}) == -4.0


# a critic of images


def test_the_values_of_the_hinge_loss():
    real = torch.tensor([[2.0, 0.0], [0.0, 0.0], [-1.0, 0.5]])
    made = torch.tensor([[-2.0, -3.0], [0.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(hinge(real, made), torch.tensor([0.25, 1.0, 0.5 * (1.25 + 1.5)]))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (1, 1, 1), (3, 64, 64), (1, 28, 28)])
def test_a_critic_of_images_has_patches_at_any_size(shape):
    critic = PatchCritic(shape, [4, 8])
    images = torch.rand(2, *shape)
    logits = critic(images)
    assert logits.shape == (2, math.prod(-(-side // 4) for side in shape[1:]))
    assert logits.abs().max() < 2
    torch.testing.assert_close(critic(images[:1]), logits[:1], msg="no image sees another")


def test_a_patch_is_seen_by_as_many_pixels_as_told():
    critic = PatchCritic((1, 64, 64), [2, 2])
    critic.layers = torch.nn.Sequential(
        *(layer for layer in critic.layers if not isinstance(layer, torch.nn.GroupNorm))
    )
    images = torch.rand(1, 1, 64, 64, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(images)[0, 8 * 16 + 8], images)
    rows = slope[0, 0].abs().sum(1).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 2**4 - 1


def test_the_adaptive_weight_is_the_ratio_of_the_gradients_norms_at_the_last_layer():
    made = experiment(
        *("model=kl_autoencoder", "likelihood=gaussian"),
        *("objective.adversarial=0.5", "objective.critic_start=0"),
    )
    batch = batch_of(made)
    model, weight = made.model, made.model.likelihood.projection[0].weight
    terms = made.objective(model, batch, 0.0)
    slopes = [
        torch.autograd.grad(terms[name].mean(), weight, retain_graph=True)[0].norm()
        for name in ("reconstruction", "adversarial")
    ]
    expected = 0.5 * slopes[0] / (slopes[1] + 1e-4)
    torch.testing.assert_close(terms["critic_weight"], expected.expand(20))
    total = terms["reconstruction"] + 1e-6 * terms["kl"] + expected * terms["adversarial"]
    torch.testing.assert_close(terms["loss"], total)
    with torch.inference_mode():
        measured = made.objective(model, batch, 0.0)
    torch.testing.assert_close(measured["critic_weight"], terms["critic_weight"].detach())
    plain = replace(made.objective, adaptive=False)(model, batch, 0.0)
    assert plain["critic_weight"].tolist() == [0.5] * 20


def test_the_gradient_norm_of_a_linear_layer():
    layer = torch.nn.Linear(2, 1, bias=False)
    features = torch.tensor([[3.0, 4.0]])
    assert float(gradient_norm(lambda y: 2 * y.sum(), layer, features)) == pytest.approx(10.0)


def test_the_critic_learns_before_its_word_counts():
    made = experiment("model=vae_gan", "objective.critic_start=2", "likelihood=gaussian")
    batch = batch_of(made)
    before, after = (made.objective(made.model, batch, epoch) for epoch in (1.9, 2.0))
    torch.testing.assert_close(before["loss"], before["reconstruction"] + before["kl"])
    assert not before["critic_weight"].any()
    assert after["critic_weight"].min() > 0
    weighted = after["critic_weight"] * after["adversarial"]
    torch.testing.assert_close(after["loss"], before["loss"] + weighted)
    _, critic = gradients(made.model, before["critic_loss"].mean())
    assert all(g is not None for g in critic.values())
    assert before.keys() == after.keys()
    assert made.objective.warmup_epochs == 2


def test_a_critic_that_sees_samples_weighs_them_as_reconstructions():
    made = experiment("model=vae_gan", "likelihood=gaussian")
    batch = batch_of(made)
    terms = made.objective(made.model, batch, 0.0)
    model = made.model
    z = model.posterior.sample(model.encode(batch.input), batch.noise[0])
    images = [model.decode(codes).mean for codes in (z, batch.noise[1])]
    words = [model.critic(image).mean(1) for image in images]
    torch.testing.assert_close(terms["adversarial"], -0.5 * (words[0] + words[1]))
    told = [hinge(model.critic(batch.target), model.critic(image)) for image in images]
    torch.testing.assert_close(terms["critic_loss"], 0.5 * (told[0] + told[1]))


def test_the_best_checkpoint_does_not_depend_on_the_critics_word():
    judged = AdversarialELBO(beta=0.5, adversarial=0.5)
    values = {"loss": 90.0, "reconstruction": 4.0, "kl": 6.0, "elbo": -10.0}
    assert judged.merit(values) == -7.0
    assert judged.merit({**values, "perceptual": 2.0}) == -9.0
    assert FactorVAE().merit(values) == -10.0


# refusals


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["model=factor_vae", "latent_dim=1"], "latent_dim: found 1"),
        (["model=factor_vae", "posterior=delta"], "objective: an ELBO needs a posterior"),
        (["model=aae", "prior=mixture"], "objective=aae: compares codes with prior"),
        (["model=vae_gan", "prior=mixture"], "objective.critic_samples: draws codes"),
        (["model=vae_gan", "network.spectral_norm=true"], "objective.adaptive: needs a last"),
        (["model=vae_gan", "objective.critic_start=101"], "objective.critic_start: found 101"),
        (["model=vae_gan", "objective.critic_widths=[]"], "objective.critic_widths: found []"),
        (["model=factor_vae", "objective.critic_betas=[0.5]"], "objective.critic_betas: found"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_critic_cannot_be_combined_with_is_refused_by_name(words, begins):
    with pytest.raises(ConfigError) as refused:
        check(composed(*words))
    assert str(refused.value).startswith(begins)


def test_an_image_critic_refuses_vectors_by_name():
    with pytest.raises(ConfigError, match=r"objective.adversarial: .*vectors of shape \[7\]"):
        experiment("model=vae_gan", shape=(7,))
    assert experiment("model=vae_gan", "objective.adversarial=0", shape=(7,)).model.critic is None


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["model=factor_vae"], "Choose another objective"),
        (["model=aae"], None),
        (["model=kl_autoencoder"], None),
        (["model=vae_gan"], "Use objective.adaptive=false"),
        (["model=vae_gan", "objective.adaptive=false"], None),
    ],
)
def test_several_processes_share_a_batch_or_are_refused(words, remedy, monkeypatch):
    from vae_run.system import ranks

    monkeypatch.setattr(ranks, "place", lambda: ranks.Place(0, 2, 0))
    settings = check(composed(*words))
    if remedy is None:
        distributed.refuse(settings)
        return
    with pytest.raises(ConfigError, match=remedy):
        distributed.refuse(settings)


@pytest.mark.parametrize("words", [["model=aae"], ["model=vae_gan", "objective.adaptive=false"]])
def test_an_image_of_a_shared_batch_has_the_terms_that_it_has_in_the_whole(words):
    made = experiment(*words, "objective.critic_start=0" if "vae" in words[0][6:] else words[0])
    whole = batch_of(made)
    part = Batch(whole.input[:7], whole.target[:7], whole.noise[:, :7])
    terms, few = (made.objective(made.model, batch, 0.0) for batch in (whole, part))
    for name in terms:
        torch.testing.assert_close(terms[name][:7], few[name], rtol=1e-4, atol=1e-6)


def test_a_run_may_start_from_one_without_its_critic_and_the_other_way_round(vae_run, tmp_path):
    small = (
        "device=cpu",
        "network.widths=[4]",
        "evaluation.figures=[]",
        "objective.critic_widths=[4]",
    )
    plain, made = tmp_path / "plain", tmp_path / "made"
    first = vae_run("model=vae", *small[:3], "trainer.steps=1", f"hydra.run.dir={plain}")
    assert first.code == 0, first.said
    second = vae_run(
        "model=factor_vae", *small, "trainer.steps=1", f"init_from={plain}", f"hydra.run.dir={made}"
    )
    assert second.code == 0, second.said
    third = vae_run(
        *("model=vae", *small[:3], "trainer.steps=1"),
        *(f"init_from={made}", f"hydra.run.dir={tmp_path / 'back'}"),
    )
    assert third.code == 0, third.said
