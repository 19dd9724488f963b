"""Seconds of 20 evaluations of BEGAN's head by tfser-search, on stored feature maps.

    python benchmarks/heads.py [--out heads.json] [--spark local[2]] -- FLAGS OF TFSER-SEARCH

The time is from the start of the first trial to the end of the last trial, by the search's log,
without the test of the best setting, as in `benchmarks/spark.py`. A search of one trial before it
computes the maps.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import spark

EVALS = 20
TARGET_SECONDS = 300


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spark", metavar="MASTER", help="two trials at a time: local[2]")
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    parser.add_argument("flags", nargs="+", help="of tfser-search")
    args = parser.parse_args()
    command = ["--model", "began", *args.flags]
    spark_flags = ["--spark", args.spark] if args.spark else []
    with tempfile.TemporaryDirectory() as temporary:
        spark.run_search([*command, "--evals", "1"], Path(temporary, "warm"))
        evals = ["--evals", str(EVALS), *spark_flags]
        before, seconds, scores = spark.run_search([*command, *evals], Path(temporary, "timed"))
    missed = "" if seconds <= TARGET_SECONDS else f"  missed: {TARGET_SECONDS} s"
    print(f"{EVALS} evaluations: {seconds:.0f} s, {before:.0f} s before the first{missed}")
    if args.out:
        figures = {"cores": len(os.sched_getaffinity(0)), "spark": args.spark, "flags": args.flags}
        figures |= {"seconds": seconds, "seconds_before": before, "scores": scores}
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
