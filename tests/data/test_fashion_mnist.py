import gzip
import hashlib

import numpy as np
import pytest

from data.errors import DataError
from data.fashion_mnist import CLASSES, read_fashion_mnist
from data.image_split import ImageRequest
from data.torchvision_shim import torchvision


@pytest.mark.parametrize("inside", [False, True])
def test_reads_idx_files_plain_and_gzipped(fashion_raw, inside):
    folder, images, labels = fashion_raw
    source = read_fashion_mnist(ImageRequest(folder / "FashionMNIST" / "raw" if inside else folder))
    assert source.classes == CLASSES
    assert np.array_equal(source.train.images.numpy(), images[:40, None])
    assert np.array_equal(source.train.labels.numpy(), labels[:40])
    assert np.array_equal(source.test.images.numpy(), images[40:, None])
    assert np.array_equal(source.test.labels.numpy(), labels[40:])


def test_agrees_with_torchvision_on_the_same_files(fashion_raw):
    folder, _, _ = fashion_raw
    theirs = torchvision().datasets.FashionMNIST  # its class names, and its reading of the plain test files
    assert tuple(theirs.classes) == CLASSES
    raw = folder / "FashionMNIST" / "raw"
    for path in raw.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    ours = read_fashion_mnist(ImageRequest(folder)).test
    loaded = theirs(str(folder), train=False)
    assert np.array_equal(ours.images[:, 0].numpy(), loaded.data.numpy())
    assert ours.labels.tolist() == loaded.targets.tolist()


def test_reads_parquet(tmp_path, rng, writers):
    pixels = rng.integers(0, 256, (10, 28, 28), np.uint8)
    for split in ("train", "test"):
        path = tmp_path / "fashion_mnist" / f"{split}-00000-of-00001.parquet"
        files = [writers["encode"](image) for image in pixels]
        writers["parquet_shard"](path, files, list(range(10)), image="image")
    source = read_fashion_mnist(ImageRequest(tmp_path))
    assert np.array_equal(source.train.images.numpy(), pixels[:, None])
    assert source.test.labels.tolist() == list(range(10))


def test_nothing_there_says_where_it_looked(tmp_path):
    with pytest.raises(DataError) as caught:
        read_fashion_mnist(ImageRequest(tmp_path))
    for part in (
        str(tmp_path),
        "train-images-idx3-ubyte",
        "FashionMNIST/raw",
        "train-*.parquet",
        "--download",
    ):
        assert part in str(caught.value)


def test_a_missing_file_is_named(fashion_raw):
    folder, _, _ = fashion_raw
    (folder / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="missing: t10k-labels-idx1-ubyte"):
        read_fashion_mnist(ImageRequest(folder))


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_truncated_file_is_named(fashion_raw, name, share):
    folder, _, _ = fashion_raw
    path = folder / "FashionMNIST" / "raw" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=f"{name} .*fetch it again"):
        read_fashion_mnist(ImageRequest(folder))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("t10k-images-idx3-ubyte", np.zeros((20, 32, 28), np.uint8), "images of 28x28 pixels, got 28x32"),
        ("t10k-labels-idx1-ubyte", np.zeros(19, np.uint8), "a label for each of 20 images, got 19"),
        ("t10k-labels-idx1-ubyte", np.full(20, 10, np.uint8), "between 0 and 9, image 0 has label 10"),
        ("t10k-labels-idx1-ubyte", np.zeros((20, 1), np.uint8), "must be an idx file of 1-dimensional bytes"),
    ],
)
def test_what_the_files_must_hold(fashion_raw, writers, name, values, message):
    folder, _, _ = fashion_raw
    (folder / "FashionMNIST" / "raw" / name).write_bytes(writers["idx"](values))
    with pytest.raises(DataError, match=message):
        read_fashion_mnist(ImageRequest(folder))


def test_surplus_bytes_are_refused(fashion_raw):
    folder, _, _ = fashion_raw
    path = folder / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="must hold 20 values after its header"):
        read_fashion_mnist(ImageRequest(folder))


@pytest.mark.parametrize("mirrors", [("gone/", ""), ("", "gone/")])
def test_downloads_from_the_mirror_that_delivers(fashion_raw, mirror, tmp_path, monkeypatch, mirrors):
    folder, images, _ = fashion_raw
    served, address = mirror
    resources = []
    for path in sorted((folder / "FashionMNIST" / "raw").iterdir()):
        content = path.read_bytes() if path.suffix == ".gz" else gzip.compress(path.read_bytes())
        name = path.name.removesuffix(".gz") + ".gz"
        (served / name).write_bytes(content)
        resources.append((name, hashlib.md5(content).hexdigest()))
    dataset = torchvision().datasets.FashionMNIST
    monkeypatch.setattr(dataset, "mirrors", [address + place for place in mirrors])
    monkeypatch.setattr(dataset, "resources", resources)
    source = read_fashion_mnist(ImageRequest(tmp_path / "new", download=True))
    assert np.array_equal(source.test.images.numpy(), images[40:, None])
