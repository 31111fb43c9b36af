"""A process that is watched from Python: what it says is printed, and how it ended is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

LAST_LINES = 20
"""Lines that an error repeats of what a process said that died."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, or the negative number of the signal that ended it.
        interrupted: whether Ctrl-C was pressed.
        last: the last lines that it said, if they did not go to a terminal.
    """

    code: int
    interrupted: bool
    last: tuple[str, ...]

    @property
    def message(self) -> str:
        """What is told of a process that failed and did not say why itself."""
        hint = ""
        if self.code >= 0:
            how = f"with exit code {self.code}"
        else:
            named = {int(number): number.name for number in signal.Signals}
            how = f"by the signal {named.get(-self.code, -self.code)}"
        if self.code == -signal.SIGKILL:
            hint = " The system kills processes when memory is short."
        said = f" Its last lines:\n{''.join(self.last).rstrip()}" if self.last else ""
        return f"the process of the sweep ended before its time, {how}.{hint}{said}"


def watched(command: Sequence[str], *, quiet: bool) -> Ended:
    """Run `command` to its end, and print what it says.

    It has a session of its own, so that Ctrl-C reaches it only once, from here. It stops when its
    standard input ends, which this process holds open: also if this process is killed.
    """
    path = os.pathsep.join(os.path.abspath(place or ".") for place in sys.path)
    own = sys.stdout is not None and sys.stdout is sys.__stdout__
    terminal = not quiet and own and sys.stdout.isatty()
    last, interrupted = deque[str](maxlen=LAST_LINES), False
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=None if terminal else subprocess.PIPE,
        stderr=None if terminal else subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        while True:
            try:
                _relay(process, last, quiet=quiet)
                break
            except KeyboardInterrupt:
                if interrupted:
                    process.kill()
                    raise
                interrupted = True
                process.send_signal(signal.SIGINT)
    return Ended(process.returncode, interrupted, tuple(last))


def _relay(process: subprocess.Popen[str], last: deque[str], *, quiet: bool) -> None:
    """Print what `process` says, and keep it in `last`, until it has ended."""
    for line in process.stdout or ():
        last.append(line)
        if not quiet:
            sys.stdout.write(line)
            sys.stdout.flush()
    process.wait()


def stop_with_the_caller() -> None:
    """Send this process SIGTERM when the process that runs it by `watched` ends, however it ends.

    That one holds the other end of this one's standard input, which ends with it. What this process
    starts gets an empty standard input instead.
    """
    held = os.dup(0)  # processes that this one starts do not inherit it
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def wait() -> None:
        while os.read(held, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
