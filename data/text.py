"""Text for language models: Penn Treebank or WikiText files as word numbers, in contiguous batches.

Both come as three files of tokenised text, words separated by blanks, rare words as ``<unk>``. Every line ends with an
end-of-sentence word, ``<eos>``, as is the custom since Mikolov et al. 2010; blank lines of WikiText count as lines.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor

from data.errors import DataError
from data.files import existing_file

UNKNOWN, END = "<unk>", "<eos>"
PARTS = ("train", "validation", "test")

# The names that the files of each part go by: Penn Treebank as Mikolov cut it, WikiText, and either without a prefix.
_NAMES = {
    "train": ("ptb.train.txt", "wiki.train.tokens", "train.txt"),
    "validation": ("ptb.valid.txt", "wiki.valid.tokens", "valid.txt"),
    "test": ("ptb.test.txt", "wiki.test.tokens", "test.txt"),
}


@dataclass(frozen=True)
class TextData:
    """A text in three parts.

    Attributes:
        name: what it is called.
        vocabulary: the words, most frequent of the training part first; a word's number is its place.
        train: int64 (tokens,) word numbers, in the order of the text; so are validation and test.
        unknown: share of the validation and test words that stand as ``<unk>``, in [0, 1].
    """

    name: str
    vocabulary: tuple[str, ...]
    train: Tensor
    validation: Tensor
    test: Tensor
    unknown: float

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of the vocabulary and every part."""
        digest = hashlib.blake2b("\n".join(self.vocabulary).encode(), digest_size=16)
        for part in (self.train, self.validation, self.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()


def load_text(
    folder: Path | str,
    *,
    vocabulary: int | None = None,
    train_limit: int | None = None,
    held_out_limit: int | None = None,
) -> TextData:
    """Read a folder of Penn Treebank or WikiText files.

    Args:
        folder: holds a training, a validation and a test file by one of their usual names: ``ptb.train.txt``,
            ``wiki.train.tokens`` or ``train.txt``, and likewise ``valid`` and ``test``.
        vocabulary: the most words to tell apart, ``<unk>`` and ``<eos>`` among them, at least 3; rarer ones become
            ``<unk>``. None keeps all of the training part.
        train_limit: read only this many words of the training part, from its beginning, at least 1.
        held_out_limit: likewise of the validation and of the test part.

    Raises:
        DataError: a file is missing, empty or not UTF-8, or a word of the validation or test part is not in the
            vocabulary and there is no ``<unk>`` to stand for it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: name the one that holds train.txt, valid.txt and test.txt")
    texts = {part: _words(_file(folder, part)) for part in PARTS}
    return text_of(folder.name, texts, vocabulary=vocabulary, train_limit=train_limit, held_out_limit=held_out_limit)


def library_text(
    *, vocabulary: int | None = None, train_limit: int | None = None, held_out_limit: int | None = None
) -> TextData:
    """A small real text that needs no download: the Python reference, as :mod:`pydoc` carries it, about 100,000 words.

    Lower case; numbers as ``N``, as in the Penn Treebank; every punctuation mark a word. Of every ten paragraphs the
    ninth validates and the tenth tests. The text is that of the running Python: the fingerprint tells versions apart.

    Args:
        vocabulary: as in :func:`load_text`; words that occur once in training are ``<unk>`` anyway.
        train_limit, held_out_limit: as in :func:`load_text`.
    """
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    paragraphs = [block for _, topic in sorted(topics.items()) for block in topic.lower().split("\n\n")]
    for number, paragraph in enumerate(dict.fromkeys(paragraphs)):  # several topics share some
        words = re.findall(r"[a-z_]+|\d[\d.,]*|[^\w\s]", paragraph)
        part = {8: "validation", 9: "test"}.get(number % 10, "train")
        texts[part] += [*("N" if word[0].isdigit() else word for word in words), END]
    once = {word for word, count in Counter(texts["train"]).items() if count == 1}
    texts["train"] = [UNKNOWN if word in once else word for word in texts["train"]]
    return text_of("library", texts, vocabulary=vocabulary, train_limit=train_limit, held_out_limit=held_out_limit)


def text_of(
    name: str,
    texts: Mapping[str, Sequence[str]],
    *,
    vocabulary: int | None = None,
    train_limit: int | None = None,
    held_out_limit: int | None = None,
) -> TextData:
    """Number the words of a text whose parts are ``train``, ``validation`` and ``test``.

    Args:
        name: of the text.
        texts: each part's words.
        vocabulary: as in :func:`load_text`.
        train_limit, held_out_limit: as in :func:`load_text`.

    Raises:
        DataError: as :func:`load_text`.
    """
    limits = (("vocabulary", vocabulary, 3), ("train_limit", train_limit, 1), ("held_out_limit", held_out_limit, 1))
    for what, value, least in limits:
        if value is not None and value < least:
            raise DataError(f"{what} must be at least {least}, got {value}: leave it out for the whole text")
    train = list(texts["train"][:train_limit])
    counts = Counter(train)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    if vocabulary is not None and len(ranked) > vocabulary:
        special = [word for word in (UNKNOWN, END) if word == UNKNOWN or word in counts]
        frequent = [word for word in ranked if word not in special][: vocabulary - len(special)]
        ranked = sorted([*special, *frequent], key=lambda word: (-counts[word], word))
    number = {word: place for place, word in enumerate(ranked)}
    parts, unknown, seen = {"train": _numbers(train, number, name, "train")}, 0, 0
    for part in PARTS[1:]:
        parts[part] = _numbers(texts[part][:held_out_limit], number, name, part)
        seen += len(parts[part])
        unknown += int((parts[part] == number.get(UNKNOWN, -1)).sum())
    return TextData(name, tuple(ranked), parts["train"], parts["validation"], parts["test"], unknown / seen)


def contiguous_batches(words: Tensor, batch_size: int, steps: int) -> "ContiguousBatches":
    """Batches for truncated back-propagation through time.

    The text is cut into ``batch_size`` streams of equal length, which are read side by side, ``steps`` words at a time:
    row i of a batch goes on where row i of the batch before ended. What does not fill the streams is left out at the
    end; the last batch may be shorter.

    Args:
        words: int64 (tokens,).
        batch_size: streams, at least 1.
        steps: words of each stream in a batch, at least 1.

    Returns:
        A sequence of (inputs, targets), int64 (batch_size, up to steps) each, the targets one word later.

    Raises:
        DataError: the text is too short for two words in every stream.
    """
    return ContiguousBatches(words, batch_size, steps)


class ContiguousBatches:
    """See :func:`contiguous_batches`; can be read any number of times and knows its length."""

    def __init__(self, words: Tensor, batch_size: int, steps: int) -> None:
        if batch_size < 1 or steps < 1:
            raise DataError(f"batch_size and steps must be at least 1, got {batch_size} and {steps}: try 20 and 35")
        length = len(words) // batch_size
        if length < 2:
            raise DataError(
                f"a text of {len(words)} words is too short for {batch_size} streams of at least 2: use a smaller "
                "batch or more text"
            )
        self.streams, self.steps = words[: length * batch_size].view(batch_size, length), steps

    def __len__(self) -> int:
        return -(-(self.streams.shape[1] - 1) // self.steps)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for at in range(0, self.streams.shape[1] - 1, self.steps):
            stop = min(at + self.steps, self.streams.shape[1] - 1)
            yield self.streams[:, at:stop], self.streams[:, at + 1 : stop + 1]


def _file(folder: Path, part: str) -> Path:
    for name in _NAMES[part]:
        if (folder / name).is_file():
            return existing_file(folder / name)
    raise DataError(f"{folder} holds no {part} text: one of {', '.join(_NAMES[part])} is wanted")


def _words(path: Path) -> list[str]:
    words: list[str] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                words += [*line.split(), END]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): convert it") from error
    return words


def _numbers(words: Iterable[str], number: Mapping[str, int], name: str, part: str) -> Tensor:
    unknown = number.get(UNKNOWN)
    found = []
    for word in words:
        place = number.get(word, unknown)
        if place is None:
            raise DataError(
                f"the {part} text of {name} has the word {word!r}, which the training text lacks, and there is no "
                f"{UNKNOWN} to stand for it: limit the vocabulary, or replace rare words"
            )
        found.append(place)
    return torch.tensor(found, dtype=torch.int64)
