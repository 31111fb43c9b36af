"""`.pt2` files: they compute what the model does, say what they are, and are whole or absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import of_own_units, of_table, small
from torch import Tensor

from vae_run.errors import ConfigError, RunError
from vae_run.exports import export
from vae_run.exports.agreement import check
from vae_run.exports.export import format_of
from vae_run.exports.facts import facts, inputs, outputs
from vae_run.exports.graph import examples, expected
from vae_run.exports.packages import need
from vae_run.exports.source import Source
from vae_run.models.posteriors import DeltaPosterior
from vae_run.system.array_archive import is_marked


def loaded(path: Path) -> tuple[torch.nn.Module, dict]:
    extra = {"vae_run.json": ""}
    model = torch.export.load(path, extra_files=extra).module()
    return model, json.loads(extra["vae_run.json"])


def test_a_vae_in_one_file(tmp_path: Path) -> None:
    source = small("model=vae")
    done = export(source, tmp_path / "vae.pt2")
    assert done.difference <= 1e-6
    assert is_marked(done.path)
    model, told = loaded(done.path)
    x = torch.rand(7, 1, 4, 5)
    with torch.no_grad():
        mean, scale, reconstruction = model(x)
    q = source.model.encode(x)
    torch.testing.assert_close(mean, q.mean)
    torch.testing.assert_close(scale, q.stddev)
    torch.testing.assert_close(reconstruction, source.model.reconstruct(x))
    assert [port["name"] for port in told["outputs"]] == ["mean", "scale", "reconstruction"]
    assert told["inputs"][0]["shape"] == ["batch", 1, 4, 5]
    assert told["range"] == "pixels in [0, 1]"
    assert told["axes"] == "[batch, channels, height, width], one channel, grey"
    assert told["metrics"]["test"] == {"mse": 0.5, "elbo": -12.0}
    assert "N(0, I)" in told["prior"]


def test_values_are_in_the_units_of_the_user(tmp_path: Path) -> None:
    """The file scales what it is given, and what it returns is in the same units."""
    source = of_own_units(tmp_path)
    done = export(source, tmp_path / "x.pt2")
    model, told = loaded(done.path)
    x = torch.from_numpy(np.load(tmp_path / "data.npz")["train"])
    assert source.scaling is not None
    with torch.no_grad():
        mean, _, reconstruction, sigma = model(x)
    own = source.scaling.scaled(x)
    torch.testing.assert_close(mean, source.model.encode(own).mean)
    p = source.model.decode(mean)
    torch.testing.assert_close(reconstruction, source.scaling.raw(p.mean).float())
    assert sigma[:, 0].mean() > 1e4 * sigma[:, 1].mean()
    assert told["range"].endswith("the file scales them")
    state = {**source.scaling.state(), "exact": True}
    exact = replace(source, about={**source.about, "scaling": state})
    assert facts(exact, "both")["range"].endswith("; float32 rounds them coarsely for their spread")
    # Nothing names this machine's folders.
    content = done.path.read_bytes()
    for name in (str(tmp_path), str(Path(__file__).parents[2]), torch.__path__[0]):
        assert name.encode() not in content
    assert source.config["dataset"]["path"] == str(tmp_path / "data.npz")
    assert told["configuration"]["dataset"]["path"] == "data.npz"


@pytest.mark.scale
def test_missing_values_of_a_table(tmp_path: Path) -> None:
    """NaN is the training mean; a column of millions does not hide errors of one around 1.7."""
    source = of_table(tmp_path)
    done = export(source, tmp_path / "x.pt2")
    model, _ = loaded(done.path)
    row = examples(source, "both", 2)[0]
    assert row[1, :1].isnan().all()
    with torch.no_grad():
        mean, _, reconstruction = model(row)
    assert mean.isfinite().all()
    assert reconstruction[:, 0].min() > 1e5
    meaning = inputs(source, "encoder")[0].meaning
    for text in (
        "income (a number in its own unit",
        "colour=blue (1 or 0)",
        "1 if income is missing",
    ):
        assert text in meaning


@pytest.mark.scale
def test_conditions_in_their_own_units(tmp_path: Path) -> None:
    source = of_own_units(tmp_path, "condition=[age,sex]")
    done = export(source, tmp_path / "x.pt2", part="decoder")
    model, told = loaded(done.path)
    assert told["inputs"][1]["name"] == "conditions"
    assert "age (a number" in told["condition"]
    z = torch.randn(2, 3)
    given = source.model.checked({"age": [40.0, 60.0], "sex": ["m", "m"]})
    with torch.no_grad():
        decoded, _ = model(z, torch.tensor([[40.0, 0, 1], [60.0, 0, 1]]))
    assert source.scaling is not None
    torch.testing.assert_close(decoded, source.scaling.raw(given.decode(z).mean).float())


def test_a_condition_of_classes(tmp_path: Path) -> None:
    source = small("condition=label")
    named = replace(
        source, about={**source.about, "class_names": [f"class {i}" for i in range(90)]}
    )
    done = export(named, tmp_path / "x.pt2", part="encoder")
    model, told = loaded(done.path)
    x, label = torch.rand(2, 1, 4, 5), torch.tensor([3, 1])
    with torch.no_grad():
        mean, _ = model(x, label)
    torch.testing.assert_close(mean, source.model.encode(x, label).mean)
    assert told["inputs"][1] == {**told["inputs"][1], "type": "int64", "shape": ["batch"]}
    assert "3 (class 3)" in told["condition"]


def test_a_decoder_that_sees_images_is_exported_with_its_encoder(tmp_path: Path) -> None:
    source = small("model=dae", "network=conv", "network.skip=true", shape=(1, 8, 8))
    for part in ("encoder", "decoder"):
        with pytest.raises(ConfigError, match=r"part: found .* Use part=both"):
            export(source, tmp_path / "x.pt2", part=part)
    done = export(source, tmp_path / "x.pt2")
    model, told = loaded(done.path)
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[1], source.model.reconstruct(x))
    assert told["corruption"].startswith("trained to undo GaussianNoise")


class Deciding(DeltaPosterior):
    """Decides by a value, which no graph can."""

    def forward(self, features: Tensor):
        code = super().forward(features)
        return code if float(code.mean.sum()) > 0 else super().forward(-features)


def test_what_cannot_be_traced_is_told_and_nothing_is_replaced(tmp_path: Path) -> None:
    source = small("model=ae")
    source.model.posterior.__class__ = Deciding
    path = tmp_path / "x.pt2"
    path.write_text("before")
    with pytest.raises(
        RunError, match="part=encoder: torch cannot trace this model as one graph: "
    ):
        export(source, path, part="encoder")
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_a_difference_is_refused() -> None:
    source = small("model=vae")

    def run(factor: float):
        return lambda given: {
            name: value * factor for name, value in expected(source, "both", given).items()
        }

    assert check(source, "both", run(1 + 5e-6), "x") == pytest.approx(5e-6, rel=0.05)
    with pytest.raises(RunError, match=r"x differs from the model by 2\.0e-05 .* nothing was"):
        check(source, "both", run(1 + 2e-5), "x")
    with pytest.raises(RunError, match="inf"):
        check(source, "both", run(float("nan")), "x")


def test_a_difference_in_one_column_is_not_hidden_by_another(tmp_path: Path) -> None:
    source = of_own_units(tmp_path)

    def run(given):
        found = dict(expected(source, "both", given))
        wrong = found["reconstruction"].clone()
        wrong[:, 1] += 0.01  # of a standard deviation of 1, beside a column around 1e9
        return found | {"reconstruction": wrong}

    with pytest.raises(RunError, match="differs from the model"):
        check(source, "both", run, "x")


def test_a_code_that_the_last_bit_decides_may_be_another() -> None:
    source = small("model=vq_vae")

    def run(*jumping: int):
        """The model, but for the first example of each batch of these sizes."""

        def found(given):
            values = dict(expected(source, "encoder", given))
            mean = values["mean"].clone()
            mean[: len(mean) in jumping] += 1
            return values | {"mean": mean}

        return found

    assert check(source, "encoder", run(5), "x") == 0, "4 of 32 examples"
    with pytest.raises(RunError, match="differs"):
        check(source, "encoder", run(2, 5), "x")  # 8 of 32, although only one of each batch
    with pytest.raises(RunError, match="differs"):
        check(source, "encoder", run(1), "x")  # 4 of 32, but all those alone in their batch


@pytest.mark.parametrize(
    ("name", "format", "told"),
    [
        ("x.txt", None, r"ends in \.onnx or \.pt2 or \.safetensors"),
        ("x.onnx", "torch_export", r"ends in \.pt2"),
        ("onnx", "onnx", r"ends in \.onnx"),
    ],
)
def test_the_ending_is_that_of_the_format(name: str, format: str | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        format_of(Path(name), format)
    assert format_of(Path("X.ONNX")) == "onnx"


def test_a_missing_package_is_told_with_the_command() -> None:
    with pytest.raises(
        ConfigError, match=r"format=x needs no-such, which is not .*: pip install 'onnx"
    ):
        need("format=x", ["torch", "no_such"], "export")


def test_what_is_told_of_quantised_and_layered_codes() -> None:
    def meanings(source: Source) -> dict[str, str]:
        return {port.name: port.meaning for port in outputs(source, "encoder")}

    quantised = small("model=vq_vae")
    assert meanings(quantised).keys() == {"mean", "indices"}
    assert "which is not in this file" in facts(quantised, "decoder")["prior"]
    layered = meanings(small("model=hierarchical_vae"))
    assert layered.keys() == {"mean"}
    assert "2 layers of [2, 1] from the data up" in layered["mean"]
    maps = small("model=kl_autoencoder")
    assert "as maps they are [channels, height, width] = [4, 2, 3]" in meanings(maps)["mean"]
