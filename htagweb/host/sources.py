"""The source files of the project that an app's import read, each as it was right before it was read."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import PurePath

Signature = tuple[int, int]
"""A file's last change in nanoseconds, and its size in bytes."""

_INSTALLED = {"site-packages", "dist-packages"}
_STDLIB = tuple({os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib")})
_OURS = {"htagweb", "htagweb_broker"}


def signature(status: os.stat_result) -> Signature:
    """Return what is compared of a file."""
    return status.st_mtime_ns, status.st_size


def is_project_file(module: str, path: str) -> bool:
    """Return whether people who write an app edit this file: not Python's, not installed, not ours."""
    is_ours = module.partition(".")[0] in _OURS
    return not (is_ours or _INSTALLED & set(PurePath(path).parts) or path.startswith(_STDLIB))


@contextmanager
def recorded() -> Iterator[Mapping[str, Signature]]:
    """Give what imports inside the block read of the project, by absolute path, in their order.

    A file is looked at before it is read: what is saved later than that, differs.
    """
    read: dict[str, Signature] = {}
    path_stats = SourceFileLoader.path_stats

    def note_and_stat(loader: SourceFileLoader, path: str) -> Mapping[str, float]:
        if is_project_file(loader.name, os.path.abspath(path)):
            with suppress(OSError):  # the import tells about it
                read[os.path.abspath(path)] = signature(os.stat(path))
                _forget_stale_bytecode(path)
        return path_stats(loader, path)

    SourceFileLoader.path_stats = note_and_stat  # type: ignore[method-assign, assignment]
    try:
        yield read
    finally:
        SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign]


def _forget_stale_bytecode(path: str) -> None:
    """Remove the file's bytecode when it is older than the file.

    Python compares whole seconds and sizes: of a file that was saved twice in
    one second, it would run the first text for ever.
    """
    bytecode = cache_from_source(path)
    with suppress(FileNotFoundError):
        if os.stat(bytecode).st_mtime_ns <= os.stat(path).st_mtime_ns:
            os.unlink(bytecode)
