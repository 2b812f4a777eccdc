"""Fetch published files through torchvision's addresses and checksums; nothing is unpickled on the way."""

import tarfile
import tempfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from data.errors import DataError
from data.torchvision_shim import torchvision


def fetch(
    files: Sequence[tuple[str, str]],
    mirrors: Sequence[str],
    target: Path,
    title: str,
    *,
    unpack: str | None = None,
) -> None:
    """Download and check ``files``, then put the folder that holds them in place as ``target``, in one step.

    Args:
        files: (name, MD5) of each file.
        mirrors: addresses of the folder that holds the files, each ending in "/", tried in turn for each
            file.
        target: the folder to make; must not exist yet.
        title: the data set's name in messages.
        unpack: for tar archives, the name of the folder inside, which then becomes ``target``; None keeps the
            files as they come.

    Raises:
        DataError: ``target`` exists, no mirror delivers, a checksum differs, or the disk cannot be written.
    """
    if target.exists():
        raise DataError(f"{target} exists but is no complete copy of {title}: remove it, then download again")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as scratch:
            received, unpacked = Path(scratch) / "received", Path(scratch) / "unpacked"
            for name, md5 in files:
                _fetch_one(name, md5, mirrors, received)
                if unpack is not None:
                    with tarfile.open(received / name) as archive:
                        archive.extractall(unpacked, filter="data")
            (received if unpack is None else unpacked / unpack).replace(target)
    except (OSError, HTTPException, RuntimeError, EOFError, tarfile.TarError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{title} could not be downloaded to {target} ({reason}): check the network and the free space, "
            "or put the files there yourself"
        ) from error


def _fetch_one(name: str, md5: str, mirrors: Sequence[str], folder: Path) -> None:
    torchvision()
    from torchvision.datasets.utils import download_url

    for mirror in mirrors[:-1]:
        try:
            download_url(mirror + name, folder, name, md5)
            return
        except (OSError, HTTPException, RuntimeError):
            continue
    download_url(mirrors[-1] + name, folder, name, md5)
