import subprocess
import sys
from pathlib import Path

import pytest

from data import torchvision_shim

ROOT = Path(__file__).parents[2]


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    setup = f"import sys; sys.path[:0] = {[str(p) for p in (*path, ROOT)]!r}\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", setup + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_torchvision_works_and_only_on_demand():
    done = run("""
import data
assert "torchvision" not in sys.modules and "sklearn" not in sys.modules

import torch
from data.torchvision_shim import torchvision
try:
    import torchvision as plain  # fails on some machines; the shim must cope with what that leaves behind
except RuntimeError:
    pass
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    assert len(set(pool.map(lambda _: torchvision(), range(8)))) == 1
import torchvision as plain
assert plain is torchvision()
for name, module in list(sys.modules.items()):  # a submodule left by a failed import is no part of the package
    if name.count(".") == 1 and name.startswith("torchvision."):
        assert getattr(plain, name.split(".")[1], None) is module, name

import torchvision.datasets, torchvision.transforms.v2
assert plain.transforms.v2.RandomCrop(32, padding=4)(torch.zeros(3, 32, 32)).shape == (3, 32, 32)
assert plain.datasets.CIFAR10.base_folder == "cifar-10-batches-py"
with torch.device("meta"):
    assert plain.models.vgg13(num_classes=10).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
block = plain.models.resnet.BasicBlock(4, 4).eval()
assert block(torch.ones(1, 4, 8, 8)).isfinite().all()
print("ok")
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ok\n"


def test_leaves_a_working_torchvision_alone(tmp_path):
    """A stand-in that registers its operator as compiled code would: a schema of ours must not precede it."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import torch\n"
        "library = torch.library.Library('torchvision', 'DEF')\n"
        "library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
    )
    done = run(
        "import data.torchvision_shim as shim\n"
        "assert shim.torchvision().library is shim.torchvision().library\n"
        "assert shim._library is None\n"
        "import torch\n"
        "assert not hasattr(torch.ops.torchvision, 'qnms')\n"
        "print('ok')",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ok\n"


@pytest.mark.parametrize("failure", [RuntimeError("another reason"), ImportError("libfoo is missing")])
def test_other_failures_pass_through(monkeypatch, failure):
    tries = []

    def refuse(name: str) -> None:
        tries.append(name)
        raise failure

    monkeypatch.setattr(torchvision_shim.importlib, "import_module", refuse)
    with pytest.raises(type(failure), match=str(failure)):
        torchvision_shim.torchvision()
    assert tries == ["torchvision"]
