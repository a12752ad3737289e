"""Promotions that are watched, and the hooks that are called."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.releases import Project

import mlkit
from mlkit.api import release_views, releases, watching
from mlkit.api.session import Session
from mlkit.api.setting_values import read_hook
from mlkit.api.settings import load_settings
from mlkit.api.watching import Guarded
from mlkit.errors import ConflictError, NotFoundError, UsageError
from mlkit.release.hooks import SIGNATURE_HEADER
from mlkit.release.watch import Watch

QUICK = Watch(duration=0.2, every=0.01, failures=2, timeout=5.0)


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, session: Session, server: SimulatedRegistry) -> Project:
    made = Project(tmp_path / "project", session, f"{server.host}/team/digits")
    made.release("1.0")
    made.release("1.1")
    releases.promote(session, made.at("1.0"), "production")
    return made


class Service:
    """An HTTP server with one answer, and a log of what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.location: str | None = None
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                service.asked.append((f"{self.command} {self.path}", dict(self.headers), body))
                self.send_response(service.status)
                if service.location is not None:
                    self.send_header("Location", service.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815  # the name that the server looks for

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def promote(project: Project, probe: str, *, plan: Watch = QUICK, **options: Any) -> Guarded:
    move = releases.promote(project.session, project.at("1.1"), "production")
    asked = watching.parse_probe(
        project.session, probe, timeout=plan.timeout, environ={"PATH": "/usr/bin:/bin"}, move=move
    )
    return watching.guard(project.session, project.at(), move, asked, plan, **options)


def versions(project: Project) -> list[tuple[str, str | None]]:
    (found,) = release_views.history(project.session, project.at(), "production")
    assert found.problems == ()
    return [(entry.release.action, entry.release.version) for entry in found.entries][::-1]


def test_a_version_whose_probe_holds_stays(project: Project, service: Service) -> None:
    guarded = promote(project, f"{service.url}/health")

    assert guarded.rollback is None
    assert guarded.probes == len(service.asked) > 1
    assert versions(project)[-1] == ("promote", "1.1")


def test_a_version_whose_probe_fails_goes_back_by_itself_and_says_why(project: Project, service: Service) -> None:
    service.status = 503

    guarded = promote(project, f"{service.url}/health")

    assert guarded.rollback is not None
    assert guarded.rollback.version == "1.0"
    assert guarded.probes == 2
    assert versions(project) == [("promote", "1.0"), ("promote", "1.1"), ("rollback", "1.0")]
    (found,) = release_views.history(project.session, project.at(), "production")
    assert found.entries[0].release.reason == f"{service.url}/health answered 503"


def test_a_command_is_a_probe_too_and_is_told_what_it_probes(project: Project) -> None:
    good = promote(project, """sh -c 'test "$MLKIT_CHANNEL" = production && test -n "$MLKIT_DIGEST"'""")
    bad = promote(project, "sh -c 'echo no answer; exit 7'")

    assert good.reason is None
    assert bad.reason == "it exited with 7 (expected 0) (no answer)"


def test_a_probe_that_hangs_has_failed(project: Project) -> None:
    guarded = promote(project, "sleep 60", plan=Watch(duration=0, every=0.01, failures=1, timeout=0.2))

    assert guarded.reason == "it took more than 0.2 s, and was killed"


def test_a_probe_that_redirects_elsewhere_has_failed_and_nobody_goes_there(project: Project, service: Service) -> None:
    other = Service()
    try:
        service.status, service.location = 302, f"{other.url}/health"

        guarded = promote(project, service.url)

        assert "redirects to another place" in str(guarded.reason)
        assert guarded.rollback is not None
        assert other.asked == []
    finally:
        other.close()


def test_a_probe_may_redirect_within_its_own_place(project: Project, service: Service) -> None:
    service.status, service.location = 302, "/elsewhere"

    guarded = promote(project, f"{service.url}/health", plan=Watch(duration=0, every=1, failures=1, timeout=5))

    assert "more than 5 redirects" in str(guarded.reason)
    assert {line for line, _, _ in service.asked} == {"GET /health", "GET /elsewhere"}


def test_a_service_that_is_not_there_has_failed(project: Project, service: Service) -> None:
    service.close()

    assert promote(project, service.url).rollback is not None


def test_a_first_version_that_fails_has_nothing_to_go_back_to(project: Project) -> None:
    move = releases.promote(project.session, project.at("1.1"), "staging")

    with pytest.raises(NotFoundError, match=r"the probe failed: dead; and nothing was rolled back: .*no good version"):
        watching.guard(project.session, project.at(), move, lambda: "dead", QUICK)


def test_a_channel_that_somebody_moved_meanwhile_is_left_alone(project: Project) -> None:
    project.release("1.2")
    move = releases.promote(project.session, project.at("1.1"), "production")

    def probe() -> str:
        releases.promote(project.session, project.at("1.2"), "production")
        return "dead"

    with pytest.raises(ConflictError, match="the probe failed: dead; and nothing was rolled back"):
        watching.guard(project.session, project.at(), move, probe, QUICK)

    assert versions(project)[-1] == ("promote", "1.2")


@pytest.mark.parametrize("text", ["", "   ", "'", "http://", "http://ada:secret@host/"])
def test_what_is_no_probe_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        watching.split_probe(text)


@pytest.fixture
def with_hooks(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    opened: list[Session] = []

    def open_session(**settings: Any) -> Session:
        opened.append(mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",), **settings))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()


def test_hooks_are_called_with_a_signed_body(
    project: Project, service: Service, tmp_path: Path, with_hooks: Callable[..., Session]
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("hush\n")
    session = with_hooks(on_promote=(f"{service.url}/hook",), hook_secret=secret, actor="ci")

    move = releases.promote(session, project.at("1.1"), "production", message="new")

    ((line, headers, body),) = service.asked
    assert line == "POST /hook"
    assert headers[SIGNATURE_HEADER] == "sha256=" + hmac.new(b"hush", body, hashlib.sha256).hexdigest()
    assert headers["X-Mlkit-Event"] == "promote"
    told = json.loads(body)
    assert (told["to"], told["from"], told["by"], told["message"]) == (
        str(move.digest),
        str(move.before),
        "ci",
        "new",
    )


def test_a_program_is_a_hook_too_and_one_that_fails_undoes_nothing(
    project: Project, tmp_path: Path, with_hooks: Callable[..., Session], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "told.json"
    session = with_hooks(on_promote=("false",), on_rollback=("tee", str(file)))
    warned: list[str] = []
    session.progress.warn = warned.append  # type: ignore[method-assign]

    releases.promote(session, project.at("1.1"), "production")
    releases.rollback(session, project.at(), "production", reason="503")

    told = json.loads(file.read_bytes())
    assert (told["event"], told["version"], told["reason"]) == ("rollback", "1.0", "503")
    assert any("on_promote failed" in text and "exited with 1" in text for text in warned)


def test_a_secret_that_others_may_read_signs_nothing(
    project: Project, service: Service, tmp_path: Path, with_hooks: Callable[..., Session]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush")
    secret.chmod(0o644)
    session = with_hooks(on_promote=(service.url,), hook_secret=secret)
    warned: list[str] = []
    session.progress.warn = warned.append  # type: ignore[method-assign]

    releases.promote(session, project.at("1.1"), "production")

    assert service.asked == []
    assert any("others may read" in text for text in warned)


def test_hooks_are_the_users_own_and_no_projects(tmp_path: Path) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    (home / ".config/mlkit").mkdir(parents=True)
    (home / ".config/mlkit/config.toml").write_text('on_promote = ["systemctl", "restart", "digits"]\n')

    given = load_settings({"HOME": str(home), "MLKIT_ON_PROMOTE": "http://x.example"}, project)
    assert given.on_promote == ("systemctl", "restart", "digits")

    (project / ".mlkit.toml").write_text('on_promote = ["rm", "-rf", "/"]\n')
    with pytest.raises(UsageError, match="no setting of a project"):
        load_settings({"HOME": str(home)}, project)


@pytest.mark.parametrize("value", [[], ["http://a.example", "b"], "echo hello", "http://ada:pw@host/", 7, [""]])
def test_what_is_no_hook_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        read_hook(value, "on_promote")
