"""`vae-run --help TOPIC`, and the comments of YAML files that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vae_run.cli.catalogue import Catalogue
from vae_run.cli.comments import read
from vae_run.config.options import CONF

if TYPE_CHECKING:
    from conftest import Run


def test_comments_belong_to_the_key_of_their_line_and_go_on_below(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "# @package _global_\n"
        "# The first sentence,\n"
        "# which goes on.\n"
        "#\n"
        "#   vae-run -m experiment=a\n"
        "defaults:\n"
        "  - override /model: ae # not a comment on a key\n"
        "trainer:\n"
        "  epochs: 1e1 # how long\n"
        "  # it is trained\n"
        "  text: 'a # b' # quoted\n"
        "bare: it's#one\n"
        "# of nothing\n"
        'last: ["#", 2] # a list\n'
    )
    found = read(file)
    assert found.about == ("The first sentence, which goes on.", "vae-run -m experiment=a")
    assert found.comments == {
        "trainer.epochs": "how long it is trained",
        "trainer.text": "quoted",
        "last": "a list",
    }
    assert found.chosen() == {"model": "ae"}
    assert dict(found.leaves()) == {
        "trainer.epochs": 10.0,
        "trainer.text": "a # b",
        "bare": "it's#one",
        "last": ["#", 2],
    }


def test_help_on_a_group_lists_its_options_and_the_keys_of_the_default(vae_run: Run) -> None:
    said = vae_run("--help", "trainer")
    assert said.code == 0
    assert said.out.startswith("trainer: the method and length of training\n")
    lines = said.out.splitlines()
    assert lines.index("  gradient                    Minibatch gradient descent.") == 3
    assert "  trainer.batch_size=128      images per batch" in lines


def test_help_on_a_key_tells_each_default_and_where_it_is(vae_run: Run) -> None:
    assert vae_run("--help", "trainer.epochs").out == (
        "trainer.epochs=100\n"
        "    passes over the training images\n"
        "    with trainer=gradient, layerwise, pruning\n"
    )
    said = vae_run("--help", "objective.beta").out
    assert "objective.beta=1.0\n    weight of the KL" in said
    assert "objective.beta=4.0\n    weight of the KL" in said
    assert said.index("objective=elbo") < said.index("objective=beta_elbo")
    assert vae_run("--help", "latent_dim").out == (
        "latent_dim=16\n    D, the number of dimensions of the code\n"
    )


def test_help_on_a_task_and_on_a_model(vae_run: Run) -> None:
    task = vae_run("--help", "task=encode").out
    assert "Latent means and scales of your own images" in task
    assert "  checkpoint=best             best or last\n" in task
    assert task.endswith("Where it says ???, a value must be given.\n")
    model = vae_run("--help", "model=vq_vae").out
    assert "VQ-VAE: each position of the code" in model
    assert "posterior=vector_quantized  prior=fitted_autoregressive" in model
    assert vae_run("vq_vae", "--help").out.startswith("model=vq_vae\n")
    both = vae_run("--help", "model=ae,vae").out
    assert "model=ae\n" in both
    assert "model=vae\n" in both


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("modle", "model"),
        ("trainer.epoch", "trainer.epochs"),
        ("lr", "optimizer.lr"),
        ("model=vaee", "model=vae"),
        ("task=encod", "task=encode"),
    ],
)
def test_the_nearest_is_named_for_an_unknown_word(typed: str, near: str, vae_run: Run) -> None:
    said = vae_run("--help", typed)
    assert said.code == 1
    assert said.out == ""
    assert f"there is no such group, option or key. Did you mean {near}?" in said.err


def test_no_help_is_wider_than_80_columns_or_breaks_a_word(vae_run: Run) -> None:
    catalogue = Catalogue([CONF])
    for topic in (*catalogue.groups, "sweep", "hydra.run.dir"):
        topics = [topic, *(f"{topic}={name}" for name in catalogue.options(topic))]
        said = vae_run("--help", *topics)
        assert said.code == 0, said.err
        words = set(said.out.split())
        for name in topics[1:]:
            assert name in words
        long = [line for line in said.out.splitlines() if len(line) > 80]
        assert [line for line in long if " " in line.strip()] == []


def test_help_on_an_option_of_ones_own(vae_run: Run, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "network"
    own.mkdir(parents=True)
    (own / "tiny_net.yaml").write_text("# Small.\n_target_: own.Net\nwide: 3 # units\n")
    said = vae_run("--config-dir", "mine", "--help", "network=tiny_net")
    assert said.out == (
        "network=tiny_net\n  Small.\n\nKeys, with their defaults\n"
        "  network.wide=3              units\n"
    )
