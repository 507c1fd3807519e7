"""The circuit breaker, with a clock that the test moves."""

import threading
from collections.abc import Iterator

import pytest

from whispr.kernel import telemetry
from whispr.kernel.breaker import DEPENDENCIES, JITTER, Breaker, State, Tuning, breaker, breakers, subscribe
from whispr.kernel.errors import TemporaryUnavailable

TUNING = Tuning(failures=3, window=10, pause=1, pause_max=8, heal=60, probe=10, retry=30)


def state_of(circuit: Breaker) -> State:
    """Asked anew: a type checker takes an attribute for what it was compared with last."""
    return circuit.state


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Breaker:
    return Breaker("test", TUNING, clock)


@pytest.fixture
def told() -> Iterator[list[tuple[str, State]]]:
    heard: list[tuple[str, State]] = []
    end = subscribe(lambda name, state: heard.append((name, state)))
    yield heard
    end()


def fail(circuit: Breaker, times: int = 1) -> None:
    for _ in range(times):
        circuit.failure(circuit.access())


def refused(circuit: Breaker) -> float:
    with pytest.raises(TemporaryUnavailable) as refusal:
        circuit.access()
    assert refusal.value.retry_after is not None
    return refusal.value.retry_after


def opened(circuit: Breaker) -> Breaker:
    fail(circuit, TUNING.failures)
    assert state_of(circuit) == "open"
    return circuit


def next_probe(circuit: Breaker, clock: Clock) -> float:
    """Seconds until a call is let through, to a hundredth; it is that call."""
    waited = 0.0
    while True:
        try:
            circuit.access()
            return waited
        except TemporaryUnavailable:
            clock.move(0.01)
            waited += 0.01


def test_stays_closed_below_the_threshold(circuit: Breaker) -> None:
    fail(circuit, TUNING.failures - 1)
    assert state_of(circuit) == "closed"
    assert circuit.retry_after == 0
    circuit.access()


def test_opens_at_the_threshold(circuit: Breaker) -> None:
    opened(circuit)
    refused(circuit)


def test_failures_of_an_earlier_window_do_not_count(circuit: Breaker, clock: Clock) -> None:
    fail(circuit, TUNING.failures - 1)
    circuit.success(circuit.access())
    clock.move(TUNING.window)
    fail(circuit, TUNING.failures - 1)
    assert state_of(circuit) == "closed"


def test_what_is_asked_seldom_and_never_answers_is_away(circuit: Breaker, clock: Clock) -> None:
    for _ in range(TUNING.failures - 1):
        fail(circuit)
        clock.move(TUNING.window)
    assert state_of(circuit) == "closed"
    fail(circuit)
    assert state_of(circuit) == "open"


def test_single_failures_over_a_long_time_are_no_outage(circuit: Breaker, clock: Clock) -> None:
    for _ in range(3 * TUNING.failures):
        fail(circuit)
        clock.move(TUNING.heal / (TUNING.failures - 1))
    assert state_of(circuit) == "closed"


def test_what_mostly_works_is_not_shut_out(circuit: Breaker) -> None:
    fail(circuit)
    for _ in range(10):
        circuit.success(circuit.access())
    fail(circuit, 8)
    assert state_of(circuit) == "closed"
    fail(circuit)  # every second one by now
    assert state_of(circuit) == "open"


def test_tells_the_time_from_its_opening(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    assert refused(circuit) == TUNING.retry
    clock.move(0.5)
    assert refused(circuit) == TUNING.retry - 0.5 == circuit.retry_after


def test_a_failed_probe_does_not_begin_the_time_anew(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    clock.move(TUNING.pause * (1 + JITTER))
    circuit.failure(circuit.access())
    assert state_of(circuit) == "open"
    assert refused(circuit) == pytest.approx(TUNING.retry - TUNING.pause * (1 + JITTER), abs=0.1)


def test_tells_the_next_probe_when_its_time_is_over(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    for _ in range(6):
        clock.move(TUNING.pause_max * (1 + JITTER))
        circuit.failure(circuit.access())
    assert TUNING.pause_max * (1 - JITTER) - 0.1 <= refused(circuit) <= TUNING.pause_max * (1 + JITTER) + 0.1


def test_lets_one_probe_through_at_a_time(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    clock.move(TUNING.pause * (1 + JITTER))
    assert state_of(circuit) == "half_open"
    circuit.access()
    refused(circuit)
    refused(circuit)


def test_one_of_many_threads_is_the_probe(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    clock.move(TUNING.pause * (1 + JITTER))
    passed: list[int] = []
    start = threading.Barrier(16)

    def ask() -> None:
        start.wait()
        try:
            passed.append(circuit.access())
        except TemporaryUnavailable:
            pass

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 1


def test_a_probe_that_succeeds_closes_it(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    clock.move(TUNING.pause * (1 + JITTER))
    circuit.success(circuit.access())
    assert state_of(circuit) == "closed"
    assert circuit.retry_after == 0
    fail(circuit, TUNING.failures - 1)  # nothing is left of the failures from before
    assert state_of(circuit) == "closed"


def test_a_probe_that_never_reports_is_given_up(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    clock.move(TUNING.pause * (1 + JITTER))
    lost = circuit.access()
    clock.move(TUNING.probe - 0.1)
    refused(circuit)
    clock.move(0.1)
    probe = circuit.access()
    circuit.failure(lost)  # it reports after all: it is nobody's probe any more
    assert state_of(circuit) == "half_open"
    circuit.success(probe)
    assert state_of(circuit) == "closed"


def test_the_pause_doubles_up_to_a_maximum(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    for expected in (1, 2, 4, 8, 8, 8):
        waited = next_probe(circuit, clock)
        assert expected * (1 - JITTER) - 0.01 <= waited <= expected * (1 + JITTER) + 0.02
        circuit.failure()


def test_the_pause_goes_on_where_it_was_when_it_opens_again_soon(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    next_probe(circuit, clock)
    circuit.success()
    clock.move(TUNING.heal - 1)
    opened(circuit)
    assert next_probe(circuit, clock) > TUNING.pause * (1 + JITTER)


def test_the_pause_is_the_first_again_after_a_healthy_time(circuit: Breaker, clock: Clock) -> None:
    opened(circuit)
    next_probe(circuit, clock)
    circuit.failure()
    next_probe(circuit, clock)
    circuit.success()
    clock.move(TUNING.heal)
    opened(circuit)
    assert next_probe(circuit, clock) <= TUNING.pause * (1 + JITTER) + 0.02


def test_late_outcomes_of_calls_from_before_do_not_count(circuit: Breaker, clock: Clock) -> None:
    late = [circuit.access() for _ in range(20)]
    opened(circuit)
    clock.move(TUNING.pause * (1 + JITTER))
    probe = circuit.access()
    circuit.success(late.pop())
    assert state_of(circuit) == "half_open"
    circuit.success(probe)
    for ticket in late:
        circuit.failure(ticket)
    assert state_of(circuit) == "closed"


def test_held_open_it_refuses_whatever_happens(circuit: Breaker, clock: Clock) -> None:
    circuit.hold("open")
    assert (circuit.state, circuit.held) == ("open", "open")
    assert refused(circuit) == TUNING.retry
    clock.move(1000)
    circuit.success()
    assert refused(circuit) == TUNING.retry


def test_let_go_of_after_open_the_next_call_is_a_probe(circuit: Breaker) -> None:
    circuit.hold("open")
    circuit.hold(None)
    assert state_of(circuit) == "half_open"
    circuit.access()
    refused(circuit)
    circuit.success()
    assert state_of(circuit) == "closed"


def test_held_closed_it_lets_every_call_through(circuit: Breaker, told: list[tuple[str, State]]) -> None:
    opened(circuit)
    circuit.hold("closed")
    fail(circuit, 100)
    assert state_of(circuit) == "closed"
    assert told == [("test", "open"), ("test", "closed")]
    circuit.hold(None)
    assert state_of(circuit) == "closed"
    opened(circuit)


def test_held_twice_is_held_once(circuit: Breaker, told: list[tuple[str, State]]) -> None:
    circuit.hold("open")
    circuit.hold("open")
    assert told == [("test", "open")]


def test_tells_every_change(circuit: Breaker, clock: Clock, told: list[tuple[str, State]]) -> None:
    opened(circuit)
    next_probe(circuit, clock)
    circuit.failure()
    next_probe(circuit, clock)
    circuit.success()
    circuit.hold("open")
    circuit.reset()
    states = [state for _, state in told]
    assert states == ["open", "half_open", "open", "half_open", "closed", "open", "half_open", "closed"]
    assert {name for name, _ in told} == {"test"}


def test_a_subscriber_may_look_at_the_circuit_and_may_fail(circuit: Breaker, told: list[tuple[str, State]]) -> None:
    seen: list[State] = []

    def look(name: str, state: State) -> None:
        seen.append(circuit.state)
        raise ValueError("the subscriber's own fault")

    end = subscribe(look)
    opened(circuit)
    end()
    circuit.reset()
    assert seen == ["open"]
    assert [state for _, state in told] == ["open", "closed"]


def test_measures_its_state_and_its_openings(circuit: Breaker, clock: Clock) -> None:
    def gauge() -> float:
        return telemetry.circuit_state.labels("test")._value.get()

    before = telemetry.circuit_openings.labels("test")._value.get()
    assert gauge() == 0
    opened(circuit)
    assert gauge() == 2
    next_probe(circuit, clock)
    assert gauge() == 1
    circuit.failure()  # the same opening goes on
    next_probe(circuit, clock)
    circuit.success()
    assert gauge() == 0
    assert telemetry.circuit_openings.labels("test")._value.get() == before + 1
    circuit.hold("open")
    assert gauge() == 2


def test_each_external_thing_has_one() -> None:
    assert set(breakers()) == set(DEPENDENCIES)
    assert breaker("database") is breaker("database") is breakers()["database"]
