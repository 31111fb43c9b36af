"""Any input to the readers ends in their own error: no traceback, no hang."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vae_run.config.check import check
from vae_run.errors import RunError
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load, load_model
from vae_run.runs.run_directory import RunDirectory
from vae_run.runs.saved_yaml import read_yaml
from vae_run.tracking.history import read_history

if TYPE_CHECKING:
    from conftest import Run

QUICK = settings(
    max_examples=15, deadline=5000, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["", "${x}", "${oc.env:HOME}", "???", "os.system", "vae_run.runs.load.load"])
)  # fmt: skip
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=10) | st.just("_target_"), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def config(vae: Path) -> dict[str, Any]:
    return RunDirectory(vae).config()


@contextmanager
def own_errors(text: str) -> Iterator[None]:
    """What is refused inside is refused by an error of ours that has `text`."""
    told = None
    try:
        yield
    except RunError as error:
        told = str(error)
    if told is not None:
        assert text in told
        assert told.strip()


def leaves(config: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    if isinstance(config, dict):
        found += [leaf for key in config for leaf in leaves(config[key], (*path, key))]
    return found


@QUICK
@given(data=st.data())
def test_a_configuration(config: dict[str, Any], data: st.DataObject) -> None:
    """One value of a good configuration, of any depth, is replaced by anything."""
    changed = json.loads(json.dumps(config))
    *path, last = data.draw(st.sampled_from(leaves(config)))
    place = changed
    for key in path:
        place = place[key]
    place[last] = data.draw(NESTED)
    with own_errors(""):
        check(changed, trust=())


@QUICK
@given(
    key=st.sampled_from(
        ["latent_dim", "trainer.epochs", "model", "dataset.classes", "hydra.run.dir"]
    )
    | st.text(min_size=1, max_size=10),
    sign=st.sampled_from(["", "+", "++", "~"]),
    value=st.text(max_size=20),
)
def test_a_command_line(key: str, sign: str, value: str, vae_run: Run) -> None:
    finished = vae_run("task=check", "device=cpu", f"{sign}{key}={value}")
    assert finished.code in (0, 1, 2, 3)
    assert bool(finished.err) == (finished.code != 0), finished.said
    assert "Traceback" not in finished.said


@QUICK
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_the_small_files_of_a_run(vae: Path, content: bytes, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    (run.path / ".hydra").mkdir(parents=True, exist_ok=True)
    for name in ("status.json", "metrics.json", "environment.json", "history.csv",
                 ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"):  # fmt: skip
        (run.path / name).write_bytes(content)
    for reader in (
        run.read_status, run.metrics, run.environment, run.fingerprint, run.config, run.choices,
        run.overrides, run.settings, lambda: read_history(run.path / "history.csv"),
        lambda: read_yaml(run.config_file), run.refuse_while_running,
    ):  # fmt: skip
        with own_errors(":"):
            reader()


@QUICK
@given(data=st.data())
def test_json_of_any_shape(data: st.DataObject, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    names = ("state", "step", "val", "test", "versions", "images", "event_shape", "parameters")
    content = data.draw(st.dictionaries(st.sampled_from(names), NESTED, max_size=4) | NESTED)
    for name in ("status.json", "metrics.json", "environment.json"):
        (run.path / name).write_text(json.dumps(content))
    for reader in (run.read_status, run.metrics, run.environment):
        with own_errors(str(tmp_path)):
            assert isinstance(reader(), dict)


@QUICK
@given(data=st.data())
def test_a_checkpoint_with_a_good_checksum(vae: Path, data: st.DataObject, tmp_path: Path) -> None:
    """Its bytes are changed anywhere and signed again, or its content is anything."""
    file = tmp_path / "best.pt"
    if data.draw(st.booleans()):
        content = bytearray((vae / "checkpoints" / "best.pt").read_bytes()[:-66])
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        file.write_bytes(
            bytes(content) + struct.pack("<H", 64) + sha256(content).hexdigest().encode()
        )
    else:
        state = checkpoint_file.read(vae / "checkpoints" / "best.pt")
        key = data.draw(st.sampled_from(["model", "event_shape", "levels", "classes", "step"]))
        small = st.none() | st.text(max_size=5) | st.floats() | st.integers(-3, 9)
        checkpoint_file.save(
            file, {**state, key: data.draw(small | st.lists(small, max_size=3)
                                           | st.dictionaries(st.text(max_size=5), small))}
        )  # fmt: skip
    with own_errors("best.pt"):
        load_model(RunDirectory(vae).settings(), checkpoint_file.read(file), file)


@QUICK
@given(content=st.binary(max_size=300))
def test_a_checkpoint_of_any_bytes(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    for signed in (content, content + struct.pack("<H", 64) + sha256(content).hexdigest().encode()):
        file.write_bytes(signed)
        with pytest.raises(RunError, match=r"last\.pt"):
            checkpoint_file.read(file)


def test_a_checkpoint_that_nests_without_end(vae: Path, tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(200):
        nested = [nested]
    run = Path(shutil.copytree(vae, tmp_path / "run"))
    checkpoint_file.save(run / "checkpoints" / "best.pt", {"model": nested})
    with pytest.raises(RunError, match=r"best\.pt"):
        load(run)
