"""The mutants still fit the source, and each is one that Python can read."""

import ast

import pytest

from tests.chaos.checker import INVARIANTS
from tests.chaos.faults import FAULTS
from tests.chaos.faults.versions import LATER
from tests.chaos.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_source(mutant: Mutant):
    assert set(mutant.caught_by) <= INVARIANTS.keys()
    assert set(mutant.faults) <= FAULTS.keys()
    texts: dict[str, str] = {}
    for change in mutant.changes:
        text = texts.setdefault(change.file, (ROOT / change.file).read_text())
        assert text.count(change.old) == 1, (change.file, change.old)
        texts[change.file] = text.replace(change.old, change.new)
    for file, text in texts.items():
        ast.parse(text, file)


def test_the_later_version_fits_the_source():
    test_a_mutant_fits_the_source(LATER)
