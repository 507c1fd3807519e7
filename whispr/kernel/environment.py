"""Numbers and switches from the environment: what cannot be read is refused, by the variable's name."""

import os
from collections.abc import Mapping

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def number(name: str, default: float, *, least: float = 0.0) -> float:
    """The number in the variable `name`, `default` where it is unset or empty.

    Raises ValueError, naming the variable, for anything else than a number of at least `least`.
    """
    text = os.environ.get(name, "").strip()
    try:
        value = float(text) if text else float(default)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise ValueError(f"{name} must be a number of at least {least:g}, not {text!r}.")
    return value


def whole_number(
    name: str, default: int, *, least: int = 0, most: int = 2**31 - 1, environment: Mapping[str, str] = os.environ
) -> int:
    """The whole number in the variable `name` of `environment`, `default` where it is unset or empty.

    Raises ValueError, naming the variable, for anything else than digits, below `least` or above `most`.
    """
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:20]) <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, not {text!r}.")
    return int(text)


def switch(name: str, default: bool) -> bool:
    """Whether the variable `name` is 1, `default` where it is unset or empty.

    Raises ValueError, naming the variable, for what is neither 1 nor 0 (nor true, false, yes, no, on, off): a typing
    error must not turn something off, or on, without a word.
    """
    text = os.environ.get(name, "").strip().lower()
    if text not in (*_ON, *_OFF, ""):
        raise ValueError(f"{name} must be 1 or 0, not {text!r}.")
    return text in _ON if text else default
