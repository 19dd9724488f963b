"""tfser-search: searches the hyperparameters of one system, by the dev scores of a corpus's folds.

The [search] table of hparams/<model>.toml holds the space (see `load_search_space`); Hyperopt
proposes settings. The test sets are used once, for the best setting.

One setting is selected for all folds. The dev set of a fold may hold speakers whom another fold
tests: the test score of the best setting is optimistic by the gain of the selection on them. Where
each speaker has networks of its own (BEGAN's default), and with a corpus's own parts, no trial
trains on an utterance that is tested, and no trial is scored on one. --nested selects a setting for
each fold, without its test speakers.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tfser.cli import base, nested_search, train
from tfser.cli.one_search import run_search
from tfser.cli.options import Options
from tfser.cli.task import prepare_task
from tfser.cli.zoo import SVMS
from tfser.config.hparams import format_toml
from tfser.distributed import spark_session
from tfser.errors import UsageError
from tfser.search.summary import best_trial, format_summary
from tfser.search.trials import FEWEST
from tfser.storage import s3

EPILOG = """\
exit codes: 0 done, 1 all trials failed, 2 usage or configuration, 3 data, 4 the search directory
holds another search or is in use, 130 interrupted. The same command continues where it stopped.

One setting is selected for all folds, by the dev sets of all folds. A speaker of the dev set of one
fold may be in the test set of another fold, where speakers are left out: the score is optimistic.
--nested N searches in each fold of --protocol loso, by N inner folds of the speakers whom the fold
does not test, and pools the tests of all folds: a score of the search itself, not of one setting.
It has as many searches as folds, and says the number of trainings first.

example: tfser-search --model began --corpus savee --seeds 10 --trial-seeds 1
example: tfser-search --model svm --corpus emodb --protocol loso --evals 20
example: tfser-search --model svm --corpus emodb --protocol loso --evals 8 --nested 5
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of tfser-search: the flags of tfser-train, and those of the search."""
    p = base.Parser("tfser-search", __doc__.partition(": ")[2].partition("\n")[0], EPILOG)
    train.add_flags(p)
    p.add_argument(
        "--evals", type=int, default=20, metavar="N", help="number of trials (default: 20)"
    )
    p.add_argument(
        "--algorithm",
        choices=("tpe", "random", "anneal"),
        default="tpe",
        help="Hyperopt's algorithm, seeded by --seed (default: tpe)",
    )
    p.add_argument(
        "--trial-seeds",
        type=int,
        metavar="N",
        help="number of seeds of a trial, from --seed upward (default: --seeds, the number of the "
        "best setting's test)",
    )
    p.add_argument(
        "--stop-hopeless",
        action="store_true",
        help="stop a trial whose first networks have dev scores below the median of the same "
        f"networks of the trials before, once there are {FEWEST} trials (not of auxvae, encoder, "
        "svm)",
    )
    p.add_argument(
        "--nested",
        type=int,
        metavar="N",
        help="search inside each fold of --protocol loso, by N inner folds (3 or more) of the "
        "speakers whom the fold does not test (default: one search, by the dev sets of all folds)",
    )
    p.add_argument(
        "--workdir",
        type=s3.to_path,
        metavar="DIR",
        help="search directory (default: searches/<model>-<corpus>-<protocol>)",
    )
    return p


def main(argv=None) -> int:
    """Run the command and return its exit code."""
    return base.run_command(search, base.parse(parser(), argv, Options))


def search(options: Options) -> None:
    """Check the options before reading audio, search, then train and test the best setting."""
    check_options(options)
    task = prepare_task(options)
    options = replace(options, protocol=task.protocol)
    if task.hp["labels"]["target"] == "attributes":
        raise UsageError(
            "labels.target=attributes has three scores, and a search compares one; give --target "
            "activation, valence or dominance"
        )
    folder = options.workdir or Path(
        "searches",
        f"{options.model}-{task.corpus}-{options.protocol}{'-nested' * bool(options.nested)}",
    )
    if options.nested is not None:
        return nested_search.run_nested(options, task, folder)
    trials, out = run_search(options, task, options, folder)
    print(format_summary(trials))
    for name, value in best_trial(trials)["parameters"].items():
        print(f"{name} = {format_toml(value)}")
    print(f"trials, best.toml and pictures: {folder}")
    print(out.splitlines()[-1])


def check_options(options: Options) -> None:
    """Raise UsageError for options that no search has."""
    if options.evals < 1:
        raise UsageError(f"--evals {options.evals}: must be 1 or more")
    if options.trial_seeds is not None and not 1 <= options.trial_seeds <= options.seeds:
        raise UsageError(f"--trial-seeds {options.trial_seeds}: must be 1 to --seeds")
    if options.stop_hopeless and options.model in (*SVMS, "auxvae"):
        raise UsageError(
            f"--stop-hopeless: {options.model} has no dev score before its trial ends; leave it out"
        )
    if options.strategy == "multiworker":
        raise UsageError("--strategy multiworker is for one training; leave it out, or use --spark")
    if options.spark is not None:
        spark_session.check_master(options.spark)
    if options.protocol == "all":
        raise UsageError("--protocol all has no dev scores to compare; search with loso or paper")


if __name__ == "__main__":
    sys.exit(main())
