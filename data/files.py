"""Writing files and folders whole or not at all, and reading with errors of one line."""

import errno
import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from data.errors import DataError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` when the block ends well.

    Whatever goes wrong in the block (an exception, Ctrl-C), the old file, if any, stays as it was and the
    temporary file is removed.

    Raises:
        DataError: ``path`` is a folder, its folder is missing, or the disk cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"cannot write the file {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _writing(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path | str, mark: str) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its place when the block ends well.

    Args:
        folder: may be missing, empty, or an earlier result, which is one that holds the file ``mark``.
        mark: name of a file that the block writes.

    Raises:
        DataError: ``folder`` is a file or holds something else, or the disk cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"cannot write the folder {folder}: it is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise DataError(f"cannot write {folder}: it holds other files and no {mark}; name a new or an empty folder")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    old = temporary.with_suffix(".old")
    try:
        with _writing(folder):
            temporary.mkdir(parents=True)
            yield temporary
            if folder.is_dir():
                folder.rename(old)
            temporary.rename(folder)
    finally:
        if old.is_dir() and not folder.is_dir():  # stopped between the two renames
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


class Scratch:
    """A temporary folder that goes when the object does, or with the process.

    folder: where it is made; None for the system's place.
    """

    def __init__(self, kind: str, folder: Path | None = None) -> None:
        with _writing(Path(tempfile.gettempdir()) if folder is None else folder):
            self.path = Path(tempfile.mkdtemp(dir=folder, prefix=f"slicerank-{kind}-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = no_room(error)
        if reason is None:
            raise
        raise DataError(f"cannot write {path}: {reason}; free some space or name another") from error
    except OSError as error:
        if error.filename is not None and ".tmp" not in str(error.filename) and Path(str(error.filename)) != path:
            raise  # the block's own business, such as a file it reads
        raise DataError(
            f"cannot write {path}: {error.strerror or first_line(error)}; free some space or name another"
        ) from error


@contextmanager
def reading(where: Path | str) -> Iterator[None]:
    """Turn what polars and the system say about unreadable files into a :class:`DataError` of one line.

    where: the file, or the files in words.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        if no_room(error):  # for what is written on the way, such as sorted parts
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise DataError(f"{where} cannot be read ({reason}): it is damaged, truncated or of another format") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # polars' Rust side on some damaged files; no Exception
            raise DataError(f"{where} cannot be read ({first_line(error)}): it is damaged") from error
        raise


def no_room(error: BaseException) -> str | None:
    """The system's words for it when an error says that a disk, a quota or a file's size has run out; otherwise None.

    polars wraps the system's errors in its own, of which the text alone says what it was.
    """
    if isinstance(error, OSError):
        number = error.errno
    else:
        found = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, pl.exceptions.PolarsError) else None
        number = int(found[1]) if found else None
    return os.strerror(number) if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def existing_file(path: Path | str) -> Path:
    """``path`` as a :class:`Path`; it must be a file that holds something."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder, a file is wanted: name the files in it")
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes), at least one row is wanted: check how it was made")
    return path
