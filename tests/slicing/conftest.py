"""What all tests of slicing share: one thread, random plain networks, and an independent reference for every rate."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from slicing import ConversionWarning, SlicedNetwork, convert

Widths = tuple[int, ...]  # units of one branch at each rate


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Toy sizes run on one thread: on a busy machine a pool of threads makes them ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Residual(nn.Module):
    """x + body(x), written in one of the ways people write it."""

    def __init__(self, body: nn.Module, way: int) -> None:
        super().__init__()
        self.body, self.way = body, way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            return F.relu(x + self.body(x))
        y = self.body(x)
        if self.way == 1:
            y += x
            return y
        return torch.add(y, x).tanh()


class Branches(nn.Module):
    """Several readers of one activation, concatenated."""

    def __init__(self, branches: Sequence[nn.Module], dim: int) -> None:
        super().__init__()
        self.branches, self.dim = nn.ModuleList(branches), dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], self.dim)


class Gate(nn.Module):
    """x * sigmoid(body(x))."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.body(x))


class Flat(nn.Module):
    """A flatten, written in one of the ways people write it."""

    def __init__(self, way: int) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == 0:
            return torch.flatten(x, 1)
        if self.way == 1:
            return x.view(x.size(0), -1)
        return x.reshape(x.shape[0], -1)


class Averaged(nn.Module):
    """The mean over an image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class IdsAndFeatures(nn.Module):
    """An embedded id beside dense features, as ranking has them; raw features too where ``raw``."""

    def __init__(self, table: nn.Module, dense: nn.Module, tail: nn.Module, raw: bool) -> None:
        super().__init__()
        self.table, self.dense, self.tail, self.raw = table, dense, tail, raw

    def forward(self, ids: Tensor, features: Tensor) -> Tensor:
        parts = [self.table(ids), self.dense(features)] + ([features] if self.raw else [])
        return self.tail(torch.cat(parts, 1))


@dataclass
class Case:
    """A random plain network and the rates that slice it legally."""

    module: nn.Module
    rates: tuple[float, ...]
    shapes: list[tuple[int, ...]]
    ids: bool = False  # whether the first input is one
    dtype: torch.dtype = torch.float64

    @property
    def shape(self) -> tuple[int, ...] | list[tuple[int, ...]]:
        return self.shapes if len(self.shapes) > 1 else self.shapes[0]

    def inputs(self, count: int, seed: int = 0) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        made = [torch.randn(count, *shape, generator=generator, dtype=self.dtype) for shape in self.shapes]
        if self.ids:
            made[0] = torch.randint(0, 7, (count, *self.shapes[0]), generator=generator)
        return tuple(made)

    def sliced(self, connectivity: str, **options: object) -> SlicedNetwork:
        """Converted, without the warning that the weights were masked."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)
            return convert(self.module, self.rates, connectivity, input_shape=self.shape, **options)

    def connectivity(self, draw: Callable) -> str:
        """A random segmentation, and others for some layers or modules of layers."""
        names = [
            name for name, layer in self.module.named_modules() if getattr(layer, "gives_blocks", None) is not None
        ]
        names = sorted({".".join(name.split(".")[:depth]) for name in names for depth in (1, 3)})

        def rule() -> str:
            borders = [rate for rate in self.rates[1:] if draw(st.booleans())]
            if not borders:
                return "nested"
            return draw(st.sampled_from(["dense", f"mixed@{'+'.join(map(repr, borders))}"]))

        chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
        return ",".join([rule(), *(f"{name}={rule()}" for name in chosen)])

    def segment_begin(self, layer: str, connectivity: str, at: int) -> int:
        """The position of the rate where the segment of ``at`` begins, by the notation, read anew."""
        rule, *others = connectivity.split(",")
        names = dict(other.split("=") for other in others)
        holding = [name for name in names if f"{layer}.".startswith(f"{name}.")]
        rule = names[max(holding, key=len)] if holding else rule
        if rule in ("nested", "dense"):
            return at if rule == "dense" else 0
        begins = [float(rate) for rate in rule.removeprefix("mixed@").split("+")]
        return max(k for k in range(at + 1) if k == 0 or any(abs(self.rates[k] - rate) < 1e-9 for rate in begins))

    def reference(self, at: int, connectivity: str, rescale: bool = False) -> nn.Module:
        """The plain module with everything beyond rate ``at`` silenced: slow, simple, and no slicing code in it.

        A unit beyond the rate is silent when no layer that mixes units hears it; a unit is deaf to blocks wider than
        its own and than the first rate of the segment.
        """
        module = copy.deepcopy(self.module)
        for name, layer in module.named_modules():
            reads: Tensor | None = getattr(layer, "reads_blocks", None)
            if reads is None:
                continue
            heard = (reads <= at).to(self.dtype)
            share = 1.0 / float(heard.mean()) if rescale and isinstance(layer, nn.Linear) else 1.0
            spread = (1, -1) if isinstance(layer, nn.Linear) else (1, -1, 1, 1)
            mask = (heard * share).reshape(spread)
            gives: Tensor | None = layer.gives_blocks  # type: ignore[assignment]
            with torch.no_grad():
                if gives is not None:
                    known = gives.clamp(min=self.segment_begin(name, connectivity, at))
                    allowed = (reads[None, :] <= known[:, None]).to(self.dtype)
                    layer.weight *= allowed.reshape(*allowed.shape, *(1,) * (layer.weight.dim() - 2))
                layer.weight *= mask
        return module


@dataclass
class _Drawer:
    """Builds one network; ``widths`` is the present activation, a tuple of widths for each of its branches."""

    draw: Callable
    blocks: list[int]

    def __post_init__(self) -> None:
        self.cuts = tuple(accumulate(self.blocks))
        self.widths: list[Widths] = []
        self.positions = 1

    def units(self) -> Widths:
        multiple = self.draw(st.integers(1, 2))
        return tuple(multiple * cut for cut in self.cuts)

    def channels(self) -> int:
        return sum(branch[-1] for branch in self.widths)

    def granularities(self) -> list[int]:
        whole = math.gcd(*(units for branch in self.widths for units in branch))
        return [size for size in range(1, whole + 1) if whole % size == 0]

    def block_ids(self, widths: Sequence[Widths], positions: int = 1) -> Tensor:
        ids = [
            torch.full((now - before,), k)
            for branch in widths
            for k, (before, now) in enumerate(zip((0, *branch), branch, strict=False))
        ]
        return torch.cat(ids).repeat_interleave(positions)

    def mixing(self, layer: nn.Module, reads: Sequence[Widths], gives: Widths | None, positions: int = 1) -> nn.Module:
        """Note on a layer which block each unit belongs to; a raw input belongs to block 0, a head to none."""
        into = layer.weight.shape[1]
        layer.reads_blocks = self.block_ids(reads, positions) if reads else torch.zeros(into, dtype=torch.long)
        layer.gives_blocks = None if gives is None else self.block_ids([gives])
        return layer

    def activation(self) -> nn.Module:
        return self.draw(
            st.sampled_from(
                [
                    nn.ReLU(inplace=True),
                    nn.ReLU(),
                    nn.GELU(),
                    nn.SiLU(),
                    nn.LeakyReLU(0.1),
                    nn.ELU(0.7),
                    nn.Softplus(2.0),
                    nn.Hardswish(),
                    nn.Identity(),
                    nn.Dropout(0.3),
                ]
            )
        )

    def linear(self, into: int, gives: Widths) -> nn.Module:
        layer = nn.Linear(into, gives[-1], bias=self.draw(st.booleans()))
        return self.mixing(layer, self.widths, gives, self.positions)

    def dense_body(self, into: int, pieces: int) -> list[nn.Module]:
        """Dense layers, skips, branches and norms; leaves ``widths`` behind them."""
        made: list[nn.Module] = []
        for piece in range(pieces):
            kind = self.draw(st.sampled_from(["linear", "skip", "branches", "norm"])) if piece else "linear"
            if kind == "skip" and len(self.widths) == 1 and self.positions == 1:
                body = nn.Sequential(self.linear(into, self.widths[0]), self.activation())
                made.append(Residual(body, self.draw(st.integers(0, 2))))
            elif kind == "branches":
                parts = [self.units() for _ in range(self.draw(st.integers(2, 3)))]
                branches = [nn.Sequential(self.linear(into, part), self.activation()) for part in parts]
                made.append(Branches(branches, self.draw(st.sampled_from([1, -1]))))
                self.widths, self.positions, into = parts, 1, sum(part[-1] for part in parts)
            elif kind == "norm" and self.granularities()[-1] > 1 and self.positions == 1:
                size = self.draw(st.sampled_from(self.granularities()[1:]))
                made.append(nn.GroupNorm(into // size, into))
            else:
                gives = self.units()
                made += [self.linear(into, gives), self.activation()]
                self.widths, self.positions, into = [gives], 1, gives[-1]
        return made

    def head(self, into: int) -> nn.Module:
        layer = nn.Linear(into, self.draw(st.integers(1, 3)), bias=self.draw(st.booleans()))
        return self.mixing(layer, self.widths, None, self.positions)

    def conv(self, into: int, gives: Widths | None, size: int, same: bool) -> nn.Module:
        out = self.draw(st.integers(1, 3)) if gives is None else gives[-1]
        bias = self.draw(st.booleans())
        if same:
            kernel, dilation = self.draw(st.sampled_from([(1, 1), (3, 1), (3, 2)]))
            padding = self.draw(st.sampled_from(["same", dilation * (kernel - 1) // 2]))
            layer = nn.Conv2d(into, out, kernel, padding=padding, dilation=dilation, bias=bias)
        else:
            kernel = self.draw(st.integers(1, min(3, size)))
            dilation = self.draw(st.integers(1, 2)) if 2 * (kernel - 1) < size else 1
            stride, padding = self.draw(st.integers(1, 2)), self.draw(st.integers(0, 1))
            layer = nn.Conv2d(into, out, kernel, stride, padding, dilation, bias=bias)
        return self.mixing(layer, self.widths, gives)

    def image_piece(self, kind: str, size: int) -> nn.Module | None:
        into, single = self.channels(), len(self.widths) == 1
        if kind == "conv":
            gives = self.units()
            layer = self.conv(into, gives, size, same=False)
            self.widths = [gives]
            return layer
        if kind == "residual" and single:
            body = nn.Sequential(self.conv(into, self.widths[0], size, same=True), self.activation())
            return Residual(body, self.draw(st.integers(0, 2)))
        if kind == "gate" and single:
            return Gate(nn.Sequential(nn.AdaptiveAvgPool2d(1), self.conv(into, self.widths[0], size, same=True)))
        if kind == "branches":
            parts = [self.units() for _ in range(self.draw(st.integers(2, 3)))]
            branches = [self.conv(into, part, size, same=True) for part in parts]
            self.widths = parts
            return Branches(branches, 1)
        if kind in ("norm", "grouped"):
            group = self.draw(st.sampled_from(self.granularities()))
            if kind == "norm":
                return nn.GroupNorm(into // group, into) if group * size * size > 1 else None
            out_group = self.draw(st.integers(1, 3)) if single else group
            self.widths = [tuple(units // group * out_group for units in branch) for branch in self.widths]
            stride = self.draw(st.integers(1, 2))
            return nn.Conv2d(into, into // group * out_group, 3, stride, 1, groups=into // group)
        if kind == "pool" and size > 1:
            return self.draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.MaxPool2d(3, 2, 1)]))
        return self.activation()


PIECES = ("conv", "residual", "gate", "branches", "norm", "grouped", "pool", "activation")


@st.composite
def _cases(
    draw: Callable, kinds: Sequence[str] = ("image", "dense", "ids"), dtype: torch.dtype = torch.float64
) -> Case:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    drawer = _Drawer(draw, draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    rates = tuple(cut / drawer.cuts[-1] for cut in drawer.cuts)
    kind = draw(st.sampled_from(list(kinds)))
    if kind == "image":
        module, shapes = _image_network(draw, drawer)
    elif kind == "dense":
        shapes = [(draw(st.integers(1, 4)),)]
        body = drawer.dense_body(shapes[0][0], draw(st.integers(1, 4)))
        module = nn.Sequential(*body, drawer.head(drawer.channels()))
    else:
        module, shapes = _ids_network(draw, drawer)
    module = module.to(dtype).eval()
    for layer in module.modules():
        if isinstance(layer, nn.GroupNorm):  # ones and zeros would hide a permutation
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return Case(module, rates, shapes, kind == "ids", dtype)


def _image_network(draw: Callable, drawer: _Drawer) -> tuple[nn.Module, list[tuple[int, ...]]]:
    shape = (draw(st.integers(1, 3)), draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    gives = drawer.units()
    pieces: list[nn.Module] = [drawer.conv(shape[0], gives, 3, same=False)]
    drawer.widths = [gives]
    with torch.no_grad():
        image = pieces[0](torch.zeros(2, *shape))
        for kind in draw(st.lists(st.sampled_from(PIECES), max_size=4)):
            piece = drawer.image_piece(kind, min(image.shape[2:]))
            if piece is not None:
                pieces.append(piece.eval())
                image = piece(image)
    ending = draw(st.sampled_from(["pooled", "flat", "averaged", "conv"]))
    if ending == "conv":
        pieces += [drawer.conv(drawer.channels(), None, 1, same=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*pieces), [shape]
    if ending == "averaged":
        pieces.append(Averaged())
    elif ending == "pooled":
        pieces += [nn.AdaptiveMaxPool2d(1), Flat(draw(st.integers(0, 2)))]
    else:
        pieces.append(Flat(draw(st.integers(0, 2))))
        drawer.positions = image.shape[2] * image.shape[3]
    if draw(st.booleans()):
        gives = drawer.units()
        pieces += [drawer.linear(drawer.channels() * drawer.positions, gives), nn.ReLU()]
        drawer.widths, drawer.positions = [gives], 1
    return nn.Sequential(*pieces, drawer.head(drawer.channels() * drawer.positions)), [shape]


def _ids_network(draw: Callable, drawer: _Drawer) -> tuple[nn.Module, list[tuple[int, ...]]]:
    features = draw(st.integers(1, 4))
    first, second = drawer.units(), drawer.units()
    table = nn.Embedding(7, first[-1], padding_idx=draw(st.sampled_from([None, 0, 3])))
    dense = nn.Sequential(drawer.linear(features, second), drawer.activation())
    raw = draw(st.booleans())
    drawer.widths = [first, second] + ([(features,) * len(drawer.cuts)] if raw else [])
    body = drawer.dense_body(drawer.channels(), draw(st.integers(1, 3)))
    tail = nn.Sequential(*body, drawer.head(drawer.channels()))
    return IdsAndFeatures(table, dense, tail, raw), [(), (features,)]


@pytest.fixture(scope="session")
def cases() -> Callable[..., st.SearchStrategy[Case]]:
    """A strategy of random networks: ``data.draw(cases())``, or ``cases(kinds=("dense",))``."""
    return _cases


@pytest.fixture(scope="session")
def close() -> Callable[[Tensor, Tensor, float], bool]:
    """Whether two tensors are equal up to ``tolerance`` of their scale."""

    def compare(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> bool:
        if ours.shape != theirs.shape:
            return False
        if not theirs.numel():
            return True
        scale = max(1.0, float(theirs.abs().max()))
        return float((ours - theirs).abs().max()) <= tolerance * scale

    return compare
