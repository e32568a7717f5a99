"""Archives in the form in which GLUE's are published, of a few made rows."""

import zipfile

from tests.mlp_core.data.tfds.made_archive import described

SST2 = {
    "SST-2/train.tsv": [
        ("sentence", "label"),
        ("hide new secretions from the parental units ", "0"),
        ('a "quoted phrase" that , unlike "this one , ends nowhere ', "1"),
        ('"', "0"),
        ("caf\u00e9 na\u00efve ", "1"),
        *[(f"row {i} ", str(i % 2)) for i in range(20)],
    ],
    "SST-2/dev.tsv": [("sentence", "label"), ('it \'s a "charming" journey . ', "1")],
    "SST-2/test.tsv": [("index", "sentence"), ("0", "uneasy mishmash "), ("1", '"" ')],
    "SST-2/original/README.txt": [("not a table",)],
}
COLUMNS = ("index", "genre", "sentence1", "sentence2", "label1", "gold_label")


def _mnli_rows(count: int, label: bool) -> list[tuple[str, ...]]:
    names = ["entailment", "neutral", "contradiction"]
    rows = [
        (str(i), "fiction", f'premise "{i}', f'hypothesis {i}"', names[i % 3], names[i % 3])
        for i in range(count)
    ]
    end = len(COLUMNS) if label else 4
    return [COLUMNS[:end], *(row[:end] for row in rows)]


MNLI = {
    "MNLI/train.tsv": [
        *_mnli_rows(12, label=True),
        ("12", "slate", "more fields", "than columns", "neutral", "neutral", "surplus"),
        ("13", "slate", "cut short"),
        ("14", "slate", "no last", "column", "neutral"),
    ],
    "MNLI/dev_matched.tsv": _mnli_rows(5, label=True),
    "MNLI/dev_mismatched.tsv": _mnli_rows(4, label=True),
    "MNLI/test_matched.tsv": _mnli_rows(3, label=False),
    "MNLI/test_mismatched.tsv": _mnli_rows(2, label=False),
}


def as_tsv(rows) -> str:
    """The content of a table."""
    return "".join("\t".join(row) + "\n" for row in rows)


def made_zip(path, tables):
    """Writes a zip archive of tables by the names of their files; returns its description."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in tables.items():
            archive.writestr(name, as_tsv(rows))
    return described(path)
