import numpy as np
import pytest
import torch

from data.errors import DataError
from data.folder import read_folder
from data.image_split import ImageRequest
from data.images import load_images


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
    folder, pixels = split_folder
    source = read_folder(ImageRequest(folder))
    assert source.classes == ("ant", "bee")
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.test.labels.tolist() == [0, 0, 1, 1]
    expected = [pixels["train", name, i].transpose(2, 0, 1) for name in ("ant", "bee") for i in range(3)]
    assert np.array_equal(source.train.images.numpy(), np.stack(expected))


def test_without_test_folder_a_fixed_fifth_is_taken(tmp_path, write_picture):
    for name in ("ant", "bee"):
        for i in range(10):
            write_picture(tmp_path / name / f"{i}.png")
    source = read_folder(ImageRequest(tmp_path))
    assert torch.bincount(source.train.labels).tolist() == [8, 8]
    assert torch.bincount(source.test.labels).tolist() == [2, 2]
    loads = [load_images("images", tmp_path, seed=seed, validation_share=0.5) for seed in (0, 1)]
    assert torch.equal(loads[0].test.images, loads[1].test.images)
    assert not torch.equal(loads[0].validation.images, loads[1].validation.images)


def test_grey_if_all_are_and_rgb_otherwise(tmp_path, write_picture):
    grey = [write_picture(tmp_path / split / name / "0.png", (6, 6)) for split in ("train", "test") for name in "ab"]
    source = read_folder(ImageRequest(tmp_path))
    assert np.array_equal(source.train.images.numpy(), np.stack(grey[:2])[:, None])
    coloured = write_picture(tmp_path / "test" / "b" / "1.png")
    source = read_folder(ImageRequest(tmp_path))
    assert source.train.images.shape == (2, 3, 6, 6)
    assert np.array_equal(source.train.images.numpy(), np.repeat(np.stack(grey[:2])[:, None], 3, axis=1))
    assert np.array_equal(source.test.images[-1].numpy(), coloured.transpose(2, 0, 1))


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
    assert source.train.images.shape == (7, 3, 4, 4)


def test_image_size_crops_the_centre_and_keeps_what_fits(tmp_path, write_picture):
    wide = write_picture(tmp_path / "train" / "a" / "0.png", (4, 8, 3))
    exact = write_picture(tmp_path / "train" / "b" / "0.png", (4, 4, 3))
    for name in "ab":
        write_picture(tmp_path / "test" / name / "0.png", (4, 4, 3))
    images = read_folder(ImageRequest(tmp_path, image_size=4)).train.images.numpy()
    assert np.array_equal(images[0], wide[:, 2:6].transpose(2, 0, 1))
    assert np.array_equal(images[1], exact.transpose(2, 0, 1))


def test_progress_reaches_the_total(split_folder):
    folder, _ = split_folder
    calls: list[tuple[int, int]] = []
    read_folder(ImageRequest(folder, progress=lambda done, total: calls.append((done, total))))
    assert calls == [(10, 10)]


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


def test_damaged_and_16_bit_images_are_named(split_folder):
    folder, _ = split_folder
    path = folder / "train" / "bee" / "1.png"
    path.write_bytes(path.read_bytes()[:50])
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
