"""What the README and docs/ hold: shell commands, words set as code, links, names of files."""

import itertools
import re
import shlex

from tests.conftest import ROOT

FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS_OF_OTHERS = ("gcloud", "docker")

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE_FILE = re.compile(r"(?:[\w./*-]|\{[\w,]+\})+\.py\b")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks in a language; "": those that name none."""
    return [block for name, block in _FENCED.findall(text) if name == language]


def code_spans(text: str) -> list[str]:
    """What stands between backticks outside of blocks, each in one line."""
    spans = re.findall(r"`([^`]+)`", _FENCED.sub("", text))
    return [re.sub(r"\s*\n\s*", " ", span) for span in spans]


def shell_commands(text: str) -> list[list[str]]:
    """Commands in words, of all blocks for a shell and of all spans that call one.

    Lines are continued, variables put in; what a pipe, `&&` or `||` joins are several commands, and
    where output goes is left out.
    """
    spans = [s for s in code_spans(text) if re.search(r"(^|\|\| )(python|pip) ", s)]
    variables: dict[str, str] = {}
    commands = []
    for line in "\n".join([*blocks(text, "bash"), *spans]).replace("\\\n", " ").splitlines():
        for words in _commands_of(_words(line)):
            if len(words) == 1 and (found := re.fullmatch(r"([A-Za-z]\w*)=(.*)", words[0])):
                variables[found.group(1)] = found.group(2)
                continue
            put_in = [shlex.split(variables.get(w[1:], w)) if w[0] == "$" else [w] for w in words]
            commands.append(list(itertools.chain(*put_in)))
    return commands


def config_variants(text: str) -> list[str]:
    """Config files with what stands behind a colon: `a.py:x`, and `a.py`, `:x` in one line."""
    named = []
    for line in text.splitlines():
        files: list[str] = []
        for span in code_spans(line):
            if span.startswith(":"):
                named += [file + span for file in files]
            elif found := re.fullmatch(r"(?:configs/)?([^-\s]\S*\.py)(:\w+)?", span):
                files = with_braces(f"configs/{found.group(1)}")
                named += [file + (found.group(2) or "") for file in files if found.group(2)]
    return named


def code_files(text: str) -> set[str]:
    """Names of Python files, anywhere; `{a,b}.py` are two, those in capital letters none."""
    names = itertools.chain(*(with_braces(name) for name in _CODE_FILE.findall(text)))
    return {name for name in names if not re.search(r"\b[A-Z]+\.py", name)}


def with_braces(name: str) -> list[str]:
    """As a shell has it: "{a,b}_x" is "a_x" and "b_x"."""
    found = re.search(r"\{([^}]*)\}", name)
    if not found:
        return [name]
    before, after = name[: found.start()], name[found.end() :]
    return [w for word in found.group(1).split(",") for w in with_braces(before + word + after)]


def links(text: str) -> list[str]:
    """Targets of links within the project."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _FENCED.sub("", text))
    return [target for target in targets if "://" not in target]


def anchors(text: str) -> set[str]:
    """What a link may name behind its #: headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    return list(lexer)


def _commands_of(words: list[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    skip = False
    for word in words:
        if set(word) <= set("|&;"):
            commands.append([])
            skip = False
        elif set(word) <= set("<>"):
            skip = True
        elif not skip:
            commands[-1].append(word)
    return [command for command in commands if command]
