"""SST-2 and MNLI, fine-tuned, from scratch and on BERT's features; no experiment by itself.

Fine-tuning: Pay Attention to MLPs (arXiv:2105.08050), section 4 and appendix A.2, table 9, as a
course work that compares all-MLP networks has it: AdamW at 2e-5, batches of 32, five epochs with
linear decay, a tenth of them warm-up; the dev set, as GLUE's test labels are not public. The other
two recipes are ours: the models are the course work's, 18 blocks of 512 channels.
"""

from ml_collections import ConfigDict

from configs import text_common

SEEDS = ("seed=0,1,2,3,4",)  # Results are medians of five runs.


def sst2() -> ConfigDict:
    """Stanford Sentiment Treebank, 67,349 phrases, two classes."""
    config = _recipe()
    config.data.name = "glue/sst2"
    config.data.eval_splits = ConfigDict({"validation": "validation"})
    config.evaluation.best_metric = "validation/accuracy"
    return config


def mnli() -> ConfigDict:
    """Multi-genre natural language inference, 392,702 pairs of sentences, three classes."""
    config = _recipe()
    config.data.name = "glue/mnli"
    config.data.eval_splits = ConfigDict(
        {"matched": "validation_matched", "mismatched": "validation_mismatched"}
    )
    config.evaluation.best_metric = "matched/accuracy"
    return config


def fine_tuned(config: ConfigDict, family: str, run: str) -> ConfigDict:
    """From the run `run` of masked-LM training, with its sizes and its tokenizer."""
    config.model.name = family
    config.init.weights = run
    return config


def from_scratch(config: ConfigDict, family: str) -> ConfigDict:
    """From random weights: a vocabulary made of the training text, a higher rate."""
    config.model.name = f"{family}_l18"
    config.schedule.peak_learning_rate = 3e-4
    return config


def on_bert(config: ConfigDict, family: str) -> ConfigDict:
    """On the last states of a frozen BERT-base; with `bert.rate_factor=0.1` it learns at 2e-5."""
    config.model.name = f"{family}_l18"
    config.bert.name = "bert"
    config.bert.weights = "hf://google-bert/bert-base-uncased"
    config.schedule.peak_learning_rate = 2e-4
    return config


def _recipe() -> ConfigDict:
    """What all have in common."""
    config = text_common.classification()
    # As in BERT's recipe. A sentence of SST-2 fills about a tenth of it and the rest is padding; 64
    # halves the work there.
    config.data.max_length = 128
    config.model.dropout_rate = 0.1
    config.model.attention_dropout_rate = 0.1
    config.model.head_dropout_rate = 0.1

    config.optimizer.epsilon = 1e-6
    config.optimizer.weight_decay = 0.01
    config.optimizer.weight_decay_pattern = ".*/(kernel|embedding)"
    config.schedule.name = "linear"
    config.schedule.peak_learning_rate = 2e-5
    config.schedule.warmup = "0.5 epochs"

    config.train.duration = "5 epochs"
    config.train.global_batch_size = 32
    config.evaluation.global_batch_size = 256
    config.sweep.grid = SEEDS
    return config
