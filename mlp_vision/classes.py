"""Whether two sets of classes are the same: a head must not be used for another's labels."""

from collections.abc import Sequence

from mlp_core.errors import UserError
from mlp_vision.datasets.image_dataset import ImageDataset
from mlp_vision.model_spec import ModelSpec


def check_classes(source: str, spec: ModelSpec, dataset: ImageDataset) -> None:
    """Refuses weights whose logits do not stand for the classes of the data set.

    Raises:
        UserError: names `source` and says how they differ.
    """
    wanted = dataset.class_names
    if conflict := class_conflict(spec, wanted):
        raise UserError(f"{source}: its head is for other classes than {dataset.name}: {conflict}.")
    if spec.num_classes != len(wanted) and list(spec.class_names) != list(wanted):
        raise UserError(
            f"{source}: its head is for {spec.num_classes:,} classes, {dataset.name} has "
            f"{len(wanted):,}; fine-tune it, or name weights for these classes."
        )


def class_conflict(spec: ModelSpec, wanted: Sequence[str]) -> str:
    """How the classes of a model differ from those wanted; empty where no name says so."""
    there, wanted = list(spec.class_names), list(wanted)
    if there == wanted or not (_are_names(there) and _are_names(wanted)):
        return ""
    foreign = [name for name in wanted if name not in there]
    if foreign:
        return f"{foreign[0]!r} is not among its {len(there):,}"
    if len(there) != len(wanted):
        return f"it has {len(there):,}, of which {len(wanted):,} are asked for"
    return f"they are in another order, beginning with {there[0]!r}"


def _are_names(names: list[str]) -> bool:
    """Whether classes have names, not only numbers."""
    return bool(names) and names != [str(i) for i in range(len(names))]
