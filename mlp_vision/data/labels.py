"""Labels of image data sets: label features, or labels derived from other features.

Derived labels follow VTAB (Zhai et al., arXiv:1910.04867) as in google-research/task_adaptation:
object counts, or binned distances and positions.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mlp_core.data.classes import numbers_in
from mlp_core.errors import UserError

FEATURE = "label"  # The label of most data sets.
FEWEST_OBJECTS = 3  # In a CLEVR image; ten at most.
CLEVR_EDGES = (8.0, 8.5, 9.0, 9.5, 10.0)  # Distances from the camera, in CLEVR's unit.
KITTI_EDGES = (8.0, 20.0, 999.0)  # Distances from the camera, in metres.
KITTI_VEHICLES = 3  # The first of KITTI's types are car, van and truck.
NO_VEHICLE = 1000.0
NO_LABEL = -1  # As in TFDS for withheld labels.
DSPRITES_BINS = 16


@dataclasses.dataclass(frozen=True)
class Label:
    """A label of the examples of a data set.

    Attributes:
      features: the features that it is computed from.
      class_names: in order; numbers if there are no names.
      of: maps these features of an example to the class number; must be picklable for workers.
    """

    features: tuple[str, ...]
    class_names: tuple[str, ...]
    of: Callable[[Mapping[str, Any]], int]

    def with_classes(self, names: Sequence[str]) -> "Label":
        """Returns the label renumbered to index `names`, which include its class names."""
        numbers = numbers_in(names, self.class_names)
        of = functools.partial(_renumbered, of=self.of, numbers=numbers)
        return dataclasses.replace(self, class_names=tuple(names), of=of)


@dataclasses.dataclass(frozen=True)
class MadeLabel:
    """A label derived from other features, such as "objects/size" of each object."""

    features: tuple[str, ...]
    num_classes: int
    of: Callable[[Mapping[str, Any]], int]


def _number_of_objects(example: Mapping[str, Any]) -> int:
    return len(example["objects"]["size"]) - FEWEST_OBJECTS


def _closest_object(example: Mapping[str, Any]) -> int:
    distances = _third(example["objects"]["pixel_coords"])
    return _bin(np.min(distances), CLEVR_EDGES) if len(distances) else NO_LABEL


def _closest_vehicle(example: Mapping[str, Any]) -> int:
    """Returns the distance bin of the closest vehicle; the last class has no vehicle."""
    objects = example["objects"]
    is_vehicle = np.asarray(objects["type"], np.int64) < KITTI_VEHICLES
    distances = _third(objects["location"])[is_vehicle]
    return _bin(np.min(distances, initial=NO_VEHICLE), KITTI_EDGES)


def _third(coordinates: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the third coordinate of each object, float32 [number of objects]."""
    return np.asarray(coordinates, np.float32).reshape(-1, 3)[:, 2]


def _bin(value: float, edges: tuple[float, ...]) -> int:
    """Returns the number of edges below `value`."""
    return int(np.searchsorted(edges, value))


def _value(example: Mapping[str, Any], feature: str) -> int:
    return int(example[feature])


def _renumbered(
    example: Mapping[str, Any], of: Callable[[Mapping[str, Any]], int], numbers: Sequence[int]
) -> int:
    """Maps the label through `numbers`; NO_LABEL if it is out of range."""
    label = of(example)
    return numbers[label] if 0 <= label < len(numbers) else NO_LABEL


def _in_16_bins(example: Mapping[str, Any], feature: str, num_values: int) -> int:
    """Bins the values of a feature into 16 classes of equal width."""
    return int(example[feature]) * DSPRITES_BINS // num_values


def _of_dsprites(feature: str, num_values: int) -> MadeLabel:
    of = functools.partial(_in_16_bins, feature=feature, num_values=num_values)
    return MadeLabel((feature,), DSPRITES_BINS, of)


MADE = {
    "clevr_count": MadeLabel(("objects/size",), 8, _number_of_objects),
    "clevr_distance": MadeLabel(("objects/pixel_coords",), len(CLEVR_EDGES) + 1, _closest_object),
    "kitti_distance": MadeLabel(
        ("objects/type", "objects/location"), len(KITTI_EDGES) + 1, _closest_vehicle
    ),
    "dsprites_location": _of_dsprites("label_x_position", 32),
    "dsprites_orientation": _of_dsprites("label_orientation", 40),
}


def find_label(dataset: str, features: tfds.features.FeaturesDict, name: str | None) -> Label:
    """Returns a label of a data set.

    Args:
      dataset: the data set's name, for messages.
      features: the TFDS features of its examples.
      name: a feature, or one of `MADE`; None for the feature `label`.

    Raises:
        UserError: the label does not exist.
    """
    if name in MADE and name not in features:
        made = MADE[name]
        missing = [feature for feature in made.features if not _has(features, feature)]
        if missing:
            raise UserError(
                f"config.data.label: {name!r} is made of {', '.join(made.features)}, and {dataset} "
                f"has no {missing[0]}; it has {', '.join(sorted(features))}."
            )
        whole = dict.fromkeys(feature.split("/")[0] for feature in made.features)
        return Label(tuple(whole), tuple(map(str, range(made.num_classes))), made.of)
    feature = name or FEATURE
    if feature not in features or not isinstance(features[feature], tfds.features.ClassLabel):
        found = f"it is {features[feature]}" if feature in features else "there is none"
        labels = [f for f in sorted(features) if isinstance(features[f], tfds.features.ClassLabel)]
        raise UserError(
            f"config.data.label: {dataset} has no class label {feature!r} ({found}); its labels "
            f"are {', '.join(labels) or 'none'}, and labels that can be made of other features are "
            f"{', '.join(MADE)}."
        )
    of = functools.partial(_value, feature=feature)
    return Label((feature,), tuple(features[feature].names), of)


def _has(features: tfds.features.FeaturesDict, name: str) -> bool:
    """Whether `features` has `name`, which may be nested in a sequence: "objects/size"."""
    outer, _, inner = name.partition("/")
    if outer not in features:
        return False
    of_each = getattr(features[outer], "feature", None)
    return not inner or (isinstance(of_each, tfds.features.FeaturesDict) and inner in of_each)
