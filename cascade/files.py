"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cascade.errors import CascadeError


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to a temporary file in the same folder and rename it, so that `path` is either the old
    file or the new one.

    Raises CascadeError when `path` is a folder, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise CascadeError(f"cannot write the file {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise CascadeError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CascadeError(
            f"cannot write {path}: {error.strerror or error}; free some space or name another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
