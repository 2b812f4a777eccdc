"""Architectures, as plain torch modules: `slicing.convert` slices them."""

from slicing.models.cnn import small_cnn
from slicing.models.language import LanguageModel
from slicing.models.mlp import mlp
from slicing.models.ranker import input_shapes, ranker_module
from slicing.models.resnet import resnet, wide_resnet
from slicing.models.vgg import vgg13, vgg16

__all__ = [
    "LanguageModel",
    "input_shapes",
    "mlp",
    "ranker_module",
    "resnet",
    "small_cnn",
    "vgg13",
    "vgg16",
    "wide_resnet",
]
