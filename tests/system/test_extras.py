"""What is installed for an extra."""

from __future__ import annotations

from importlib import metadata

import pytest

from vae_run.system.extras import installation, missing


def test_the_command_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = [
        "torch>=2",
        "nothing-like-it>=3; extra == 'own'",
        "numpy>=1; extra == 'own'",
        "numpy>=1; extra == 'there'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: needed)
    assert installation("own") == "pip install 'nothing-like-it>=3'"
    assert installation("there") == "pip install 'numpy>=1'", "it is there, but does not load"
    assert missing(["numpy>=1", "nothing-like-it[more]>=3"]) == ["nothing-like-it[more]>=3"]


def test_from_its_source_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert installation("export") == "pip install -e '.[export]'"
