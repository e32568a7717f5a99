import jax
import jax.numpy as jnp
import pytest

from mlp_core.distributed.mesh import make_mesh
from mlp_core.errors import UserError
from mlp_core.nn.parameters import count
from mlp_text.tasks.planning import planned_run
from tests.configs.config_files import CONFIGS, load
from tests.conftest import ROOT

OF_TEXT = [path for path in CONFIGS if load(path).task != "image_classification"]


def config_of(name, data_dir, arg=""):
    config = load(ROOT / "configs" / f"{name}.py", arg)
    config.data.data_dir = str(data_dir)  # Where nothing is prepared.
    return config


@pytest.mark.parametrize("path", OF_TEXT, ids=lambda path: path.stem)
def test_every_text_config_can_be_planned_once_the_sizes_are_known(path, tmp_path):
    config = config_of(path.stem, tmp_path)
    if config.bert.name:
        with pytest.raises(UserError, match="a size such as bert_base"):
            planned_run(config, 1000, "tpu")
        config.bert.name = "bert_base"
    elif config.init.weights:  # Of a run that is not here.
        with pytest.raises(UserError, match="needs config.model.hidden_dim"):
            planned_run(config, 1000, "tpu")
        name = config.model.name
        config.model.name = f"{name}_l36" if name != "bert" else "bert_base"
    run = planned_run(config, 1000, "tpu")
    assert run.plan().total > 0 and run.unit == "sequences"
    assert not any(tmp_path.iterdir())


def test_the_144_blocks_of_the_paper(tmp_path):
    config = config_of("gmlp_mlm_c4", tmp_path, "l144")
    config.train.scan_layers = True  # Only so that the test is quick.
    run, mesh = planned_run(config, None, "tpu"), make_mesh()
    assert run.plan().total == 125_000
    params = jax.eval_shape(run.task.init_params, jax.random.key(0))
    assert round(count(params) / 1e6) == 358  # 357 without the head, as in the paper.
    batch = run.train_batch(mesh)
    assert batch["input_ids"].shape == (2048, 128) and batch["index"].shape == (2048,)
    assert run.eval_batch(mesh)["mask"].shape == (256,)


def test_batches_of_a_classification_are_those_of_the_tokenizer(tmp_path):
    run = planned_run(config_of("gmlp_mnli_scratch", tmp_path), None, "tpu")
    assert run.num_examples == 392_702
    batch = run.train_batch(make_mesh())
    types = {name: leaf.dtype for name, leaf in batch.items()}
    assert types == {
        "input_ids": jnp.int32,
        "attention_mask": jnp.uint8,
        "token_type_ids": jnp.uint8,
        "label": jnp.int32,
    }


def test_epochs_of_a_corpus_need_the_number_of_examples(tmp_path):
    config = config_of("gmlp_mlm_python", tmp_path)
    assert planned_run(config, None, "tpu").plan().total == 600
    config.train.duration = "3 epochs"
    with pytest.raises(UserError, match="config.train.duration: .*--num_examples"):
        planned_run(config, None, "tpu").plan()
    assert planned_run(config, 640, "tpu").plan().total == 30


def test_an_unknown_data_set_is_to_be_prepared_first(tmp_path):
    config = config_of("gmlp_sst2_scratch", tmp_path)
    config.data.name = "unheard_of"
    with pytest.raises(UserError, match="unheard_of .*launch/prepare.py"):
        planned_run(config, 1000, "tpu")


def test_a_split_that_the_data_set_does_not_have_is_refused(tmp_path):
    config = config_of("gmlp_sst2_scratch", tmp_path)
    config.data.name = "glue/mnli"
    with pytest.raises(
        UserError, match="eval_splits.validation: glue/mnli has no .*validation_matched"
    ):
        planned_run(config, None, "tpu")
    config.data.eval_splits.validation = "validation_matched"
    config.data.train_split = "training"
    for num_examples in (None, 1000):
        with pytest.raises(UserError, match="train_split: glue/mnli has no split 'training'"):
            planned_run(config, num_examples, "tpu")
