"""The keys of `hydra.launcher`, and the check of keys in Hydra's sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vae_run.config.check import invalid

S = TypeVar("S", bound=BaseModel)


class PoolSettings(BaseModel):
    """The keys of `conf/hydra/launcher/local.yaml`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    jobs: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    time_limit: Annotated[float, Field(gt=0)] | None = None
    grace: Annotated[float, Field(ge=0)] = 30.0


class VectorizedSettings(PoolSettings):
    """The keys of `conf/hydra/launcher/vectorized.yaml`."""

    runs: Annotated[int, Field(ge=1)] | None = None


class RaySettings(PoolSettings):
    """The keys of `conf/hydra/launcher/ray_cluster.yaml`."""

    address: str | None = None
    num_cpus: Annotated[float, Field(gt=0)] = 1.0
    num_gpus: Annotated[float, Field(ge=0)] = 0.0
    retries: Annotated[int, Field(ge=0)] = 3


class SlurmSettings(PoolSettings):
    """The keys of `conf/hydra/launcher/slurm.yaml`."""

    jobs: Annotated[int, Field(ge=1)] = 50
    executor: Literal["slurm", "local"] = "slurm"
    parameters: dict[str, Any] = {}

    @field_validator("parameters")
    @classmethod
    def _whole_minutes(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """submitit fails on other values of `timeout_min` once jobs are in the ledger."""
        minutes = parameters.get("timeout_min")
        if minutes is not None and (type(minutes) is not int or minutes < 1):
            raise ValueError(
                f"timeout_min is {minutes!r}, but a time limit is a whole number of minutes, at "
                "least 1; hydra.launcher.time_limit counts in seconds"
            )
        return parameters


def checked(keys: Mapping[str, Any], kind: type[S], section: str = "hydra.launcher") -> S:
    """The keys of `section` as settings of `kind`.

    Raises:
        ConfigError: a key is unknown, or its value wrong.
    """
    try:
        return kind.model_validate(dict(keys))
    except ValidationError as error:
        known = [f"{section}.{name}" for name in kind.model_fields]
        raise invalid(error, section, known) from error
