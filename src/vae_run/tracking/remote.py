"""Where a service is called: here, or in a process of its own.

There, its package and its requests take no time of the training. In the process that trains, the
import, which takes seconds, and each request would hold Python's global interpreter lock, and the
next step would wait for it.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from vae_run.tracking.served import Begin, Call, Trouble
from vae_run.tracking.service import Service

if TYPE_CHECKING:
    from torch import Tensor

MOST = 4
"""Processes at a time; further services, as of runs that train together, are called here."""
LEAVE = 5.0
"""Seconds for the client of a service to end its own threads and processes."""


class Failed(Exception):
    """An error of a service, as its process told it."""


class Here:
    """Makes calls of `service` in this process."""

    patience = 0.0

    def __init__(self, service: Service) -> None:
        self._service, self._begun = service, False

    def begin(self) -> None:
        """Import the package, before the training begins."""
        self._begun = True
        self._service.prepare()

    def __call__(self, call: Call) -> None:
        """Make `call`."""
        call(self._service)

    def passes(self, error: Exception) -> bool:
        """Whether to try again; not where a package is so broken that it cannot tell."""
        try:
            return self._service.passes(error)
        except Exception:
            return False

    def values(self, tensor: Tensor) -> Any:
        """What the service is given for `tensor`: itself."""
        return tensor

    def end(self, *, whole: bool) -> None:
        """Undo what `begin` changed."""
        if self._begun:
            self._service.restore()


class Remote:
    """Makes calls of `service` in another process, one at a time and in their order.

    The process waits for the next run when one is over, and ends with this process, however that
    ends: with the pipe that the calls come through.

    Attributes:
        patience: seconds that the first answer may take longer: the package is imported meanwhile.
    """

    patience = 40.0

    def __init__(self, service: Service, process: Process) -> None:
        self._service, self._process = service, process

    def begin(self) -> None:
        """Tell it the service; nothing is waited for.

        Raises:
            OSError: the process has ended.
        """
        self._process.send(Begin(self._service, os.getcwd(), dict(os.environ)))

    def __call__(self, call: Call) -> None:
        """Make `call`, and wait until it is done.

        Raises:
            OSError: the service raised one, or its process has ended.
            Failed: the service raised another error.
        """
        self._process.send(call)
        if (told := self._process.answer()) is not None:
            raise _error(told)

    def passes(self, error: Exception) -> bool:
        """Whether to try again, as the service itself said."""
        return bool(getattr(error, "passes", False))

    def values(self, tensor: Tensor) -> Any:
        """What the service is given for `tensor`: an array, as torch is not imported there."""
        return tensor.cpu().numpy()

    def end(self, *, whole: bool) -> None:
        """Keep the process for the next run if all calls are done, else end it."""
        self._process.release(whole=whole)


def caller(service: Service) -> Here | Remote:
    """What makes the calls of `service`."""
    process = Process.taken(service.option) if service.own_process else None
    return Here(service) if process is None else Remote(service, process)


def _error(told: Trouble) -> Exception:
    if told.number is None:
        found: Exception = type(told.kind, (Failed,), {})(told.text)
    else:
        found = OSError(told.number, told.text, told.file)
    found.passes = told.passes  # type: ignore[attr-defined]
    return found


class Process:
    """A process that calls services, and the pipes to it and from it."""

    _lock: ClassVar[Lock] = Lock()
    _all: ClassVar[list[Process]] = []

    def __init__(self, option: str) -> None:
        """Start it, and do not wait for it.

        Raises:
            OSError: it cannot be started.
        """
        self.option, self.is_free = option, False
        calls, to_write = os.pipe()
        to_read, answers = os.pipe()
        self._calls, self._answers = os.fdopen(to_write, "wb"), os.fdopen(to_read, "rb")
        program = "import sys; sys.path[:] = sys.argv[1:]; from vae_run.tracking.served import"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"{program} serve; serve({calls}, {answers})", *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=(calls, answers),
                start_new_session=True,  # Ctrl-C is for the training, which ends the run in order
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(calls)
            os.close(answers)

    @classmethod
    def taken(cls, option: str) -> Process | None:
        """One for a service of the name `option`, new or of an earlier run; None: no more of them.

        Raises:
            OSError: it cannot be started.
        """
        with cls._lock:
            free = [one for one in cls._all if one.is_free]
            for process in free:
                if process._process.poll() is not None:
                    process._end()
                elif process.option == option:
                    process.is_free = False
                    return process
            for process in free[: max(0, len(cls._all) - MOST + 1)]:
                process._end()
            if len(cls._all) >= MOST:
                return None
            cls._all.append(process := cls(option))
            return process

    def send(self, content: Any) -> None:
        """Send `content` to it."""
        data = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
        self._calls.write(data)
        self._calls.flush()

    def answer(self) -> Trouble | None:
        """Wait for its answer to a call.

        Raises:
            ConnectionError: it has ended.
        """
        try:
            told: Trouble | None = pickle.load(self._answers)  # noqa: S301 - from our own process
        except EOFError:
            raise ConnectionError("its process has ended") from None
        return told

    def release(self, *, whole: bool) -> None:
        """Let another run have it; it is ended unless what it was asked for is done, `whole`."""
        with self._lock:
            if whole and self._process.poll() is None:
                self.is_free = True
            else:
                self._end()

    def _close(self) -> None:
        for pipe in (self._calls, self._answers):
            with suppress(OSError):
                pipe.close()

    def _end(self, patience: float = LEAVE) -> None:
        """End it; one that hangs is killed."""
        if self in self._all:
            self._all.remove(self)
        with suppress(OSError):
            self._calls.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also where the user stops the program meanwhile
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    @classmethod
    def end_all(cls) -> None:
        """End those that are left; called when this process ends."""
        for process in list(cls._all):
            process._end()

    @classmethod
    def forget(cls) -> None:
        """Leave them to the parent: called in a process that was forked from it."""
        cls._lock = Lock()
        for process in cls._all:
            process._process.returncode = 0  # it is no child of this process
            for pipe in (process._calls, process._answers):
                pipe.raw.close()  # another thread of the parent may have held the buffer's lock
        cls._all.clear()


atexit.register(Process.end_all)
os.register_at_fork(after_in_child=Process.forget)
