"""Standard output and error that last as long as the program, for any text.

A reader may go away (`| head`), a disk below a log may be full, a terminal may hang up, a daemon
may start the program without descriptors: a training does not end for it.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

SIMILAR = str.maketrans(
    {"−": "-", "–": "-", "×": "x", "±": "+-", "…": "...", "≤": "<=", "≥": ">=", "→": "->"}
)
"""Signs of our own messages, and what stands for them where the encoding does not have them."""


def _similar(error: UnicodeError) -> tuple[str | bytes, int]:
    """A similar sign for what an encoding does not have, or its code, such as \\u732b."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(SIMILAR)
    return lacking.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("vae_run.similar", _similar)


class LastingFile(io.FileIO):
    """A descriptor that takes everything: from the first failure on, what is written is dropped.

    The descriptor then leads to the null device, so that other writers of this process, and the
    processes that it starts, do not fail either. A reader that has gone did so on purpose; of any
    other failure standard error tells once, if it is not what failed.
    """

    def write(self, data: Any) -> int:
        """Write `data`, or drop it; the number of bytes taken."""
        try:
            while (taken := super().write(data)) is None:  # full, and set to not wait
                select.select([], [self], [])
            return taken
        except OSError as error:
            self._give_up(error)
            return memoryview(data).nbytes

    def _give_up(self, error: OSError) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        if isinstance(error, BrokenPipeError) or self.fileno() == 2:
            return
        message = f"warning: standard output ends here, the program goes on: {error.strerror}\n"
        with suppress(OSError):
            os.write(2, message.encode())


def open_missing() -> None:
    """Open those of the three standard descriptors that the program was started without.

    A file opened later would get the number of one that is missing, and with it whatever libraries
    write to it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False, encoding="utf-8"))  # noqa: SIM115


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let standard output and error take any text, and never fail (`LastingFile`).

    Streams that stand in for those of the process, such as a notebook's, may still fail.
    """
    open_missing()
    before = sys.stdout, sys.stderr
    reconfigured = []
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream is getattr(sys, f"__{name}__"):
            with suppress(OSError):
                stream.flush()
            setattr(sys, name, _lasting(stream))
        else:
            reconfigured.append((stream, stream.errors))
            stream.reconfigure(errors="vae_run.similar")
    try:
        yield
    finally:
        for stream in {sys.stdout, sys.stderr} - set(before):
            stream.flush()
        sys.stdout, sys.stderr = before
        for stream, errors in reconfigured:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def _lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A stream like `stream`, on the same descriptor, that does not fail."""
    return io.TextIOWrapper(
        io.BufferedWriter(LastingFile(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="vae_run.similar",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
