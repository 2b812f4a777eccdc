"""What the page and the terminal say beyond the report's fields: ratios, losses, the sentence at the top."""

from collections.abc import Mapping
from typing import Any

from simulations.paper import PaperFigures, PaperInclusion, PaperSystem
from simulations.report import figures
from simulations.report.schema import Protocol, Report, Stage, System

PROTOCOLS = {
    "paper": (
        "The paper's protocol",
        "Every item goes through the stages; a stage keeps it only if it classifies it as its own type. "
        "What survives was classified correctly by every stage.",
    ),
    "retrieval": (
        "Retrieval",
        "For each type, all items are candidates; what a stage does not predict as that type leaves early, "
        "so the FLOPs depend on the filtering.",
    ),
    "ranking": (
        "Ranking",
        "For each query the candidates are scored; a stage keeps the best and hands them to a wider one.",
    ),
    "language model": (
        "Language model",
        "Perplexity of the next word: of the sliced networks at every rate, of a network trained whole and sliced "
        "afterwards, and of a separate network for each rate.",
    ),
    "virtual": (
        "Virtual time",
        "Requests arrive by the trace; scoring a batch takes the time that was measured for its size and rate.",
    ),
    "live": (
        "For real",
        "Requests arrive by the clock; the batcher scores them with the networks in a thread of this process.",
    ),
    "promise": (
        "The promise",
        "A cascade is chosen on one part of the queries so that its recall on fresh ones is promised; the rest shows "
        "whether the promise holds. The stages below are those of one split.",
    ),
}


def protocol_title(name: str) -> str:
    """A protocol's name as a heading."""
    return PROTOCOLS[name][0] if name in PROTOCOLS else name


def protocol_text(name: str) -> str:
    """What happens under a protocol, in a sentence or two; empty for one that is not of the contract."""
    return PROTOCOLS[name][1] if name in PROTOCOLS else ""


def title(report: Report) -> str:
    """The command as a title: `slicerank simulate cascade --data digits` is a cascade simulation."""
    words = []
    for word in report["command"].split():
        if word.startswith("-"):
            break
        words.append(word)
    if words[:1] == ["slicerank"]:
        words = words[1:]
    if words[:1] == ["simulate"]:
        words = [*words[1:], "simulation"]
    name = " ".join(words).replace("-", " ")
    return name[:1].upper() + name[1:] if name else "Report"


def main_protocol(report: Report) -> str:
    """The protocol that the top of the page speaks of: the paper's where it was run, else the first."""
    return "paper" if "paper" in report["protocols"] else next(iter(report["protocols"]))


def full_pass(report: Report, protocol: Protocol) -> float:
    """FLOPs of one full-width pass: as the report states, else the costliest stage of the protocol."""
    stated = report.get("full_pass_flops")
    if stated:
        return stated
    return max(
        (stage["flops"] for system in protocol["systems"] if in_flops(system) for stage in system["stages"]),
        default=0.0,
    )


def in_flops(system: System) -> bool:
    """Whether the system's costs are FLOPs; trees count visits."""
    return "cost_unit" not in system


def passes(system: System, one_pass: float) -> float | None:
    """What an item kept to the end has cost, in full passes."""
    spent = system["flops_per_kept_item"]
    return None if spent is None or one_pass == 0 or not in_flops(system) else spent / one_pass


def kept(stage: Stage, protocol: str) -> int | None:
    """How many relevant items survive up to this stage.

    Under the paper's protocol whatever survives is correct, so it is what the stage hands on.
    """
    if "relevant_kept" in stage:
        return stage["relevant_kept"]
    return stage["candidates_out"] if protocol == "paper" else None


def relevant(system: System, protocol: str) -> int | None:
    """How many relevant items enter the cascade; under the paper's protocol every one."""
    if "relevant" in system:
        return system["relevant"]
    return system["stages"][0]["candidates_in"] if protocol == "paper" else None


def losses(system: System) -> list[float | None]:
    """Share of all relevant items that each stage drops, given what reached it."""
    result: list[float | None] = []
    before: float | None = 1.0
    for stage in system["stages"]:
        now = stage["aggregate_recall"]
        result.append(None if before is None or now is None else max(0.0, before - now))
        before = now
    return result


def lost_counts(system: System, protocol: str) -> list[int | None]:
    """The same as counts, where the report carries counts."""
    result: list[int | None] = []
    before = relevant(system, protocol)
    for stage in system["stages"]:
        now = kept(stage, protocol)
        result.append(None if before is None or now is None else before - now)
        before = now
    return result


def beside(paper: PaperFigures | None, system: str) -> PaperSystem | None:
    """The half of Table 4 that stands beside one of our systems."""
    if paper is None:
        return None
    return next((p for p in paper["systems"] if system.startswith(p["beside"])), None)


def inclusion_beside(paper: PaperFigures | None, system: str) -> PaperInclusion | None:
    """The matrix of Figure 9 that stands beside one of our systems."""
    if paper is None:
        return None
    return next((p for p in paper["inclusion"] if system.startswith(p["beside"])), None)


def column_of(paper: PaperFigures, rate: float) -> int | None:
    """The paper's column for a rate, None where it printed none."""
    return next((i for i, r in enumerate(paper["rates"]) if abs(r - rate) < 1e-9), None)


def stage_ticks(protocol: Protocol) -> list[str]:
    """Names of the stages: their rates where all systems share them, else their numbers."""
    rates = {tuple(stage["rate"] for stage in system["stages"]) for system in protocol["systems"]}
    if len(rates) == 1:
        return figures.stages(next(iter(rates)))
    return [f"stage {k + 1}" for k in range(max(map(len, rates)))]


def headline(report: Report, protocol_name: str | None = None) -> list[tuple[str, bool]]:
    """One sentence: what was run and what came out, system by system, in pieces; True marks a figure.

    Without a protocol's name it speaks of the main protocol and says what was scored, or it is the report's own.
    """
    if protocol_name is None and "headline" in report:
        return [(report["headline"], False)]
    name = protocol_name or main_protocol(report)
    protocol = report["protocols"][name]
    if not protocol["systems"]:
        return []
    one_pass = full_pass(report, protocol)
    data = report["data"]
    pieces: list[tuple[str, bool]] = []
    if protocol_name is None:
        counts = f"{_number(data['candidates'], 'candidate')}, {_number(data['queries'], 'query', 'queries')}"
        pieces.append((f"On {data['name']} ({counts}), ", False))
    for index, system in enumerate(protocol["systems"]):
        share = system["stages"][-1]["aggregate_recall"]
        cost = passes(system, one_pass)
        pieces.append(("; " if index else "", False))
        if share is None:
            pieces.append((f"{system['name']} had no relevant items to keep", False))
            continue
        pieces += [(f"{system['name']} keeps ", False), (figures.percent(share), True)]
        if index == 0:
            noun = "the items" if name == "paper" else "the relevant items"
            pieces.append((f" of {noun} through {_number(len(system['stages']), 'stage')}", False))
        if cost is not None:
            pieces += [(" at ", False), (figures.times(cost), True)]
            pieces.append((" full passes per kept item" if index == 0 else "", False))
    return [*((text, strong) for text, strong in pieces if text), (".", False)]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def lowest_inclusion(entry: Mapping[str, Any]) -> float | None:
    """The least inclusion coefficient over the pairs of a system's stages; None where none is defined."""
    below = [share for i, row in enumerate(entry["inclusion"]["matrix"]) for share in row[:i]]
    return min((share for share in below if share is not None), default=None)
