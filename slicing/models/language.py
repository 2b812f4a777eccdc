"""The paper's neural language model: an embedding, LSTM layers, a dense layer over the vocabulary (section 5.2.2)."""

from torch import Tensor, nn

from slicing.errors import SlicingError

EMBEDDING, UNITS, LAYERS, DROPOUT = 650, 640, 2, 0.5

_SPREAD = 0.1  # embedding and output weights begin uniform within this, as is the custom for such models


class LanguageModel(nn.Module):
    """Scores of the next word at every step.

    Dropout follows the embedding and each LSTM layer. The embedding's name is ``embedding``: the paper slices the
    recurrent layers and the output layer, ``convert(model, rates, "dense", whole=["embedding"])``.

    Args:
        vocabulary: words told apart, at least 2.
        embedding: columns of the embedding, at least 1.
        units: of each LSTM layer, at least 1.
        layers: LSTM layers, at least 1.
        dropout: in [0, 1).

    Raises:
        SlicingError: for sizes out of these ranges.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int = EMBEDDING,
        units: int = UNITS,
        layers: int = LAYERS,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("vocabulary", vocabulary, 2),
            ("embedding", embedding, 1),
            ("units", units, 1),
            ("layers", layers, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SlicingError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if not 0 <= dropout < 1:
            raise SlicingError(f"dropout must lie in [0, 1), got {dropout}; the paper uses 0.5")
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.LSTM(
            embedding, units, num_layers=layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.last_dropout = nn.Dropout(dropout)
        self.output = nn.Linear(units, vocabulary)
        nn.init.uniform_(self.embedding.weight, -_SPREAD, _SPREAD)
        nn.init.uniform_(self.output.weight, -_SPREAD, _SPREAD)
        nn.init.zeros_(self.output.bias)

    def forward(self, words: Tensor) -> Tensor:
        """Word numbers (N, T) to scores (N, T, vocabulary), every sequence beginning at zero states."""
        outputs, _ = self.recurrent(self.dropout(self.embedding(words)))
        return self.output(self.last_dropout(outputs))
