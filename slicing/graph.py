"""What follows from a network's graph alone: what lies behind its heads, and what reads what."""

from collections.abc import Mapping

from slicing.spec import Node, Spec


def behind_heads(spec: Spec, heads: set[str]) -> set[str]:
    """The operations on scores."""
    behind: set[str] = set()
    for node in spec.nodes:
        if any(name in heads or name in behind for name in node.inputs):
            behind.add(node.name)
    return behind


def read_by_rectifier_alone(spec: Spec) -> set[str]:
    """Results of weighted layers that nothing but a rectifier reads, so that it may work in place."""
    readers = readers_of(spec)
    owned = {node.name for node in spec.nodes if node.op in ("linear", "conv2d", "group_norm")}
    return {
        name
        for name, nodes in readers.items()
        if [node.op for node in nodes] == ["relu"] and name in owned and name != spec.output
    }


def readers_of(spec: Spec) -> Mapping[str, list[Node]]:
    """What reads each result."""
    readers: dict[str, list[Node]] = {}
    for node in spec.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


def last_readings(spec: Spec) -> list[tuple[str, ...]]:
    """For each operation, the results that nothing behind it reads."""
    last_use = {name: i for i, node in enumerate(spec.nodes) for name in node.inputs}
    return [
        tuple(name for name in dict.fromkeys(node.inputs) if last_use[name] == i and name != spec.output)
        for i, node in enumerate(spec.nodes)
    ]
