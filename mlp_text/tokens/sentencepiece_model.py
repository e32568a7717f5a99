"""SentencePiece models (unigram, BPE) made into tokenizers of the `tokenizers` library.

The format is a protocol buffer: pieces with scores, and rules that text is normalised by. Ids are
those that the SentencePiece library gives, but for

- names of special tokens in a text, which stand for the tokens here;
- splits of a word that a unigram model finds equally good (hu-mm-m, hu-m-mm), where rounding
  decides; the smaller the vocabulary the more of them, with a thousand pieces one text in a
  hundred;
- spaces in front of a text, where the model keeps them or adds none itself;
- characters under several accents at once.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from google.protobuf.message import Message
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from mlp_core.errors import UserError
from mlp_core.process.small_files import read_bytes
from mlp_text.tokens.sentencepiece_format import parse_model
from mlp_text.tokens.special_tokens import NAMES
from mlp_text.tokens.tokenizers_library import check_character_rules, faults_as_value_errors

SPACE = "\u2581"  # Stands for a space: pieces that begin with it begin a word.
UNIGRAM, BPE = 1, 2  # Of `TrainerSpec.ModelType`.
CONTROL, USER_DEFINED = 3, 4  # Of `SentencePiece.Type`.


def read_sentencepiece(path: Path) -> tokenizers.Tokenizer:
    """Reads a SentencePiece .model.

    Raises:
        UserError: it is damaged or something else, or of a kind other than unigram and BPE.
    """
    try:
        model = read_bytes(path)
    except ValueError as error:
        raise UserError(f"{path}: no SentencePiece model: it is {error}.") from error
    return sentencepiece_tokenizer(model, path)


def sentencepiece_tokenizer(model: bytes, origin: Path | str) -> tokenizers.Tokenizer:
    """Converts a serialised SentencePiece model; errors name `origin`.

    Raises:
        UserError: it is damaged or something else, or of a kind other than unigram and BPE.
    """
    try:
        proto = parse_model(model)
    except ValueError as error:
        raise UserError(f"{origin}: no SentencePiece model, or a damaged one ({error}).") from error
    rules = proto.normalizer_spec
    if proto.trainer_spec.treat_whitespace_as_suffix:
        raise UserError(f"{origin}: marks spaces at the ends of words; this is not supported.")
    try:
        with faults_as_value_errors():
            backend = tokenizers.Tokenizer(_model(proto, origin))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{origin}: a damaged SentencePiece model ({error}).") from error
    backend.normalizer = _normalizer(rules, origin)
    metaspace = {
        "replacement": SPACE,
        "prepend_scheme": "first" if rules.add_dummy_prefix else "never",
        # Where no piece goes beyond a word, words may be looked up one by one, which is faster.
        "split": not any(SPACE in piece.piece[1:] for piece in proto.pieces),
    }
    backend.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(**metaspace)])
    control = [piece.piece for piece in proto.pieces if piece.type == CONTROL]
    user_defined = [piece.piece for piece in proto.pieces if piece.type == USER_DEFINED]
    masks = NAMES["mask"]
    backend.add_special_tokens(
        [AddedToken(name, normalized=False, lstrip=name in masks) for name in control]
    )
    backend.add_tokens(
        [AddedToken(name, normalized=False, lstrip=name in masks) for name in user_defined]
    )
    return backend


def _model(proto: Message, origin: Path | str) -> models.Model:
    # Scores are float32. Written with no more digits than that takes, they survive JSON unchanged.
    pieces = [(piece.piece, float(str(np.float32(piece.score)))) for piece in proto.pieces]
    settings = proto.trainer_spec
    if settings.model_type == UNIGRAM:
        return models.Unigram(pieces, settings.unk_id, settings.byte_fallback)
    if settings.model_type == BPE:
        return models.BPE(
            {piece: i for i, (piece, _) in enumerate(pieces)},
            _merges(pieces),
            unk_token=pieces[settings.unk_id][0],
            fuse_unk=True,
            byte_fallback=settings.byte_fallback,
        )
    raise UserError(
        f"{origin}: a SentencePiece model of words or characters; unigram and BPE can be used."
    )


def _merges(pieces: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two, the best piece first.

    SentencePiece keeps no list of merges: it joins the two neighbours that make the piece of the
    highest score.
    """
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, _ in sorted(pieces, key=lambda entry: -entry[1]):
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        made = [(left, right) for left, right in splits if left in ids and right in ids]
        merges += sorted(made, key=lambda split: (ids[split[0]], ids[split[1]]))
    return merges


def _normalizer(rules: Message, origin: Path | str) -> normalizers.Normalizer:
    steps = []
    if rules.precompiled_charsmap:
        try:
            check_character_rules(rules.precompiled_charsmap)
            with faults_as_value_errors():
                steps.append(normalizers.Precompiled(rules.precompiled_charsmap))
        except ValueError as error:
            raise UserError(
                f"{origin}: a damaged SentencePiece model: its rules for characters cannot be "
                f"read ({error})."
            ) from error
    if rules.remove_extra_whitespaces:
        # A space in front is the one that begins the first word anyway.
        steps += [normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)
