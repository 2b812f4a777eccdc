"""The finished parts of a long run, in a folder beside its output: what `--resume` goes on from."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascade import CascadeError
from slicing.files import atomic_path

_IDENTITY = "run.json"
_EDGE = 1 << 20  # bytes read at either end of a table's file


class Parts:
    """Numbered parts of an output, each with its account; a part counts once its account is written.

    Args:
        out: the file that the parts will become; they lie in the hidden folder `.NAME.parts` beside it.
        identity: what the parts depend on, by name.
        suffix: of a part's file.
    """

    def __init__(self, out: Path, identity: Mapping[str, str], suffix: str) -> None:
        self.folder = out.with_name(f".{out.name}.parts")
        self._identity, self._suffix = dict(identity), suffix

    def begin(self, resume: bool) -> None:
        """Make the folder; whatever an earlier run left there is kept when resuming, and otherwise removed.

        Raises:
            CascadeError: when resuming parts of another table, model or cascade, or the disk can't be written.
        """
        path = self.folder / _IDENTITY
        if resume and path.is_file():
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
                changed = [name for name in self._identity if before[name] != self._identity[name]]
            except (ValueError, KeyError, TypeError) as error:
                raise CascadeError(f"{path} is damaged ({type(error).__name__}); run without --resume") from error
            if changed:
                raise CascadeError(
                    f"can't resume: the {' and the '.join(changed)} changed since the run began; repeat the command "
                    f"as it was, or run without --resume"
                )
            return
        self.discard()
        try:
            self.folder.mkdir()
        except OSError as error:
            raise CascadeError(f"cannot make the folder {self.folder}: {error.strerror}; name another --out") from error
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self._identity), encoding="utf-8")

    def path(self, number: int) -> Path:
        """Where part `number` lies, or will."""
        return self.folder / f"part-{number:06d}{self._suffix}"

    def account(self, number: int) -> Any:
        """What was noted of a finished part; None for one that is not finished, or of another size than it had."""
        try:
            noted = json.loads(self.path(number).with_suffix(".json").read_text(encoding="utf-8"))
            return noted["account"] if noted["bytes"] == self.path(number).stat().st_size else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def finish(self, number: int, account: Any) -> None:
        """Note that a part's file is complete."""
        with atomic_path(self.path(number).with_suffix(".json")) as temporary:
            noted = {"account": account, "bytes": self.path(number).stat().st_size}
            temporary.write_text(json.dumps(noted), encoding="utf-8")

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def table_fingerprint(path: Path) -> str:
    """32 hexadecimal digits of a table's size, time of change, and first and last MiB.

    Not of all its bytes: to hash them would take about as long as the cascade. A Parquet file's last bytes hold the
    size, place and least and greatest value of all its columns' pieces.
    """
    status = path.stat()
    digest = hashlib.blake2b(f"{status.st_size} {status.st_mtime_ns}".encode(), digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_EDGE))
        file.seek(max(0, status.st_size - _EDGE))
        digest.update(file.read())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """32 hexadecimal digits of all of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
