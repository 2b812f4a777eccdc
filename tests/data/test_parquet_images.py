import numpy as np
import polars as pl
import pytest

from data.errors import DataError
from data.parquet_images import ParquetLayout, Shards, find_shards, read_shards

LAYOUT = ParquetLayout("RGB", (8, 8), ("label",), ("cat", "dog"))
GREY = ParquetLayout("L", (8, 8), ("label",), ("cat", "dog"))


@pytest.fixture
def shard(tmp_path, rng, writers):
    """Write one shard of 8x8 RGB images and return (shards, pixels): the same file serves both splits."""
    pixels = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    path = tmp_path / "train-00000-of-00001.parquet"
    writers["parquet_shard"](path, [writers["encode"](image) for image in pixels], [0, 1, 0, 1], image="image")
    return Shards((path,), (path,)), pixels


def test_pixels_and_order(shard):
    shards, pixels = shard
    train, test = read_shards(shards, LAYOUT)
    assert np.array_equal(train.images.numpy(), pixels.transpose(0, 3, 1, 2))
    assert np.array_equal(test.images.numpy(), pixels.transpose(0, 3, 1, 2))
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert train.images.is_contiguous()


def test_grey_images(tmp_path, rng, writers):
    pixels = rng.integers(0, 256, (2, 8, 8), np.uint8)
    path = tmp_path / "x.parquet"
    writers["parquet_shard"](path, [writers["encode"](image) for image in pixels], [0, 1])
    train, _ = read_shards(Shards((path,), (path,)), GREY)
    assert np.array_equal(train.images.numpy(), pixels[:, None])
    as_rgb, _ = read_shards(Shards((path,), (path,)), LAYOUT)
    assert np.array_equal(as_rgb.images.numpy(), np.repeat(pixels[:, None], 3, axis=1))


def test_a_folder_name_with_pattern_characters(tmp_path, writers):
    path = tmp_path / "a[1]*" / "train-00000-of-00001.parquet"
    writers["parquet_shard"](path, [writers["encode"](np.zeros((8, 8, 3), np.uint8))], [1])
    train, _ = read_shards(Shards((path,), (path,)), LAYOUT)
    assert train.labels.tolist() == [1]


def test_progress_counts_up_to_the_total(tmp_path, writers):
    content = writers["encode"](np.zeros((8, 8), np.uint8))
    path = tmp_path / "x.parquet"
    writers["parquet_shard"](path, [content] * 1250, [0] * 1250)
    calls: list[tuple[int, int]] = []
    read_shards(Shards((path,), (path,)), GREY, lambda done, total: calls.append((done, total)))
    assert calls == [(1000, 2500), (2000, 2500), (2500, 2500)]


def test_one_split_alone_and_gaps_in_the_numbers(tmp_path):
    assert find_shards(tmp_path, ("data",)) is None
    (tmp_path / "train-00000-of-00003.parquet").touch()
    (tmp_path / "train-00002-of-00003.parquet").touch()
    with pytest.raises(DataError, match=r"all 3 train shards, train-00001-of-00003\.parquet is missing"):
        find_shards(tmp_path, ())
    (tmp_path / "train-00001-of-00003.parquet").touch()
    with pytest.raises(DataError, match=r"no test-\*\.parquet"):
        find_shards(tmp_path, ())
    (tmp_path / "test-00000-of-00001.parquet").touch()
    shards = find_shards(tmp_path, ())
    assert shards is not None
    assert [path.name[6:11] for path in shards.train] == ["00000", "00001", "00002"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_named(shard, share):
    shards, _ = shard
    path = shards.train[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"train-.* is truncated or no Parquet file .*fetch it again") as caught:
        read_shards(shards, LAYOUT)
    assert "\n" not in str(caught.value)


def test_a_panic_of_the_reader_is_an_error_too(shard, monkeypatch):
    shards, _ = shard

    def panic(*args: object, **kwargs: object) -> None:
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    monkeypatch.setattr(pl, "scan_parquet", panic)
    with pytest.raises(DataError, match="is truncated or no Parquet file"):
        read_shards(shards, LAYOUT)


def test_another_kind_of_file_is_named(shard):
    shards, _ = shard
    shards.train[0].write_text("label,img\n" * 100)
    with pytest.raises(DataError, match="is truncated or no Parquet file"):
        read_shards(shards, LAYOUT)


def test_labels_out_of_range(tmp_path, writers):
    path = tmp_path / "x.parquet"
    writers["parquet_shard"](path, [writers["encode"](np.zeros((8, 8, 3), np.uint8))] * 2, [1, 2])
    with pytest.raises(DataError, match="labels must lie between 0 and 1, image 1 has label 2: is this the right"):
        read_shards(Shards((path,), (path,)), LAYOUT)


def test_wrong_image_size(tmp_path, writers):
    path = tmp_path / "x.parquet"
    files = [writers["encode"](np.zeros(shape, np.uint8)) for shape in ((8, 8, 3), (4, 6, 3))]
    writers["parquet_shard"](path, files, [0, 1])
    with pytest.raises(DataError, match="image 1 must be 8x8 pixels, got 6x4"):
        read_shards(Shards((path,), (path,)), LAYOUT)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_damaged_images(tmp_path, writers, content):
    path = tmp_path / "x.parquet"
    writers["parquet_shard"](path, [content], [0])
    with pytest.raises(DataError, match="image 0 is no readable PNG or JPEG image"):
        read_shards(Shards((path,), (path,)), LAYOUT)


def test_a_truncated_image(tmp_path, rng, writers):
    path = tmp_path / "x.parquet"
    whole = writers["encode"](rng.integers(0, 256, (8, 8, 3), np.uint8))
    writers["parquet_shard"](path, [whole, whole[:-60]], [0, 1])
    with pytest.raises(DataError, match="image 1 is no readable PNG or JPEG image"):
        read_shards(Shards((path,), (path,)), LAYOUT)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"picture": [b""], "label": [0]}, "must have a column named img or image, got picture, label"),
        ({"image": [{"bytes": b"", "path": "x"}], "y": [0]}, "must have a column named label, got image, y"),
        ({"image": [b""], "label": [0]}, "column 'image' must be a struct with binary 'bytes', got Binary"),
        (
            {"image": [{"bytes": None, "path": "x"}, {"bytes": b"", "path": "x"}][::-1], "label": [0, 1]},
            "every row needs its image, row 1 has none",
        ),
        ({"image": [{"bytes": b"", "path": "x"}], "label": [0.5]}, "must be a list of integers, got float64"),
        (
            {"image": [{"bytes": b"", "path": "x"}] * 2, "label": [0, None]},
            "every row needs its label, row 1",
        ),
    ],
)
def test_what_the_columns_must_be(tmp_path, frame, message):
    path = tmp_path / "x.parquet"
    pl.DataFrame(frame).write_parquet(path)
    with pytest.raises(DataError, match=message):
        read_shards(Shards((path,), (path,)), LAYOUT)
