"""A session: the stores and registries that one run uses, opened when they are first needed and closed together."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from mlkit import __version__
from mlkit.api.partial import CAME_BROKEN, NOT_HERE, how_to_complete, place_of_rest
from mlkit.api.setting_values import Mirrors
from mlkit.api.settings import Settings
from mlkit.content.layout import CONTROL, Layout
from mlkit.content.overlay import Overlay
from mlkit.content.storage import ReadOnlyStorage
from mlkit.errors import DigestMismatch, IntegrityError, NotFoundError, SizeMismatch, StoreError, UsageError
from mlkit.progress import NoProgress, NoTracer, Progress, Tracer
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import PARTIAL
from mlkit.spec.reference import Reference
from mlkit.spec.release import is_hidden_tag

if TYPE_CHECKING:
    from mlkit.content.places import Places
    from mlkit.registry.connection import Connection
    from mlkit.registry.credentials import Credential, CredentialFiles
    from mlkit.registry.host import Registry
    from mlkit.registry.mirrors import MirroredStore
    from mlkit.registry.pace import Pace
    from mlkit.registry.store import RegistryStore

Result = TypeVar("Result")
Source = Literal["local", "remote"]

DAMAGED = (
    "the copy in the local store is damaged: `mlkit fsck --deep --repair` takes it out of use and fetches a sound one"
)
"""What to do about a blob of the local store whose bytes have changed, and which could not be taken out of use."""
_HEALED_LIMIT = 64  # damaged documents of one kit; the layers are not read twice
_MIRROR_TRIES = 2  # the registry itself is there to go on with


@dataclass(frozen=True, slots=True)
class Located:
    """A kit that was found: its manifest's descriptor, and the store that can open what it lists."""

    reference: Reference
    desc: Descriptor
    store: ReadOnlyStorage
    source: Source

    @property
    def is_partial(self) -> bool:
        """Whether the local store lacks layers on purpose."""
        return self.source == "local" and self.desc.annotations.get(PARTIAL) == "true"


class Session:
    """Not thread-safe in itself; what it opens is. Use as a context manager, or call `close`."""

    def __init__(
        self,
        settings: Settings,
        *,
        progress: Progress | None = None,
        tracer: Tracer | None = None,
        log: Callable[[str], None] | None = None,
        named_hosts: frozenset[str] = frozenset(),
        ask_secret: Callable[[str], str] | None = None,
    ) -> None:
        """`named_hosts` are the registries that a person named for this run, and no file or kit.

        `ask_secret` asks a person who is there for the secret that its argument names.
        """
        self.settings = settings
        self.ask_secret = ask_secret
        self._named_hosts = named_hosts
        self.progress = progress or NoProgress()
        self.tracer = tracer or NoTracer()
        self._log = log
        self._layout: Layout | None = None
        self._registries: dict[str, Registry] = {}
        self._mirrored: dict[str, MirroredStore] = {}
        self._pace: Pace | None = None
        self._places: Places | None = None
        self._has_warned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        while self._registries:
            self._registries.popitem()[1].close()
        if self._places is not None:
            self._places.close()

    @property
    def layout(self) -> Layout:
        """The local store, made where there is none once something is written to it. Raises: StoreError."""
        if self._layout is None:
            self._layout = Layout.open_or_new(self.settings.home, warn=self.progress.warn)
        return self._layout

    @property
    def credentials(self) -> CredentialFiles:
        """The credential files of this session."""
        from mlkit.registry.credentials import CredentialFiles

        return CredentialFiles(self.settings.credential_files)

    def host(self, host: str) -> Registry:
        """The registry at `host[:port]`; one connection pool for each."""
        if host not in self._registries:
            self._registries[host] = self.connect(host, self.credential)
        return self._registries[host]

    def credential(self, key: str) -> Credential | None:
        """What to show to `host` or `host/repository`: what the environment gives for it, else what the files have.

        Raises: UsageError where it is unclear which registry the environment means; AuthError naming a file or helper.
        """
        from mlkit.registry.credentials import Credential

        given = self.settings.given_credential
        # Files that were named by a flag stand alone.
        if given is None or self.settings.sources.get("authfile") == "flag" or not self._is_meant(key):
            return self.credentials.lookup(key)
        return Credential(given.username, given.password, registry_token=given.token)

    def _is_meant(self, key: str) -> bool:
        """Whether the credential of the environment is for this host.

        Without MLKIT_REGISTRY_HOST it is for the one registry that the command names: kits name registries too, and
        whoever wrote them must not be the one who collects passwords.
        """
        from mlkit.registry.credentials import is_same_host

        host = key.partition("/")[0]
        meant = self.settings.registry_host or self._named_hosts
        is_meant = any(is_same_host(host, other) for other in meant)
        if is_meant and not self.settings.registry_host and len(self._named_hosts) > 1:
            raise UsageError(
                f"the credentials of the environment are for one registry, and this command names "
                f"{len(self._named_hosts)}: {', '.join(sorted(self._named_hosts))}",
                hint="MLKIT_REGISTRY_HOST says which of them, or several separated by commas",
            )
        if not meant and not self._has_warned:
            self._has_warned = True
            self.progress.warn(
                f"{host} is not shown the credentials of the environment: MLKIT_REGISTRY_HOST is not set"
            )
        return is_meant

    def connect(
        self, host: str, credentials: Callable[[str], Credential | None], *, mirror: SplitResult | None = None
    ) -> Registry:
        """A registry with connections of its own, which the caller closes; `mirror` is where to go instead."""
        from mlkit.content.places import Places
        from mlkit.content.uploads import Uploads
        from mlkit.registry.connection import Connection
        from mlkit.registry.host import Registry
        from mlkit.registry.memory import Memory
        from mlkit.registry.pace import Pace
        from mlkit.registry.retry import RetryPolicy

        settings = self.settings
        connection = Connection(
            host=host if mirror is None else mirror.netloc,
            plain_http=settings.speaks_plain_http(host) if mirror is None else mirror.scheme == "http",
            namespace=host if mirror is not None else None,
            ca_files=settings.ca_files,
            cert=settings.cert,
            key=settings.key,
            insecure=settings.insecure,
            proxy=settings.proxy,
            http_proxy=settings.http_proxy,
            no_proxy=settings.no_proxy,
            user_agent=f"mlkit/{__version__}",
        )
        if settings.limit_rate is not None and self._pace is None:
            self._pace = Pace(settings.limit_rate)
        control = settings.home / CONTROL
        self._places = self._places or Places(control / "seen.sqlite")
        return Registry(
            connection,
            credentials,
            progress=self.progress,
            retries=RetryPolicy(tries=_MIRROR_TRIES if mirror is not None else 5, budget=settings.retry_budget),
            log=self._log,
            pace=self._pace,
            limits=settings.limits,
            memory=Memory(uploads=Uploads(control / "uploads", warn=self.progress.warn), places=self._places),
        )

    def outside(self) -> Connection:
        """How to reach what is no registry: with the certificates and the proxy of the settings, and nothing else."""
        from mlkit.registry.connection import Connection

        settings = self.settings
        return Connection(
            host="",
            ca_files=settings.ca_files,
            insecure=settings.insecure,
            proxy=settings.proxy,
            http_proxy=settings.http_proxy,
            no_proxy=settings.no_proxy,
            user_agent=f"mlkit/{__version__}",
        )

    def registry(self, reference: Reference) -> RegistryStore:
        """The remote repository that a reference names. Raises: UsageError for a reference without a host."""
        if reference.host is None:
            raise UsageError(
                f"{reference}: no registry host",
                hint=f"name one, for example registry.example/{reference.repository}:{reference.tag or 'latest'}",
            )
        return self.host(reference.host).repository(reference.repository)

    def remote(self, reference: Reference) -> RegistryStore | MirroredStore:
        """Like `registry`, to read from: where the settings name mirrors of the host, these are asked first."""
        origin = self.registry(reference)
        host, _, repository = origin.name.partition("/")
        mirrors = self.mirrors(host)
        if not mirrors:
            return origin
        if origin.name not in self._mirrored:
            from mlkit.registry.mirrors import MirroredStore

            stores = [
                registry.repository(f"{urlsplit(url).path.strip('/')}/{repository}".strip("/"))
                for url, registry in mirrors.items()
            ]
            have_tags = self._mirrors_of(host).have_tags
            self._mirrored[origin.name] = MirroredStore(origin, stores, have_tags=have_tags, warn=self.progress.warn)
        return self._mirrored[origin.name]

    def mirrors(self, host: str) -> Mapping[str, Registry]:
        """The mirrors of a registry, by their URLs, in the order in which they are asked.

        They are shown their own credentials if there are any, never the registry's.
        """
        found: dict[str, Registry] = {}
        for url in self._mirrors_of(host).urls:
            key = f"{url} for {host}"
            if key not in self._registries:
                parts = urlsplit(url)
                # A password goes nowhere without TLS unless the user says so of that very host.
                is_private = parts.scheme == "https" or self.settings.speaks_plain_http(parts.netloc)
                credentials = self.credential if is_private else lambda _: None
                self._registries[key] = self.connect(host, credentials, mirror=parts)
            found[url] = self._registries[key]
        return found

    def _mirrors_of(self, host: str) -> Mirrors:
        known = self.settings.registries
        if not known:
            return Mirrors()
        from mlkit.registry.credentials import is_same_host

        return next((known[name] for name in known if is_same_host(name, host)), Mirrors())

    def locate(self, reference: Reference, *, remote: bool = False) -> Located:
        """Find a kit: in the local store first, then, for a reference with a host, in its registry.

        Layers that a partial local kit lacks are opened from where it was pulled. Raises: NotFoundError.
        """
        if not remote:
            desc = self.find_local(reference)
            if desc is not None:
                return self.here(reference, desc)
        if reference.host is None:
            raise self.not_found(reference)
        store = self.remote(reference)
        with self.tracer.span("resolve", reference=str(reference)):
            desc = store.resolve(reference.target)
        return Located(reference, desc, Overlay(self.layout, store), "remote")

    def here(self, reference: Reference, desc: Descriptor) -> Located:
        """A manifest of the local store, with the annotations of its entry, as a kit that was found."""
        return Located(reference, desc, self._local_store(reference, desc), "local")

    def find_local(self, reference: Reference) -> Descriptor | None:
        """The manifest that the local store has under a reference, with the annotations of its entry.

        Raises: ConflictError where another tool gave the name to two manifests.
        """
        if reference.digest is None:
            try:
                return self.layout.resolve(reference.local_name)
            except NotFoundError:
                return None
        found = [desc for desc in self.layout.manifests() if desc.digest == reference.digest]
        complete = [desc for desc in found if desc.annotations.get(PARTIAL) != "true"]
        return next(iter(complete + found), None)

    def local(self, reference: Reference) -> Descriptor:
        """Like `find_local`. Raises: NotFoundError naming what is near."""
        desc = self.find_local(reference)
        if desc is None:
            raise self.not_found(reference)
        return desc

    def not_found(self, reference: Reference) -> NotFoundError:
        """The error for a reference that the local store does not have, with what the user may have meant."""
        names = sorted(name for name in self.layout.names() if not is_hidden_tag(name.rpartition(":")[2]))
        # After the name comes a tag; with a slash in it, this is a port, and the name that of a host.
        following = [name.removeprefix(f"{reference.name}:") for name in names if name.startswith(f"{reference.name}:")]
        tags = [tag for tag in following if "/" not in tag]
        if reference.digest is not None:
            return NotFoundError(
                f"{reference}: no such kit in the local store", hint="`mlkit list` shows what there is"
            )
        if tags:
            shown = ", ".join(tags[:10])
            return NotFoundError(
                f'{reference.name}: no tag "{reference.tag or "latest"}" in the local store (tags: {shown})'
            )
        close = difflib.get_close_matches(reference.local_name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else "`mlkit list` shows what there is"
        return NotFoundError(f"{reference}: no such kit in the local store", hint=hint)

    def _local_store(self, reference: Reference, desc: Descriptor) -> ReadOnlyStorage:
        if desc.annotations.get(PARTIAL) != "true":
            return self.layout
        place = place_of_rest(reference, desc)
        return self.layout if place is None else Overlay(self.layout, self.remote(place))


@contextmanager
def explained_trouble(located: Located) -> Iterator[None]:
    """Say of a blob that a partial kit lacks how to get it. One that is damaged here is taken out of use, so that the
    next pull, pack or `mlkit fsck --repair` brings a sound one.
    """
    try:
        yield
    except IntegrityError as error:
        if not error.hint:
            error.hint = _cure(located, error)
        raise
    except NotFoundError as error:
        if error.hint:
            raise
        if not located.is_partial:
            if located.source == "local":
                error.hint = NOT_HERE
            raise
        raise NotFoundError(
            f"{located.reference}: this kit is partial here, and what is missing could not be had: {error.message}",
            hint=how_to_complete(located.reference, located.desc),
        ) from error


def _cure(located: Located, error: IntegrityError) -> str | None:
    layout = located.store.first if isinstance(located.store, Overlay) else located.store
    place = place_of_rest(located.reference, located.desc) if located.store is not layout else None
    if isinstance(layout, Layout) and place is not None and error.content is not None:
        is_here = layout.blobs.size(Digest.parse(error.content)) is not None
        if not is_here:
            return CAME_BROKEN.format(place=place.name)
    if located.source != "local":
        return None
    if isinstance(layout, Layout) and (kept := taken_out_of_use(layout, error)) is not None:
        return (
            f"the damaged copy is in {kept} now: `mlkit pull {located.reference}`, `mlkit fsck --repair` or "
            "packing it again brings a sound one"
        )
    return DAMAGED if isinstance(error, DigestMismatch | SizeMismatch) else None


def taken_out_of_use(layout: Layout, error: IntegrityError) -> Path | None:
    """Where a local blob is now whose bytes turned out to be others; None where it is sound, or cannot be moved."""
    if error.content is None:
        return None
    from mlkit.content.repair import set_aside

    try:
        return set_aside(layout, Digest.parse(error.content))
    except StoreError:
        return None


def without_damage(session: Session, work: Callable[[], Result]) -> Result:
    """What `work` gives; begun again as often as it met a damaged blob of the local store that it can do without."""
    for _ in range(_HEALED_LIMIT):
        try:
            return work()
        except IntegrityError as error:
            kept = taken_out_of_use(session.layout, error)
            if kept is None:
                raise
            session.progress.warn(f"{error.content}: the copy in the local store was damaged, and is in {kept} now")
    return work()
