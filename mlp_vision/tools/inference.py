"""Opens weights and a dataset for inference; shared by scoring and feature extraction."""

import dataclasses
from collections.abc import Callable, Collection, Sequence

import flax.linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.classes import assumed_order, names_for_labels
from mlp_core.data.sources import Source
from mlp_core.data.splits import check_split
from mlp_core.distributed.agreement import check_same_digest, first_host_first
from mlp_core.distributed.mesh import check_batch_size, make_mesh, put_whole
from mlp_core.nn.parameters import digest
from mlp_core.nn.precision import compute_dtype
from mlp_core.process.console import say
from mlp_core.train.task import Params
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_dataset import ImageDataset, open_image_dataset, open_source
from mlp_vision.data.real_labels import RealLabels, open_real_labels
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.weights.loading import open_weights
from mlp_vision.weights.pretrained import load_params
from mlp_vision.weights.published_weights import locate_weights, spec_before_fetching


@dataclasses.dataclass(frozen=True)
class Inference:
    """A model with its parameters on the devices, and its dataset."""

    spec: ModelSpec
    model: nn.Module
    params: Params
    dataset: ImageDataset
    batch_size: int  # Total over all devices.
    mesh: Mesh
    real_labels: RealLabels | None

    def source(self, split: str) -> Source:
        """Returns a split's examples; the eval preset is applied when reading them, or later."""
        return open_source(
            self.dataset, split, EvalView(self.spec.image_size, self.spec.eval_preset)
        )


def open_inference(
    config: ConfigDict,
    source: str,
    splits: Collection[str],
    adapt: Callable[[ModelSpec], ModelSpec],
    check: Callable[[ModelSpec, ImageDataset], None] = lambda spec, dataset: None,
) -> Inference:
    """Opens the dataset and weights; the model is that of the weights.

    If the model has a head, labels index its classes; see `mlp_core.data.classes`.

    Args:
      config: an experiment, for its dataset, batch size and dtype.
      source: weights, see `published_weights.locate_weights`.
      splits: the splits to read.
      adapt: converts the weights' model spec to the wanted one.
      check: raises UserError if that model does not suit the dataset.

    Raises:
        UserError: weights or data are unavailable or incompatible.
    """
    settings = parse_config(ImageClassificationConfig, config)
    data = settings.data
    batch_size, mesh = settings.evaluation.global_batch_size, make_mesh()
    check_batch_size("config.evaluation.global_batch_size", batch_size, mesh)
    known = spec_before_fetching(source, settings.init.mirror)
    spec = adapt(known) if known else None
    with first_host_first("preparation of data and weights"):
        real_labels = open_real_labels(data.real_labels)
        dataset = open_image_dataset(data.name, data.data_dir, data.label)
        for split in splits:
            check_split("split", dataset, split)
        if real_labels:
            real_labels = real_labels.checked(dataset, splits)
        if spec:
            check(spec, dataset)
            _names_for_labels(source, spec, dataset)
        weights = open_weights(locate_weights(source, settings.init.mirror))
    spec = adapt(weights.spec)
    check(spec, dataset)
    names = _names_for_labels(source, spec, dataset)
    if spec.num_classes and (line := assumed_order(source, spec, dataset)):
        say(line)
    dataset = dataset.with_classes(names)
    params = load_params(weights, spec, "auto")
    check_same_digest("weights", lambda: digest(params))
    params = put_whole(params, mesh)
    model = spec.create_model(compute_dtype(settings.train.compute_dtype))
    return Inference(spec, model, params, dataset, batch_size, mesh, real_labels)


def _names_for_labels(source: str, spec: ModelSpec, dataset: ImageDataset) -> Sequence[str]:
    """Returns class names, see `mlp_core.data.classes`; the dataset's own without a head."""
    return names_for_labels(source, spec, dataset) if spec.num_classes else dataset.class_names
