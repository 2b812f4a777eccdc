import hashlib
import shutil
import tarfile
import warnings

import numpy as np
import pytest

from data.cifar import read_cifar10, read_cifar100
from data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES
from data.errors import DataError
from data.image_split import ImageRequest
from data.torchvision_shim import torchvision


def test_class_names():
    assert len(CIFAR10_CLASSES) == 10
    assert len(set(CIFAR100_CLASSES)) == 100
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)  # the publisher numbers them alphabetically


@pytest.mark.parametrize("inside", [False, True])
def test_reads_the_original_batches(cifar10_batches, inside):
    folder, images, labels = cifar10_batches
    source = read_cifar10(ImageRequest(folder / "cifar-10-batches-py" if inside else folder))
    assert source.classes == CIFAR10_CLASSES
    assert np.array_equal(source.train.images.numpy(), images[:50])
    assert np.array_equal(source.train.labels.numpy(), labels[:50])
    assert np.array_equal(source.test.images.numpy(), images[50:])
    assert np.array_equal(source.test.labels.numpy(), labels[50:])


def test_agrees_with_torchvision_on_the_same_files(cifar10_batches, monkeypatch):
    folder, _, _ = cifar10_batches
    published = torchvision().datasets.CIFAR10
    monkeypatch.setattr(published, "_check_integrity", lambda self: True)  # the checksums of the true files
    monkeypatch.setattr(published, "_load_meta", lambda self: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, on the old module name in the files
        theirs = published(str(folder), train=True)
    ours = read_cifar10(ImageRequest(folder)).train
    assert np.array_equal(ours.images.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert ours.labels.tolist() == theirs.targets


@pytest.mark.parametrize("subfolder", ["", "data", "plain_text", "cifar10"])
def test_reads_parquet_shards_wherever_they_usually_lie(cifar10_parquet, tmp_path, subfolder):
    made, images, labels = cifar10_parquet
    folder = tmp_path / "elsewhere"
    shutil.copytree(made, folder / subfolder)
    calls: list[tuple[int, int]] = []
    source = read_cifar10(ImageRequest(folder, progress=lambda done, total: calls.append((done, total))))
    assert np.array_equal(source.train.images.numpy(), images[:40])
    assert np.array_equal(source.train.labels.numpy(), labels[:40])
    assert np.array_equal(source.test.images.numpy(), images[40:])
    assert np.array_equal(source.test.labels.numpy(), labels[40:])
    assert calls == [(60, 60)]


def test_cifar100_reads_fine_labels(tmp_path, rng, writers):
    pixels = rng.integers(0, 256, (100, 3072), np.uint8)
    labels = rng.permutation(100).tolist()
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(writers["python2_batch"](pixels, labels, "fine_labels"))
    source = read_cifar100(ImageRequest(tmp_path))
    assert source.classes == CIFAR100_CLASSES
    assert source.train.labels.tolist() == source.test.labels.tolist() == labels
    assert np.array_equal(source.train.images.numpy().reshape(100, -1), pixels)


def test_cifar100_parquet_prefers_fine_labels(tmp_path, rng, writers):
    files = [writers["encode"](rng.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(3)]
    for split in ("train", "test"):
        path = tmp_path / f"{split}-00000-of-00001.parquet"
        writers["parquet_shard"](path, files, [7, 42, 99], image="img", label="fine_label")
    assert read_cifar100(ImageRequest(tmp_path)).train.labels.tolist() == [7, 42, 99]


def test_nothing_there_says_where_it_looked(tmp_path):
    with pytest.raises(DataError) as caught:
        read_cifar10(ImageRequest(tmp_path))
    message = str(caught.value)
    for part in (
        str(tmp_path),
        "cifar-10-batches-py/data_batch_1",
        "train-*.parquet",
        "--data-dir",
        "--download",
    ):
        assert part in message
    assert "\n" not in message


def test_no_folder_and_missing_folder(tmp_path):
    with pytest.raises(DataError, match="'cifar10' is read from a folder, none was given: set data_dir"):
        read_cifar10(ImageRequest(None))
    with pytest.raises(DataError, match="absent does not exist"):
        read_cifar10(ImageRequest(tmp_path / "absent"))


def test_a_missing_batch_is_named(cifar10_batches):
    folder, _, _ = cifar10_batches
    (folder / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"missing: data_batch_3: remove the folder and fetch it again"):
        read_cifar10(ImageRequest(folder))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_batch_is_named(cifar10_batches, share):
    folder, _, _ = cifar10_batches
    path = folder / "cifar-10-batches-py" / "data_batch_2"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"data_batch_2 is truncated or damaged .*fetch it again"):
        read_cifar10(ImageRequest(folder))


@pytest.mark.parametrize(
    ("columns", "labels", "key", "message"),
    [
        (3072, [0, 1, 10], "labels", "labels must lie between 0 and 9, image 2 has label 10"),
        (3072, [0, -1, 2], "labels", "labels must lie between 0 and 9, image 1 has label -1"),
        (3072, [0, 1], "labels", "must hold a label for each of 3 images, got 2"),
        (3072, [0, 1, 2], "fine_labels", "must hold 'labels', got batch_label, fine_labels, data"),
        (784, [0, 1, 2], "labels", r"rows of 3072 values \(3x32x32 pixels\), got \(3, 784\)"),
    ],
)
def test_what_a_batch_must_hold(cifar10_batches, writers, columns, labels, key, message):
    folder, _, _ = cifar10_batches
    path = folder / "cifar-10-batches-py" / "data_batch_4"
    path.write_bytes(writers["python2_batch"](np.zeros((3, columns), np.uint8), labels, key))
    with pytest.raises(DataError, match=message) as caught:
        read_cifar10(ImageRequest(folder))
    assert "data_batch_4" in str(caught.value)


@pytest.fixture
def published(cifar10_batches, mirror, monkeypatch):
    """The tiny batches as a published archive, at an address on this machine."""
    folder, _, _ = cifar10_batches
    archive = mirror[0] / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
    dataset = torchvision().datasets.CIFAR10
    monkeypatch.setattr(dataset, "url", mirror[1] + archive.name)
    monkeypatch.setattr(dataset, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    return archive


def test_downloads_only_when_asked(published, cifar10_batches, tmp_path):
    _, images, _ = cifar10_batches
    target = tmp_path / "new" / "folder"
    with pytest.raises(DataError, match="does not exist"):
        read_cifar10(ImageRequest(target))
    source = read_cifar10(ImageRequest(target, download=True))
    assert np.array_equal(source.train.images.numpy(), images[:50])
    assert [path.name for path in target.iterdir()] == ["cifar-10-batches-py"]
    published.unlink()
    read_cifar10(ImageRequest(target, download=True))  # it is there: nothing is fetched


def test_a_download_with_another_checksum_leaves_nothing(published, tmp_path):
    published.write_bytes(published.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"CIFAR-10 could not be downloaded .*check the network"):
        read_cifar10(ImageRequest(tmp_path / "new", download=True))
    assert list((tmp_path / "new").iterdir()) == []


def test_an_archive_cannot_write_outside_its_folder(published, tmp_path, monkeypatch):
    (tmp_path / "payload").write_text("x")
    with tarfile.open(published, "w:gz") as tar:
        tar.add(tmp_path / "payload", "cifar-10-batches-py/test_batch")
        tar.add(tmp_path / "payload", "../../escaped")
    digest = hashlib.md5(published.read_bytes()).hexdigest()
    monkeypatch.setattr(torchvision().datasets.CIFAR10, "tgz_md5", digest)
    with pytest.raises(DataError, match="could not be downloaded"):
        read_cifar10(ImageRequest(tmp_path / "new", download=True))
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failed_download_leaves_nothing(published, tmp_path):
    published.unlink()
    with pytest.raises(DataError, match=r"CIFAR-10 could not be downloaded .*or put the files there yourself"):
        read_cifar10(ImageRequest(tmp_path / "new", download=True))
    assert list((tmp_path / "new").iterdir()) == []
