"""`slicerank export`: one rate of a trained model as files of its own."""

from dataclasses import dataclass
from pathlib import Path

from simulations.ranker_files import MODEL, model_file
from simulations.report.write import check_out
from slicing import Ranker, SlicingError, load, parameter_count, save, save_program, standalone
from slicing import standalone_ranker as ranker_alone
from slicing.checkpoint import KIND as SLICED_NETWORK
from slicing.files import refuse_overwriting, stored_kind

PROGRAM = "model.pt2"


@dataclass(frozen=True)
class Exported:
    """What was written: the files, the rate, and the parameters of the r-net."""

    files: tuple[Path, Path]
    rate: float
    params: int


def export_model(model: Path, rate: float, out: Path, image: tuple[int, ...] | None = None) -> Exported:
    """Write `model.safetensors` and `model.pt2` of a model's r-net into the folder `out`.

    A ranker's file holds its transform and vocabularies too and is a ranker of one rate. Both files give the scores
    that the model has at that rate.

    image: channels, height and width, for a network of images; None for a ranker.

    Raises:
        SlicingError: for a model that can't be read, a rate it does not have, a shape that does not fit, a folder
            whose model is this one.
        ReportError: when the folder can't be written.
    """
    path = model_file(model)
    refuse_overwriting((out / MODEL, out / PROGRAM), [path])
    facts = {"schema": 1, "rate": rate, "weights": MODEL}
    if stored_kind(path) != SLICED_NETWORK:
        if image is not None:
            raise SlicingError(f"{path} is a ranker, an image's shape {image} does not go with it; leave it out")
        ranker = ranker_alone(Ranker.load(path), rate)
        check_out(out)
        ranker.save(out / MODEL, {"exported_rate": rate})
        network, shapes = ranker.network, ranker.shapes
        facts |= {"kind": "ranker", "numeric": dict(ranker.numeric), "categorical": list(ranker.vocabularies)}
    else:
        if image is None:
            raise SlicingError(f"{path} is a network of images, whose size must be told; pass --image 3,32,32")
        network, shapes = standalone(load(path), rate, [image]), [image]
        check_out(out)
        save(network, out / MODEL, {"exported_rate": rate})
        facts |= {"kind": "sliced network", "image": list(image)}
    save_program(network, out / PROGRAM, shapes, facts)
    return Exported((out / MODEL, out / PROGRAM), rate, parameter_count(network))
