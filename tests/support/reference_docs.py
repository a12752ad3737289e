"""The generated parts of the docs: `make docs` writes them, `tests/docs/test_reference.py` compares.

Commands come from their own `--help`, exit codes from the error tree, the Kitfile from its JSON Schema, the Python API
from signatures and docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlkit
from mlkit import errors
from mlkit.registry.quirks import MIB, QUIRKS
from mlkit.registry.upload import CHUNK, MONOLITHIC
from mlkit.serving.runtimes import FORMATS, RUNTIMES, WORDS
from mlkit.trust.scan.allowlist import allowed_names
from mlkit.trust.scan.findings import Severity
from mlkit.trust.scan.rules import RULES, VERSION

ROOT = Path(__file__).parents[2]
_REGISTRIES = """\
# Registries

mlkit speaks the OCI distribution specification, so any registry will do. Where one differs, mlkit finds out by what it
answers, or knows it by its host:

| registry | blobs in chunks | mounts | lists referrers | deletes | |
|---|---|---|---|---|---|
{table}

Where a registry does not list referrers, they are kept under a tag, as the specification says. A registry that refuses
the first chunk of a blob is sent blobs whole for the rest of the run.

## Interrupted pushes

A blob of more than {monolithic} MiB goes up in chunks of {chunk} MiB, larger where the registry asks for it, smaller
where connections break. After every chunk the upload is written down in `.mlkit/uploads/` of the local store, for its
owner alone. A push that was interrupted or killed goes on there when the same command is given again, for up to seven
days: inside the chunk where the registry keeps what arrived of it, else at its start. Layers that had arrived whole are
never sent again. A smaller blob starts over, and so does one whose registry takes no chunks or lost the upload.

## Blobs that are elsewhere already

The local store remembers which repositories of a registry a blob was seen in (`.mlkit/seen.sqlite`). A push to another
repository of the same registry asks it to take the blob over from there, and sends nothing where it does. Names of
repositories are told to no other registry.
"""
_SCAN_RULES = """\
# Rules of the scan

Version {version} of the rules. The verdict of `mlkit scan` is `findings` where one of severity `{threshold}` or above
is found (`--fail-on` says another), `unknown` where something could not be looked at, and `clean` otherwise. [How to
scan](../how-to/scan.md) shows it at work.

| rule | severity | the file… | why it matters |
|---|---|---|---|
{table}

## Names that a pickle may have

A pickle is called harmless when every name that it looks up is on a list of exact names; a name is on it when neither
importing nor calling it does more than make a value. All others are told: as `pickle-code` where they run code or
reach what does, as `pickle-name` otherwise, of severity high where the module is part of Python itself and medium
where it is somebody's library. There are {names} names of {modules} modules, of these packages:

{packages}
"""
_PREAMBLE = "<!-- written by `make docs`; change the source instead -->\n\n"


def pages() -> dict[Path, str]:
    """Every generated page, by its path below the project."""
    readme, how_to = ROOT / "README.md", ROOT / "docs/how-to/ci.md"
    return {
        Path("README.md"): _with_help(readme.read_text(encoding="utf-8")),
        Path("docs/how-to/ci.md"): _with_includes(how_to.read_text(encoding="utf-8")),
        Path("docs/reference/cli.md"): _PREAMBLE + cli_page(),
        Path("docs/reference/exit-codes.md"): _PREAMBLE + exit_codes_page(),
        Path("docs/reference/kitfile.md"): _PREAMBLE + kitfile_page(),
        Path("docs/reference/policy.md"): _PREAMBLE + policy_page(),
        Path("docs/reference/schemas.md"): _PREAMBLE + schemas_page(),
        Path("docs/reference/python-api.md"): _PREAMBLE + python_api_page(),
        Path("docs/reference/registries.md"): _PREAMBLE + registries_page(),
        Path("docs/reference/scan-rules.md"): _PREAMBLE + scan_rules_page(),
        Path("docs/reference/runtimes.md"): _PREAMBLE + runtimes_page(),
    }


def help_of(*words: str) -> str:
    """What `mlkit WORDS --help` prints on a terminal of 80 columns."""
    environ = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "mlkit", *words, "--help"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip() + "\n"


def commands() -> list[tuple[str, ...]]:
    """Every command, as the words that call it."""
    from mlkit.cli.catalogue import COMMANDS, Family

    found: list[tuple[str, ...]] = []
    for name, command in COMMANDS.items():
        found.extend([(name, sub) for sub in command.commands] if isinstance(command, Family) else [(name,)])
    return found


def cli_page() -> str:
    parts = ["# Commands\n", "Every command takes `--json`; see [exit codes](exit-codes.md) for what they end with.\n"]
    for words in commands():
        parts.append(f"## mlkit {' '.join(words)}\n\n```text\n{help_of(*words)}```\n")
    return "\n".join(parts)


def exit_codes_page() -> str:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MlkitError)]
    own = [kind for kind in kinds if "code" in vars(kind)]
    rows = {kind.exit_code: (kind.code, (kind.__doc__ or "").split("\n")[0]) for kind in own}
    lines = [
        "# Exit codes\n",
        "| exit | code in JSON | meaning |",
        "|---|---|---|",
        "| 0 | | Done. |",
        "| 1 | | A check or query that was asked for came out negative: `diff` found a difference; a question of "
        "`lineage` found nothing in what was scanned. |",
        *(f"| {number} | `{code}` | {text} |" for number, (code, text) in sorted(rows.items())),
        "| 70 | `E_DEFECT` | A defect in mlkit; please report it. |",
        "| 130 | `E_INTERRUPTED` | Interrupted by Ctrl-C. |",
        "| 141 | | The reader of a pipe has gone. |",
        "| 143 | `E_TERMINATED` | Terminated. |",
        "\nErrors are one sentence on standard error, and a hint where there is one; with `--json`, one object:\n",
        "```json",
        '{"error": {"code": "E_NOTFOUND", "exit": 3, "message": "...", "hint": "..."}}',
        "```",
        "\nTry again later on 7; on 9 look at what changed; all others need a person or another input.",
        "`mlkit registry serve` ends with 0 on Ctrl-C and on SIGTERM: being stopped is how a server is done.",
    ]
    return "\n".join(lines) + "\n"


def kitfile_page() -> str:
    schema = json.loads((ROOT / "schemas/kitfile-v1.json").read_text(encoding="utf-8"))
    parts = [
        "# Kitfile\n",
        "A YAML file named `Kitfile` at the root of a project. Every KitOps Kitfile 1.0.0 is one; `version` on entries",
        "and the sections `parameters`, `deployment`, `inputs` and `checks` are mlkit's. Anchors, tags, duplicate and",
        "unknown keys are errors, with the line; `no`, `010` and dates stay the text that was written. The schema for",
        "editors is [kitfile-v1.json](../../schemas/kitfile-v1.json).\n",
        "```yaml",
        (ROOT / "examples/digits/Kitfile").read_text(encoding="utf-8").strip(),
        "```\n",
        _section("Kitfile", schema, schema),
    ]
    for name, definition in sorted(schema.get("$defs", {}).items()):
        parts.append(_section(name, definition, schema))
    return "\n".join(parts)


def scan_rules_page() -> str:
    """The rules of the scan, and whose names are harmless."""
    table = "\n".join(
        f"| `{rule.id}` | {rule.severity.word} | {rule.title} | {rule.why} |"
        for rule in sorted(RULES.values(), key=lambda rule: (-rule.severity, rule.id))
    )
    names = list(allowed_names())
    packages: dict[str, int] = {}
    for module, _ in names:
        package = module.partition(".")[0]
        packages[package] = packages.get(package, 0) + 1
    return _SCAN_RULES.format(
        version=VERSION,
        threshold=Severity.MEDIUM.word,
        table=table,
        names=len(names),
        modules=len({module for module, _ in names}),
        packages=", ".join(f"`{package}` ({count})" for package, count in sorted(packages.items())),
    )


def policy_page() -> str:
    schema = json.loads((ROOT / "schemas/policy-v1.json").read_text(encoding="utf-8"))
    how_to = (ROOT / "docs/how-to/policy.md").read_text(encoding="utf-8")
    example = how_to.partition("<<'EOF'\n")[2].partition("\nEOF\n")[0]
    parts = [
        "# Policy\n",
        "A YAML file, by custom `mlkit-policy.yaml`, that says what a kit needs before it is used; how it is put to",
        "work is in [a how-to](../how-to/policy.md). Anchors, tags, duplicate and unknown keys are errors, with the",
        "line. Times are RFC 3339, or a day, which begins at midnight UTC; spans are a number and `s`, `m`, `h`, `d`",
        "or `w`. The schema for editors is [policy-v1.json](../../schemas/policy-v1.json); `mlkit policy schema`",
        "prints it.\n",
        "```yaml",
        example,
        "```\n",
        _section("Policy", schema, schema),
    ]
    parts += [_section(name, definition, schema) for name, definition in sorted(schema["$defs"].items())]
    return "\n".join(parts)


def schemas_page() -> str:
    schemas = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "schemas").glob("*.json"))
    }
    rows = [f"| [{name}](../../schemas/{name}) | {schema.get('title', '')} |" for name, schema in schemas.items()]
    written = [row for row in rows if "report" not in row and "profile" not in row]
    return "\n".join(
        [
            "# Schemas\n",
            "JSON Schemas (2020-12) of what people write and of what programs read, made from mlkit's own models and",
            "compared with them by a test. Each is known by its `$id`, `https://mlkit.dev/schemas/NAME`; the number in",
            "the name goes up when something is taken away or means something else. Names may be added: programs pass",
            "over what they do not know.\n",
            "## Files\n",
            "How editors use them: [how-to](../how-to/editors.md).\n",
            "| schema | of |",
            "|---|---|",
            *written,
            "\n## Reports\n",
            "What commands print with `--json`. Sizes are bytes, times RFC 3339 in UTC, digests whole.\n",
            "| schema | of |",
            "|---|---|",
            *(row for row in rows if row not in written),
            "",
        ]
    )


def registries_page() -> str:
    known = {True: "yes", False: "no", None: "not known"}
    rows = [
        (
            quirks.name,
            known[quirks.is_chunked],
            known[quirks.is_mounting],
            known[quirks.has_referrers],
            quirks.deletes or "not known",
            quirks.note,
        )
        for quirks in QUIRKS
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return _REGISTRIES.format(table=table, monolithic=MONOLITHIC // MIB, chunk=CHUNK // MIB)


def runtimes_page() -> str:
    parts = [
        "# Runtimes\n",
        "What `mlkit serve`, `profile`, `image build` and `deploy render` know of servers. Where a kit holds its model",
        "in several forms and nobody asks for one, the first of this list is taken, and the first runtime that reads",
        "it:\n",
        "| form | is | loading it runs code of the kit |",
        "|---|---|---|",
        *(
            f"| `{form.name}` | {form.title} | {'yes: `--allow-code`' if form.runs_code else 'no'} |"
            for form in FORMATS.values()
        ),
        "\nPlaceholders: `{model}` is the path of the model, `{root}` the folder of the kit's files, `{repository}` a",
        "folder in which the model lies as the runtime wants it, `{name}` what callers call the model; `{host}`,",
        "`{port}`, `{python}`, `{program}`.",
    ]
    for runtime in RUNTIMES.values():
        told = [
            ("reads", ", ".join(f"`{name}`" for name in runtime.formats) or "what its command reads"),
            ("is asked by", _PROTOCOLS[runtime.protocol]),
            ("GPU", runtime.gpu),
            ("port in a container", str(runtime.port)),
            ("health, readiness", f"`{runtime.health}`, `{runtime.ready}`"),
            ("image", f"`{runtime.image}`" if runtime.image else "none is published"),
            ("image without a GPU", f"`{runtime.cpu_image}`" if runtime.cpu_image else ""),
            ("command in a container", f"`{' '.join(runtime.container)}`" if runtime.container else ""),
            *(("command here", f"`{' '.join(local.argv)}`") for local in runtime.local),
            *(
                ("installed by", f"`pip install {shlex.join(local.pip.split())}`")
                for local in runtime.local
                if local.pip
            ),
            ("variables", ", ".join(f"`{key}={value}`" for key, value in runtime.environ.items())),
            ("laid out", ", ".join(f"`{key}` as `{value}`" for key, value in runtime.placed.items())),
            ("called in a Kitfile", ", ".join(f"`{word}`" for word, names in WORDS.items() if runtime.name in names)),
            ("", runtime.note),
        ]
        parts += [f"\n## {runtime.title}\n", "| | |", "|---|---|"]
        parts += [f"| {name} | {value} |".replace("|  |", "| |") for name, value in told if value]
    return "\n".join(parts) + "\n"


_PROTOCOLS = {
    "openai": "OpenAI's API",
    "v2": "the Open Inference Protocol V2",
    "invocations": "MLflow's `/invocations`",
    "any": "whatever it speaks",
}


def _section(title: str, definition: dict[str, Any], schema: dict[str, Any]) -> str:
    if "properties" not in definition:
        return ""
    required = set(definition.get("required", ()))
    lines = [f"## {title}\n"]
    if description := definition.get("description"):
        lines.append(" ".join(description.split()) + "\n")
    lines += ["| key | type | |", "|---|---|---|"]
    for name, about in definition["properties"].items():
        text = " ".join(about.get("description", "").split())
        needed = "required. " if name in required else ""
        lines.append(f"| `{name}` | {_type(about)} | {needed}{text} |".replace("  |", " |"))
    return "\n".join(lines) + "\n"


def _type(about: dict[str, Any]) -> str:
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in about:
        return " or ".join(_type(option) for option in about["anyOf"] if option.get("type") != "null")
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if about.get("type") == "array":
        return f"list of {_type(about.get('items', {}))}"
    return str(about.get("type", "anything"))


def python_api_page() -> str:
    parts = [
        "# Python API\n",
        inspect.cleandoc(importlib.import_module("mlkit.api.public").__doc__ or "") + "\n",
        "`import mlkit` is cheap: what a function needs is imported when it is first called.\n",
    ]
    for name in sorted(mlkit.__all__):
        value = getattr(mlkit, name)
        if callable(value) and not isinstance(value, type):
            signature = re.sub(r"mlkit\.[a-z_.]+\.", "", str(inspect.signature(value))).replace("'", "")
            parts.append(f"## mlkit.{name}\n\n```python\n{name}{_wrapped(signature)}\n```\n")
            parts.append(inspect.cleandoc(value.__doc__ or "") + "\n")
        elif isinstance(value, type):
            parts.append(f"## mlkit.{name}\n\n{inspect.cleandoc(value.__doc__ or '')}\n")
    return "\n".join(parts)


def _wrapped(signature: str) -> str:
    if len(signature) < 90:
        return signature
    inner, _, rest = signature[1:].rpartition(")")
    depth, start, arguments = 0, 0, []
    for position, character in enumerate(inner):
        depth += character in "[(" and 1
        depth -= character in "])" and 1
        if character == "," and depth == 0:
            arguments.append(inner[start:position].strip())
            start = position + 1
    arguments.append(inner[start:].strip())
    return "(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")" + rest


def _with_help(text: str) -> str:
    return re.sub(
        r"(<!-- help -->\n).*?(<!-- end of help -->)",
        lambda found: f"{found[1]}\n```text\n{help_of()}```\n\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


def _with_includes(text: str) -> str:
    """Every fenced block that begins with `# include: PATH` holds that file."""

    def included(found: re.Match[str]) -> str:
        return f"```yaml\n# include: {found[1]}\n{(ROOT / found[1]).read_text(encoding='utf-8').strip()}\n```"

    return re.sub(r"```yaml\n# include: (\S+)\n.*?```", included, text, flags=re.DOTALL)


if __name__ == "__main__":
    for path, text in pages().items():
        (ROOT / path).write_text(text, encoding="utf-8")
        print(path)
