from dataclasses import dataclass

from app.providers.llm.breaker import Breaker, BreakerLimits


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        permit.failed()


def succeed(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        permit.succeeded()


def test_five_failures_within_the_window() -> None:
    breaker = Breaker(clock=Clock())
    fail(breaker, 4)
    assert breaker.closed
    fail(breaker)
    assert not breaker.closed
    assert breaker.admit() is None


def test_failures_that_are_old_do_not_count() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    fail(breaker, 4)
    clock.now += 30.1
    fail(breaker, 4)
    assert breaker.closed


def test_a_busy_service_with_few_failures_goes_on() -> None:
    """Five of a hundred calls fail: the other 95 must not be lost for half a minute."""
    breaker = Breaker(clock=Clock())
    for _ in range(10):
        succeed(breaker, 19)
        fail(breaker)
    assert breaker.closed


def test_half_of_the_calls_are_enough() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(5):
        succeed(breaker)
        fail(breaker)
    assert not breaker.closed


def test_a_call_that_began_earlier_does_not_decide_for_the_probe() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    early = [breaker.admit() for _ in range(2)]
    assert early[0] is not None
    assert early[1] is not None
    fail(breaker, 5)
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    early[0].succeeded()
    assert not breaker.closed
    early[1].failed()
    assert breaker.admit() is None
    probe.succeeded()
    assert breaker.closed


def test_a_probe_that_broke_off_after_its_first_word_is_one_failure_of_five() -> None:
    clock = Clock()
    breaker = Breaker(BreakerLimits(failures=5), clock)
    fail(breaker, 5)
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    probe.succeeded()
    probe.failed()
    assert breaker.closed


def test_a_probe_that_nobody_waited_for_may_be_repeated_at_once() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    fail(breaker, 5)
    clock.now += 30
    probe = breaker.admit()
    assert probe is not None
    assert not breaker.would_admit()
    probe.undecided()
    assert breaker.would_admit()
