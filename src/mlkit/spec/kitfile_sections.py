"""The sections of a Kitfile and the keys that each may have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mlkit.spec.kitfile_fields import (
    BoundText,
    BundlePath,
    DigestText,
    Environment,
    ExitCode,
    Listed,
    LocalPath,
    MetricsPath,
    ModelPath,
    Parameters,
    PartType,
    ReferenceText,
    Seconds,
    Text,
    source_text,
)


class Section(BaseModel):
    """Frozen, and strict about keys; attributes are in snake case, keys as KitOps writes them."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class Package(Section):
    """The project that the kit is a release of."""

    name: Text | None = None
    version: Text | None = None
    """Version of the whole: of this release of model, data, parameters and deployment together."""
    description: Text | None = None
    license: Text | None = None
    """SPDX expression."""
    authors: Listed[Text] = ()


class Part(Section):
    """A further file or directory of the model: a tokenizer, a config, an adapter."""

    name: Text | None = None
    path: LocalPath | None = None
    license: Text | None = None
    type: PartType | None = None
    version: Text | None = None


class Model(Section):
    """The model; without a path it has no content of its own."""

    name: Text | None = None
    path: ModelPath | None = None
    """File or directory, or a reference to another kit whose model this one builds on."""
    license: Text | None = None
    framework: Text | None = None
    format: Text | None = None
    version: Text | None = None
    description: Text | None = None
    parts: Listed[Part] = ()
    parameters: Parameters = None
    """Anything that JSON can hold."""


class CodeEntry(Section):
    """Source code; without a path it is everything that no other entry holds."""

    name: Text | None = None
    path: LocalPath | None = None
    description: Text | None = None
    license: Text | None = None
    version: Text | None = None


class DatasetEntry(Section):
    """A dataset."""

    name: Text | None = None
    path: LocalPath | None = None
    remote_path: Text | None = Field(default=None, alias="remotePath")
    """Where the content is: s3://bucket/key, https://host/bucket/key, or another kit. Fetched only when asked for."""
    remote_hash: Text | None = Field(default=None, alias="remoteHash")
    """Of an S3 object: its ETag, or `sha256:` and the digest of its bytes."""
    description: Text | None = None
    license: Text | None = None
    version: Text | None = None
    parameters: Parameters = None
    """Anything that JSON can hold."""


class DocsEntry(Section):
    """Documentation: a model card, a paper."""

    path: LocalPath | None = None
    description: Text | None = None
    version: Text | None = None


class PromptEntry(Section):
    """Prompts."""

    name: Text | None = None
    path: LocalPath | None = None
    description: Text | None = None
    version: Text | None = None


class McpServerEntry(Section):
    """A bundled MCP server."""

    name: Text | None = None
    path: BundlePath
    description: Text | None = None
    version: Text | None = None


class ParametersEntry(Section):
    """Parameters of training or inference, as files."""

    name: Text | None = None
    path: LocalPath
    version: Text | None = None
    description: Text | None = None


class DeploymentEntry(Section):
    """Deployment configuration."""

    name: Text | None = None
    path: LocalPath
    version: Text | None = None
    description: Text | None = None
    runtime: Text | None = None
    """What runs it, for example `vllm` or `kserve`."""


class InputEntry(Section):
    """Something that the kit was made from."""

    role: Annotated[
        Literal["dataset", "base-model", "adapter-base", "code", "run", "other"], BeforeValidator(source_text)
    ]
    name: Text | None = None
    ref: ReferenceText | None = None
    """A kit."""
    uri: Text | None = None
    """Where else it is, for example `s3://bucket/key` or `git+https://host/repository@commit`."""
    digest: DigestText | None = None
    """What `ref` or `uri` held."""


class CheckEntry(Section):
    """A command that proves the kit good."""

    name: Text
    run: tuple[Text, ...]
    """Program and arguments; no shell."""
    timeout: Seconds | None = None
    """Seconds, 600 by default; then the program is killed, with all that it started."""
    environment: Environment | None = None
    """Variables for the program, which is given few others."""
    exit_code: ExitCode | None = Field(default=None, alias="exitCode")
    """What the program must exit with, 0 by default."""
    metrics: MetricsPath | None = None
    """A JSON file that the program writes, or `-` for the last line of JSON that it prints."""
    bounds: Listed[BoundText] = ()
    """What the metrics must be: `accuracy >= 0.95`, with one of >= > <= < == !=."""
