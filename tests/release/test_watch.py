from __future__ import annotations

import pytest

from mlkit.errors import UsageError
from mlkit.release.watch import Watch, Watched, watch


class Service:
    """Answers of a probe, one after the other, the last one for ever; with a clock that only waiting moves."""

    def __init__(self, *answers: str | None, takes: float = 0.0) -> None:
        self.now = 100.0
        self.asked: list[float] = []
        self._answers = list(answers)
        self._takes = takes

    def probe(self) -> str | None:
        self.asked.append(self.now - 100.0)
        self.now += self._takes
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def watch(self, plan: Watch) -> Watched:
        return watch(plan, self.probe, clock=lambda: self.now, sleep=self.sleep)


def test_a_service_that_holds_is_probed_until_time_is_up() -> None:
    service = Service(None)

    assert service.watch(Watch(duration=60, every=10)) == Watched(7, None)
    assert service.asked == [0, 10, 20, 30, 40, 50, 60]


def test_failures_in_a_row_end_it_at_once() -> None:
    service = Service(None, "503", None, "503", "503", "dead")

    assert service.watch(Watch(duration=600, every=10, failures=3)) == Watched(6, "dead")


def test_it_does_not_end_between_two_failures() -> None:
    service = Service(None, None, "503", "503", "503")

    assert service.watch(Watch(duration=20, every=10, failures=3)).reason == "503"


def test_a_slow_probe_is_not_followed_by_a_wait() -> None:
    service = Service(None, takes=25.0)

    service.watch(Watch(duration=50, every=10))

    assert service.asked[:3] == [0, 25, 50]


def test_one_probe_is_asked_even_where_there_is_no_time() -> None:
    assert Service(None).watch(Watch(duration=0, every=10)) == Watched(1, None)
    assert Service("no").watch(Watch(duration=0, every=10, failures=1)) == Watched(1, "no")


@pytest.mark.parametrize("plan", [{"failures": 0}, {"every": 0}, {"duration": -1}, {"timeout": 0}])
def test_a_watch_that_means_nothing_is_refused(plan: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Watch(**plan)  # type: ignore[arg-type]
