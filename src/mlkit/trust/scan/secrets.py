"""Secrets in texts, found by `detect-secrets` (extra `scan`): its detectors of known kinds of keys and tokens.

Not its guesses by entropy or by words such as "password": models and data are full of both. Nothing is asked of any
network: what is found is not tried out.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Protocol

from mlkit.trust.scan.look import Look
from mlkit.trust.scan.source import Source

TEXT_LIMIT: Final = 512 * 1024
"""Bytes of a text that are searched: of tables and vocabularies, the beginning."""
_LINE_LIMIT: Final = 2000
_PLUGINS: Final = (
    ("artifactory", "ArtifactoryDetector"),
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("basic_auth", "BasicAuthDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("jwt", "JwtTokenDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("npm", "NpmDetector"),
    ("openai", "OpenAIDetector"),
    ("private_key", "PrivateKeyDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)
# What the library has no detector for.
_HUGGING_FACE = re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")
_PLACEHOLDER = re.compile(r"(?i)example|placeholder|changeme|your[-_ ]|xxxx|<[a-z_-]+>|\$\{|:password@|:pass@|:secret@")


class _Plugin(Protocol):
    secret_type: str

    def analyze_string(self, string: str) -> object: ...


def are_found() -> bool:
    """Whether the library is installed; it is imported when the first text is searched."""
    return find_spec("detect_secrets") is not None


def scan_secrets(source: Source, look: Look) -> None:
    """Report each kind of secret with its line, and never the secret."""
    raw = source.read_at(0, TEXT_LIMIT)
    if b"\0" in raw:
        return
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), start=1):
        if len(line) > _LINE_LIMIT:
            line = line[:_LINE_LIMIT]
        if len(line) < 12:
            continue
        kinds = ["Hugging Face token"] if _HUGGING_FACE.search(line) else []
        for plugin in _plugins():
            found = plugin.analyze_string(line)
            if any(not _PLACEHOLDER.search(str(secret)) for secret in _iterated(found)):
                kinds.append(plugin.secret_type)
        for kind in kinds:
            if not _PLACEHOLDER.search(line):
                look.report("secret", f"line {number} holds what looks like a secret: {kind}")


def _iterated(found: object) -> list[object]:
    return list(found) if hasattr(found, "__iter__") else []


@cache
def _plugins() -> tuple[_Plugin, ...]:
    try:
        return tuple(getattr(import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in _PLUGINS)
    except ImportError:
        return ()
