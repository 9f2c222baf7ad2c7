"""The long run: ``python -m tests.fuzz --inputs 200000 --seed 0 --out runs/fuzz``.

Damages valid files of every kind and gives them to their parsers, in rounds, until so many inputs were tried.  Prints a
table: per parser the inputs, how many were valid and refused, failures (anything but a valid result or one sentence
that names the file) and seconds.  Each failure is printed with its seed and kept in ``OUT/failures``.

The same seed makes the same inputs.  What is done is kept in ``OUT/done.json``: the same command goes on from there.
One input again: ``python -m tests.fuzz --only "COCO .json" --input 1234``.
"""

import argparse
import faulthandler
import json
import sys
import time
import traceback
from pathlib import Path

from minidl.serialize import write_atomically
from tests.fuzz.guard import Misbehaved
from tests.fuzz.inputs import Workbench

ROUNDS = 20  # parts of a run; between them what is done is written down
STUCK = 300  # seconds after which a call that no signal can end is ended, with the process
MOST_KEPT = 20  # failures per parser that are printed and kept


def main():
    options = _options()
    out = Path(options.out).resolve()
    bench = Workbench(out / "work", options.only)
    names = list(bench.parsers)
    if options.input is not None:
        print(names[0], options.input, "valid" if bench.try_seed(names[0], options.input) else "refused")
        return 0
    done = _load(out / "done.json", options)
    shares = {name: bench.parsers[name].share for name in names}
    wanted = {name: -(-options.inputs * share // sum(shares.values())) for name, share in shares.items()}
    for part in range(1, ROUNDS + 1):
        for name in names:
            row = done["parsers"].setdefault(name, {"inputs": 0, "valid": 0, "refused": 0, "failures": 0, "seconds": 0})
            _try_some(bench, name, row, wanted[name] * part // ROUNDS, options, out)
        write_atomically(out / "done.json", lambda file: file.write(json.dumps(done, indent=1).encode()))
        print(f"{part}/{ROUNDS}", end=" ", flush=True, file=sys.stderr)
    print("\n" + table({name: done["parsers"][name] for name in names}))
    return 1 if any(row["failures"] for row in done["parsers"].values()) else 0


def _options():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n\n")[1])
    parser.add_argument("--inputs", type=int, default=200_000, help="how many (default 200000)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--out", default="runs/fuzz", help="folder (default runs/fuzz)")
    parser.add_argument("--only", action="append", metavar="PARSER", help="only this parser of the table")
    parser.add_argument("--input", help="with --only: try again the one input that a failure names")
    return parser.parse_args()


def _load(path, options):
    if path.is_file():
        done = json.loads(path.read_text())
        if (done["seed"], done["inputs"]) == (options.seed, options.inputs):
            return done
    return {"seed": options.seed, "inputs": options.inputs, "parsers": {}}


def _try_some(bench, name, row, until, options, out):
    start = time.monotonic()
    faulthandler.dump_traceback_later(STUCK, exit=True, file=sys.__stderr__)
    while row["inputs"] < until:
        seed = f"{options.seed}/{row['inputs']}"
        row["inputs"] += 1
        try:
            row["valid" if bench.try_seed(name, seed) else "refused"] += 1
        except KeyboardInterrupt:
            raise
        except (Exception, Misbehaved):
            row["failures"] += 1
            if row["failures"] <= MOST_KEPT:
                _keep(bench, name, seed, out)
    faulthandler.cancel_dump_traceback_later()
    row["seconds"] += time.monotonic() - start


def _keep(bench, name, seed, out):
    """Print a failure and keep its input."""
    path, _ = bench.damaged
    place = out / "failures" / f"{name} {seed}".replace("/", "-").replace(" ", "_")
    place.mkdir(parents=True, exist_ok=True)
    (place / path.name).write_bytes(path.read_bytes())
    text = traceback.format_exc()
    (place / "traceback.txt").write_text(text, errors="backslashreplace")
    last = text.strip().splitlines()[-1][:300]
    print(f"{name}, --input {seed}: {last}; kept in {place}".encode(errors="backslashreplace").decode(), flush=True)


def table(rows):
    """One line per parser, and the sums."""
    columns = ("inputs", "valid", "refused", "failures", "seconds")
    rows = rows | {"all": {column: sum(row[column] for row in rows.values()) for column in columns}}
    lines = [f"{'parser':16}" + "".join(f"{column:>10}" for column in columns)]
    lines += [f"{name:16}" + "".join(f"{row[column]:>10,.0f}" for column in columns) for name, row in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
