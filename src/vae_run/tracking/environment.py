"""Settings that the client of a service reads from the environment alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from threading import Lock


class Environment:
    """Variables that are set while any run of this process is sent, and removed after the last.

    Those that the user has set stay as they are.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._lock = Lock()
        self._runs = 0
        self._set: list[str] = []

    def enter(self) -> None:
        """Set them; each call wants one of `leave`."""
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                self._set = [name for name in self._values if name not in os.environ]
                os.environ.update({name: self._values[name] for name in self._set})

    def leave(self) -> None:
        """Remove them with the last run, except those that were given another value meanwhile."""
        with self._lock:
            self._runs -= 1
            if self._runs == 0:
                for name in self._set:
                    if os.environ.get(name) == self._values[name]:
                        del os.environ[name]
