"""Scanning places that change, break, lie and vanish, with what was read written down all along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.facts import KEY, Filled, digest, kit, subject

from mlkit.errors import AuthError, IntegrityError, NetworkError, NotFoundError
from mlkit.lineage import scan as scanning
from mlkit.lineage.facts import KitFacts, ReleaseFacts, StatementFacts
from mlkit.lineage.scan import Found, Manner, Scan, scan_target
from mlkit.spec.digest import Digest
from mlkit.spec.statement import COSIGN_SIGN

NAME = "host.example/team"


@dataclass
class Shelf:
    """A place with knobs."""

    kits: dict[str, KitFacts] = field(default_factory=dict)
    said: dict[Digest, tuple[StatementFacts, ...]] = field(default_factory=dict)
    history: tuple[ReleaseFacts, ...] = ()
    fails: dict[str, Exception] = field(default_factory=dict)
    dies_after: int | None = None
    """Tags that are read before the place does not answer any more."""
    is_absent: bool = False
    name: str = NAME
    is_local: bool = False
    asked: list[str] = field(default_factory=list)

    def tags(self) -> Iterator[str]:
        if self.is_absent:
            raise NotFoundError(f"{self.name}: no such repository")
        yield from sorted(self.kits)

    def told(self, tag: str) -> Digest | None:
        self._answer(f"HEAD {tag}")
        return self.kits[tag].digest

    def read(self, tag: str, is_known: Callable[[Digest], bool]) -> Found:
        self._answer(tag)
        if tag in self.fails:
            raise self.fails[tag]
        found = self.kits[tag]
        return Found(found.digest) if is_known(found.digest) else Found(found.digest, (found,))

    def statements(self, digest: Digest) -> tuple[StatementFacts, ...]:
        self._answer(f"statements {digest.short}")
        return self.said.get(digest, ())

    def releases(self) -> Iterator[ReleaseFacts]:
        return iter(self.history)

    def _answer(self, what: str) -> None:
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise NetworkError("host.example: connection refused")
        self.asked.append(what)


def shelf(count: int = 3) -> Shelf:
    return Shelf(
        {f"v{n}": kit(f"k{n}", holds={"data": "datasets", f"w{n}": "model"}, title=f"v{n}") for n in range(count)}
    )


def run(filled: Filled, *places: Shelf, at: float = 5000.0, state: str | None = None, **manner: object) -> Scan:
    how = Manner(now=lambda: at, threads=1, **manner)  # type: ignore[arg-type]  # a table of fields
    return scan_target("host.example", places, filled.index, how, state=state)


def hits(filled: Filled, *keys: str) -> dict[str, str]:
    return {hit.thing.text: str(hit.standing) for hit in filled.questions(*keys).trained_on(subject("data")).hits}


def test_a_second_scan_reads_only_what_is_new(filled: Filled) -> None:
    place = shelf(2)
    assert (run(filled, place).read, run(filled, place).read) == (2, 0)
    place.asked.clear()
    place.kits["v9"] = kit("k9", holds={"data": "datasets"}, title="v9")

    again = run(filled, place, looks_for_statements=False)

    assert (again.read, again.known, again.problem) == (1, 2, None)
    assert place.asked == ["HEAD v0", "HEAD v1", "v9"]
    assert set(hits(filled)) == {f"{NAME}:v0", f"{NAME}:v1", f"{NAME}:v9"}


def test_a_tag_that_moved_is_read_again_and_one_that_is_gone_is_former(filled: Filled) -> None:
    place = shelf(2)
    run(filled, place)
    place.kits = {"v0": kit("other", holds={"w": "model"}, title="v0")}

    run(filled, place, at=6000.0)

    things = [hit.thing for hit in filled.questions().trained_on(subject("data")).hits]
    assert sorted(thing.former_names for thing in things) == [(f"{NAME}:v0",), (f"{NAME}:v1",)]
    assert all(thing.names == () for thing in things)


def test_a_registry_that_vanishes_leaves_what_it_gave_and_the_answer_says_so(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "BATCH", 4)
    place = shelf(20)
    place.dies_after = 6

    done = run(filled, place)
    answer = filled.questions().trained_on(subject("data"))

    assert done.read == 6
    assert done.problem is not None
    assert "stopped answering" in done.problem
    assert len(answer.hits) == 6
    assert not answer.scope.is_whole
    assert [target.at for target in answer.scope.targets] == [None]
    assert any("not scanned whole" in gap.why for gap in answer.gaps)
    place.dies_after = None
    assert (run(filled, place).read, len(hits(filled))) == (14, 20)
    assert filled.questions().trained_on(subject("data")).gaps == ()


@pytest.mark.parametrize(
    ("tags", "error", "told"),
    [
        pytest.param(5, NetworkError("refused"), "E_NETWORK", id="given up"),
        pytest.param(1, NetworkError("refused"), "E_NETWORK", id="one tag"),
        pytest.param(5, AuthError("401"), "E_AUTH", id="nobody is let in"),
        pytest.param(5, IntegrityError("damaged"), None, id="damaged"),
    ],
)
def test_a_target_that_gives_nothing_since_it_cannot_be_reached_says_which_it_is(
    filled: Filled, tags: int, error: Exception, told: str | None
) -> None:
    place = shelf(tags)
    place.fails = dict.fromkeys(place.kits, error)

    assert run(filled, place).unreached == told
    del place.fails["v0"]
    assert run(filled, place).unreached is None  # part of it was read


def test_a_scan_that_was_killed_goes_on_where_it_was(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "BATCH", 5)
    place = shelf(20)

    def killed(done: int) -> None:
        if len(place.asked) >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(filled, place, advance=killed)
    answer = filled.questions().trained_on(subject("data"))
    again = run(filled, place)

    assert len(answer.hits) == 10
    assert not answer.scope.is_whole
    assert (again.read, again.known) == (10, 10)


def test_one_bad_kit_does_not_hide_the_others(filled: Filled) -> None:
    place = shelf(3)
    place.fails["v1"] = IntegrityError("v1: not valid JSON")
    place.kits["v2"] = KitFacts(digest("k2"), title="v2", problem="its kit document is missing")

    done = run(filled, place)
    answer = filled.questions().trained_on(subject("data"))

    assert done.failed == {f"{NAME}:v1": "v1: not valid JSON", f"{NAME}@{digest('k2')}": "its kit document is missing"}
    assert set(hits(filled)) == {f"{NAME}:v0"}
    assert {gap.what for gap in answer.gaps} == set(done.failed)
    place.fails.clear()
    assert run(filled, place).read == 2, "what could not be read is tried again"


def test_new_signatures_on_known_kits_are_found_and_forged_ones_prove_nothing(filled: Filled) -> None:
    place = shelf(2)
    run(filled, place, keys=frozenset([KEY]))
    for name, keys in (("k0", (KEY,)), ("k1", ())):
        place.said[digest(name)] = (StatementFacts(digest(f"signature of {name}"), COSIGN_SIGN, keys),)

    run(filled, place, keys=frozenset([KEY]))

    assert hits(filled, KEY) == {f"{NAME}:v0": "proved", f"{NAME}:v1": "stated"}
    place.said[digest("k0")] = (StatementFacts(digest("signature of k0"), COSIGN_SIGN, ()),)
    run(filled, place)
    assert hits(filled, KEY)[f"{NAME}:v0"] == "stated", "a key that is trusted no more proves nothing any more"


def test_an_unchanged_state_is_all_that_is_asked_for(filled: Filled) -> None:
    place = shelf(2)
    run(filled, place, state="one")
    place.asked.clear()

    unchanged = run(filled, place, state="one", at=7000.0)
    other_keys = run(filled, place, state="one", keys=frozenset([KEY]))

    assert (unchanged.is_unchanged, unchanged.known) == (True, 2)
    assert not other_keys.is_unchanged, "signatures were never checked with this key"


def test_a_state_does_not_hide_what_could_not_be_read(filled: Filled) -> None:
    place = shelf(2)
    place.fails["v1"] = IntegrityError("broken")
    run(filled, place, state="one")
    place.fails.clear()

    assert run(filled, place, state="one").read == 1


def test_a_repository_that_is_gone_leaves_its_kits_known(filled: Filled) -> None:
    place = shelf(2)
    run(filled, place)
    place.is_absent = True

    run(filled, place)

    assert {hit.thing.former_names for hit in filled.questions().trained_on(subject("data")).hits} == {
        (f"{NAME}:v0",),
        (f"{NAME}:v1",),
    }


def test_a_target_whose_repositories_all_fail_is_given_up(filled: Filled) -> None:
    places = [Shelf(is_absent=True, name=f"host.example/r{number}") for number in range(50)]

    done = run(filled, *places)

    assert done.problem is not None
    assert len(done.failed) == 3


def test_many_tags_of_one_kit_read_it_once(filled: Filled) -> None:
    one = kit("one", holds={"data": "datasets"}, title="v0")
    place = Shelf(dict.fromkeys(["v0", "v1", "latest"], one))

    done = run(filled, place)

    (hit,) = filled.questions().trained_on(subject("data")).hits
    assert done.read == 1
    assert hit.thing.names == (f"{NAME}:latest", f"{NAME}:v0", f"{NAME}:v1")
