"""bench/exchange.py: what counts as a full cycle, and as a sample."""

import base64

import pytest

from bench.exchange import Message, Samples
from bench.ledger import digest_of

EVENTS = ("replied", "delivered", "statused", "acked")


def _done(began: float) -> Message:
    message = Message(300, began)
    message.replied, message.delivered, message.statused, message.acked = began + 1, began + 2, began + 3, True
    return message


@pytest.mark.parametrize("lacking", EVENTS)
def test_a_cycle_is_full_only_with_every_part(lacking: str) -> None:
    message = _done(10.0)
    assert message.is_done
    setattr(message, lacking, False if lacking == "acked" else 0.0)
    assert not message.is_done


def test_contents_and_keys_differ_and_fit_the_protocol() -> None:
    messages = [Message(300, 0.0) for _ in range(100)]
    assert len({message.content for message in messages}) == 100
    assert len({message.client_random for message in messages}) == 100
    assert all(0 <= message.client_random < 2**53 for message in messages)
    assert all(len(message.content) == 400 for message in messages)


def test_the_digest_is_of_the_ciphertext_not_of_its_base64() -> None:
    message = Message(300, 0.0)
    assert message.digest == digest_of(base64.b64decode(message.content))


@pytest.mark.parametrize(
    ("began", "ended", "cycles", "latencies"),
    [
        (90.0, 99.9, 0, 0),  # over before the window
        (95.0, 101.0, 1, 0),  # began in the warm-up: a cycle, but no sample
        (100.0, 103.0, 1, 1),
        (108.0, 110.0, 0, 0),  # ended when the window was closed
    ],
)
def test_what_counts(began: float, ended: float, cycles: int, latencies: int) -> None:
    samples = Samples(start=100.0, stop=110.0)
    samples.take(_done(began), ended)
    assert samples.cycles == cycles
    assert len(samples.to_sent) == len(samples.to_delivered) == len(samples.to_status) == latencies


def test_latencies_are_from_the_beginning_of_the_message() -> None:
    samples = Samples(start=100.0, stop=110.0)
    samples.take(_done(101.0), 104.0)
    assert (samples.to_sent, samples.to_delivered, samples.to_status) == ([1.0], [2.0], [3.0])


def test_nothing_counts_before_a_window_is_set() -> None:
    samples = Samples()
    samples.take(_done(1.0), 4.0)
    assert samples.cycles == 0
