"""The small BERT that transformers computed with, as a folder of the hub."""

import json
import shutil

import numpy as np

from mlp_core.nn.parameters import unflatten
from mlp_core.weights.files import open_weight_file, write_weight_file
from tests.conftest import ROOT

DATA = ROOT / "tests" / "data"
WORDS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"), "the"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]


def golden_io():
    """The inputs [2, 20], in the order that encoders take them, and the outputs."""
    example = np.load(DATA / "bert_hf_io.npz")
    inputs = tuple(example[name] for name in ("input_ids", "attention_mask", "token_type_ids"))
    return inputs, example["last_hidden_state"], example["mlm_logits"]


def golden_folder(folder, names="bert_hf", **config):
    """Writes the weights and their configuration, with fields of it as given."""
    folder.mkdir(exist_ok=True)
    shutil.copy(DATA / f"{names}.safetensors", folder / "model.safetensors")
    theirs = json.loads((DATA / "bert_hf_config.json").read_text())
    (folder / "config.json").write_text(json.dumps(theirs | config))
    return folder


def changed_folder(folder, change, **config):
    """The same after `change`, which takes the arrays by their names and gives others."""
    golden_folder(folder, **config)
    arrays = open_weight_file(folder / "model.safetensors").read()
    write_weight_file(folder / "model.safetensors", change(arrays))
    return folder


def params_of(weights, part=None):
    """The parameters as a tree; of one part of the model where it is named."""
    params = unflatten(weights.read())
    return params[part] if part else params


def with_vocabulary(folder, size=120):
    """The same folder, with a vocab.txt of words and numbers."""
    words = VOCABULARY + [f"word{i}" for i in range(size - len(VOCABULARY))]
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder
