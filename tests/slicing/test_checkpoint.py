"""One file a network: bit for bit back, and nothing but an error from a file that is not one."""

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing import SlicingError, Spec, convert, load, save
from slicing.checkpoint import KIND, fill
from slicing.files import load_tensors, save_tensors
from slicing.models import mlp, small_cnn
from slicing.network import SlicedNetwork

RANDOM = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    plain = convert(small_cnn(3, width=0.25), [0.25, 0.5, 1.0], "dense")
    return SlicedNetwork(plain.spec, plain.rates, "nested")


@pytest.fixture(scope="module")
def parts(network, tmp_path_factory):
    """What stands in a good file: its tensors and its description."""
    path = tmp_path_factory.mktemp("good") / "net.safetensors"
    save(network, path)
    return load_tensors(path, KIND)


@pytest.mark.parametrize("connectivity", ["nested", "dense"])
@given(data=st.data())
@RANDOM
def test_a_network_comes_back_bit_for_bit(cases, tmp_path_factory, connectivity, data):
    case = data.draw(cases(dtype=data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))))
    network = case.sliced(connectivity, rescale=data.draw(st.booleans())).eval()
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    save(network, path, {"accuracy": 0.5})
    again = load(path)
    assert (again.rates, again.connectivity, again.rescale) == (network.rates, connectivity, network.rescale)
    assert json.loads(json.dumps(again.spec.to_dict())) == json.loads(json.dumps(network.spec.to_dict()))
    assert not again.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
        assert again.state_dict()[name].dtype == tensor.dtype
    x = case.inputs(2)
    with torch.no_grad():
        for rate in network.rates:
            assert torch.equal(again(*x, rate=rate), network(*x, rate=rate))


def test_a_missing_truncated_damaged_or_foreign_file_is_refused(network, tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(SlicingError, match="no such file"):
        load(path)
    save(network, path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-10], b"PK\x03\x04" + whole):
        path.write_bytes(content)
        with pytest.raises(SlicingError, match="not a readable"):
            load(path)
    path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
    with pytest.raises(SlicingError, match="damaged"):
        load(path)
    save_tensors(path, {"weight": torch.zeros(1)}, {}, "training checkpoint")
    with pytest.raises(SlicingError, match="is not a sliced network but 'training checkpoint'"):
        load(path)


def test_unwritable_paths_and_notes_that_json_cannot_hold(network, tmp_path):
    with pytest.raises(SlicingError, match="there is no folder"):
        save(network, tmp_path / "missing" / "net.safetensors")
    with pytest.raises(TypeError):
        save(network, tmp_path / "net.safetensors", {"x": object()})
    assert not list(tmp_path.iterdir())


def test_weights_of_another_architecture_are_refused(parts, tmp_path):
    tensors, description = parts
    path = tmp_path / "net.safetensors"
    name = "layers.3.weight"
    for changed, message in (
        ({key: tensor for key, tensor in tensors.items() if key != name}, f"{name} should have shape .* found none"),
        ({**tensors, "layers.99.weight": torch.zeros(1)}, "layers.99.weight should have shape none, found"),
        ({**tensors, name: torch.zeros(1, 2)}, rf"{name} should have shape \(16, 16, 3, 3\), found \(1, 2\)"),
    ):
        save_tensors(path, changed, description, KIND)
        with pytest.raises(SlicingError, match=message):
            load(path)


def test_sizes_that_the_weights_do_not_have_cost_no_memory(parts, tmp_path, monkeypatch):
    _, description = parts
    path = tmp_path / "net.safetensors"
    save_tensors(path, {"layers.0.weight": torch.zeros(1)}, description, KIND)
    devices = []

    class Watched(SlicedNetwork):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            devices.append(next(self.parameters()).device.type)

    monkeypatch.setattr("slicing.checkpoint.SlicedNetwork", Watched)
    with pytest.raises(SlicingError, match="another architecture"):
        load(path)
    assert devices == ["meta"]


def test_weights_above_the_block_diagonal_are_refused_and_a_diverged_network_is_not(parts, tmp_path):
    tensors, description = parts
    path = tmp_path / "net.safetensors"
    changed = copy.deepcopy(tensors)
    changed["layers.3.weight"][0, 15, 1, 1] = 1e-9
    save_tensors(path, changed, description, KIND)
    with pytest.raises(SlicingError, match="3 has weights above the block diagonal, so it is not nested"):
        load(path)
    save_tensors(path, changed, {**description, "connectivity": "dense"}, KIND)
    assert load(path).connectivity == "dense"
    changed = copy.deepcopy(tensors)
    changed["layers.3.weight"][15, 15] = float("nan")
    changed["layers.3.weight"][15, 14] = float("inf")
    save_tensors(path, changed, description, KIND)
    assert load(path).module_of("3").weight.isnan().any()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_weights_that_are_no_numbers_of_one_kind_are_refused(parts, tmp_path, dtype):
    tensors, description = parts
    path = tmp_path / "net.safetensors"
    for changed in (
        {name: tensor.to(dtype) for name, tensor in tensors.items()},
        {name: tensor.double() if name == "layers.3.weight" else tensor for name, tensor in tensors.items()},
    ):
        save_tensors(path, changed, description, KIND)
        with pytest.raises(SlicingError, match="must all have one floating-point type"):
            load(path)


def test_fill_refuses_before_it_changes_anything(network):
    other = convert(mlp([2, 4, 1]), [0.5, 1.0], "dense")
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(SlicingError, match="here: holds another architecture"):
        fill(other, network.state_dict(), "here")
    assert all(torch.equal(other.state_dict()[name], before[name]) for name in before)


def node(description, index):
    return description["spec"]["nodes"][index]


def edit(function):
    """A damage: what ``function`` does to a copy of the description."""

    def damage(description):
        description = copy.deepcopy(description)
        function(description)
        return description

    return damage


ADVERSARIAL = {
    "not a mapping": lambda d: [1, 2],
    "nothing": lambda d: {},
    "null": lambda d: None,
    "no spec": edit(lambda d: d.pop("spec")),
    "no rates": edit(lambda d: d.pop("rates")),
    "spec is a list": edit(lambda d: d.update(spec=[])),
    "spec is null": edit(lambda d: d.update(spec=None)),
    "format": edit(lambda d: d["spec"].update(format=99)),
    "no nodes": edit(lambda d: d["spec"].pop("nodes")),
    "nodes is a number": edit(lambda d: d["spec"].update(nodes=3)),
    "nodes are texts": edit(lambda d: d["spec"].update(nodes=["relu"])),
    "empty graph": edit(lambda d: d["spec"].update(nodes=[])),
    "unknown operation": edit(lambda d: node(d, 0).update(op="os.system")),
    "class": edit(lambda d: node(d, 0).update(op="torch.nn.Linear")),
    "private operation": edit(lambda d: node(d, 0).update(op="__init__")),
    "operation is null": edit(lambda d: node(d, 0).update(op=None)),
    "cycle": edit(lambda d: node(d, 0).update(inputs=[node(d, 5)["name"]])),
    "itself": edit(lambda d: node(d, 0).update(inputs=[node(d, 0)["name"]])),
    "unknown input": edit(lambda d: node(d, 0).update(inputs=["nowhere"])),
    "no input": edit(lambda d: node(d, 0).update(inputs=[])),
    "input is a number": edit(lambda d: node(d, 0).update(inputs=3)),
    "inputs are lists": edit(lambda d: node(d, 0).update(inputs=[["x"]])),
    "two inputs": edit(lambda d: node(d, 3).update(inputs=[node(d, 2)["name"]] * 2)),
    "one addend": edit(lambda d: node(d, 3).update(op="add", config={})),
    "name twice": edit(lambda d: node(d, 1).update(name=node(d, 0)["name"])),
    "name of an input": edit(lambda d: node(d, 0).update(name=d["spec"]["inputs"][0])),
    "name is code": edit(lambda d: node(d, 0).update(name='0");import os;("')),
    "input is code": edit(lambda d: d["spec"].update(inputs=["x=print(1)"])),
    "name inside a layer": edit(lambda d: node(d, 1).update(name="0.weight")),
    "name of a method": edit(lambda d: node(d, 0).update(name="forward")),
    "output": edit(lambda d: d["spec"].update(output="nowhere")),
    "growing output": edit(lambda d: d["spec"].update(output=node(d, 3)["name"])),
    "inputs is a number": edit(lambda d: d["spec"].update(inputs=3)),
    "inputs are maps": edit(lambda d: d["spec"].update(inputs=[{}])),
    "features": edit(lambda d: d["spec"].update(input_features=[1, 2, 3])),
    "feature is a text": edit(lambda d: d["spec"].update(input_features=["many"])),
    "negative feature": edit(lambda d: d["spec"].update(input_features=[-3])),
    "config is a text": edit(lambda d: node(d, 0).update(config="abc")),
    "config is null": edit(lambda d: node(d, 0).update(config=None)),
    "missing setting": edit(lambda d: node(d, 0)["config"].pop("kernel_size")),
    "unknown setting": edit(lambda d: node(d, 0)["config"].update(device="cuda")),
    "unknown unitwise setting": edit(lambda d: node(d, 2)["config"].update(inplace=True)),
    "missing pool size": edit(lambda d: next(n for n in d["spec"]["nodes"] if "max" in n["op"])["config"].clear()),
    "pool size is a text": edit(
        lambda d: next(n for n in d["spec"]["nodes"] if "max" in n["op"])["config"].update(kernel_size="2")
    ),
    "negative size": edit(lambda d: node(d, 0)["config"].update(out_channels=-16)),
    "size is a share": edit(lambda d: node(d, 0)["config"].update(out_channels=16.0)),
    "size is true": edit(lambda d: node(d, 0)["config"].update(in_channels=True)),
    "huge size": edit(lambda d: node(d, 0)["config"].update(out_channels=10**400)),
    "large size": edit(lambda d: node(d, 0)["config"].update(out_channels=2**31 - 4)),
    "huge kernel": edit(lambda d: node(d, 0)["config"].update(kernel_size=[2**31 - 1] * 2)),
    "kernel": edit(lambda d: node(d, 0)["config"].update(kernel_size=[3])),
    "kernel is a number": edit(lambda d: node(d, 0)["config"].update(kernel_size=3)),
    "padding": edit(lambda d: node(d, 0)["config"].update(padding="most")),
    "negative padding": edit(lambda d: node(d, 0)["config"].update(padding=[-1, 0])),
    "no groups": edit(lambda d: node(d, 0)["config"].update(groups=0)),
    "groups do not divide": edit(lambda d: node(d, 0)["config"].update(groups=5)),
    "bias is a text": edit(lambda d: node(d, 0)["config"].update(bias="no")),
    "norm groups": edit(lambda d: node(d, 1)["config"].update(num_groups=0)),
    "norm groups do not divide": edit(lambda d: node(d, 1)["config"].update(num_groups=7)),
    "norm channels": edit(lambda d: node(d, 1)["config"].update(num_channels=8, num_groups=2)),
    "eps": edit(lambda d: node(d, 1)["config"].update(eps=None)),
    "negative eps": edit(lambda d: node(d, 1)["config"].update(eps=-1.0)),
    "eps is infinite": edit(lambda d: node(d, 1)["config"].update(eps=10**400)),
    "rates is a text": edit(lambda d: d.update(rates="half")),
    "rates are texts": edit(lambda d: d.update(rates=["a", "b"])),
    "rates is null": edit(lambda d: d.update(rates=None)),
    "rate is null": edit(lambda d: d.update(rates=[None, 1.0])),
    "rates fall": edit(lambda d: d.update(rates=[1.0, 0.5])),
    "rate is huge": edit(lambda d: d.update(rates=[10**400])),
    "rates split a group": edit(lambda d: d.update(rates=[0.1, 1.0])),
    "connectivity": edit(lambda d: d.update(connectivity="sparse")),
    "connectivity is a list": edit(lambda d: d.update(connectivity=["nested"])),
    "rescale": edit(lambda d: d.update(rescale="yes")),
}


@pytest.mark.parametrize("case", ADVERSARIAL, ids=str)
def test_a_description_from_a_stranger_ends_in_one_clear_error(parts, tmp_path, case):
    tensors, description = parts
    path = tmp_path / "net.safetensors"
    save_tensors(path, tensors, ADVERSARIAL[case](description), KIND)
    with pytest.raises(SlicingError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_in_the_architecture_is_read_or_refused(parts, data):
    """Replace a value somewhere in the tree by any other: a network or a SlicingError, nothing else."""
    description = copy.deepcopy(parts[1])
    holder = description
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.integers(0, 5)) == 0:
            break
        holder = holder[key]
    holder[key] = data.draw(json_values)
    try:
        with torch.device("meta"):
            SlicedNetwork(
                Spec.from_dict(description["spec"]),
                description["rates"],
                description["connectivity"],
                description["rescale"],
            )
    except SlicingError:
        return


def test_loading_runs_no_code(parts, tmp_path):
    """Every name a description may carry is a key into fixed tables: nothing is imported or called by it."""
    spec = Spec.from_dict(parts[1]["spec"])
    assert {type(module).__module__.split(".")[0] for module in SlicedNetwork(spec, [1.0]).modules()} <= {
        "torch",
        "slicing",
    }
