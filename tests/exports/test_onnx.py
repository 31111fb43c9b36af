"""ONNX files of every kind of model, under onnxruntime; the command itself checks them too."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import small
from parts import composed, options

from vae_run.exports import Source, export
from vae_run.exports.graph import examples, expected
from vae_run.system.array_archive import is_marked

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(
        not (find_spec("onnxruntime") and find_spec("onnxscript")), reason="needs the extra export"
    ),
]


def session(path: Path):
    import onnxruntime  # a second, which others who collect these tests need not wait

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_a_vae_in_one_file(tmp_path: Path) -> None:
    source = small("model=vae")
    done = export(source, tmp_path / "x.onnx")
    assert done.difference <= 1e-6
    assert is_marked(done.path)
    found = session(done.path)
    assert [(port.name, port.shape) for port in found.get_inputs()] == [("x", ["batch", 1, 4, 5])]
    assert [port.name for port in found.get_outputs()] == ["mean", "scale", "reconstruction"]
    assert {port.shape[0] for port in found.get_outputs()} == {"batch"}
    about = found.get_modelmeta()
    assert about.producer_name == "vae-run"
    assert "x ['batch', 1, 4, 5] float32: images: pixels in [0, 1]" in about.description
    told = about.custom_metadata_map
    assert told["part"] == "both"
    assert told["axes"] == "[batch, channels, height, width], one channel, grey"
    assert "VonMises" not in told["configuration"]
    x = torch.rand(7, 1, 4, 5)
    mean, scale, reconstruction = found.run(None, {"x": x.numpy()})
    q = source.model.encode(x)
    np.testing.assert_allclose(mean, q.mean, atol=1e-6)
    np.testing.assert_allclose(scale, q.stddev, atol=1e-6)
    np.testing.assert_allclose(reconstruction, source.model.reconstruct(x), atol=1e-6)
    content = done.path.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content
    assert torch.__path__[0].encode() not in content


def agrees(source: Source, part: str, path: Path) -> None:
    """The file computes what the model does for a batch of a size that was not tried."""
    assert export(source, path, part=part).difference <= 1e-5
    found, given = session(path), examples(source, part, 6)
    names = [port.name for port in found.get_inputs()]
    results = found.run(None, {n: v.numpy() for n, v in zip(names, given, strict=True)})
    for value, right in zip(results, expected(source, part, given).values(), strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-5 * float(right.abs().max()))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("model=kl_autoencoder",), "decoder"),
        (("model=vq_vae", "network=conv"), "both"),
        (("model=ladder_vae",), "encoder"),
    ],
)
def test_kinds_of_models(words: tuple[str, ...], part: str, tmp_path: Path) -> None:
    agrees(small(*words), part, tmp_path / "x.onnx")


def test_every_preset_is_exported(tmp_path: Path) -> None:
    """As `torch.export` alone, with which ONNX begins, to save time; those of equal graphs once."""
    done: set[tuple[str, ...]] = set()
    for preset in options("model"):
        config = composed(f"model={preset}")
        kind = tuple(config[group]["_target_"] for group in ("network", "posterior", "likelihood"))
        if kind not in done:
            closed = config["trainer"]["_target_"].endswith("ClosedForm")
            source = small(f"model={preset}", *(["network.widths=[]"] if closed else []))
            assert export(source, tmp_path / "x.pt2").difference <= 1e-5, preset
            done.add(kind)
    assert len(done) > 10
