"""`python -m tests.chaos`: what `script/chaos` becomes after the setup."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.chaos.checker import INVARIANTS
from tests.chaos.faults import FAMILIES, FAULTS
from tests.chaos.mutants import BY_NAME, Mutant, apply, copied
from tests.chaos.runner import Outcome, run
from tests.chaos.system import System


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="script/chaos", description="Faults, and whether the promises were kept.")
    parser.add_argument("--seed", type=int, help="where the choices come from; printed, and replayed with it")
    parser.add_argument("--seeds", type=int, default=1, help="so many seeds, from --seed on (1)")
    parser.add_argument("--minutes", type=float, help="random faults for so long, instead of each one once")
    parser.add_argument("--faults", help=f"of {','.join(FAULTS)}, or families: {','.join(FAMILIES)}")
    parser.add_argument("--quick", action="store_true", help="long faults shorter, large ones smaller: no minutes each")
    parser.add_argument("--rate", type=float, default=2.0, help="deeds a second and device (2)")
    parser.add_argument("--keep", type=Path, help="a directory for the histories; otherwise only the bad ones stay")
    parser.add_argument("--json", type=Path, help="write the outcomes there, a line each")
    parser.add_argument("--mutants", nargs="?", const="all", help="break the program on purpose: all, or names")
    parser.add_argument("--list", action="store_true", help="say what there is")
    return parser.parse_args(arguments)


def chosen(text: str | None) -> list[str]:
    """The faults that are asked for. Raises ValueError."""
    if not text:
        return list(FAULTS)
    names: list[str] = []
    for part in text.split(","):
        if part in FAMILIES:
            names += [fault.id for fault in FAMILIES[part]]
        elif part.upper() in FAULTS:
            names.append(part.upper())
        else:
            raise ValueError(f"there is no fault {part!r}")
    return names


async def run_all(options: argparse.Namespace, names: list[str], seed: int, place: Path) -> list[Outcome]:
    """Run them one after the other, on one system for as long as it is sound."""
    outcomes: list[Outcome] = []
    chance = random.Random(seed)
    until = time.monotonic() + options.minutes * 60 if options.minutes else None
    plan = [(name, number) for number in range(seed, seed + options.seeds) for name in names]
    plan.sort(key=lambda one: FAULTS[one[0]].services)  # one system after the other
    system: System | None = None
    try:
        while plan if until is None else time.monotonic() < until:
            name, number = plan.pop(0) if until is None else (chance.choice(names), chance.randrange(2**31))
            if system is not None and system.with_services != FAULTS[name].services:
                await system.stop()
                system = None
            if system is None:
                system = System(seed=number, services=FAULTS[name].services)
                await system.start()
            outcome = await run(system, name, number, place, rate=options.rate, quick=options.quick)
            report(outcome, options.json)
            outcomes.append(outcome)
            if outcome.trouble or outcome.violated or FAULTS[name].spoils:
                await system.stop()
                system = None
            if outcome.is_good and options.keep is None:
                outcome.history.unlink(missing_ok=True)
    finally:
        if system is not None:
            await system.stop()
    return outcomes


async def run_mutant(options: argparse.Namespace, mutant: Mutant, seed: int, place: Path) -> bool:
    """Whether one of the invariants that should is violated, under one of its faults, within three seeds each."""
    for number in range(seed, seed + 3):
        for fault in mutant.faults:
            with copied() as tree:
                apply(mutant, tree)
                system = System(seed=number, tree=tree)
                try:
                    await system.start()
                    outcome = await run(system, fault, number, place, rate=options.rate, quick=True)
                finally:
                    await system.stop()
            caught = [name for name in mutant.caught_by if name in outcome.violated]
            verdict = f"caught by {' '.join(caught)}" if caught else "not caught"
            violated = " ".join(outcome.violated) or "nothing"
            print(
                f"{mutant.name}: {verdict}, under {fault} seed {number}"
                f" ({violated} violated{'; ' + outcome.trouble if outcome.trouble else ''})",
                flush=True,
            )
            if options.json is not None:
                line = {"mutant": mutant.name, "what": mutant.what, "fault": fault, "seed": number, "caught": caught}
                with options.json.open("a") as out:
                    out.write(json.dumps(line | {"violated": outcome.violated}) + "\n")
            if caught:
                return True
    return False


async def run_mutants(options: argparse.Namespace, seed: int, place: Path) -> int:
    """Run the mutants that are asked for; the exit code."""
    names = list(BY_NAME) if options.mutants == "all" else options.mutants.split(",")
    missed = [name for name in names if not await run_mutant(options, BY_NAME[name], seed, place)]
    print(f"{len(names) - len(missed)} of {len(names)} mutants were caught" + (f"; not {missed}" if missed else "."))
    return 1 if missed else 0


def report(outcome: Outcome, file: Path | None) -> None:
    """Say what came of it."""
    print(outcome.line(), flush=True)
    if not outcome.is_good or outcome.fault.breaks:
        for verdict in outcome.verdicts:
            if verdict.state == "violated":
                print(f"       {verdict.id} {INVARIANTS[verdict.id]}{verdict.detail()}")
                for offence in verdict.offences:
                    print(f"            {offence}")
    if not outcome.is_good:
        print(f"       its history: {outcome.history}", flush=True)
        print(f"       again: script/chaos --faults {outcome.fault.id} --seed {outcome.seed}", flush=True)
    if file is not None:
        line = {
            "fault": outcome.fault.id,
            "seed": outcome.seed,
            "good": outcome.is_good,
            "violated": outcome.violated,
            "trouble": outcome.trouble,
            "operations": outcome.operations,
            "verdicts": {verdict.id: [verdict.state, verdict.judged, verdict.note] for verdict in outcome.verdicts},
        }
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")


def main(arguments: list[str]) -> int:
    """Run what is asked for; the exit code: 0 where everything ended as it must."""
    options = parse(arguments)
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.id:4} {fault.name}: {fault.expects}")
        for mutant in BY_NAME.values():
            print(f"{mutant.name}: {mutant.what}, caught by {' or '.join(mutant.caught_by)}")
        return 0
    try:
        names = chosen(options.faults)
        if unknown := set((options.mutants or "all").split(",")) - {"all", *BY_NAME}:
            raise ValueError(f"there is no mutant {' '.join(unknown)}")
    except ValueError as error:
        print(error)
        return 2
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    place = options.keep or Path(tempfile.mkdtemp(prefix="whispr-histories-"))
    place.mkdir(parents=True, exist_ok=True)
    uvloop.install()
    if options.mutants:
        return asyncio.run(run_mutants(options, seed, place))
    print(f"seed {seed}; {len(names)} faults; histories in {place}", flush=True)
    outcomes = asyncio.run(run_all(options, names, seed, place))
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} runs ended as they must (seed {seed}).")
    return 1 if bad or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
