"""Arguments and flags that commands share, as annotated types, and the groups that a command can take whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlkit.cli.completion import complete_filter, complete_reference
from mlkit.errors import IntegrityError, UsageError
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference

if TYPE_CHECKING:
    from mlkit.api.variants import Choice


def parse_digest(text: str) -> Digest:
    """A digest that a person typed. Raises: UsageError."""
    try:
        return Digest.parse(text)
    except IntegrityError as error:
        raise UsageError(error.message, hint="a digest is what `mlkit push` and `mlkit inspect` print") from error


class ProgressMode(StrEnum):
    """How long work shows itself."""

    AUTO = "auto"
    PLAIN = "plain"
    NONE = "none"


class LogForm(StrEnum):
    """What stderr is written in."""

    TEXT = "text"
    JSON = "json"


ReferenceArgument = Annotated[
    Reference,
    typer.Argument(
        parser=Reference.parse,
        metavar="REF",
        help="[host[:port]/]repository[:tag][@digest]",
        show_default=False,
        autocompletion=complete_reference,
    ),
]
FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="CLASS[:PATTERN]",
        help="Only these: model, datasets, parameters, deployment, code, docs, prompts, mcpservers, kitfile; "
        "a pattern is an entry name or a path with * and **; ! in front excludes. Repeatable.",
        autocompletion=complete_filter,
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "-l",
        "--label",
        metavar="KEY=VALUE",
        help="Of an index, the one kit that is labelled so: KEY=VALUE, KEY!=VALUE, or an amount as in 'vram<=24GB'. "
        "Repeatable.",
    ),
]
SelectOption = Annotated[
    str | None,
    typer.Option("--select", metavar="auto", help="Of an index, the kit that suits this machine's GPU."),
]
IncludeRemoteOption = Annotated[
    bool, typer.Option("--include-remote", help="With datasets that are elsewhere: other kits, objects in S3.")
]
RemoteOption = Annotated[bool, typer.Option("--remote", help="Ask the registry, not the local store.")]
NoReferrersOption = Annotated[
    bool, typer.Option("--no-referrers", help="The kit alone, without its signatures and other referrers.")
]
IfMatchOption = Annotated[
    Digest | None,
    typer.Option(
        "--if-match",
        parser=parse_digest,
        metavar="DIGEST",
        help="Move the tag only from this digest; exit 9 where it is elsewhere.",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
MetricsOption = Annotated[
    Path | None,
    typer.Option("--metrics-file", metavar="FILE", help="Write figures of this run for Prometheus's node exporter."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
IgnoreExistingOption = Annotated[bool, typer.Option("--ignore-existing", help="Leave files that exist as they are.")]

TagsOption = Annotated[
    list[str] | None,
    typer.Option(
        "-t",
        "--tag",
        metavar="REF",
        help="Name of the kit; repository:tag1,tag2 gives two. Repeatable.",
        autocompletion=complete_reference,
    ),
]
SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHAT",
        help="A file or directory (hashed here), a kit, a digest, or an address: s3://…, hf://owner/name, md5:….",
        show_default=False,
        autocompletion=complete_reference,
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Of repo:tag@digest, refuse a tag that is at another digest now (exit 8).")
]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Show at most so many.")]
RefreshOption = Annotated[
    bool, typer.Option("--refresh", help="First scan again all that was ever scanned, for what is new.")
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summaries.")]
Verbosity = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, metavar="", show_default=False, help="Say more; -vv shows HTTP requests."
    ),
]
Progress = Annotated[
    ProgressMode | None,
    typer.Option("--progress", metavar="MODE", help="auto, plain or none.", show_default=False),
]
LogFormat = Annotated[
    LogForm | None,
    typer.Option("--log-format", metavar="FORMAT", help="text, or json: a line of JSON each.", show_default=False),
]
_PlainHttp = Annotated[bool, typer.Option("--plain-http", help="Speak to registries without TLS.")]
_CaFile = Annotated[
    list[Path] | None, typer.Option("--ca-file", metavar="FILE", help="Trust these certificates too. Repeatable.")
]
_Cert = Annotated[Path | None, typer.Option("--cert", metavar="FILE", help="Client certificate.")]
_CertKey = Annotated[
    Path | None, typer.Option("--cert-key", "--key", metavar="FILE", help="Key of the client certificate.")
]
_OnlyCertKey = Annotated[Path | None, typer.Option("--cert-key", metavar="FILE", help="Key of the client certificate.")]
_Insecure = Annotated[bool, typer.Option("--insecure", help="Do not check certificates. Dangerous.")]
_Proxy = Annotated[str | None, typer.Option("--proxy", metavar="URL", help="Proxy for registries.")]
_Concurrency = Annotated[
    int | None, typer.Option("--concurrency", metavar="N", min=1, max=64, help="Layers moved at the same time.")
]
_LimitRate = Annotated[
    str | None,
    typer.Option("--limit-rate", metavar="RATE", help="Move no more bytes per second than this: 500K, 20M, 1G."),
]
_Authfile = Annotated[
    Path | None, typer.Option("--authfile", metavar="FILE", help="Credentials in this file, none other.")
]


KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The private key to sign with, if not the setting signing_key."),
]
SignOption = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="Sign the kit with this private key in the same run.")
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="The policy that the kit must meet, if not the setting policy."),
]


@dataclass(frozen=True, slots=True)
class General:
    """How a command talks. Accepted before and after the command."""

    as_json: AsJson = False
    quiet: Quiet = False
    verbosity: Verbosity = 0
    progress: Progress = None
    log_format: LogFormat = None

    def joined(self, other: General) -> General:
        """What was asked for in either place."""
        return General(
            self.as_json or other.as_json,
            self.quiet or other.quiet,
            self.verbosity + other.verbosity,
            self.progress or other.progress,
            self.log_format or other.log_format,
        )

    @property
    def overrides(self) -> Mapping[str, Any]:
        """The settings that these flags change; None where a flag was not given."""
        return {
            "progress": self.progress and self.progress.value,
            "log_format": self.log_format and self.log_format.value,
        }


@dataclass(frozen=True, slots=True)
class Network:
    """How registries are spoken to."""

    plain_http: _PlainHttp = False
    ca_files: _CaFile = None
    cert: _Cert = None
    cert_key: _CertKey = None
    insecure: _Insecure = False
    proxy: _Proxy = None
    concurrency: _Concurrency = None
    limit_rate: _LimitRate = None
    authfile: _Authfile = None

    @property
    def overrides(self) -> Mapping[str, Any]:
        """The settings that these flags change; None where a flag was not given."""
        return {
            "plain_http": self.plain_http or None,
            "ca_files": tuple(self.ca_files) if self.ca_files else None,
            "cert": self.cert,
            "key": self.cert_key,
            "insecure": self.insecure or None,
            "proxy": self.proxy,
            "concurrency": self.concurrency,
            "limit_rate": self.limit_rate,
            "authfile": self.authfile,
        }


def network_parameters(own: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """The flags of `Network` for a command with these parameters: where one is --key, that is a signing key.

    Where one is --concurrency, it is not about layers; the setting concurrency still is.
    """
    flags = {flag for parameter in own for flag in _flags(parameter)}
    return [
        parameter.replace(annotation=_OnlyCertKey) if parameter.name == "cert_key" and "--key" in flags else parameter
        for parameter in inspect.signature(Network, eval_str=True).parameters.values()
        if parameter.name != "concurrency" or "--concurrency" not in flags
    ]


def _flags(parameter: inspect.Parameter) -> Iterable[object]:
    for extra in getattr(parameter.annotation, "__metadata__", ()):
        # In an annotation the first name stands where a default would (typer, "Annotated").
        yield from (getattr(extra, "default", None), *(getattr(extra, "param_decls", None) or ()))


def parse_names(texts: Iterable[str] | None) -> tuple[Reference, ...]:
    """References of which each may name several tags, one by one and each once. Raises: UsageError."""
    found: dict[Reference, None] = {}
    for text in texts or ():
        reference, tags = Reference.parse_tags(text)
        found.update(dict.fromkeys((reference, *(reference.with_tag(tag) for tag in tags[1:]))))
    return tuple(found)


def parse_pairs(texts: Iterable[str] | None, what: str) -> Mapping[str, str]:
    """`KEY=VALUE` as a mapping; `what` one of them is called. Raises: UsageError."""
    pairs = [text.partition("=") for text in texts or ()]
    for key, separator, value in pairs:
        if not key or not separator:
            raise UsageError(f"{key + separator + value!r} is not {what}", hint=f"{what} reads KEY=VALUE")
    return {key: value for key, _, value in pairs}


def parse_annotations(texts: Iterable[str] | None) -> Mapping[str, str]:
    """`KEY=VALUE` as a mapping. Raises: UsageError."""
    return parse_pairs(texts, "an annotation")


def parse_numbers(texts: Iterable[str] | None, what: str) -> Mapping[str, float]:
    """`KEY=NUMBER` as a mapping; `what` one of them is called. Raises: UsageError."""
    numbers = {}
    for key, text in parse_pairs(texts, what).items():
        try:
            numbers[key] = float(text)
        except ValueError as error:
            raise UsageError(f"{text!r} of {what} {key!r} is not a number") from error
    return numbers


def parse_pattern(text: str | None) -> Callable[[str], bool]:
    """A test of names by wildcards, in which `*` stands for any characters, `/` too. Raises: UsageError."""
    from mlkit.archive.glob import matcher

    if text is None:
        return lambda _name: True
    try:
        return matcher(text)
    except ValueError as error:
        raise UsageError(f"--filter {text!a}: {error}") from error


def parse_choice(labels: Iterable[str] | None, select: str | None) -> Choice:
    """What of an index is wanted. Raises: UsageError."""
    from mlkit.api.variants import ANY, Choice

    if select not in (None, "auto"):
        raise UsageError(f"--select {select!a}: only auto is known", hint="-l KEY=VALUE takes a kit by its labels")
    return Choice.parse(labels or (), "auto" if select else None) if labels or select else ANY


def parse_existing(*, overwrite: bool, ignore_existing: bool) -> Literal["refuse", "overwrite", "ignore"]:
    """What happens to files that exist. Raises: UsageError where both flags are given."""
    if overwrite and ignore_existing:
        raise UsageError("--overwrite and --ignore-existing exclude each other")
    if overwrite:
        return "overwrite"
    return "ignore" if ignore_existing else "refuse"
