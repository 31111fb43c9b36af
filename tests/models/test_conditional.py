"""condition=label: what the label changes, what refuses it, and data whose answer is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from parts import composed, options
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.distributions import MultivariateNormal

from vae_run import load, plots
from vae_run.config.check import check
from vae_run.data.batches import Batch, TrainingBatches
from vae_run.data.dataset import Dataset, Parts
from vae_run.data.datasets.digits import Digits
from vae_run.data.splits import Split
from vae_run.errors import ConfigError, DataError
from vae_run.evaluation import metrics
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.evaluation import Evaluation
from vae_run.evaluation.selection import own_pictures
from vae_run.models.build import build_model
from vae_run.models.networks import MLP, Conv
from vae_run.runs import checkpoint_file
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.step import fit

if TYPE_CHECKING:
    from conftest import Run, Train

CLASSES = (3, 7, 1000)
SHAPE, SIGMA = (1, 4, 5), 0.1
CPU = torch.device("cpu")


def lines() -> tuple[torch.Tensor, torch.Tensor]:
    """For each class a mean image [Y, P], and the direction [P] that one factor moves it in."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand((len(CLASSES), 20), generator=generator)
    direction = torch.randn(20, generator=generator)
    return mean, 0.4 * direction / direction.norm()


def on_lines(n: int, seed: int) -> Split:
    """n images x = mean_y + t direction + SIGMA noise, t ~ N(0, 1), all classes as often."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % len(CLASSES)
    mean, direction = lines()
    t = torch.randn((n, 1), generator=generator)
    x = mean[y] + t * direction + SIGMA * torch.randn((n, 20), generator=generator)
    return Split(x.reshape(n, *SHAPE), torch.tensor(CLASSES)[y])


@dataclass(frozen=True, kw_only=True)
class Lines(Dataset):
    """Images that a class and one factor determine, up to a little noise."""

    n: int = 60
    labelled: bool = True

    def read(self) -> Parts:
        parts = [on_lines(n, seed) for seed, n in enumerate((self.n, 30, 300))]
        return Parts(*(p if self.labelled else replace(p, labels=None) for p in parts))


def conditional(*words: str, **dataset: object) -> Experiment:
    """A small conditional experiment on `Lines`."""
    small = ("condition=label", "latent_dim=2", "network.widths=[8]", "likelihood=gaussian")
    typed = {word.split("=", 1)[0]: word for word in (*small, *words)}
    config = composed(*typed.values())
    config["dataset"] = {"_target_": "test_conditional.Lines", **dataset}
    return assemble(check(config), CPU)


def train(made: Experiment, steps: int, rate: float = 1e-2) -> Experiment:
    batches = TrainingBatches(
        made.splits.train,
        made.corruption,
        batch_size=64,
        noise=(made.objective.samples, made.settings.fixed.latent_dim),
        seed=0,
    )
    schedule = made.settings.build("schedule")
    schedule.horizon = 1.0
    optimizer = torch.optim.Adam([p for p in made.model.parameters() if p.requires_grad], rate)
    how = {"step": 0, "clip_norm": None, "precision": torch.enable_grad()}
    records = fit(made.model.train(), made.objective, batches, optimizer, schedule, **how)
    for _ in range(steps):
        assert next(records).terms["loss"].isfinite().all()
    return made


# where the label enters


def test_labels_are_planes_beside_images_and_entries_beside_vectors():
    x, label = torch.rand(2, 3, 4, 5), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    planes = Conv.join(x, label)
    assert planes.shape == (2, 5, 4, 5)
    assert torch.equal(planes[:, :3], x)
    assert torch.equal(planes[:, 3:], label[:, :, None, None].expand(2, 2, 4, 5))
    assert torch.equal(MLP.join(x, label), torch.cat([x.reshape(2, 60), label], 1))
    assert torch.equal(Conv.join(x.flatten(1), label), MLP.join(x, label))


@pytest.mark.parametrize(("network", "grown"), [("mlp", 20), ("linear", 20), ("conv", 1)])
def test_both_halves_grow_by_the_number_of_classes(network, grown):
    made = conditional(f"network={network}", *(["network.widths=[]"] * (network == "linear")))
    layers = [m for m in made.model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    first = layers[0].in_channels if network == "conv" else layers[0].in_features
    assert first == grown + 3
    decoder = [*made.model.decoder.modules(), *made.model.likelihood.projection.modules()]
    assert next(m for m in decoder if isinstance(m, nn.Linear)).in_features == 2 + 3


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_each_image_is_given_its_own_label(network):
    made = conditional(f"network={network}")
    model, x, z = made.model, torch.rand(3, *SHAPE), torch.randn(4, 3, 2)
    label = torch.tensor([1000, 3, 7])
    q, p = model.given(label).encode(x).mean, model.given(label).decode(z).mean
    assert p.shape == (4, 3, *SHAPE)
    for i, one in enumerate((1000, 3, 7)):
        torch.testing.assert_close(q[i : i + 1], model.encode(x[i : i + 1], one).mean)
        alone = model.decode(z[:, i : i + 1], one).mean
        torch.testing.assert_close(p[:, i : i + 1], alone)
        other = {1000: 3, 3: 7, 7: 1000}[one]
        assert (model.decode(z[:, i : i + 1], other).mean - alone).abs().max() > 1e-3
        assert (model.encode(x[i : i + 1], other).mean - q[i]).abs().max() > 1e-3
    torch.testing.assert_close(model.encode(x, [1000, 3, 7]).mean, q)
    expected = model.given(label).decode(q).mean
    torch.testing.assert_close(model.reconstruct(x, label), expected)


def test_samples_are_of_all_classes_in_turn_or_of_one():
    model = conditional().model
    torch.manual_seed(3)
    z = torch.randn(5, 2)
    for label, expected in ((None, [3, 7, 1000, 3, 7]), (7, [7] * 5), ([7, 7, 3, 3, 3],) * 2):
        torch.manual_seed(3)
        torch.testing.assert_close(model.sample(5, label), model.decode(z, expected).mean)
    assert model.in_turn(5).tolist() == [3, 7, 1000, 3, 7]


def test_labels_that_are_missing_unknown_or_too_many_are_refused():
    model, x = conditional().model, torch.rand(2, *SHAPE)
    for call in (model.encode, model.reconstruct):
        with pytest.raises(ConfigError, match=r"needs the images' classes: give label="):
            call(x)
        with pytest.raises(ConfigError, match=r"label: found 4; the classes of the model are 3, 7"):
            call(x, 4)
        with pytest.raises(ConfigError, match="label: found 3 labels for 2 images"):
            call(x, [3, 3, 7])
    with pytest.raises(ConfigError, match="needs labels, and these data have none"):
        model.given(None)
    plain = build_model(check(composed()), SHAPE)
    assert plain.given(torch.tensor([1, 2])) is plain
    with pytest.raises(ConfigError, match="label: the model is not conditional"):
        plain.encode(x, 1)


# everything works with it


EACH = [("elbo", network) for network in options("network")]
EACH += [(objective, "mlp") for objective in options("objective") if objective != "elbo"]


@pytest.mark.parametrize(("objective", "network"), EACH)
def test_every_objective_and_network_trains_with_labels(objective, network):
    words = [f"objective={objective}", f"network={network}"]
    if objective in ("sparse", "contractive"):
        words = [f"model={objective}_ae", "latent_dim=6", f"network={network}"]
    words += ["network.widths=[]"] if network == "linear" else []
    made = conditional(*words)
    start = {name: p.clone() for name, p in made.model.named_parameters()}
    train(made, 2)
    for name, parameter in made.model.named_parameters():
        # A hinge has no slope for the critic's last bias while all images lie within its margins.
        if not name.startswith("critic."):
            assert not torch.equal(parameter, start[name]), name
    found = made.evaluation.measure(made.view(made.splits.val), ["objective", "mse"])
    assert np.isfinite([found["loss"], found["mse"]]).all()


@pytest.mark.parametrize("words", [[], ["model=dae"]], ids=" ".join)
def test_every_picture_is_drawn_with_labels(words):
    made = conditional(*words, "evaluation.manifold_label=7")
    if made.model.prior.fitted_to_codes:
        made.model.prior.fit(torch.randn(50, 2))
    with evaluating(made.model):
        drawn = Evaluation(figures=list(own_pictures())).draw(made.view(made.splits.val))
    wanted = {"reconstructions", "samples", "manifold", "traversals", "interpolations"}
    assert wanted <= drawn.keys()


def test_the_pictures_decode_the_classes_that_they_name(monkeypatch):
    made, seen = conditional("evaluation.manifold_label=7"), {}
    for name in ("samples", "manifold", "interpolations"):
        told = lambda *given, name=name: seen.setdefault(name, given)  # noqa: E731
        monkeypatch.setattr(f"vae_run.plots.{name}", told)
    model, view = made.model, made.view(made.splits.val)
    with evaluating(model):
        for name in ("samples", "manifold", "interpolations"):
            own_pictures()[name](view)
        torch.manual_seed(0)
        z = torch.randn(8, 2)
        expected = torch.stack([model.decode(z, label).mean for label in CLASSES], 1)
        images, note, names = seen["samples"]
        torch.testing.assert_close(images, expected.flatten(0, 1))
        assert "decoded as every class" in note
        assert names == ["3", "7", "1000"]
        images, axes, note = seen["manifold"]
        corner = torch.stack([axes[0, 2], axes[1, 5]])[None]
        torch.testing.assert_close(images[5, 2], model.decode(corner, 7).mean[0])
        assert note.endswith("class 7")
        images, *_ = seen["interpolations"]  # two ways for each pair
        first, second = made.splits.val.images[:3], made.splits.val.images[3:6]
        for end, x in ((0, first), (-1, second)):
            expected = model.reconstruct(x, CLASSES).repeat_interleave(2, 0)
            torch.testing.assert_close(images[:, end], expected, rtol=1e-4, atol=1e-4)


IMAGES_ONLY = ("fid", "generation")
"""Metrics of pixels in [0, 1], which `Lines` leave."""
METRICS = sorted(module.name for module in iter_modules(metrics.__path__))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_measured_with_labels(name):
    """Or refuses a conditional model by name."""
    try:
        made = conditional(f"evaluation.metrics=[{name}]", "corruption=gaussian")
        found = made.evaluation.measure(made.view(made.splits.val))
    except ConfigError as error:
        assert str(error).startswith(f"evaluation.metrics: {name}: ")  # noqa: PT017
        return
    except DataError as error:  # where the libraries of fid are installed without its weights
        assert str(error).startswith("evaluation.metrics: fid: the weights")  # noqa: PT017
        pytest.skip(str(error))
    assert found or name in IMAGES_ONLY
    assert all(math.isfinite(value) for value in found.values())


def test_classes_have_columns_or_where_they_are_many_captions():
    def size(count: int, classes: int) -> tuple[int, ...]:
        names = [f"c{i}" for i in range(classes)]
        return plots.samples(torch.ones(count, 1, 8, 8), "note", names).shape[:2]

    height, width = size(20, 0)
    assert size(20, 20) == (height + 4 * 16, width)  # a line of captions under each of four rows
    assert size(20, 5) == (height + 16, width)  # one line above the columns
    assert size(20, 2)[1] == size(20, 4)[1]  # two classes have two columns each


class Loss(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.model, self.objective = made.model, made.objective

    def forward(self, x, noise, label):
        batch = Batch(x, x, noise, label)
        return self.objective(self.model.given(label), batch, 1.0)["loss"].mean()


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_conditional_models_are_batched_by_vmap(network):
    losses = [Loss(conditional(f"network={network}", f"seed={seed}")) for seed in range(2)]
    parameters, buffers = torch.func.stack_module_state(losses)
    split = on_lines(12, 5)
    inputs = (split.images, torch.randn(1, 12, 2), split.labels)

    def loss(weights, constants, *batch):
        return torch.func.functional_call(losses[0], (weights, constants), batch)

    stacked = [torch.stack([tensor, tensor.flip(0)]) for tensor in inputs]
    together = torch.func.vmap(torch.func.grad_and_value(loss))(parameters, buffers, *stacked)
    for i, one in enumerate(losses):
        alone = one(*(tensor[i] for tensor in stacked))
        torch.testing.assert_close(together[1][i], alone)
        alone.backward()
        for name, parameter in one.named_parameters():
            torch.testing.assert_close(together[0][name][i], parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.scale  # imports torch's compiler
def test_the_label_breaks_no_graph():
    one, split = Loss(conditional()), on_lines(6, 5)
    compiled = torch.compile(one, backend="eager", fullgraph=True)
    noise = torch.randn(1, 6, 2)
    expected = one(split.images, noise, split.labels)
    torch.testing.assert_close(compiled(split.images, noise, split.labels), expected)


# known answers


@pytest.mark.parametrize(("condition", "network"), [("label", "linear"), ("null", "mlp")])
def test_the_label_is_worth_the_nats_that_it_holds(condition, network):
    """With t ~ N(0, 1), p(x|y) is normal, and linear maps of x, z and the label reach it.

    An unconditional model can at best reach log p(x), which is log 3 lower, since no image fits
    two classes; with one dimension for both class and factor it stays below that.
    """
    mean, direction = lines()
    covariance = direction[:, None] * direction + SIGMA**2 * torch.eye(20)
    test = on_lines(300, 2)
    y = torch.tensor([CLASSES.index(label) for label in test.labels.tolist()])
    each = MultivariateNormal(mean, covariance).log_prob(test.images.flatten(1)[:, None])
    exact = float(each[torch.arange(300), y].mean())
    marginal = float(each.logsumexp(1).mean()) - math.log(3)
    assert exact - marginal == pytest.approx(math.log(3), abs=1e-3)
    words = [f"condition={condition}", f"network={network}", f"likelihood.sigma={SIGMA}"]
    words += ["latent_dim=1", f"network.widths={[] if network == 'linear' else [32]}"]
    made = train(conditional(*words, n=900), 400, rate=0.02)
    train(made, 200, rate=2e-3)
    elbo = made.evaluation.measure(made.view(made.splits.test))["elbo"]
    if condition == "label":
        assert elbo == pytest.approx(exact, abs=0.3)
        assert elbo > marginal + 0.6  # more than any unconditional model can have
    else:
        assert elbo < marginal


# refusals


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prior=vamp"], r"^prior=vamp: .*condition=null"),
        (["model=pca"], r"^trainer=closed_form: .*condition=null"),
        (["model=linear_ae", "network.tied=true"], r"^network.tied: .*condition=null"),
        (["model=stacked_dae"], r"^condition: trainer=layerwise"),
    ],
)
def test_what_has_no_place_for_a_label_is_refused_by_name(words, said):
    with pytest.raises(ConfigError, match=said):
        check(composed("condition=label", *words))
    check(composed(*words))


def test_a_manifold_of_no_class_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"^evaluation.manifold_label: the model is not cond"):
        check(composed("evaluation.manifold_label=3"))
    with pytest.raises(ConfigError, match=r"^evaluation.manifold_label: found 4; .* 3, 7, 1000"):
        conditional("evaluation.manifold_label=4")


def test_data_without_labels_are_refused_by_name():
    with pytest.raises(DataError, match="condition=label: the train images have no labels") as told:
        conditional(labelled=False)
    assert told.value.exit_code == 3
    assert conditional("condition=null", labelled=False).model.classes is None


def test_classes_that_training_did_not_see_are_refused_by_name():
    made = conditional()
    assert made.model.classes.tolist() == list(CLASSES)
    with pytest.raises(DataError, match=r"val has images labelled \[7\], .*among the 2 classes"):
        assemble(made.settings, CPU, classes=[3, 1000])


# a run on the digits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, train: Train) -> Path:
    """A conditional VAE of the digits 0 to 5, all pictures drawn. Read only."""
    plots = "[reconstructions,samples,manifold,traversals,interpolations]"
    words = ["condition=label", "latent_dim=2", "network.widths=[64]", "optimizer.lr=0.005"]
    words += ["trainer.epochs=25", "dataset.classes=[0,1,2,3,4,5]", f"evaluation.figures={plots}"]
    return train(tmp_path_factory.mktemp("runs") / "run", *words)


def classifier() -> LogisticRegression:
    digits = Digits(classes=[0, 1, 2, 3, 4, 5]).load()
    x = digits.train.pixels(slice(None)).flatten(1)
    return LogisticRegression(max_iter=1000).fit(x, digits.train.labels)


def test_samples_of_a_class_are_of_that_class(run):
    torch.manual_seed(0)
    model = load(run)
    images, judge = model.sample(600), classifier()
    right = judge.predict(images.flatten(1)) == model.in_turn(600).numpy()
    assert right.mean() > 0.95
    for label in range(6):
        found = judge.predict(model.sample(100, label).flatten(1))
        assert (found == label).mean() > 0.85, label


def test_the_run_has_its_pictures_and_its_classes(run):
    names = {file.stem for file in (run / "figures").iterdir()}
    assert {"reconstructions", "samples", "manifold", "traversals", "interpolations"} <= names
    assert checkpoint_file.read(run / "checkpoints" / "best.pt")["classes"] == [0, 1, 2, 3, 4, 5]
    assert load(run).classes.tolist() == [0, 1, 2, 3, 4, 5]


def test_sample_draws_all_classes_or_one(run: Path, vae_run: Run, tmp_path: Path) -> None:
    for name, words in (("all", ["n=13"]), ("four", ["n=5", "label=4"])):
        finished = vae_run("task=sample", f"run={run}", f"output={name}.npz", *words)
        assert finished.code == 0, finished.said
    every, four = (np.load(tmp_path / f"{name}.npz") for name in ("all", "four"))
    assert every["labels"].tolist() == [*range(6), *range(6), 0]
    assert four["labels"].tolist() == [4] * 5
    for found in (every, four):
        z = torch.from_numpy(found["z"])
        with torch.no_grad():
            expected = load(run).decode(z, torch.from_numpy(found["labels"])).mean
        np.testing.assert_allclose(found["images"], expected, rtol=1e-5, atol=1e-6)
    wrong = vae_run("task=sample", f"run={run}", "label=7", "output=x.npz")
    assert wrong.code == 1
    assert "label: found 7; the classes of the model are 0, 1, 2, 3, 4, 5." in wrong.said


@pytest.mark.parametrize("task", ["encode", "reconstruct"])
def test_tasks_take_labels_from_the_file_or_the_key(
    task: str, run: Path, vae_run: Run, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "both.npz", images=x, labels=np.array([5, 0, 0, 2]))
    np.savez(tmp_path / "bare.npz", x=x)
    np.savez(tmp_path / "wrong.npz", x=x, labels=np.array([5, 0]))
    np.save(tmp_path / "array.npy", x)

    def told(name: str, *words: str) -> tuple[int, str]:
        typed = (f"task={task}", f"run={run}", f"input={name}", "output=out.npz", *words)
        finished = vae_run(*typed)
        return finished.code, finished.said

    model = load(run)
    for name, words, labels in (("both", [], [5, 0, 0, 2]), ("bare", ["label=3"], [3] * 4)):
        assert told(f"{name}.npz", *words)[0] == 0
        with np.load(tmp_path / "out.npz") as out:
            found = out["mean" if task == "encode" else "images"]
        with torch.no_grad():
            images = torch.from_numpy(x)
            expected = model.encode(images, labels).mean
            expected = expected if task == "encode" else model.reconstruct(images, labels)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    wrong = {
        "encode": [
            ("bare.npz", [], 3, "bare.npz has no labels"),
            ("both.npz", ["label=8"], 1, "label: found 8"),
        ],
        "reconstruct": [
            ("array.npy", [], 3, "array.npy has no labels"),
            ("wrong.npz", [], 3, "expected 4 whole numbers"),
        ],
    }
    for name, words, code, said in wrong[task]:
        ended = told(name, *words)
        assert ended[0] == code
        assert said in ended[1]


def test_evaluate_keeps_the_classes_of_the_run(run: Path, vae_run: Run) -> None:
    typed = ("task=evaluate", f"run={run}", "evaluation.figures=[]")
    narrow = vae_run(*typed, "dataset.classes=[2]")
    assert narrow.code == 0, narrow.said
    wide = vae_run(*typed, "dataset.classes=[2,8]")
    assert wide.code == 3
    assert "images labelled [8], which are not among the 6 classes" in wide.said
