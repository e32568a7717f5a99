"""Activations of a model over a split, to a file: pooled features, or the tokens of a block.

Shapes: B batch, S tokens, C channels.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from ml_collections import ConfigDict
from tqdm import tqdm

from mlp_core.config import parse_config
from mlp_core.console import say
from mlp_core.errors import UserError
from mlp_core.input_pipeline import eval_batches
from mlp_core.mesh import check_batch_size, make_mesh, put_batch, replicated
from mlp_core.precision import compute_dtype
from mlp_core.source import Source
from mlp_vision.classifier import eval_view, model_input
from mlp_vision.config import ImageClassificationConfig
from mlp_vision.datasets.image_dataset import check_split, open_image_dataset, open_source
from mlp_vision.host_views import EvalView
from mlp_vision.model_spec import ModelSpec
from mlp_vision.pretrained import load_params
from mlp_vision.published_weights import locate_weights
from mlp_vision.weights import open_weights

POOLED = "pooled"
BLOCK = re.compile(r"block_(\d+)")
MEMORY_LIMIT_BYTES = 8 << 30  # An npz file is written from memory.

Rows = dict[str, np.ndarray]  # Layers by name, and `label` and `index` of the examples.


def extract(
    config: ConfigDict, source: str, split: str, layers: Sequence[str], output: Path
) -> None:
    """Writes activations on a split of the configured data set, under the eval preset.

    An output that ends in `.npz` holds an array a layer, float32, and of each row the `label`,
    int32, and the `index` in the split, int64. Any other name becomes a folder in TFDS's form with
    the same in array_record, example by example: `tfds.builder_from_directory(folder)` reads it.
    Pictures that cannot be read have no row.

    Args:
      config: an experiment; it gives data set, batch size and arithmetic.
      source: weights, see `published_weights.locate_weights`.
      split: such as "test".
      layers: see `activations`.
      output: file or folder to write.

    Raises:
        UserError: weights or data cannot be had, a layer is unknown, or the output lies there.
    """
    settings = parse_config(ImageClassificationConfig, config)
    batch_size, mesh = settings.evaluation.global_batch_size, make_mesh()
    check_batch_size("config.evaluation.global_batch_size", batch_size, mesh)
    if output.exists():
        raise UserError(f"--output={output}: something lies there; name another.")
    weights = open_weights(locate_weights(source, settings.init.mirror))
    spec = weights.spec.adapted(num_classes=0)
    check_layers(spec, layers)
    dataset = open_image_dataset(settings.data.name, settings.data.data_dir)
    check_split("--split", dataset, split)
    shapes = _shapes(spec, layers)
    if output.suffix == ".npz":
        _check_memory(shapes, dataset.num_examples(split))

    model = spec.create_model(compute_dtype(settings.train.compute_dtype))
    params = jax.device_put(load_params(weights, spec, "auto"), replicated(mesh))

    def step(params, images):
        views = images if not dataset.in_memory else eval_view(spec, images)
        return activations(model, params, model_input(spec, model, views), layers)

    step = jax.jit(step, out_shardings=replicated(mesh))
    examples = open_source(dataset, split, EvalView(spec.image_size, spec.eval_preset))
    rows = _rows(step, params, examples, batch_size, mesh)
    if output.suffix == ".npz":
        _write_npz(output, rows)
    else:
        _write_tfds_directory(output, rows, split, shapes)
    say(f"Wrote {', '.join(layers)} of {dataset.name} {split} to {output}")


def check_layers(spec: ModelSpec, layers: Sequence[str]) -> None:
    """Refuses layers that the model does not have.

    Raises:
        UserError: names the ones there are.
    """
    known = {POOLED, *(f"block_{i}" for i in range(spec.num_blocks))}
    for layer in layers:
        if layer not in known:
            raise UserError(
                f"--layers: there is no layer {layer!r}; choose from {POOLED} and block_0 to "
                f"block_{spec.num_blocks - 1}."
            )


def activations(model: nn.Module, params, images: jax.Array, layers: Sequence[str]) -> dict:
    """Activations by layer: `pooled`, float32 [B, C], before the head; `block_3`, say, [B, S, C].

    `model` is one without a head.
    """
    wanted = {f"MixerBlock_{match[1]}" for layer in layers if (match := BLOCK.fullmatch(layer))}
    pooled, state = model.apply(
        {"params": params},
        images,
        capture_intermediates=lambda module, _: module.name in wanted,
        mutable=["intermediates"],
    )
    blocks = state.get("intermediates", {})
    return {
        layer: pooled
        if layer == POOLED
        else blocks[layer.replace("block", "MixerBlock")]["__call__"][0]
        for layer in layers
    }


def _shapes(spec: ModelSpec, layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shape of one example's activations by layer."""
    tokens = (spec.grid**2, spec.hidden_dim)
    return {layer: (spec.hidden_dim,) if layer == POOLED else tokens for layer in layers}


def _check_memory(shapes: Mapping[str, tuple[int, ...]], num_examples: int) -> None:
    size = 4 * num_examples * sum(int(np.prod(shape)) for shape in shapes.values())
    if size > MEMORY_LIMIT_BYTES:
        raise UserError(
            f"--output: an npz file of {size / 2**30:.0f} GiB would be put together in memory; "
            "name a folder (no .npz) to write array_record, or fewer layers."
        )


def _rows(step, params, examples: Source, batch_size: int, mesh) -> Iterator[Rows]:
    """Activations a batch at a time, without the rows that only fill up a batch."""
    first = 0
    with tqdm(total=len(examples), unit="img", disable=None) as bar:
        for batch in eval_batches(examples, batch_size):
            layers = jax.device_get(
                step(params, put_batch({"image": batch["image"]}, mesh)["image"])
            )
            real = batch["mask"] > 0
            rows = {name: np.asarray(values, np.float32)[real] for name, values in layers.items()}
            index = np.arange(first, first + batch_size)[real]
            yield rows | {"label": batch["label"][real], "index": index}
            first += batch_size
            bar.update(len(index))


def _write_npz(output: Path, batches: Iterator[Rows]) -> None:
    parts = list(batches)
    arrays = {name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]}
    temporary = output.with_name(f".{output.name}.tmp.npz")
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez(temporary, **arrays)
    os.replace(temporary, output)


def _write_tfds_directory(
    output: Path, batches: Iterator[Rows], split: str, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """One shard of array_record, with the description that TFDS reads it by."""
    features = tfds.features.FeaturesDict(
        {
            name: tfds.features.Tensor(shape=shape, dtype=np.float32)
            for name, shape in shapes.items()
        }
        | {name: tfds.features.Scalar(dtype=np.int64) for name in ("label", "index")}
    )
    split = re.match(r"\w+", split)[0]  # "train[:90%]" is no name of a split.
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    template = tfds.core.ShardedFileTemplate(
        data_dir=temporary, dataset_name="features", split=split, filetype_suffix="array_record"
    )
    writer = ArrayRecordWriter(str(template.sharded_filepath(shard_index=0, num_shards=1)),
                               "group_size:1")  # fmt: skip
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
        data_dir=temporary, features=features, split_infos=[info], filename_template=template,
        check_data=False,
    )  # fmt: skip
    os.replace(temporary, output)
