"""Import torchvision also where its compiled operators do not load.

A torchvision wheel built against another torch (a CUDA wheel beside a CPU torch, for one) cannot load its
compiled operators. It tolerates that, except for two operators whose shape functions it registers
unconditionally while it is imported: ``import torchvision`` then ends in "operator torchvision::nms does not
exist". Declaring the two schemas is enough for what is pure Python in torchvision (data sets, transforms,
models without detection heads); calling a compiled operator still ends in torchvision's own error.
"""

import importlib
import sys
import threading
from types import ModuleType

import torch

# Schemas as in torchvision's own csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_lock = threading.Lock()
_library: torch.library.Library | None = None  # a Library that is collected takes its schemas with it


def torchvision() -> ModuleType:
    """Return the torchvision module, imported whether or not its compiled operators load.

    Where a plain ``import torchvision`` works, this is that import and nothing else. Later plain imports,
    anywhere in the process, find the same module. Safe to call repeatedly and from several threads.
    """
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if not any(f"operator torchvision::{name} does not exist" in str(error) for name in _SCHEMAS):
                raise
        _forget_partial_import()
        _declare_missing_schemas()
        return importlib.import_module("torchvision")


def _forget_partial_import() -> None:
    """Drop the submodules that a failed import leaves: they belong to a package object that is gone."""
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]


def _declare_missing_schemas() -> None:
    global _library
    if _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            _library.define(schema)
