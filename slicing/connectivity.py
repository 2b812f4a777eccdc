"""Which units a unit reads, as a value: nested, dense, or both in turn over the rates, and differently by layer."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from slicing.errors import SlicingError
from slicing.rates import rate_index

Firsts = tuple[int, ...]  # for each rate's position, that of the first rate of its segment

_NOTATION = "write nested, dense, or mixed@ with the rates where a segment begins, such as mixed@0.75+1"


class Connectivity(str):
    """What the units of a network read, written as it is: a string that is checked, and equal to its plain text.

    The rates are cut into *segments*. Inside a segment the network is nested: a unit of block k reads blocks <= k, so
    that widening changes no result. At a segment's first rate everything is computed anew, with weights in which all
    units of the blocks up to there read each other: seen from that segment, they are one block. All segments share one
    weight matrix; a later segment only uses more of its entries.

    * ``nested``: one segment.
    * ``dense``: each rate a segment of its own (the paper).
    * ``mixed@0.75+1``: segments begin at the first rate, at 0.75 and at 1.0.

    Layers can differ: ``nested,0=trunk,7=dense`` adds a rule for the layer ``0`` and for ``7`` (or, where these are
    modules of several layers, for all of those). Of several rules that fit a layer the longest name's holds. A
    ``trunk`` layer is not sliced: it has its full width at every rate and is computed once for all of them;
    ``nested,trunk=4`` makes the first four layers trunk. A layer is recomputed wherever one that it reads is, whatever
    its own rule. A head has no rule: it reads every active unit at every rate.

    >>> Connectivity("mixed@0.750+1.0")
    'mixed@0.75+1'

    Attributes:
        rule: of the layers that none of ``layers`` fits.
        layers: name and rule of each layer, or module of layers, that differs.
        trunk: how many first layers are trunk, where their number stands for their names; 0 in a network's own, where
            :meth:`spelled_out` has put the names.

    Raises:
        SlicingError: for a text that is no connectivity.
    """

    rule: str
    layers: tuple[tuple[str, str], ...]
    trunk: int

    def __new__(cls, text: str) -> "Connectivity":
        """Read the notation; a connectivity gives itself."""
        if isinstance(text, Connectivity):
            return text
        if not isinstance(text, str):
            raise SlicingError(f"connectivity must be a text, got {text!r}; {_NOTATION}")
        first, *others = text.split(",")
        rule = _rule(first, text)
        layers, trunk = [], 0
        for other in others:
            name, equals, layer_rule = other.partition("=")
            if not name or not equals:
                raise SlicingError(f"connectivity of a layer must be written name=rule, got {other!r} in {text!r}")
            if name == "trunk" and layer_rule.isascii() and layer_rule.isdigit():
                if trunk or not int(layer_rule):
                    raise SlicingError(
                        f"trunk must be given once, as a number of at least 1, got {text!r}; try trunk=2"
                    )
                trunk = int(layer_rule)
                continue
            layers.append((name, "trunk" if layer_rule == "trunk" else _rule(layer_rule, text)))
        twice = [a for (a, _), (b, _) in pairwise(sorted(layers)) if a == b]
        if twice:
            raise SlicingError(f"connectivity names the layer {twice[0]!r} twice, in {text!r}; give it one rule")
        first_layers = [f"trunk={trunk}"] if trunk else []
        self = super().__new__(cls, ",".join([rule, *first_layers, *(f"{name}={each}" for name, each in layers)]))
        self.rule, self.layers, self.trunk = rule, tuple(layers), trunk
        return self

    @property
    def recomputes(self) -> bool:
        """Whether any layer has more than one segment, so that some unit's fan-in changes with the rate."""
        return any(rule not in ("nested", "trunk") for rule in (self.rule, *(rule for _, rule in self.layers)))

    def rule_of(self, layer: str) -> str:
        """The rule of a layer: ``nested``, ``dense``, ``mixed@...`` or ``trunk``."""
        fitting = [(len(name), rule) for name, rule in self.layers if fits(name, layer)]
        return max(fitting)[1] if fitting else self.rule

    def spelled_out(self, layers: Sequence[str]) -> "Connectivity":
        """The same with the names of the first layers in place of their number.

        Args:
            layers: of a network, those that a rule can hold for, in their order.

        Raises:
            SlicingError: for a rule that fits none of the layers, or a trunk of more than there are.
        """
        for name, _ in self.layers:
            if not any(fits(name, layer) for layer in layers):
                raise SlicingError(
                    f"connectivity has a rule for {name!r}, which is none of the layers it could hold for: "
                    f"{', '.join(layers)}; name one of them, or a module that holds some"
                )
        if self.trunk > len(layers):
            raise SlicingError(
                f"connectivity makes the first {self.trunk} layers trunk, but there are {len(layers)}: "
                f"{', '.join(layers)}; give a number up to that"
            )
        if not self.trunk:
            return self
        named = dict.fromkeys(layers[: self.trunk], "trunk") | dict(self.layers)
        return Connectivity(",".join([self.rule, *(f"{name}={rule}" for name, rule in named.items())]))


def fits(name: str, layer: str) -> bool:
    """Whether a rule's name is that of the layer or of a module that holds it."""
    return layer == name or layer.startswith(f"{name}.")


def firsts_of(rule: str, rates: Sequence[float]) -> Firsts:
    """The segments of one rule.

    Args:
        rule: as :meth:`Connectivity.rule_of` gives it.
        rates: the network's rates.

    Returns:
        For each rate's position, that of the first rate of its segment.

    Raises:
        SlicingError: when a segment begins at what is not one of the rates, or is the first one.
    """
    if rule == "dense":
        return tuple(range(len(rates)))
    borders = [] if rule in ("nested", "trunk") else [rate_index(rates, rate) for rate in _borders(rule)]
    if 0 in borders:
        raise SlicingError(
            f"{rule}: the first rate {rates[0]:g} begins the first segment anyway; name the rates where a later "
            f"segment begins, of {list(rates[1:])}"
        )
    return tuple(max([0, *(border for border in borders if border <= k)]) for k in range(len(rates)))


def joined(several: Iterable[Firsts]) -> Firsts:
    """The segments of what reads all of these: it begins anew wherever one of them does."""
    return tuple(max(at) for at in zip(*several, strict=True))


def segments(firsts: Firsts, positions: Sequence[int]) -> Iterator[list[int]]:
    """These positions of rates, rising, in groups of one segment each."""
    group: list[int] = []
    for k in positions:
        if group and firsts[k] != firsts[group[-1]]:
            yield group
            group = []
        group.append(k)
    yield group


def _rule(text: str, whole: str) -> str:
    if text in ("nested", "dense"):
        return text
    if not text.startswith("mixed@"):
        raise SlicingError(f"connectivity {text!r} is unknown, in {whole!r}; {_NOTATION}")
    borders = _borders(text)
    if any(b <= a for a, b in pairwise(borders)) or not all(0 < rate <= 1 for rate in borders):
        raise SlicingError(f"segments must begin at rising rates in (0, 1], got {text!r}; {_NOTATION}")
    return "mixed@" + "+".join(f"{rate:.12g}" for rate in borders)


def _borders(rule: str) -> list[float]:
    try:
        return [float(rate) for rate in rule.removeprefix("mixed@").split("+")]
    except ValueError as error:
        raise SlicingError(f"segments must begin at rates, got {rule!r}; {_NOTATION}") from error
