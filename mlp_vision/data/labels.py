"""What the pictures of a data set are classified by: a label that it has, or one made of others.

Made labels are those of VTAB (Zhai et al., arXiv:1910.04867), as google-research/task_adaptation
makes them: what a picture shows is counted, or a distance or position falls into one of some bins.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mlp_core.data.classes import numbers_in
from mlp_core.errors import UserError

FEATURE = "label"  # Of most data sets.
FEWEST_OBJECTS = 3  # In a picture of CLEVR; ten at most.
CLEVR_EDGES = (8.0, 8.5, 9.0, 9.5, 10.0)  # Of distances from the camera, in CLEVR's unit.
KITTI_EDGES = (8.0, 20.0, 999.0)  # Metres from the camera.
KITTI_VEHICLES = 3  # The first of KITTI's types are car, van and truck.
NO_VEHICLE = 1000.0
NO_LABEL = -1  # As TFDS has it where labels are kept secret.
DSPRITES_BINS = 16


@dataclasses.dataclass(frozen=True)
class Label:
    """A label of the examples of a data set.

    Attributes:
      features: those that it is made of.
      class_names: in order; numbers where they have no names.
      of: its number, from those features of an example; worker processes have copies of it.
    """

    features: tuple[str, ...]
    class_names: tuple[str, ...]
    of: Callable[[Mapping[str, Any]], int]

    def with_classes(self, names: Sequence[str]) -> "Label":
        """The same label counting `names`, which include its own class names."""
        numbers = numbers_in(names, self.class_names)
        of = functools.partial(_renumbered, of=self.of, numbers=numbers)
        return dataclasses.replace(self, class_names=tuple(names), of=of)


@dataclasses.dataclass(frozen=True)
class MadeLabel:
    """How a label is made of others, "objects/size" being a feature of each object."""

    features: tuple[str, ...]
    num_classes: int
    of: Callable[[Mapping[str, Any]], int]


def _number_of_objects(example: Mapping[str, Any]) -> int:
    return len(example["objects"]["size"]) - FEWEST_OBJECTS


def _closest_object(example: Mapping[str, Any]) -> int:
    distances = _third(example["objects"]["pixel_coords"])
    return _bin(np.min(distances), CLEVR_EDGES) if len(distances) else NO_LABEL


def _closest_vehicle(example: Mapping[str, Any]) -> int:
    """The last class is that of pictures without a vehicle."""
    objects = example["objects"]
    is_vehicle = np.asarray(objects["type"], np.int64) < KITTI_VEHICLES
    distances = _third(objects["location"])[is_vehicle]
    return _bin(np.min(distances, initial=NO_VEHICLE), KITTI_EDGES)


def _third(coordinates: Sequence[np.ndarray]) -> np.ndarray:
    """The third of three coordinates of each object, float32 [number of objects]."""
    return np.asarray(coordinates, np.float32).reshape(-1, 3)[:, 2]


def _bin(value: float, edges: tuple[float, ...]) -> int:
    """How many edges lie below `value`."""
    return int(np.searchsorted(edges, value))


def _value(example: Mapping[str, Any], feature: str) -> int:
    return int(example[feature])


def _renumbered(
    example: Mapping[str, Any], of: Callable[[Mapping[str, Any]], int], numbers: Sequence[int]
) -> int:
    """Another number for each label; NO_LABEL for one outside the classes."""
    label = of(example)
    return numbers[label] if 0 <= label < len(numbers) else NO_LABEL


def _in_16_bins(example: Mapping[str, Any], feature: str, num_values: int) -> int:
    """Neighbouring values of a feature taken together, to 16 classes of equal width."""
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
    """A label of a data set.

    Args:
      dataset: its name, for messages.
      features: TFDS's features of its examples.
      name: a feature, or one of `MADE`; None for the feature `label`.

    Raises:
        UserError: there is no such label.
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
    """Whether there is a feature, or one such as "objects/size" of each of a sequence."""
    outer, _, inner = name.partition("/")
    if outer not in features:
        return False
    of_each = getattr(features[outer], "feature", None)
    return not inner or (isinstance(of_each, tfds.features.FeaturesDict) and inner in of_each)
