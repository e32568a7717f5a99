"""Tells what a model makes of pictures, or of texts: the likeliest classes, or words for [MASK].

python launch/predict.py --weights=runs/mixer_b16_pets dog.jpg
python launch/predict.py --weights=imagenet21k/Mixer-B_16 --top=3 holiday/
python launch/predict.py --weights=runs/gmlp_sst2 "A fine film." "A bore."
python launch/predict.py --weights=runs/gmlp_mnli --input=pairs.tsv --output=answers.jsonl
python launch/predict.py --weights=bert-base-uncased/ "Paris is the [MASK] of France."

A model of pairs takes texts in twos.
"""

import json

from absl import flags

from launch import command, experiments
from mlp_core.errors import UserError
from mlp_core.process.console import in_one_line, print_error, print_line
from mlp_core.process.files import write_whole

flags.adopt_module_key_flags(command)
WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "A run's folder, a file, a published name, hf://OWNER/NAME or a URL; or the folder of a BERT.",
)
MIRROR = flags.DEFINE_string(
    "mirror", None, "Folder or URL that holds the published files; of images."
)
TOP = flags.DEFINE_integer(
    "top", 5, "Classes told of each picture or text, or words for each [MASK].", lower_bound=1
)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Pixels a side; as in the weights if unset.", lower_bound=1
)
INPUT = flags.DEFINE_string(
    "input", None, "File of texts, one a line; of pairs with a tab between the two."
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "File to write, of texts: on each line a JSON object with a text and its answers, or null and "
    "the problem.",
)


def main(arguments: list[str]) -> None:
    """Predicts, for pictures or for texts as the weights are."""
    command.require(WEIGHTS)
    if experiments.are_of_text(WEIGHTS.value):
        _refuse(MIRROR, IMAGE_SIZE, because="text")
        predict_texts(arguments)
    else:
        _refuse(INPUT, OUTPUT, because="images")
        predict_pictures(arguments)


def predict_texts(arguments: list[str]) -> None:
    """Prints what the model makes of each text; texts without an answer get the reason."""
    from mlp_text.tools.prediction import as_records, predict, read_texts
    from mlp_text.weights.loading import locate_text_weights, open_text_weights, spec_for
    from mlp_text.weights.pretrained import load_params

    output = command.file_to_write(OUTPUT)
    weights = open_text_weights(locate_text_weights(WEIGHTS.value))
    file = command.path_of(INPUT) if INPUT.value else None
    texts = read_texts(arguments, file, weights.spec.takes_pairs)
    tokenizer = weights.tokenizer()
    spec = spec_for(weights, tokenizer)
    params = load_params(weights, spec)
    predictions = predict(
        spec, params, tokenizer, texts.texts, texts.pairs, TOP.value, texts.problems
    )
    for prediction in predictions:
        print_line(prediction.text)
        if prediction.problem:
            print_line(f"  no answer: {prediction.problem}")
        _print_shares(prediction.best)
    if output:
        records = as_records(texts, predictions, spec.head == "masked_lm")
        write_whole(output, "".join(f"{json.dumps(record)}\n" for record in records))
    cut = len({prediction.index for prediction in predictions if prediction.is_cut})
    if cut:
        print_error(
            f"Note: {cut:,} of {len(texts.texts):,} texts are longer than the {spec.max_length:,} "
            "tokens that the model reads, and were cut as in training."
        )
    bad = sum(bool(prediction.problem) for prediction in predictions)
    if bad:
        raise UserError(
            f"{bad:,} of {len(texts.texts):,} texts have no answer; the reasons are above."
        )


def predict_pictures(names: list[str]) -> None:
    """Names what is in pictures; those that cannot be read are named on stderr, and counted."""
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.tools.prediction import find_pictures, predict
    from mlp_vision.weights.label_names import label_names
    from mlp_vision.weights.loading import open_weights
    from mlp_vision.weights.pretrained import load_params
    from mlp_vision.weights.published_weights import locate_weights, spec_before_fetching

    spec_before_fetching(WEIGHTS.value, MIRROR.value)  # Tells if there are none of this name.
    paths = find_pictures(names)
    weights = open_weights(locate_weights(WEIGHTS.value, MIRROR.value))
    spec = weights.spec.adapted(image_size=IMAGE_SIZE.value)
    if spec.num_classes == 0:
        raise UserError(f"--weights={WEIGHTS.value}: these have no head to tell classes by.")
    params = load_params(weights, spec, "keep")
    print_line(f"Pictures: {len(paths):,}; {spec.preprocessing()}; {spec.output} probabilities")
    labels, bad = label_names(spec), 0
    for prediction in predict(spec, params, paths, TOP.value):
        name = in_one_line(prediction.path)
        if prediction.problem:
            bad += 1
            print_error(f"{name}: {prediction.problem}")
            continue
        print_line(name)
        _print_shares([(labels[label], share) for label, share in prediction.best])
    if bad:
        raise UserError(f"{bad:,} of {len(paths):,} pictures cannot be read; they are named above.")


def _print_shares(best: list[tuple[str, float]]) -> None:
    for label, probability in best:
        print_line(f"  {100 * probability:6.2f} %  {in_one_line(label)}")


def _refuse(*holders: flags.FlagHolder, because: str) -> None:
    for holder in holders:
        if holder.value is not None:
            raise UserError(
                f"--{holder.name}: {WEIGHTS.value} is a model of {because}, which has no use for "
                "this flag; leave it out."
            )


if __name__ == "__main__":
    command.run_command(main, takes_files=True)
