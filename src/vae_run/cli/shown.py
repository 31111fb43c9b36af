"""What a command line shows instead of running something: help, the schema, completion."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from vae_run.cli.completion import answer
from vae_run.config.options import CONF


def shows(asked: Namespace, typed: Sequence[str]) -> bool:
    """Print what `asked`, read from the words `typed`, wants to see; whether it is that.

    Hydra's own help reads every option's file first.

    Raises:
        ConfigError: help is asked for on something unknown.
    """
    if asked.help:
        from vae_run.cli.help import text
        from vae_run.cli.help_topics import topics_text

        topics = asked.overrides
        print(topics_text(CONF, typed, topics) if topics else text(CONF, typed))
    elif asked.schema:
        from vae_run.cli.json_schema import schema_text

        print(schema_text(CONF, typed))
    elif asked.shell_completion and (said := answer(asked.overrides)) is not None:
        print(said, end="")
    else:
        return False
    return True
