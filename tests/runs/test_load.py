"""`vae_run.load`: a trained model in Python, and files that it must not believe."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import vae_run as package
from vae_run import load
from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs import checkpoint_file


@pytest.fixture
def copy(vae: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be damaged."""
    return Path(shutil.copytree(vae, tmp_path / "copy"))


def test_the_loaded_model(vae: Path) -> None:
    model = load(str(vae))
    assert isinstance(model, nn.Module)
    assert not model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    x = torch.rand(5, 1, 8, 8)
    mean = model.encode(x).mean
    assert mean.shape == (5, 2)
    assert model.encode(x).stddev.min() > 0
    images = model.decode(mean).mean
    assert images.shape == (5, 1, 8, 8)
    assert 0 <= images.min() <= images.max() <= 1
    assert torch.equal(model.reconstruct(x), images)
    torch.manual_seed(3)
    first = model.sample(64)
    assert first.shape == (64, 1, 8, 8)
    assert not first.requires_grad
    torch.manual_seed(3)
    assert torch.equal(model.sample(64), first)


def test_codes_can_be_differentiated(vae: Path) -> None:
    x = torch.rand(2, 1, 8, 8, requires_grad=True)
    model = load(vae)
    model.decode(model.encode(x).mean).mean.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_best_and_last_are_their_checkpoints(copy: Path) -> None:
    last = checkpoint_file.read(copy / "checkpoints" / "last.pt")
    changed = {name: tensor + 1 for name, tensor in last["model"].items()}
    checkpoint_file.save(copy / "checkpoints" / "last.pt", {**last, "model": changed})
    best, later = load(copy), load(copy, checkpoint="last")
    for name, tensor in later.state_dict().items():
        assert torch.equal(tensor, changed[name]), name
    assert not torch.equal(best.state_dict()["posterior.projection.bias"],
                           later.state_dict()["posterior.projection.bias"])  # fmt: skip
    with pytest.raises(CheckpointError, match=r"checkpoint: found 'first', expected 'best' or"):
        load(copy, checkpoint="first")


def test_loading_leaves_the_global_seed_alone(vae: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(vae)
    assert torch.equal(torch.rand(3), expected)


def test_a_deterministic_code_samples_from_a_gaussian_fitted_to_its_codes(dae: Path) -> None:
    model = load(dae)
    codes = model.latent_prior().sample((20_000,))
    fitted = checkpoint_file.read(dae / "checkpoints" / "best.pt")["model"]
    assert codes.mean(0) == pytest.approx(fitted["prior.loc"].numpy(), abs=0.05)
    covariance = fitted["prior.factor"] @ fitted["prior.factor"].T
    assert torch.cov(codes.T) == pytest.approx(covariance.numpy(), rel=0.1, abs=0.02)
    assert model.sample(4).shape == (4, 1, 8, 8)


@pytest.mark.parametrize("where", [10, 1000, -100, -70, -10, -1])
def test_a_flipped_byte_is_noticed(where: int, copy: Path) -> None:
    file = copy / "checkpoints" / "best.pt"
    content = bytearray(file.read_bytes())
    content[where] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best\.pt: is (damaged|no complete checkpoint)"):
        load(copy)


def test_a_truncated_missing_or_foreign_checkpoint_is_refused(copy: Path) -> None:
    file = copy / "checkpoints" / "best.pt"
    content = file.read_bytes()
    for kept in (0, 1, 50, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:kept])
        with pytest.raises(CheckpointError, match=r"best\.pt"):
            load(copy)
    torch.save({"model": {}}, file)
    with pytest.raises(CheckpointError, match=r"best\.pt: is no complete checkpoint"):
        load(copy)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"best\.pt: cannot be read"):
        load(copy)
    with pytest.raises(CheckpointError, match="holds no run"):
        load(copy / "checkpoints")


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harm"),))  # type: ignore[return-value]


def test_no_code_that_a_checkpoint_carries_is_run(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint_file.save(copy / "checkpoints" / "best.pt", {"model": Payload()})
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        load(copy)
    assert not Path("harm").exists()


def test_weights_of_another_model_are_named(copy: Path) -> None:
    file = copy / ".hydra" / "config.yaml"
    config = OmegaConf.load(file)
    config.network.widths = [17]
    OmegaConf.save(config, file)
    with pytest.raises(CheckpointError, match=r"is \[32.*expects \[17"):
        load(copy)


def test_classes_of_other_packages_need_trust(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_parts.py").write_text(
        "from pathlib import Path\nfrom vae_run.models.networks import MLP\n"
        "Path('imported').touch()\nclass Theirs(MLP): ...\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    file = copy / ".hydra" / "config.yaml"
    config = OmegaConf.load(file)
    config.network._target_ = "their_parts.Theirs"
    OmegaConf.save(config, file)
    with pytest.raises(ConfigError, match=r"network\._target_.*trust=\[their_parts\]"):
        load(copy)
    assert not Path("imported").exists()
    assert type(load(copy, trust=["their_parts"]).encoder).__module__.startswith("vae_run")
    config.network._target_ = "os.system"
    OmegaConf.save(config, file)
    with pytest.raises(ConfigError, match=r"os\.system"):
        load(copy, trust=["their_parts"])
    with pytest.raises(ConfigError, match=r"os\.system"):
        load(copy, trust=["os"])


def test_load_is_what_the_package_exports(vae: Path) -> None:
    assert "load" in package.__all__
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        package.lode  # noqa: B018
