"""Writing files whole or not at all, and tensor files that notice damage."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from slicing.errors import SlicingError


def check_writable(path: Path | str) -> Path:
    """``path`` as a :class:`Path`, after making sure that a file can be written there.

    Raises:
        SlicingError: when ``path`` is a folder, or its folder is missing or refuses new files.
    """
    path = Path(path)
    if path.is_dir():
        raise SlicingError(f"cannot write the file {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise SlicingError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SlicingError(f"cannot write {path}: the folder {path.parent} is not writable; name another folder")
    return path


def refuse_overwriting(outputs: Iterable[Path | str], inputs: Iterable[Path | str]) -> None:
    """Refuse outputs that would take the place of an input, whatever names or links the two go by.

    Args:
        outputs: files about to be written, or folders about to be replaced with all that they hold.
        inputs: files or folders that are read; those that do not exist are left to whoever reads them.

    Raises:
        SlicingError: when an output is an input, or a folder that holds one.
    """
    written = [Path(output) for output in outputs]
    for source in map(Path, inputs):
        if not source.exists():
            continue
        places = [source, *source.absolute().parents, *source.resolve().parents]
        for output in written:
            if output.exists() and any(output.samefile(place) for place in places):
                raise SlicingError(
                    f"writing {output} would overwrite {source}, which this command reads; name another place with "
                    "--out"
                )


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` when the block ends well.

    Whatever goes wrong in the block (an exception, Ctrl-C), the old file, if any, stays as it was and the
    temporary file is removed. The temporary file lies in the same folder, since a rename is atomic only
    within a file system.

        with atomic_path("report.json") as temporary:
            temporary.write_text(text)

    Raises:
        SlicingError: when no file can be written at ``path``.
    """
    path = check_writable(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):  # the block's own business, such as a file it reads
            raise
        raise SlicingError(
            f"cannot write {path}: {error.strerror or error}; free some space or name another"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


_KEY = "slicerank"
_ELSEWHERE = "a safetensors file made elsewhere"


def save_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], kind: str) -> None:
    """Write ``tensors`` and ``metadata`` (anything JSON can hold) to one safetensors file, atomically.

    The same arguments give the same bytes.

    Args:
        path: the file to write.
        tensors: tensors of any shape and device; each is stored whole, even where two share memory.
        metadata: facts to be stored beside them.
        kind: what the file is, such as ``"training checkpoint"``; :func:`load_tensors` asks for the same.
    """
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    text = json.dumps(metadata, allow_nan=False)
    header = {"kind": kind, "metadata": text, "digest": _digest(stored, text)}
    with atomic_path(path) as temporary:
        try:
            # in one key, as safetensors writes several in another order each time
            save_file(stored, temporary, {_KEY: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise SlicingError(f"cannot write {path}: {error}; free some space or name another folder") from error


def stored_kind(path: Path | str) -> str:
    """What :func:`save_tensors` was told that a file is, from its header alone.

    Raises:
        SlicingError: when there is no such file, or it is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise SlicingError(f"no model at {path}: no such file; check the path")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return _header(file.metadata()).get("kind", _ELSEWHERE)
    except (SafetensorError, OSError) as error:
        raise SlicingError(f"{path} is not a readable model ({error}); it is damaged or another file") from error


def load_tensors(path: Path | str, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the metadata that :func:`save_tensors` wrote.

    Nothing in the file is executed, so a file from a stranger is safe to open.

    Raises:
        SlicingError: when there is no such file, it is of another kind, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise SlicingError(f"no {kind} at {path}: no such file; check the path")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = _header(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SlicingError(f"{path} is not a readable {kind} ({error}); it is damaged or another file") from error
    if header.get("kind") != kind:
        found = header.get("kind", _ELSEWHERE)
        raise SlicingError(f"{path} is not a {kind} but {found!r}; check the path")
    text = header.get("metadata", "")
    if header.get("digest") != _digest(tensors, text):
        raise SlicingError(
            f"{path} is a damaged {kind}: its contents do not match its digest; delete it and start anew"
        )
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SlicingError(
            f"{path} is a damaged {kind}: its metadata are not JSON; delete it and start anew"
        ) from error
    return tensors, metadata


def _header(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """What :func:`save_tensors` wrote beside the tensors; earlier it wrote a key for each entry."""
    found: Any = metadata or {}
    if _KEY in found:
        try:
            found = json.loads(found[_KEY])
        except (ValueError, RecursionError):
            return {}
    return {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, Mapping) else {}


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """A checksum against damage (not against forgery): safetensors itself notices truncation only."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
