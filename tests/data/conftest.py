"""Writers of small data sets in the published layouts."""

import gzip
import io
import os
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """Encode uint8 (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def python2_batch(pixels: np.ndarray, labels: list[int], label_key: str = "labels") -> bytes:
    """Pickle a batch opcode by opcode as Python 2's cPickle wrote CIFAR's (str for bytes, numpy.core).

    ``pixels``: uint8, shape (N, 3072).
    """

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    def integer(number: int) -> bytes:
        if 0 <= number < 256:
            return b"K" + bytes([number])
        return b"J" + struct.pack("<i", number)

    rows, columns = pixels.shape
    out = b"\x80\x02}q\x01(" + short(b"batch_label") + b"q\x02" + short(b"training batch 1 of 5") + b"q\x03"
    out += short(label_key.encode()) + b"q\x04]q\x05(" + b"".join(map(integer, labels)) + b"e"
    out += short(b"data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85"
    out += short(b"b") + b"\x87Rq\t(K\x01" + integer(rows) + integer(columns) + b"\x86cnumpy\ndtype\nq\n"
    out += short(b"u1") + b"K\x00K\x01\x87Rq\x0b(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    out += b"K\x00tb\x89T" + struct.pack("<i", pixels.size) + pixels.tobytes() + b"tb"
    return out + short(b"filenames") + b"q\x0c]q\r(" + short(b"a.png") * rows + b"eu."


def parquet_shard(path: Path, files: list[bytes], labels: list[int], image: str = "img", label: str = "label") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(files)]
    schema = {image: pl.Struct({"bytes": pl.Binary, "path": pl.String}), label: pl.Int64}
    pl.DataFrame({image: rows, label: labels}, schema=schema).write_parquet(path)


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def cifar10_batches(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with tiny CIFAR-10 batches, and what it holds: 60 images and labels, test last."""
    images = rng.integers(0, 256, (60, 3, 32, 32), np.uint8)
    labels = np.arange(60) % 10
    place = tmp_path / "batches" / "cifar-10-batches-py"
    place.mkdir(parents=True)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, rows in zip(names, np.split(np.arange(60), 6), strict=True):
        (place / name).write_bytes(python2_batch(images[rows].reshape(10, -1), labels[rows].tolist()))
    return place.parent, images, labels


@pytest.fixture
def cifar10_parquet(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with two training shards and a test shard of 20 images each, and what it holds."""
    images = rng.integers(0, 256, (60, 3, 32, 32), np.uint8)
    labels = np.arange(60) % 10
    place = tmp_path / "parquet"
    names = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    for name, rows in zip(names, np.split(np.arange(60), 3), strict=True):
        files = [encode(images[row].transpose(1, 2, 0)) for row in rows]
        parquet_shard(place / f"{name}.parquet", files, labels[rows].tolist())
    return place, images, labels


@pytest.fixture
def fashion_raw(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with tiny idx files (training gzipped, test plain), and what it holds, test last."""
    images = rng.integers(0, 256, (60, 28, 28), np.uint8)
    labels = (np.arange(60) % 10).astype(np.uint8)
    place = tmp_path / "fashion" / "FashionMNIST" / "raw"
    place.mkdir(parents=True)
    for split, rows in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        contents = {
            "images-idx3-ubyte": idx_bytes(images[rows]),
            "labels-idx1-ubyte": idx_bytes(labels[rows]),
        }
        for stem, content in contents.items():
            if split == "train":
                (place / f"{split}-{stem}.gz").write_bytes(gzip.compress(content))
            else:
                (place / f"{split}-{stem}").write_bytes(content)
    return place.parent.parent, images, labels


@pytest.fixture
def write_picture() -> Callable[..., np.ndarray]:
    """A writer of one picture of random pixels; returns them."""
    rng = np.random.default_rng(3)

    def write(path: Path, shape: tuple[int, ...] = (6, 6, 3), kind: str = "PNG") -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, shape, np.uint8)
        path.write_bytes(encode(pixels, kind))
        return pixels

    return write


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address, on this machine alone, at which it is served."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def writers() -> dict[str, Callable]:
    """The writers above, for tests that damage what they write."""
    return {
        "encode": encode,
        "python2_batch": python2_batch,
        "parquet_shard": parquet_shard,
        "idx": idx_bytes,
    }


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository, or as SLICERANK_DATA says; skips without it."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("SLICERANK_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}; set SLICERANK_DATA to a folder with it")
    return folder
