"""The client: oras-py's interface above, mlkit's engine below.

Overridden is what moves bytes, carries credentials or writes files. The rest of oras-py is left as it is, because it
goes through these: `push`, `delete_tag`, `oras.layout`, and the subclasses that programs make.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import jsonschema
import oras.defaults
import oras.provider
import oras.schemas
import requests
from oras.container import Container
from oras.logger import logger

from mlkit.api import access as logins
from mlkit.api import public
from mlkit.api.session import Session
from mlkit.api.settings import Settings
from mlkit.content.storage import BytesContent
from mlkit.errors import IntegrityError, NetworkError, UsageError
from mlkit.integrations.oras.access import Access, asked_for
from mlkit.integrations.oras.answers import Answer, answer, body_of, engine_session, made_answer
from mlkit.integrations.oras.errors import as_oras_error, oras_errors
from mlkit.integrations.oras.files import FileContent, output_folder, pull_layers, save_blob
from mlkit.progress import NoProgress, Progress
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT, parse_object
from mlkit.spec.manifest import Index, parse_manifest
from mlkit.spec.media_types import OCTET_STREAM
from mlkit.spec.reference import check_host, is_repository

if TYPE_CHECKING:
    from mlkit.registry.host import Registry as Engine
    from mlkit.registry.store import RegistryStore

_DONE = (200, 201, 202)


class Registry(oras.provider.Registry):  # type: ignore[misc]  # oras-py has no types
    """An `oras.provider.Registry` that verifies, streams, resumes, and keeps credentials to themselves.

    Errors are those of mlkit, and ValueError as well, as oras-py has it. Several threads may use one client. Close it,
    or use it as a context manager, to close its connections.
    """

    def __init__(
        self,
        hostname: str | None = None,
        insecure: bool = False,
        tls_verify: bool | str = True,
        auth_backend: str = "token",
        *,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> None:
        """As oras-py's. `tls_verify` may name a file of certificates that are trusted beside the system's.

        `settings` say the rest, such as proxies and concurrency; by default they come from environment and files, as
        for the command line. Raises: UsageError for the backend `ecr`, which a credential helper does better.
        """
        # The parent's own switch would silence warnings in the whole program.
        super().__init__(hostname, insecure, tls_verify=True, auth_backend=auth_backend)
        if auth_backend == "ecr":
            raise as_oras_error(
                UsageError(
                    "the backend 'ecr' is not supported",
                    hint="install docker-credential-ecr-login and name it in credHelpers of ~/.docker/config.json",
                )
            )
        self._lock = threading.RLock()
        self._sessions: dict[str, Session] = {}
        self._engines: dict[tuple[str, str], Engine] = {}
        self._retired: list[Engine] = []
        with oras_errors():
            self._settings = settings or public.session().settings
            if tls_verify is not True:
                more = () if tls_verify is False else (Path(tls_verify),)
                self._settings = replace(
                    self._settings,
                    insecure=self._settings.insecure or tls_verify is False,
                    ca_files=(*self._settings.ca_files, *more),
                )
        self._progress = progress or _Warnings()
        backend: object = self.auth  # type: ignore[has-type]  # of the parent, which has no types
        from_environment = getattr(backend, "_basic_auth", None)  # ORAS_USER and ORAS_PASS, of the backend `basic`
        self._access = Access(hostname, lambda key: self._session().credential(key), changed=self._retire)
        self.auth = self._access
        self.session = engine_session(self._exchange)
        if from_environment is not None:
            self._access.set_header_auth(f"Basic {from_environment}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; transfers that go on in other threads fail."""
        self._retire()
        with self._lock:
            while self._retired:
                self._retired.pop().close()

    def set_header(self, name: str, value: str) -> None:
        """Send a header with every request; an Authorization goes to the one registry that it is for."""
        if name.lower() != "authorization":
            super().set_header(name, value)
            return
        with oras_errors():
            self._access.set_header_auth(value)

    def login(
        self,
        username: str,
        password: str,
        password_stdin: bool = False,
        tls_verify: bool = True,
        hostname: str | None = None,
        config_path: str | None = None,
    ) -> dict[str, str]:
        """Check credentials with the registry, then keep them where Docker does, or in `config_path`.

        Without any host they are kept in memory, unchecked. `tls_verify` is the client's. Raises: UsageError for
        missing ones where nobody can be asked; AuthError and NetworkError, and then nothing is kept.
        """
        with oras_errors():
            credential = asked_for(username, password, password_stdin)
            host = hostname or self.hostname
            if host is None:
                self._access.give(credential)
                return {"Status": "Kept for the first registry that is spoken to"}
            named = Path(config_path) if config_path else None
            logins.login(self._new_session(authfile=named), host, credential)
            self._access.give(credential, host)
        return {"Status": "Login Succeeded"}

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request; what the URL names by its digest is verified. The answer may have any status but 401.

        Raises: UsageError for a URL of the other scheme; AuthError; NetworkError after all retries; IntegrityError.
        """
        sent = {**self.session.headers, **(headers or {})}
        request = requests.Request(method, url, data=data, headers=sent, json=json).prepare()
        response: requests.Response = self.session.send(request, stream=stream, allow_redirects=False)
        return response

    def upload_blob(
        self,
        blob: str | os.PathLike[str],
        container: Container | str,
        layer: Mapping[str, Any],
        do_chunked: bool = False,
        chunk_size: int = 0,
    ) -> requests.Response:
        """Send a file as the blob that `layer` describes, unless it is there. How it is cut is the engine's to decide.

        Raises: IntegrityError where the file is not what `layer` says; AuthError; NetworkError.
        """
        container = self.get_container(container)
        with oras_errors():
            store = self._store(container)
            desc = Descriptor.parse({**layer, "mediaType": OCTET_STREAM, "annotations": None}, what=str(blob))
            is_there = store.exists(desc)
            if not is_there:
                store.push(desc, FileContent(Path(blob)))
        url = f"{self.prefix}://{container.get_blob_url(str(desc.digest))}"
        return self._done(url, "PUT", 200 if is_there else 201, desc.digest)

    def put_upload(
        self, blob: str | os.PathLike[str], container: Container, layer: Mapping[str, Any]
    ) -> requests.Response:
        """As `upload_blob`."""
        return self.upload_blob(blob, container, layer)

    def chunked_upload(
        self, blob: str | os.PathLike[str], container: Container, layer: Mapping[str, Any], chunk_size: int = 0
    ) -> requests.Response:
        """As `upload_blob`: large files are sent in chunks where the registry takes them."""
        return self.upload_blob(blob, container, layer)

    def upload_manifest(self, manifest: Mapping[str, Any], container: Container | str) -> requests.Response:
        """Store a manifest by its digest, compare what the registry made of it, enter it as a referrer, then tag it.

        Raises: NotFoundError where the registry lacks what it lists; IntegrityError; AuthError; NetworkError.
        """
        container = self.get_container(container)
        jsonschema.validate(manifest, schema=oras.schemas.manifest)
        # These very bytes: `oras.oci.Subject.from_manifest` computes its digest of them.
        raw = json.dumps(manifest, allow_nan=False).encode("utf-8")
        with oras_errors():
            store = self._store(container)
            desc = parse_manifest(
                raw, media_type=oras.defaults.default_manifest_media_type, what=str(container)
            ).descriptor
            if container.digest and container.digest != str(desc.digest):
                raise IntegrityError(f"{container}: the manifest is {desc.digest}")
            store.push(desc, BytesContent(raw))
            if not container.digest:
                store.tag(desc, container.tag)
        return self._done(f"{self.prefix}://{container.manifest_url()}", "PUT", 201, desc.digest)

    def get_manifest(
        self,
        container: Container | str,
        allowed_media_type: list[str] | None = None,
        validation_schema: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A manifest, verified, read as strictly as mlkit reads JSON.

        Raises: NotFoundError, IntegrityError, LimitError, AuthError, NetworkError.
        """
        response = self._get_manifest(container, allowed_media_type)
        with oras_errors():
            manifest = parse_object(response.content, what=str(container), limit=MANIFEST_LIMIT)
        if validation_schema:
            jsonschema.validate(manifest, schema=validation_schema)
        return manifest

    def get_tags(self, container: Container | str, N: int | None = None) -> list[str]:  # noqa: N803  # oras-py's name
        """The first `N` tags, or all. Raises: NotFoundError, AuthError, NetworkError, LimitError."""
        with oras_errors():
            return list(islice(self._store(self.get_container(container)).tags(), N))

    def download_blob(self, container: Container | str, digest: str, outfile: str | os.PathLike[str]) -> str:
        """Write a blob to a file that appears when it is whole and verified.

        Raises: requests.HTTPError where the registry has no such blob; IntegrityError, NetworkError, StoreError.
        """
        container = self.get_container(container)
        with oras_errors():
            wanted = Digest.parse(digest)
        asked = self.get_blob(container, digest, head=True)
        if asked.status_code != 200 and digest == oras.defaults.blank_hash:
            return os.devnull  # as oras-py has it: some registries refuse to keep nothing
        asked.raise_for_status()
        with oras_errors():
            size = asked.headers.get("Content-Length", "")
            if not (size.isascii() and size.isdigit()):
                raise NetworkError(f"{container}: the registry does not say how large {digest} is")
            desc = Descriptor(OCTET_STREAM, wanted, int(size))
            save_blob(self._store(container), desc, Path(outfile), self._progress)
        return os.fspath(outfile)

    def pull(
        self,
        target: str,
        config_path: str | list[str] | None = None,
        allowed_media_type: list[str] | None = None,
        overwrite: bool = True,
        outdir: str | os.PathLike[str] | None = None,
    ) -> list[str]:
        """Write the layers of an artifact below `outdir`, all of them or none; gives the paths.

        Raises: IntegrityError and UnsafeError for content that is refused, such as links and names that leave `outdir`;
        UsageError for an index; NotFoundError, AuthError, NetworkError, StoreError.
        """
        container = self.get_container(target)
        configs = [config_path] if isinstance(config_path, str) else config_path
        self.auth.load_configs(container, configs=configs)
        response = self._get_manifest(container, allowed_media_type)
        with oras_errors():
            manifest = parse_manifest(
                response.content, media_type=response.headers.get("Content-Type"), what=str(container)
            )
            if isinstance(manifest, Index):
                raise UsageError(f"{container} is an index of several manifests", hint="name one of them by its digest")
            with output_folder(outdir) as folder:
                names = pull_layers(
                    self._store(container),
                    manifest.layers,
                    folder,
                    existing="overwrite" if overwrite else "ignore",
                    concurrency=self._settings.concurrency,
                    progress=self._progress,
                )
        files = [str(folder.resolve() / name) for name in names]
        for file in files:
            logger.info(f"Successfully pulled {file}.")
        return files

    def _get_manifest(self, container: Container | str, allowed_media_type: list[str] | None) -> requests.Response:
        container = self.get_container(container)
        accepted = allowed_media_type or oras.defaults.default_manifest_accepted_media_types
        headers = {"Accept": ", ".join(accepted)}
        response = self.do_request(f"{self.prefix}://{container.manifest_url()}", "GET", headers=headers)
        self._check_200_response(response)
        return response

    def _do_paginated_request(self, url: str, callable: Callable[[requests.Response], Any]) -> None:
        """Pages of a list, at most 1,000 and all of one origin, until `callable` has seen enough."""
        request = requests.Request("GET", url, headers=dict(self.headers)).prepare()
        with oras_errors():
            engine = self._engine_of(request)
            for page in engine.forward_pages(request.path_url, headers=_headers(request)):
                if not callable(answer(request, page)):
                    return

    def _check_200_response(self, response: requests.Response) -> None:
        if response.status_code in _DONE:
            return
        if isinstance(response, Answer) and response.refusal is not None:
            # The registry's words, cut, without control characters and our secrets; the parent logs them as they are.
            raise as_oras_error(response.refusal(response.content))
        super()._check_200_response(response)

    def _validate_path(self, path: str) -> bool:
        """Whether a file is in the working directory or below, wherever links lead."""
        return Path(path).resolve().is_relative_to(Path.cwd().resolve())

    def _exchange(self, request: requests.PreparedRequest) -> requests.Response:
        with oras_errors():
            engine, body = self._engine_of(request), body_of(request)
            method, headers = request.method or "GET", _headers(request)
            return answer(request, engine.forward(method, request.path_url, headers=headers, body=body))

    def _engine_of(self, request: requests.PreparedRequest) -> Engine:
        url = urlsplit(request.url or "")
        host = check_host(url.netloc)
        authorization = request.headers.get("Authorization")
        if isinstance(authorization, str):
            self._access.set_header_auth(authorization, host)
        return self._engine(url.scheme, host)

    def _engine(self, scheme: str, host: str) -> Engine:
        if scheme != self.prefix:
            raise UsageError(f"{host}: asked for over {scheme} by a client that speaks {self.prefix}")
        with self._lock:
            self._access.bind(host)
            if (scheme, host) not in self._engines:
                self._engines[scheme, host] = self._session().connect(host, self._access.lookup)
            return self._engines[scheme, host]

    def _store(self, container: Container) -> RegistryStore:
        if not is_repository(container.api_prefix):
            raise UsageError(f"{ascii(container.api_prefix)[:120]} is not a repository name")
        return self._engine(self.prefix, check_host(container.registry)).repository(container.api_prefix)

    def _session(self) -> Session:
        """What connects; `prefix` is an attribute that programs of oras-py change."""
        with self._lock:
            if self.prefix not in self._sessions:
                self._sessions[self.prefix] = self._new_session()
            return self._sessions[self.prefix]

    def _new_session(self, *, authfile: Path | None = None) -> Session:
        # oras-py's `insecure` alone decides about plain http.
        settings = replace(self._settings, plain_http=self.prefix == "http", plain_http_hosts=())
        if authfile is not None:
            settings = replace(settings, credential_files=(authfile,), login_file=authfile)
        named = frozenset({self.hostname} if self.hostname else ())
        return Session(settings, progress=self._progress, named_hosts=named)

    def _retire(self) -> None:
        """Connect anew from now on, with the credentials of now; transfers that go on keep their connections."""
        with self._lock:
            self._retired += self._engines.values()
            self._engines.clear()

    def _done(self, url: str, method: str, status: int, digest: Digest) -> requests.Response:
        request = requests.Request(method, url).prepare()
        headers = {"Docker-Content-Digest": str(digest), "Location": request.path_url, "Content-Length": "0"}
        return made_answer(request, status, headers)


class _Warnings(NoProgress):
    """Nothing but warnings, such as of credentials that were not shown, and those where oras-py's go."""

    def warn(self, message: str) -> None:
        logger.warning(message)


def _headers(request: requests.PreparedRequest) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if isinstance(value, str)}
