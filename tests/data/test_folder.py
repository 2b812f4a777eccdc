import numpy as np
import pytest
import torch

from data.errors import DataError
from data.folder import read_folder
from data.image_split import ImageRequest, ImageSet
from data.images import load_images


def pixels(images: ImageSet) -> np.ndarray:
    """All of a set's images, uint8 (N, C, H, W)."""
    (every,) = images.batches([torch.arange(len(images))], torch.Generator())
    return every.numpy()


@pytest.fixture
def split_folder(tmp_path, write_picture):
    """train/ and test/ with the classes ant and bee: three and two pictures each."""
    pixels = {}
    for split, count in (("train", 3), ("test", 2)):
        for name in ("bee", "ant"):
            for i in range(count):
                path = tmp_path / "own" / split / name / f"{i}.png"
                pixels[split, name, i] = write_picture(path)
    return tmp_path / "own", pixels


def test_train_and_test_folders(split_folder):
    folder, written = split_folder
    source = read_folder(ImageRequest(folder))
    assert source.classes == ("ant", "bee")
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.test.labels.tolist() == [0, 0, 1, 1]
    expected = [written["train", name, i].transpose(2, 0, 1) for name in ("ant", "bee") for i in range(3)]
    assert np.array_equal(pixels(source.train), np.stack(expected))


def test_without_test_folder_a_fixed_fifth_is_taken(tmp_path, write_picture):
    for name in ("ant", "bee"):
        for i in range(10):
            write_picture(tmp_path / name / f"{i}.png")
    source = read_folder(ImageRequest(tmp_path))
    assert torch.bincount(source.train.labels).tolist() == [8, 8]
    assert torch.bincount(source.test.labels).tolist() == [2, 2]
    loads = [load_images("images", tmp_path, seed=seed, validation_share=0.5) for seed in (0, 1)]
    assert np.array_equal(pixels(loads[0].test), pixels(loads[1].test))
    assert not np.array_equal(pixels(loads[0].validation), pixels(loads[1].validation))


def test_grey_if_all_are_and_rgb_otherwise(tmp_path, write_picture):
    grey = [write_picture(tmp_path / split / name / "0.png", (6, 6)) for split in ("train", "test") for name in "ab"]
    source = read_folder(ImageRequest(tmp_path))
    assert np.array_equal(pixels(source.train), np.stack(grey[:2])[:, None])
    coloured = write_picture(tmp_path / "test" / "b" / "1.png")
    source = read_folder(ImageRequest(tmp_path))
    assert source.train.shape == source.test.shape == (3, 6, 6)
    assert np.array_equal(pixels(source.train), np.repeat(np.stack(grey[:2])[:, None], 3, axis=1))
    assert np.array_equal(pixels(source.test)[-1], coloured.transpose(2, 0, 1))


def test_jpeg_counts_and_other_files_do_not(split_folder, write_picture):
    folder, _ = split_folder
    write_picture(folder / "train" / "ant" / "photo.JPG", kind="JPEG")
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "train" / "ant" / ".hidden.png").write_text("not an image")
    (folder / "train" / ".thumbnails").mkdir()
    assert len(read_folder(ImageRequest(folder)).train) == 7


def test_sizes_must_agree_and_image_size_mends_it(split_folder, write_picture):
    folder, _ = split_folder
    write_picture(folder / "train" / "bee" / "odd.png", (9, 12, 3))
    with pytest.raises(DataError) as caught:
        read_folder(ImageRequest(folder))
    message = str(caught.value)
    for part in ("odd.png is 12x9 pixels", "0.png is 6x6", "image_size", "--image-size"):
        assert part in message
    source = read_folder(ImageRequest(folder, image_size=4))
    assert pixels(source.train).shape == (7, 3, 4, 4)


def test_the_evaluation_images_of_imagenet_may_be_called_val(split_folder):
    folder, expected = split_folder
    (folder / "test").rename(folder / "val")
    (folder / "test").mkdir()  # unlabelled, as ImageNet's
    (folder / "test" / "1.png").write_bytes(b"")
    source = read_folder(ImageRequest(folder))
    assert (len(source.train), len(source.test)) == (6, 4)
    assert np.array_equal(pixels(source.test)[0], expected["test", "ant", 0].transpose(2, 0, 1))


def test_progress_reaches_the_total(split_folder):
    folder, _ = split_folder
    calls: list[tuple[int, int]] = []
    read_folder(ImageRequest(folder, progress=lambda done, total: calls.append((done, total))))
    assert calls == [(10, 10)]


def test_workers_change_nothing_and_are_checked(split_folder):
    folder, _ = split_folder
    one, three = (read_folder(ImageRequest(folder, workers=workers)) for workers in (1, 3))
    assert np.array_equal(pixels(one.train), pixels(three.train))
    with pytest.raises(DataError, match="workers must be at least 1, got 0"):
        load_images("images", folder, workers=0)
    with pytest.raises(DataError, match="workers decode the data set 'images' only, got 2 with 'digits'"):
        load_images("digits", workers=2)


def test_the_fingerprint_is_of_names_sizes_labels_and_the_cut(split_folder, write_picture):
    folder, _ = split_folder

    def load(image_size: int | None = None, seed: int = 0) -> str:
        return load_images("images", folder, image_size=image_size, seed=seed, validation_share=0.4).fingerprint

    first = load()
    assert load(seed=1) == first != load(image_size=4)
    path = folder / "train" / "ant" / "0.png"
    path.rename(path.with_name("00.png"))
    renamed = load()
    path.with_name("00.png").write_bytes(path.with_name("00.png").read_bytes() + b"\0")
    assert len({first, renamed, load()}) == 3


def test_statistics_are_those_of_the_training_images_of_a_folder(split_folder):
    folder, _ = split_folder
    data = load_images("images", folder, validation_share=0.4)
    every = pixels(data.train) / 255
    assert data.mean == pytest.approx(every.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(every.std((0, 2, 3)).tolist(), abs=1e-12)


def test_a_class_called_train_is_a_class(tmp_path, write_picture):
    for name in ("train", "tram"):
        for i in range(5):
            write_picture(tmp_path / name / f"{i}.png")
    assert read_folder(ImageRequest(tmp_path)).classes == ("train", "tram")


def test_bad_folders(tmp_path, split_folder, write_picture):
    folder, _ = split_folder
    with pytest.raises(DataError, match="two or more classes, got 0"):
        read_folder(ImageRequest(folder / "train" / "ant"))
    with pytest.raises(DataError, match="does not exist"):
        read_folder(ImageRequest(tmp_path / "absent"))
    with pytest.raises(DataError, match="image_size must be at least 1 pixel, got 0"):
        read_folder(ImageRequest(folder, image_size=0))
    write_picture(folder / "test" / "cow" / "0.png")
    with pytest.raises(DataError, match="train and test must have the same classes, only one has 'cow'"):
        read_folder(ImageRequest(folder))
    (folder / "train" / "cow").mkdir()
    with pytest.raises(DataError, match="cow holds no image"):
        read_folder(ImageRequest(folder))


def test_test_folder_missing_beside_train(tmp_path, write_picture):
    for name in ("ant", "bee"):
        write_picture(tmp_path / "train" / name / "0.png")
    with pytest.raises(DataError, match="test must hold a subfolder of images for each of two or more classes"):
        read_folder(ImageRequest(tmp_path))


def test_what_is_no_image_and_16_bit_images_are_named_when_the_folder_is_listed(split_folder):
    folder, _ = split_folder
    path = folder / "train" / "bee" / "1.png"
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png is no readable image .*replace or remove it"):
        read_folder(ImageRequest(folder))
    from PIL import Image

    Image.fromarray(np.zeros((6, 6), np.uint16)).save(path)
    with pytest.raises(DataError, match=r"1\.png must have 8 bits a channel, got mode I;16"):
        read_folder(ImageRequest(folder))


def test_too_few_images_of_a_class_for_the_split(tmp_path, write_picture):
    for i in range(5):
        write_picture(tmp_path / "ant" / f"{i}.png")
    write_picture(tmp_path / "bee" / "0.png")
    with pytest.raises(DataError, match="too few images of class 'bee' for the test split: at least 2 needed, got 1"):
        read_folder(ImageRequest(tmp_path))
