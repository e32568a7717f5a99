"""Published BERT weights are told by their content and give the numbers of their origin."""

import json
import pickle
import shutil

import numpy as np
import pytest
import safetensors.numpy

from launch.experiments import are_of_text
from mlp_core.errors import UserError
from mlp_core.weights.files import open_weight_file
from mlp_text.models.bert import BertEncoder
from mlp_text.models.text_models import MaskedLm, TextClassifier
from mlp_text.weights.bert import open_bert
from mlp_text.weights.loading import open_text_weights
from mlp_text.weights.pretrained import load_pretrained
from tests.mlp_text.weights.golden_bert import (
    DATA,
    changed_folder,
    golden_folder,
    golden_io,
    params_of,
)

STYLES = ["bert_hf", "bert_hf_legacy_names"]


def without_prefix(arrays):
    return {name.removeprefix("bert."): array for name, array in arrays.items()}


def without(*ends):
    return lambda arrays: {n: array for n, array in arrays.items() if not n.endswith(ends)}


def last_hidden_state(weights, **settings):
    encoder = BertEncoder(**(weights.settings | settings))
    return encoder.apply({"params": params_of(weights, "encoder")}, *golden_io()[0])


def masked_lm_logits(weights, gelu="erf"):
    encoder = BertEncoder(**weights.settings)
    params = {name: params_of(weights, name) for name in ("encoder", "head")}
    return MaskedLm(encoder, gelu).apply({"params": params}, *golden_io()[0])


def assert_as_transformers(weights):
    _, states, logits = golden_io()
    np.testing.assert_allclose(last_hidden_state(weights), states, atol=1e-5)
    np.testing.assert_allclose(masked_lm_logits(weights), logits, atol=1e-5)


@pytest.mark.parametrize("names", STYLES)
def test_states_and_masked_lm_logits_are_those_of_transformers(tmp_path, names):
    weights = open_bert(golden_folder(tmp_path, names))
    assert weights.has_masked_lm_head and weights.has_pooler
    assert_as_transformers(weights)


@pytest.mark.parametrize("names", STYLES)
def test_models_that_share_a_folder_have_configurations_of_their_own(names):
    assert open_bert(DATA / f"{names}.safetensors").settings["num_heads"] == 2


@pytest.mark.parametrize("names", STYLES)
@pytest.mark.parametrize(
    "encoder, head",
    [
        ("model.bert.", "model.cls."),
        ("module.bert.", "module.cls."),
        ("0.auto_model.", "0.auto_model.cls."),
        ("0.auto_model.bert.", "0.auto_model.cls."),
        ("module.", "cls."),
        ("_orig_mod.model.encoder.", "_orig_mod.model.cls."),
    ],
)
def test_names_may_have_any_prefix(tmp_path, names, encoder, head):
    def with_prefix(arrays):
        return {
            name.replace("bert.", encoder, 1).replace("cls.", head, 1): array
            for name, array in arrays.items()
        }

    folder = changed_folder(tmp_path, with_prefix, names=names)
    assert_as_transformers(open_bert(folder))
    assert are_of_text(str(folder))


def test_two_encoders_in_one_file_are_refused(tmp_path):
    def twice(arrays):
        return {f"{side}.{n}": a for side in ("query", "passage") for n, a in arrays.items()}

    with pytest.raises(UserError, match="2 BERTs, .* 'passage.bert.', 'query.bert.'; write one"):
        open_bert(changed_folder(tmp_path, twice))


@pytest.mark.parametrize("other", ["roberta", "electra", "module.roberta"])
def test_encoders_with_the_arrays_of_a_bert_are_none(tmp_path, other):
    def renamed(arrays):
        return {name.replace("bert.", f"{other}.", 1): array for name, array in arrays.items()}

    with pytest.raises(UserError, match="these are no weights of BERT "):
        open_bert(changed_folder(tmp_path, renamed))


@pytest.mark.parametrize("names", STYLES)
def test_names_need_no_prefix(tmp_path, names):
    folder = changed_folder(tmp_path, without_prefix, names=names)
    assert not any(
        n.startswith("bert.") for n in open_weight_file(folder / "model.safetensors").headers
    )
    assert_as_transformers(open_bert(folder))


def test_a_file_is_opened_with_the_configuration_beside_it(tmp_path):
    weights = open_bert(golden_folder(tmp_path) / "model.safetensors")
    assert weights.settings == dict(
        vocab_size=120,
        hidden_dim=32,
        num_blocks=2,
        num_heads=2,
        ffn_dim=64,
        max_length=24,
        num_segments=2,
        gelu="erf",
        layer_norm_epsilon=1e-12,
    )


def test_the_wrong_gelu_misses_the_numbers_of_transformers(tmp_path):
    weights = open_bert(golden_folder(tmp_path))
    _, states, logits = golden_io()
    assert np.abs(last_hidden_state(weights, gelu="tanh") - states).max() > 1e-4
    assert np.abs(masked_lm_logits(weights, gelu="tanh") - logits).max() > 1e-4


def test_the_configuration_settles_numerics_and_heads(tmp_path):
    config = dict(hidden_act="gelu_new", layer_norm_eps=1e-6, num_attention_heads=4)
    settings = open_bert(golden_folder(tmp_path, **config)).settings
    assert settings["gelu"] == "tanh" and settings["layer_norm_epsilon"] == 1e-6
    assert settings["num_heads"] == 4


def test_heads_are_never_guessed(tmp_path):
    def wider(arrays):  # 32 channels to 64, which could be a single head of the usual size.
        return {
            name: np.pad(array, [(0, n if n == 32 else 0) for n in array.shape])
            for name, array in arrays.items()
        }

    needed = "config.json: needed to say num_attention_heads.* {} .*Put the config.json there"
    (golden_folder(tmp_path / "narrow") / "config.json").unlink()
    with pytest.raises(UserError, match=needed.format(32)):
        open_bert(tmp_path / "narrow")
    folder = changed_folder(tmp_path / "wide", wider)
    for config in (None, "{}", '{"model_type": "bert", "num_attention_heads": null}'):
        (folder / "config.json").unlink()
        if config is not None:
            (folder / "config.json").write_text(config)
        with pytest.raises(UserError, match=needed.format(64)):
            open_bert(folder)
        (folder / "config.json").touch()


def test_the_sentence_about_a_lost_configuration_gives_one_that_works(tmp_path):
    folder = golden_folder(tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(UserError) as told:
        open_bert(folder)
    example = json.loads(str(told.value).partition("such as ")[2])
    (folder / "config.json").write_text(json.dumps(example | {"num_attention_heads": 2}))
    weights = open_bert(folder)
    assert not weights.assumed
    assert_as_transformers(weights)


def test_what_a_configuration_leaves_out_is_stated(tmp_path, capsys):
    folder = golden_folder(tmp_path)
    load_pretrained(folder)
    assumed = "model_type=bert, assuming hidden_act=gelu, assuming layer_norm_eps=1e-12"
    assert f"model.safetensors, assuming {assumed} (published BERT)" in capsys.readouterr().out
    golden_folder(tmp_path, model_type="bert", hidden_act="gelu", layer_norm_eps=1e-12)
    load_pretrained(folder)
    assert "assuming" not in capsys.readouterr().out


def test_a_configuration_may_begin_with_a_byte_order_mark(tmp_path):
    file = golden_folder(tmp_path, model_type="bert") / "config.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert open_bert(tmp_path).settings["num_heads"] == 2
    (tmp_path / "model.safetensors").unlink()
    assert are_of_text(str(tmp_path))


def test_position_ids_of_old_files_are_no_weights(tmp_path):
    folder = golden_folder(tmp_path)
    path = folder / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    arrays["bert.embeddings.position_ids"] = np.arange(24)[None]
    safetensors.numpy.save_file(arrays, path)
    assert_as_transformers(open_bert(folder))


def test_other_integers_are_refused(tmp_path):
    path = golden_folder(tmp_path) / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    arrays["bert.pooler.dense.bias"] = np.zeros(32, np.int64)
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(UserError, match="bert.pooler.dense.bias holds I64, not float32"):
        open_bert(path)


def test_an_encoder_alone_will_do(tmp_path):
    def bare(arrays):
        return {n: a for n, a in without_prefix(arrays).items() if n.startswith(("emb", "enc"))}

    weights = open_bert(changed_folder(tmp_path, bare))
    assert not weights.has_masked_lm_head and not weights.has_pooler
    assert {name.split("/")[0] for name in weights.read()} == {"encoder"}
    np.testing.assert_allclose(last_hidden_state(weights), golden_io()[1], atol=1e-5)


def test_a_classifier_takes_the_pooler_over(tmp_path):
    weights = open_bert(golden_folder(tmp_path))
    arrays, inputs = weights.read(), golden_io()[0]
    params = params_of(weights)
    classifier = {"kernel": np.eye(32, dtype=np.float32), "bias": np.zeros(32, np.float32)}
    params["head"] = {"pooler": params.pop("pooler"), "classifier": classifier}
    pooled = TextClassifier(BertEncoder(**weights.settings), 32).apply({"params": params}, *inputs)
    theirs = open_weight_file(weights.path).read()
    np.testing.assert_array_equal(arrays["pooler/kernel"].T, theirs["bert.pooler.dense.weight"])
    expected = golden_io()[1][:, 0] @ theirs["bert.pooler.dense.weight"].T
    expected = np.tanh(expected + theirs["bert.pooler.dense.bias"])
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_copies_of_shared_tensors_do_no_harm(tmp_path):
    def with_copies(arrays):
        arrays["cls.predictions.decoder.weight"] = arrays["bert.embeddings.word_embeddings.weight"]
        arrays["cls.predictions.decoder.bias"] = arrays.pop("cls.predictions.bias")
        return arrays

    assert_as_transformers(open_bert(changed_folder(tmp_path, with_copies)))


def test_a_head_with_a_table_of_its_own_is_refused(tmp_path):
    def untied(arrays):
        table = arrays["bert.embeddings.word_embeddings.weight"]
        return arrays | {"cls.predictions.decoder.weight": table + 1}

    weights = open_bert(changed_folder(tmp_path, untied))
    with pytest.raises(UserError, match="decoder.weight differs from embeddings.word_embeddings"):
        weights.read()


@pytest.mark.parametrize(
    "ends, message",
    [
        (("embeddings.LayerNorm.bias",), r"it lacks embeddings.LayerNorm.bias\.$"),
        (("embeddings.word_embeddings.weight",), r"lacks embeddings.word_embeddings.weight\.$"),
        (("predictions.bias",), r"it lacks cls.predictions.bias\.$"),
        (("pooler.dense.bias",), r"it lacks pooler.dense.bias\.$"),
        ((".bias",), r"it lacks embeddings.LayerNorm.bias, .*value.bias and 9 more\.$"),
    ],
)
def test_tensors_that_miss_are_named(tmp_path, ends, message):
    folder = changed_folder(tmp_path, without(*ends))
    with pytest.raises(UserError, match=message) as told:
        open_bert(folder)
    assert str(told.value).startswith(f"{folder / 'model.safetensors'}: not the whole weights")


def test_a_layer_that_misses_is_named(tmp_path):
    def first_gone(arrays):
        return {name: a for name, a in arrays.items() if "encoder.layer.0." not in name}

    with pytest.raises(UserError, match="lacks encoder.layer.0.attention.self.query.weight, "):
        open_bert(changed_folder(tmp_path / "first", first_gone))
    with pytest.raises(UserError, match="num_hidden_layers is 3, but 2 in the arrays"):
        open_bert(golden_folder(tmp_path / "last", num_hidden_layers=3))


@pytest.mark.parametrize(
    "name, array, message",
    [
        (
            "bert.encoder.layer.1.intermediate.dense.weight",
            np.zeros((32, 64)),
            r"encoder.layer.1.intermediate.dense.weight \(\(32, 64\) there, \(64, 32\) expected\)",
        ),
        ("cls.predictions.bias", np.zeros(121), r"\(\(121,\) there, \(120,\) expected\)"),
        ("bert.pooler.dense.weight", np.zeros((32, 31)), r"\(32, 32\) expected"),
        ("bert.embeddings.word_embeddings.weight", np.zeros(120), "not a matrix"),
        ("bert.embeddings.word_embeddings.weight", np.zeros((0, 32)), "not a matrix"),
    ],
)
def test_shapes_that_do_not_fit_are_named(tmp_path, name, array, message):
    folder = changed_folder(tmp_path, lambda arrays: arrays | {name: array})
    with pytest.raises(UserError, match=message):
        open_bert(folder)


def test_encoders_with_more_in_them_are_refused(tmp_path):
    name = "encoder.layer.0.attention.self.distance_embedding.weight"
    folder = changed_folder(tmp_path, lambda arrays: arrays | {f"bert.{name}": np.zeros((47, 16))})
    with pytest.raises(UserError, match=f"not the weights of a plain BERT; it has {name}"):
        open_bert(folder)


def test_weights_of_other_models_are_refused():
    for name in ("mixer_timm.safetensors", "mixer_official.npz"):
        with pytest.raises(
            UserError, match=f"{name}: these are no weights of BERT .*the file holds"
        ):
            open_bert(DATA / name)


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(hidden_act="relu"), "hidden_act is 'relu', which is not supported"),
        (dict(position_embedding_type="relative_key"), "position_embedding_type is 'relative_key'"),
        (dict(model_type="roberta"), "model_type is 'roberta', which is not supported"),
        (dict(is_decoder=True), "is_decoder is True"),
        (dict(layer_norm_eps=0), "layer_norm_eps is 0"),
        (dict(hidden_size=64), "hidden_size is 64, but 32 in the arrays"),
        (dict(vocab_size=30522), "vocab_size is 30522, but 120 in the arrays"),
        (dict(max_position_embeddings=512), "max_position_embeddings is 512, but 24"),
        (dict(num_attention_heads=5), "num_attention_heads is 5, which does not divide the 32"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(tmp_path, config, message):
    folder = golden_folder(tmp_path, **config)
    with pytest.raises(UserError, match=message) as told:
        open_bert(folder)
    assert str(told.value).startswith(f"{folder / 'config.json'}: ")


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_a_configuration_that_is_none_is_refused(tmp_path, text):
    folder = golden_folder(tmp_path)
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match="config.json: no configuration of a BERT model"):
        open_bert(folder)


def test_pickles_are_not_read(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(UserError, match="pickle of PyTorch's.* take .*safetensors"):
            open_bert(path)


@pytest.mark.parametrize(
    "name",
    ["model.onnx", "onnx/model.onnx", "tf_model.h5", "flax_model.msgpack", "bert.zip",
     "model-00001-of-00002.safetensors"],
)  # fmt: skip
def test_what_a_folder_has_in_other_formats_is_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\0")
    for open_folder in (open_bert, open_text_weights):
        with pytest.raises(UserError, match=f"no model.safetensors .*{name};.* docs/weights.md"):
            open_folder(tmp_path)


def test_a_folder_without_weights_is_told(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="there is no model.safetensors in this folder"):
        open_bert(tmp_path)
    with pytest.raises(UserError, match="nowhere: there is no such file"):
        open_bert(tmp_path / "nowhere")


def test_damaged_files_are_told(tmp_path):
    path = golden_folder(tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:40], whole[:8] + b"{" * 500):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="model.safetensors: damaged, or cut short"):
            open_bert(path)


def test_half_precision_is_widened(tmp_path):
    path = golden_folder(tmp_path) / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file({n: a.astype(np.float16) for n, a in arrays.items()}, path)
    read = open_bert(path).read()
    assert {array.dtype for array in read.values()} == {np.dtype(np.float32)}
    shutil.copy(DATA / "bert_hf.safetensors", path)
    for name, array in open_bert(path).read().items():
        np.testing.assert_allclose(read[name], array, atol=1e-2)
