"""Agreement, tried with every schedule that a random scheduler comes up with: delays, deaths, latecomers."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from tests.support.scale import SCALE

from mlkit.release.claims import Agreement, Claim, Look, Pause, Write, agree, channels_in, claims_in, decided
from mlkit.spec.digest import Digest

VALUES = [Digest.of(bytes([number])).hex[:20] for number in range(6)]


class Promoter:
    """One who wants record 1. A write takes effect somewhere between its start and its end; so does a look."""

    def __init__(self, value: str, store: set[Claim], dies_after: int | None) -> None:
        self.value = value
        self.agreed: str | None = None
        self.is_done = False
        self._store = store
        self._left = dies_after
        self._steps: Agreement = agree("production", 1, value)
        self._step: Look | Write | Pause = next(self._steps)
        self._seen: set[Claim] | None = None

    def go_on(self, rng: random.Random) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self.is_done = True
                return
        answer: Collection[Claim] = ()
        if isinstance(self._step, Write):
            self._store.add(self._step.claim)
        elif isinstance(self._step, Look):
            # A list of two pages: the second is made later than the first.
            if self._seen is None:
                self._seen = {claim for claim in self._store if hash(claim) % 2}
                return
            answer = self._seen | {claim for claim in self._store if not hash(claim) % 2}
            self._seen = None
        elif rng.random() < 0.5:
            return
        try:
            self._step = self._steps.send(answer)
        except StopIteration as ended:
            self.agreed, self.is_done = ended.value, True


@pytest.mark.parametrize("promoters", [1, 2, 3, 5])
def test_whatever_the_schedule_all_agree_on_one_record(promoters: int) -> None:
    for seed in range(400 * SCALE):
        rng = random.Random(seed * 10 + promoters)
        store: set[Claim] = set()
        deaths = [rng.randrange(12) if rng.random() < 0.2 else None for _ in range(promoters)]
        all_of_them = [Promoter(value, store, dies) for value, dies in zip(VALUES, deaths, strict=False)]
        first_seen: str | None = None

        while going := [promoter for promoter in all_of_them if not promoter.is_done]:
            chosen = rng.choice(going)
            # Some are put to sleep for long, as a laptop is.
            for _ in range(rng.choice([1, 1, 1, 7])):
                if not chosen.is_done:
                    chosen.go_on(rng)
            seen = decided(store)
            assert first_seen is None or seen in (None, first_seen), "what a reader saw is taken back"
            first_seen = first_seen or seen

        agreed = {promoter.agreed for promoter in all_of_them} - {None}
        assert len(agreed) <= 1, f"seed {seed}"
        assert not agreed or agreed <= {promoter.value for promoter in all_of_them}
        latecomer = Promoter(VALUES[5], store, None)
        while not latecomer.is_done:
            latecomer.go_on(rng)
        assert not agreed or {latecomer.agreed} == agreed
        assert decided(store) == latecomer.agreed


def _alone(steps: Agreement, store: set[Claim]) -> tuple[str, list[type]]:
    """What a promoter agrees on whom nobody disturbs, and the kinds of its steps."""
    step = next(steps)
    kinds: list[type] = [type(step)]
    while True:
        if isinstance(step, Write):
            store.add(step.claim)
        try:
            step = steps.send(tuple(store))
        except StopIteration as ended:
            return ended.value, kinds
        kinds.append(type(step))


def test_alone_it_takes_two_tags_and_no_wait() -> None:
    store: set[Claim] = set()

    agreed, kinds = _alone(agree("production", 7, VALUES[0]), store)

    assert agreed == VALUES[0]
    assert kinds == [Look, Write, Look, Write, Look]
    assert {claim.phase for claim in store} == {"a", "c"}


def test_what_a_dead_promoter_wanted_does_not_win_over_who_is_alive() -> None:
    dead, alive = min(VALUES), max(VALUES)
    store = {Claim("production", 1, 0, "a", dead)}

    agreed, _ = _alone(agree("production", 1, alive, stale={dead}), store)

    assert agreed == alive


def test_a_claim_is_read_from_its_tag_and_from_nothing_else() -> None:
    claim = Claim("pro.d-1", 42, 3, "c", VALUES[0])

    assert Claim.parse(claim.tag) == claim
    assert len(Claim("c" * 64, 9_999_999, 99, "a", VALUES[0]).tag) <= 128
    for tag in (
        "production",
        "mlkit-history.production",
        f"mlkit-history.production.0-0a-{VALUES[0]}",
        f"mlkit-history.production.007-0a-{VALUES[0]}",
        f"mlkit-history.production.7-00a-{VALUES[0]}",
        f"mlkit-history.production.7-0d-{VALUES[0]}",
        f"mlkit-history.production.7-0a-{VALUES[0]}0",
        f"mlkit-history.7-0a-{VALUES[0]}",
        f"mlkit-history..7-0a-{VALUES[0]}",
        f"other.production.7-0a-{VALUES[0]}",
    ):
        assert Claim.parse(tag) is None, tag


def test_claims_of_one_channel_are_not_taken_for_those_of_another() -> None:
    tags = [Claim(channel, 1, 0, "a", VALUES[0]).tag for channel in ("prod", "prod.eu")] + ["1.2"]

    assert list(claims_in(tags, "prod")) == [1]
    assert {claim.channel for claim in claims_in(tags, "prod")[1]} == {"prod"}
    assert channels_in(tags) == {"prod", "prod.eu"}
