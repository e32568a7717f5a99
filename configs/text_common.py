"""Every field of a text experiment beside those of `run_fields.py`, with its default.

A masked-LM training reads corpora, which the splits name: a file, a folder, a pattern such as
"/data/c4/en/c4-train.*.json.gz", "tfds:lm1b:train", "pydoc:train"; several are joined by "+". A
classification reads splits of one labelled data set.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import run_fields


def classification() -> ConfigDict:
    """The defaults of text classification. A placeholder is None until it is set."""
    config = run_fields.new_config("text_classification", best_metric="validation/accuracy")
    _add_text_fields(config)
    config.data.name = "glue/sst2"
    config.data.train_split = "train"
    config.data.eval_splits = ConfigDict({"validation": "validation"})
    return config


def masked_lm() -> ConfigDict:
    """The defaults of masked-LM training."""
    config = run_fields.new_config("masked_lm", best_metric="validation/masked_accuracy")
    _add_text_fields(config)
    config.data.train_split = "pydoc:train"
    config.data.eval_splits = ConfigDict({"validation": "pydoc:validation"})
    config.evaluation.every = "1000 steps"
    config.checkpoint.every = "1000 steps"
    return config


def _add_text_fields(config: ConfigDict) -> None:
    config.model = ConfigDict()
    # gmlp_*, tmlp_*: l18, l36, l72, l144, base, large, xlarge; amlp_*: l18, l36, base, large;
    # bert_*: tiny, base, large. Or gmlp, tmlp, amlp, bert with the sizes below, which are None for:
    # as the name says, or else as in the weights.
    config.model.name = "gmlp"
    config.model.hidden_dim = placeholder(int)  # C, channels of a token.
    config.model.num_blocks = placeholder(int)
    config.model.num_heads = placeholder(int)  # BERT.
    config.model.ffn_dim = placeholder(int)  # Width that a block expands to.
    config.model.gating = placeholder(str)  # split, multiplicative, additive or linear.
    config.model.spatial_matrix = placeholder(str)  # full or toeplitz.
    config.model.tiny_attention_dim = placeholder(int)  # Size of aMLP's head; 0: none.
    config.model.segments = placeholder(bool)  # An embedding for each sentence of a pair.
    config.model.mask_pads = placeholder(bool)  # Whether pads are kept out of the token mixing.
    config.model.gelu = placeholder(str)  # "tanh" or "erf".
    config.model.layer_norm_epsilon = placeholder(float)
    config.model.gate_layer_norm_epsilon = placeholder(float)
    config.model.pooling = "cls"  # Of a classifier: "cls", or "mean" over the tokens.
    config.model.dropout_rate = 0.0  # Of embeddings and of what a block adds.
    config.model.attention_dropout_rate = 0.0  # aMLP; a BERT has the rate above there, too.
    config.model.head_dropout_rate = 0.0  # Of a classifier's features.
    config.model.stochastic_depth = 0.0  # gMLP: drop probability of its last block; 0 in the first.

    config.init = ConfigDict()
    # The folder of a run, a BERT's file or folder, or hf://google-bert/bert-base-uncased. None:
    # random. What does not fit, as another head, starts at random.
    config.init.weights = placeholder(str)

    config.bert = ConfigDict()
    # A BERT whose states a gMLP is fed with: bert, of the size of its weights, or bert_{tiny, base,
    # large}. None: no BERT.
    config.bert.name = placeholder(str)
    config.bert.weights = placeholder(str)  # Its file or folder, or hf://...; None: random.
    config.bert.features = "last"  # last, second_last, sum4 or concat4 (of the last four).
    config.bert.rate_factor = 0.0  # Of its learning rate, to that of the gMLP; 0: it is frozen.

    config.tokenizer = ConfigDict()
    # vocab.txt, tokenizer.json, a SentencePiece model, or a folder with one. None: that of the
    # weights; with random weights a vocabulary is made of the training text.
    config.tokenizer.path = placeholder(str)
    config.tokenizer.lowercase = placeholder(bool)  # None: as the file says; made ones: True.
    config.tokenizer.kind = "wordpiece"  # Of one that is made: "wordpiece" or "unigram".
    config.tokenizer.vocab_size = 8192  # Likewise.

    config.data.name = placeholder(str)  # Classification: a TFDS name or a path.
    config.data.data_dir = placeholder(str)  # None: $TFDS_DATA_DIR or ~/tensorflow_datasets.
    # Where vocabularies and blocks of tokens made of text are kept; None: ~/.cache/all-mlp.
    config.data.made_files_dir = placeholder(str)
    config.data.train_split = ""
    config.data.eval_splits = ConfigDict()  # Name in the metrics: split.
    config.data.max_length = placeholder(int)  # Tokens; None: as the model's name or weights say.

    config.masking = ConfigDict()  # Of masked-LM training; BERT, section 3.1.
    config.masking.rate = 0.15  # Share of the tokens that are to be guessed.
    config.masking.mask_share = 0.8  # Of these, the share that [MASK] takes the place of.
    config.masking.random_share = 0.1  # And that which another token does; the rest stay.
    config.masking.slots = placeholder(int)  # At most so many a sequence; None: 20 for 128 tokens.
    config.masking.whole_words = False  # Whether all pieces of a word are chosen together.
    config.masking.packing = "packed"  # Blocks of text; "document": one each, padded.


def variant(config: ConfigDict, arg: str) -> ConfigDict:
    """Applies the text behind the colon of `--config=FILE:arg`; see `run_fields.variant`.

    Smoke is on made sentences, or on the language reference that every Python carries, with a
    vocabulary made of them, and on a tiny BERT with random weights where there is one below.
    """
    return run_fields.variant(config, arg, _smoke)


def _smoke(config: ConfigDict) -> None:
    config.model.num_blocks = 2
    if config.init.weights:  # Which would have told the sizes.
        config.model.name += "_tiny" if config.model.name == "bert" else "_l18"
        config.init.weights = None
    if config.bert.name:
        config.bert.name = "bert_tiny"
        config.bert.weights = None
    config.tokenizer.path = None
    config.tokenizer.vocab_size = 500
    if config.task == "masked_lm":
        config.data.train_split = "pydoc:train"
        config.data.eval_splits = ConfigDict({"validation": "pydoc:validation"})
        config.evaluation.best_metric = "validation/masked_accuracy"
    else:
        config.data.name = "synthetic_text/pair" if "mnli" in config.data.name else "synthetic_text"
        config.data.train_split = "train"
        config.data.eval_splits = ConfigDict({"validation": "validation"})
        config.evaluation.best_metric = "validation/accuracy"
