"""Text experiments from their configuration to their end: starts, resuming, mistakes."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from configs import text_common
from mlp_core.checkpoints.save import SavedParams
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.nn.spatial_gating import resize_vector, toeplitz_matrix
from mlp_text.data.synthetic import WORDS
from mlp_text.tasks import experiment
from mlp_text.tokens.tokenizer import open_tokenizer
from mlp_text.weights.loading import open_text_weights
from tests.mlp_text.weights.golden_bert import golden_folder

TINY = dict(hidden_dim=16, num_blocks=1, ffn_dim=32)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def made_config(task, name="tmlp", **model):
    """Four steps that can be interrupted after two."""
    config = getattr(text_common, task)()
    text_common.variant(config, "smoke")
    config.model.name = name
    config.model.num_blocks = None
    config.model.update(model)
    config.optimizer.weight_decay = 0.01
    config.train.duration = "4 steps"
    config.schedule.warmup = "0 steps"
    config.train.global_batch_size = 8
    config.evaluation.every = config.checkpoint.every = "2 steps"
    return config


def on_sentences(name, **model):
    config = made_config("classification", name, **model)
    config.data.max_length = 8
    return config


def on_bert(weights, rate_factor=0.0):
    config = on_sentences("gmlp", **TINY)
    config.bert.update(
        name="bert", weights=str(weights), features="second_last", rate_factor=rate_factor
    )
    return config


def masked_lm():
    config = made_config("masked_lm", **TINY)
    config.data.max_length = 12
    return config


def with_vocabulary(folder):
    """`folder` of a small BERT, which gets a vocabulary of its size, 120."""
    words = [*SPECIAL, *WORDS, *(f"##{i}" for i in range(115 - len(WORDS)))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


def params_at(workdir, step):
    return SavedParams(workdir / "checkpoints" / str(step)).read()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a masked-LM run of a tMLP, with what its last evaluation measured."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, experiment.train(masked_lm(), workdir)


@pytest.fixture
def bert(tmp_path):
    """The folder of a small BERT with a vocabulary of its size, 120."""
    return with_vocabulary(golden_folder(tmp_path / "bert"))


def test_masked_lm_measures_perplexity_loss_and_accuracy(run):
    _, results = run
    assert set(results) == {f"validation/{m}" for m in ("perplexity", "loss", "masked_accuracy")}
    assert results["validation/perplexity"] == pytest.approx(
        np.exp(results["validation/loss"]), rel=1e-5
    )


def test_its_end_tells_the_perplexity_of_the_unigram_model(run, tmp_path, capsys):
    shutil.copytree(run[0], tmp_path / "again")
    experiment.train(masked_lm(), tmp_path / "again")
    said = capsys.readouterr().out
    assert "Nothing is left to do" in said
    unigram = float(
        said.rsplit("unigram model, which knows how frequent tokens are: ")[1].split()[1]
    )
    assert 50 < unigram < 500  # Of 500 tokens, some of which are frequent.


def test_a_run_that_goes_on_ends_bit_for_bit_where_an_undisturbed_one_does(run, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(run[0], stopped)
    shutil.rmtree(stopped / "checkpoints" / "4")
    assert experiment.train(masked_lm(), stopped) == run[1]
    there, here = params_at(run[0], 4), params_at(stopped, 4)
    assert there.keys() == here.keys()
    for name in there:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)


@pytest.mark.parametrize("length", [8, 16])
def test_fine_tuning_keeps_the_encoder_and_the_tokenizer_of_a_masked_lm_run(
    run, tmp_path, length, capsys
):
    config = on_sentences("gmlp", spatial_matrix="full")
    config.init.weights, config.data.max_length = str(run[0]), length
    prepared = experiment.prepare(config, tmp_path / "tuned")
    assert prepared.tokenizer == open_tokenizer(run[0] / "tokenizer.json")
    there, here = params_at(run[0], 4), flatten(prepared.task.published_params())
    for name in there:
        if name.startswith("encoder/") and "spatial" not in name:
            np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    vector = next(array for name, array in there.items() if name.endswith("spatial/kernel"))
    matrix = next(array for name, array in here.items() if name.endswith("spatial/kernel"))
    expected = toeplitz_matrix(resize_vector(jnp.asarray(vector), length))
    np.testing.assert_array_equal(matrix, expected)
    heads = {name for name in here if name.startswith("head/")}
    assert heads == {f"head/{d}/{p}" for d in ("pooler", "classifier") for p in ("kernel", "bias")}
    said = capsys.readouterr().out
    for text in (f"made for {length} tokens of 12", "matrices made full", "new head of 2 classes"):
        assert text in said


@pytest.mark.slow
@pytest.mark.parametrize("rate_factor", [0.0, 0.5])
def test_a_gmlp_learns_on_a_bert_that_is_frozen_or_learns_too(bert, tmp_path, rate_factor):
    config = on_bert(bert, rate_factor)
    config.bert.features = "last"  # Depends on all of the BERT.
    experiment.train(config, tmp_path / "run")
    spec = open_text_weights(tmp_path / "run").spec
    assert spec.encoder.mask_pads and spec.encoder.bert_features == "last"
    published, trained = open_text_weights(bert).read(), params_at(tmp_path / "run", 4)
    start, here = (
        {name: array for name, array in params.items() if name.startswith(prefix)}
        for params, prefix in ((published, "encoder/"), (trained, "encoder/bert/"))
    )
    assert len(start) == len(here) > 30
    same = [np.array_equal(start[n.replace("bert/", "")], array) for n, array in here.items()]
    assert all(same) if rate_factor == 0 else sum(same) < 3
    random = experiment.prepare(config, tmp_path / "other").task.published_params()
    before = flatten(random)["encoder/project_features/kernel"]
    assert not np.array_equal(trained["encoder/project_features/kernel"], before)


def test_weights_of_a_gmlp_on_a_bert_bring_that_bert_which_stays_frozen(bert, tmp_path):
    experiment.train(on_bert(bert), tmp_path / "first")
    again = on_sentences("gmlp")
    again.init.weights = str(tmp_path / "first")
    prepared = experiment.prepare(again, tmp_path / "second")
    assert prepared.spec == open_text_weights(tmp_path / "first").spec
    factors = [(rate.pattern, rate.factor) for rate in prepared.settings.optimizer.rate_factors]
    assert factors == [("encoder/bert/.*", 0.0)]


@pytest.mark.slow
def test_a_bert_is_fine_tuned_on_fewer_tokens_than_it_has_positions(bert, tmp_path):
    config = on_sentences("bert")
    config.init.weights = str(bert)
    config.train.duration = "1 step"
    results = experiment.train(config, tmp_path / "run")
    assert set(results) == {"validation/loss", "validation/accuracy"}
    published, trained = open_text_weights(bert).read(), params_at(tmp_path / "run", 1)
    positions = "encoder/position_embeddings/embedding"
    assert published[positions].shape == (24, 32) and trained[positions].shape == (8, 32)
    np.testing.assert_allclose(trained[positions], published[positions][:8], atol=2e-3)
    assert open_tokenizer(tmp_path / "run").vocab_size == 120


def test_one_batch_is_learned_by_heart(tmp_path):
    config = on_sentences("gmlp", **TINY, mask_pads=True)
    config.data.train_split = config.data.eval_splits.validation = "train[:16]"
    config.train.global_batch_size = 16
    config.train.duration = "60 steps"
    config.schedule.peak_learning_rate = 1e-2
    config.evaluation.every = config.checkpoint.every = "0 steps"
    results = experiment.train(config, tmp_path)
    assert results["validation/accuracy"] == 1 and results["validation/loss"] < 0.05


def test_both_rates_of_dropout_are_those_of_the_configuration(bert, tmp_path):
    config = on_sentences("bert")
    config.init.weights = str(bert)
    config.model.update(dropout_rate=0.2, attention_dropout_rate=0.3)
    encoder = experiment.prepare(config, tmp_path).task.model.encoder
    assert (encoder.dropout_rate, encoder.attention_dropout_rate) == (0.2, 0.3)


MISTAKES = {
    "metric": (
        {"evaluation.best_metric": "validation/loss"},
        "config.evaluation.best_metric: 'validation/loss' is not measured, .* choose from valid",
    ),
    "field of another": (
        {"model.num_heads": 2},
        "config.model.num_heads: 'gmlp_l18' has no such field; it has ffn_dim",
    ),
    "field of another, weights elsewhere": (
        {"model.num_heads": 2, "init.weights": "hf://owner/name"},
        "config.model.num_heads: 'gmlp_l18' has no such field",
    ),
    "BERT's weights alone": (
        {"bert.weights": "BERT"},
        "config.bert.weights: there is no BERT to have them; set config.bert.name=bert",
    ),
    "two weights": (
        {"bert.weights": "BERT", "bert.name": "bert", "init.weights": "BERT"},
        "config.init.weights, config.bert.weights: name only one",
    ),
    "weights in the wrong field": (
        {"bert.weights": "RUN", "bert.name": "bert"},
        "config.bert.weights: .* is no BERT; config.init.weights takes it",
    ),
    "no weights there": ({"init.weights": "runs/nowhere"}, "runs/nowhere"),
    "other architecture": (
        {"init.weights": "BERT"},
        "config.init.weights: .* weights of a bert, config.model.name=gmlp_l18 is a gmlp. A gMLP",
    ),
    "other architecture, no sizes": (
        {"init.weights": "BERT", "model.name": "gmlp"},
        "config.init.weights: .* weights of a bert, config.model.name=gmlp is a gmlp. A gMLP",
    ),
    "a BERT of a gMLP": (
        {"init.weights": "RUN", "model.name": "bert"},
        "config.init.weights: .* weights of a gmlp, config.model.name=bert is a bert.",
    ),
    "other sizes": (
        {"init.weights": "RUN"},
        "does not fit the model; it needs a model with hidden_dim=16, num_blocks=1, ffn_dim=32",
    ),
    "other vocabulary": (
        {"init.weights": "RUN", "tokenizer.path": "BERT"},
        "the vocabulary does not match; the weights have 500 tokens, the tokenizer has 120",
    ),
    "no vocabulary there": ({"tokenizer.path": "nowhere.txt"}, "nowhere.txt: no vocabulary can"),
    "no data set": ({"data.name": None}, "config.data.name: name a data set to classify"),
    "length": ({"data.max_length": 2}, "config.data.max_length: 2 tokens are too few; "),
    "length, masked words": (
        {"task": "masked_lm", "data.max_length": 2},
        "config.data.max_length: 2 tokens are too few; ",
    ),
    "decay": (
        {"optimizer.weight_decay_pattern": "kernel"},
        "config.optimizer.weight_decay_pattern: .*matches no parameter",
    ),
    "slots": (
        {"task": "masked_lm", "masking.slots": 129},
        "config.masking.slots: 129 are more than the 128 tokens of a sequence",
    ),
    "shares": (
        {"task": "masked_lm", "masking.random_share": 0.3},
        "config.masking: mask_share and random_share add up to more than 1",
    ),
}


@pytest.mark.parametrize("fields, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_a_sentence_before_data_are_opened(
    run, bert, tmp_path, fields, message
):
    task = "masked_lm" if fields.get("task") == "masked_lm" else "classification"
    config = made_config(task, "gmlp_l18")
    # Opening these would be another error.
    config.data.name = config.data.train_split = str(tmp_path / "no-such-data")
    places = {"RUN": str(run[0]), "BERT": str(bert)}
    for field, value in fields.items():
        group, _, name = field.rpartition(".")
        (config[group] if group else config)[name] = places.get(value, value)
    with pytest.raises(UserError, match=message) as caught:
        experiment.prepare(config, tmp_path / "run")
    assert "\n" not in str(caught.value) and "no-such-data" not in str(caught.value)


def test_a_head_is_split_by_the_number_of_classes_that_the_data_have(tmp_path):
    config = on_sentences("gmlp", **TINY)
    config.sharding.model_parallel, config.sharding.rules = 2, ("head/classifier/bias=model",)
    experiment.train(config, tmp_path / "run", dry_run=True)
    config.sharding.model_parallel, config.sharding.rules = 1, ("head/classifier/bias=data",)
    with pytest.raises(UserError, match="'head/classifier/bias' .2,.: 8 devices along 'data' do"):
        experiment.train(config, tmp_path / "run", dry_run=True)


def test_all_that_is_missing_is_told_at_once(tmp_path):
    config = made_config("masked_lm", "gmlp_l18")
    config.data.train_split = str(tmp_path / "no-such-corpus.txt")
    with pytest.raises(UserError) as caught:
        experiment.prepare(config, tmp_path / "run")
    for text in ("config.data.train_split: ", "no-such-corpus.txt", "configs/gmlp_mlm_python.py"):
        assert text in str(caught.value)
