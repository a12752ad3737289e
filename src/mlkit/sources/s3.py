"""Objects in S3-compatible storage, through s3fs (the extra `s3`).

Credentials, region and endpoint of `s3://` URLs come from where the tools of AWS take them. An `https://` URL names its
host itself, and whoever wrote it must not be the one who is shown credentials: it is read without any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from mlkit.errors import AuthError, DigestMismatch, IntegrityError, MlkitError, NetworkError, NotFoundError, UsageError
from mlkit.spec.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

SCHEMES = ("s3://", "https://")
_BLOCK = 8 << 20  # bytes of one request; the parts of a multipart upload are of this order
_CHUNK = 1 << 20
_URL_LIMIT = 2048  # characters; keys have at most 1024 bytes


class Sink(Protocol):
    """Where the bytes go."""

    def write(self, content: bytes) -> object: ...


@dataclass(frozen=True, slots=True)
class Network:
    """How storage is reached."""

    proxies: Mapping[str, str]
    """By the scheme of what is asked for."""
    ca_files: tuple[Path, ...] = ()
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """An object."""

    url: str
    endpoint: str | None
    """None for the one that is configured, by default AWS."""
    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> Place:
        """Read `s3://bucket/key` or `https://host/bucket/key`. Raises: UsageError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{ascii(url)[:200]}: is no URL of an object") from error
        path = unquote(parts.path).lstrip("/")
        if parts.scheme == "s3":
            endpoint, bucket, key = None, parts.netloc, path
        else:
            endpoint = f"https://{parts.hostname}" + (f":{port}" if port else "")
            bucket, _, key = path.partition("/")
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if not (url.startswith(SCHEMES) and is_plain and bucket and key) or key.endswith("/") or len(url) > _URL_LIMIT:
            raise UsageError(
                f"{ascii(url)[:200]}: is no URL of an object",
                hint="s3://bucket/key, or https://host/bucket/key for what needs no credentials",
            )
        return cls(url, endpoint, bucket, key)

    @property
    def name(self) -> str:
        """The last component of the key."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is there, and is the one that was pinned as far as its storage tells."""

    place: Place
    size: int
    """Bytes."""
    digest: Digest | None
    """What its bytes must be, where the pin says so."""
    file_system: Any

    def write(self, sink: Sink, moved: Callable[[int], None]) -> None:
        """Read it from the first byte to the last.

        Raises: DigestMismatch; IntegrityError where it is of another length, or changed meanwhile; NetworkError.
        """
        hasher: _Hash = hashlib.sha256() if self.digest is None else self.digest.hasher()
        written = 0
        for chunk in self._chunks():
            sink.write(chunk)
            hasher.update(chunk)
            written += len(chunk)
            moved(len(chunk))
        if written != self.size:
            raise IntegrityError(f"{self.place.url}: ended after {written} bytes (expected {self.size})")
        if self.digest is not None and Digest.finished(hasher) != self.digest:
            raise DigestMismatch(f"{self.place.url}: the content is {Digest.finished(hasher)} (expected {self.digest})")

    def _chunks(self) -> Iterator[bytes]:
        # Every request is for the object with the ETag that was seen when it was opened.
        name = f"{self.place.bucket}/{self.place.key}"
        with _translated(self.place):
            stream = self.file_system.open(name, "rb", block_size=_BLOCK, cache_type="readahead")
        with stream:
            while True:
                # Apart from the writing: a full disk is no failure of the network.
                with _translated(self.place):
                    chunk = stream.read(_CHUNK)
                if not chunk:
                    return
                yield chunk


def find_object(url: str, pin: str | None, network: Network) -> StoredObject:
    """Look at an object. `pin` is its ETag, or `sha256:` with the digest of its bytes.

    Raises: UsageError without the extra; NotFoundError; IntegrityError where it is not what was pinned, or nothing was;
    AuthError; NetworkError.
    """
    place = Place.parse(url)
    if not pin:
        raise IntegrityError(f"{url}: no remoteHash says which bytes are meant", hint="pin it with its ETag or sha256")
    digest = Digest.parse(pin) if pin.startswith(("sha256:", "sha512:")) else None
    file_system = _file_system(place, network)
    with _translated(place):
        told = file_system.info(f"{place.bucket}/{place.key}")
    size, etag = told.get("size"), str(told.get("ETag", ""))
    if told.get("type") != "file" or not isinstance(size, int):
        raise NotFoundError(f"{url}: is no object, but a prefix of several", hint="name one object")
    if digest is None and _bare(etag) != _bare(pin):
        raise IntegrityError(
            f"{url}: its ETag is {ascii(_bare(etag))[:100]} (expected {ascii(_bare(pin))[:100]})",
            hint="the object was replaced since the kit was packed",
        )
    return StoredObject(place, size, digest, file_system)


def _file_system(place: Place, network: Network) -> Any:
    try:
        import s3fs
    except ImportError as error:
        raise UsageError(
            f"{place.url}: reading from S3 needs a library that is not installed", hint="pip install 'mlkit[s3]'"
        ) from error
    if len(network.ca_files) > 1:
        raise UsageError(f"{place.url}: storage takes one --ca-file", hint="put the certificates into one file")
    verify: bool | str = False if network.insecure else str(network.ca_files[0]) if network.ca_files else True
    return s3fs.S3FileSystem(
        anon=place.endpoint is not None,
        endpoint_url=place.endpoint,
        client_kwargs={"verify": verify},
        config_kwargs={
            "proxies": dict(network.proxies) or None,
            **({"s3": {"addressing_style": "path"}} if place.endpoint else {}),
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _bare(etag: str) -> str:
    return etag.strip().removeprefix("W/").strip('"')


@contextmanager
def _translated(place: Place) -> Iterator[None]:
    """Errors of the library as errors of ours."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except MlkitError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(f"{place.url}: no such object") from error
    except (PermissionError, NoCredentialsError) as error:
        hint = None if place.endpoint else "give credentials as for other tools of AWS: AWS_PROFILE, AWS_ACCESS_KEY_ID"
        raise AuthError(f"{place.url}: may not be read: {_told(error)}", hint=hint) from error
    except (BotoCoreError, ClientError, TimeoutError) as error:
        raise NetworkError(f"{place.url}: {_told(error)}") from error
    except OSError as error:
        if "PreconditionFailed" in str(error) or "At least one of the pre-conditions" in str(error):
            raise IntegrityError(f"{place.url}: changed while it was read") from error
        raise NetworkError(f"{place.url}: {_told(error)}") from error


def _told(error: Exception) -> str:
    return ascii(str(error) or type(error).__name__)[1:-1][:300]
