"""Lock files, by filelock: each lock ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
from pathlib import Path

from filelock import FileLock

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""The errors of file systems without flock."""


def lock_file(path: Path) -> FileLock:
    """The lock in the file `path`, not taken yet.

    filelock's fallback, a marker file, is off: a killed process would leave it behind.
    """
    return FileLock(path, fallback_to_soft=False)


def acquire(lock: FileLock, *, blocking: bool) -> bool:
    """Take `lock`; False where the file system supports no locks, and none is taken.

    Raises:
        filelock.Timeout: another process holds it, and `blocking` is False.
    """
    try:
        lock.acquire(blocking=blocking)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return False
    return True
