"""Writes activations of a model over a split: pooled features or layer outputs.

Shapes: B batch, S tokens, C channels.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from ml_collections import ConfigDict
from tqdm import tqdm

from mlp_core.data.pipeline import eval_batches
from mlp_core.distributed.mesh import put_batch, replicated
from mlp_core.errors import UserError
from mlp_core.nn.precision import check_finite_outputs
from mlp_core.process.compilation import compiler_options
from mlp_core.process.console import say
from mlp_core.process.files import check_output, whole_output
from mlp_core.process.user_paths import check_utf8
from mlp_core.process.watchdog import limited, waits_for
from mlp_vision.data.image_dataset import ImageDataset
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.tasks.classification import eval_view, model_input
from mlp_vision.tools.inference import Inference, open_inference

POOLED = "pooled"
MEMORY_LIMIT_BYTES = 8 << 30  # Npz files are assembled in memory.

Rows = dict[str, np.ndarray]  # Layers by name, with `label` and `index` of the examples.


def extract(
    config: ConfigDict, source: str, split: str, layers: Sequence[str], output: Path
) -> None:
    """Writes activations on a split of the configured dataset, under the eval preset.

    An output that ends in `.npz` holds a float32 array per layer, and the integers `label` and
    `index` in the split per row. Any other name becomes a TFDS directory with the same content in
    array_record: `tfds.builder_from_directory(directory)` reads it. Unreadable images have no
    row.

    Args:
      config: an experiment, for its dataset, batch size and dtype.
      source: weights, see `published_weights.locate_weights`.
      split: a split such as "test".
      layers: see `activations`.
      output: file or directory to write.

    Raises:
        UserError: weights or data are unavailable, a layer is unknown, or the output exists.
    """
    check_output(output)
    writes_npz = output.suffix == ".npz"
    if not writes_npz:
        check_utf8(output, "--output=")

    def check(spec: ModelSpec, dataset: ImageDataset) -> None:
        check_layers(spec, layers)
        if writes_npz:
            _check_memory(_shapes(spec, layers), dataset.num_examples(split))

    inference = open_inference(
        config, source, [split], lambda spec: spec.adapted(num_classes=0), check
    )
    spec, dataset = inference.spec, inference.dataset
    rows = feature_rows(inference, split, layers)
    try:
        # Opening the output first avoids hours of work before a write error.
        with whole_output(output) as part, limited(60 * config.train.stall_limit):
            if writes_npz:
                count = _write_npz(part, rows)
            else:
                count = _write_tfds_directory(part, rows, split, _shapes(spec, layers))
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror}).") from error
    say(
        f"Wrote {', '.join(layers)} of {count:,} of {dataset.num_examples(split):,} examples, "
        f"{dataset.name} {split}, to {output}; {spec.preprocessing()}"
    )


def feature_rows(inference: Inference, split: str, layers: Sequence[str]) -> Iterator[Rows]:
    """Yields activations of a split by batch, without padding rows.

    Layers are float32, named as in `activations`. Terminals show a progress bar. Unreadable images
    have no row.

    Raises:
        UserError: too many unreadable images.
    """
    spec, model, in_memory = inference.spec, inference.model, inference.dataset.in_memory
    modules = {layer: spec.layers[layer].module for layer in layers if layer != POOLED}

    def step(params, images):
        views = eval_view(spec, images) if in_memory else images
        given = activations(model, params, model_input(spec, model, views), modules)
        return {layer: given[layer] for layer in layers}

    mesh = inference.mesh
    step = jax.jit(step, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh))
    examples, first = inference.source(split), 0
    waits_for(f"the first batch of {split}")
    with tqdm(total=len(examples), desc=split, unit="img", disable=None) as bar:
        for batch in eval_batches(examples, inference.batch_size):
            waits_for(f"the batch from example {first:,} of {split} on, or the next")
            images = put_batch({"image": batch["image"]}, inference.mesh)["image"]
            computed = jax.device_get(step(inference.params, images))
            check_finite_outputs(computed)
            real = batch["mask"] > 0
            rows = {name: np.asarray(values, np.float32)[real] for name, values in computed.items()}
            index = np.arange(first, first + inference.batch_size)[real]
            yield rows | {"label": batch["label"][real], "index": index}
            first += inference.batch_size
            bar.update(len(index))


def check_layers(spec: ModelSpec, layers: Sequence[str]) -> None:
    """Checks that the model has these layers.

    Raises:
        UserError: a layer is unknown; lists the known ones.
    """
    if not layers:
        raise UserError(f"--layers: name one at least, such as {POOLED}.")
    inner = list(spec.layers)
    for layer in layers:
        if layer not in (POOLED, *inner):
            raise UserError(
                f"--layers: there is no layer {layer!r}; choose from {POOLED} and {inner[0]} to "
                f"{inner[-1]}."
            )


def activations(model: nn.Module, params, images: jax.Array, modules: Mapping[str, str]) -> dict:
    """Activations by layer: `pooled`, float32 [B, C], before the head; `block_3` etc., [B, S, C].

    `model` has no head; `modules` maps the layers other than `pooled` to its submodules.
    """
    pooled, state = model.apply(
        {"params": params},
        images,
        capture_intermediates=lambda module, _: module.name in modules.values(),
        mutable=["intermediates"],
    )
    captured = state.get("intermediates", {})
    inner = {layer: captured[module]["__call__"][0] for layer, module in modules.items()}
    return {POOLED: pooled, **inner}


def _shapes(spec: ModelSpec, layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of one example's activations by layer."""
    shapes = {name: layer.shape for name, layer in spec.layers.items()}
    shapes[POOLED] = (spec.feature_dim,)
    return {layer: shapes[layer] for layer in layers}


def _check_memory(shapes: Mapping[str, tuple[int, ...]], num_examples: int) -> None:
    size = 4 * num_examples * sum(int(np.prod(shape)) for shape in shapes.values())
    if size > MEMORY_LIMIT_BYTES:
        raise UserError(
            f"--output: an npz file of {size / 2**30:.0f} GiB would be put together in memory; "
            "name a folder (no .npz) to write array_record, or fewer layers."
        )


def _write_npz(output: Path, batches: Iterator[Rows]) -> int:
    """Writes the rows and returns their number."""
    parts = list(batches)
    arrays = {name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]}
    np.savez(output, **arrays)
    return len(arrays["index"])


def _write_tfds_directory(
    output: Path, batches: Iterator[Rows], split: str, shapes: Mapping[str, tuple[int, ...]]
) -> int:
    """Writes one array_record shard, with the metadata that TFDS needs."""
    tensors = {
        name: tfds.features.Tensor(shape=shape, dtype=np.float32) for name, shape in shapes.items()
    }
    scalars = {name: tfds.features.Scalar(dtype=np.int64) for name in ("label", "index")}
    features = tfds.features.FeaturesDict(tensors | scalars)
    split = re.match(r"\w+", split)[0]  # "train[:90%]" is not a split name.
    output.mkdir()
    template = tfds.core.ShardedFileTemplate(
        data_dir=output, dataset_name="features", split=split, filetype_suffix="array_record"
    )
    shard = template.sharded_filepath(shard_index=0, num_shards=1)
    writer = ArrayRecordWriter(str(shard), "group_size:1")
    count = size = 0
    for rows in batches:
        for i in range(len(rows["index"])):
            example = features.serialize_example({name: rows[name][i] for name in rows})
            writer.write(example)
            count, size = count + 1, size + len(example)
    writer.close()
    info = tfds.core.SplitInfo(
        name=split, shard_lengths=[count], num_bytes=size, filename_template=template
    )
    tfds.folder_dataset.write_metadata(
        data_dir=output, features=features, split_infos=[info], filename_template=template,
        check_data=False,
    )  # fmt: skip
    return count
