"""Texts as word numbers, and batches for truncated back-propagation."""

import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DataError, contiguous_batches, library_text, load_text

NAMES = {
    "ptb": ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
    "wikitext": ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
    "plain": ("train.txt", "valid.txt", "test.txt"),
}
TRAIN = " the cat sat on the mat \n the <unk> ran \n\n the end \n"


def write(folder: Path, names: tuple[str, ...], *texts: str) -> Path:
    for name, text in zip(names, texts, strict=False):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", NAMES)
def test_words_come_back_from_their_numbers_every_line_ended(kind, tmp_path):
    data = load_text(write(tmp_path, NAMES[kind], TRAIN, "the dog sat\n", "a cat\nran"))
    lines = [["the", "cat", "sat", "on", "the", "mat"], ["the", "<unk>", "ran"], [], ["the", "end"]]
    wanted = [word for line in lines for word in (*line, "<eos>")]
    assert [data.vocabulary[i] for i in data.train] == wanted
    assert [data.vocabulary[i] for i in data.validation] == ["the", "<unk>", "sat", "<eos>"]
    assert [data.vocabulary[i] for i in data.test] == ["<unk>", "cat", "<eos>", "ran", "<eos>"]
    assert data.unknown == 2 / 9
    counts = [Counter(wanted)[word] for word in data.vocabulary]
    assert counts == sorted(counts, reverse=True)
    assert data.fingerprint == load_text(tmp_path).fingerprint
    assert data.fingerprint != load_text(tmp_path, train_limit=10).fingerprint


def test_a_limited_vocabulary_keeps_the_most_frequent_words(tmp_path):
    data = load_text(write(tmp_path, NAMES["plain"], TRAIN, "the cat\n", "mat\n"), vocabulary=3)
    assert set(data.vocabulary) == {"the", "<eos>", "<unk>"}
    assert [data.vocabulary[i] for i in data.train][:4] == ["the", "<unk>", "<unk>", "<unk>"]
    shorter = load_text(tmp_path, train_limit=7, vocabulary=5, held_out_limit=1)
    assert len(shorter.train) == 7
    assert len(shorter.vocabulary) == 5
    assert len(shorter.validation) == len(shorter.test) == 1


def test_what_is_missing_or_unknown_is_said(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        load_text(tmp_path / "nowhere")
    write(tmp_path, NAMES["plain"], "a b\n", "a c\n")
    with pytest.raises(DataError, match=r"no test text: one of ptb.test.txt, wiki.test.tokens, test.txt"):
        load_text(tmp_path)
    write(tmp_path, NAMES["plain"], "a b\n", "a c\n", "a\n")
    with pytest.raises(DataError, match=r"validation text of .* has the word 'c'.*no <unk>"):
        load_text(tmp_path)
    with pytest.raises(DataError, match="vocabulary must be at least 3, got 2"):
        load_text(tmp_path, vocabulary=2)
    (tmp_path / "test.txt").write_bytes(b"a \xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        load_text(tmp_path)
    (tmp_path / "test.txt").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        load_text(tmp_path)


@given(length=st.integers(2, 60), batch=st.integers(1, 5), steps=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_streams_go_on_from_batch_to_batch_and_targets_are_one_word_later(length, batch, steps):
    words = torch.arange(length)
    if length // batch < 2:
        with pytest.raises(DataError, match="too short"):
            contiguous_batches(words, batch, steps)
        return
    batches = contiguous_batches(words, batch, steps)
    found = list(batches)
    assert len(found) == len(batches)
    assert all(torch.equal(y, x + 1) and x.shape[0] == batch and 1 <= x.shape[1] <= steps for x, y in found)
    for (_, before), (after, _) in pairwise(found):
        assert torch.equal(before[:, -1], after[:, 0])
    rows = torch.cat([x for x, _ in found], 1)
    stream = length // batch
    assert rows.tolist() == [list(range(row * stream, (row + 1) * stream - 1)) for row in range(batch)]
    assert len(list(batches)) == len(found)  # it can be read again


@pytest.mark.parametrize(("batch", "steps"), [(0, 5), (2, 0)])
def test_batches_without_streams_or_steps_are_refused(batch, steps):
    with pytest.raises(DataError, match="at least 1"):
        contiguous_batches(torch.arange(9), batch, steps)


def test_the_librarys_text_is_real_and_large_enough():
    data = library_text()
    assert len(data.train) > 30_000
    assert min(len(data.validation), len(data.test)) > 3_000
    assert data.unknown < 0.1
    assert {"the", "<eos>", "<unk>", "N", "."} <= set(data.vocabulary)
    assert int(torch.cat([data.train, data.validation, data.test]).max()) == len(data.vocabulary) - 1


@pytest.mark.skipif("SLICERANK_DATA" not in os.environ, reason="SLICERANK_DATA names no folder of real data")
def test_wikitext_2_has_the_published_counts():
    data = load_text(Path(os.environ["SLICERANK_DATA"]) / "wikitext-2")
    assert len(data.vocabulary) == 33_278
    assert [len(part) for part in (data.train, data.validation, data.test)] == [2_088_628, 217_646, 245_569]
