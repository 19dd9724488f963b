"""Who proposes the settings of a search: Hyperopt, in a way that can be stopped and goes on."""

import functools
import itertools
import math

import numpy as np

from tfser import hparams

FIRST_AT_RANDOM = 5  # Hyperopt's 20 would leave TPE nothing of --evals 20


def proposals(space: dict, algorithm: str, seed: int):
    """Yields the parameters of trial 0, 1, ..; takes the score of each (None: failed) by `send`.

    The random numbers of trial n depend on (seed, n) alone: a search that is told its finished
    trials again goes on as one that was never stopped.
    """
    import hyperopt  # a second to import

    suggest = {
        "tpe": functools.partial(
            hyperopt.tpe.suggest, n_startup_jobs=FIRST_AT_RANDOM, verbose=False
        ),
        "random": hyperopt.rand.suggest,
        "anneal": hyperopt.anneal.suggest,
    }[algorithm]
    expression = expressions(space)
    domain, told = hyperopt.base.Domain(None, expression), hyperopt.Trials()
    for n in itertools.count():
        state = int(np.random.default_rng([seed, n]).integers(2**31 - 1))
        [proposal] = suggest([n], domain, told, state)
        point = {name: values[0] for name, values in proposal["misc"]["vals"].items() if values}
        score = yield chosen(space, hyperopt.space_eval(expression, point))
        proposal["result"] = (
            {"status": hyperopt.STATUS_FAIL}
            if score is None
            else {"status": hyperopt.STATUS_OK, "loss": -score}
        )
        proposal["state"] = hyperopt.JOB_STATE_DONE
        told.insert_trial_doc(proposal)
        told.refresh()


def expressions(space: dict, place: str = "") -> dict:
    """A space as Hyperopt's: of a choice (number of the option, the space under it), of a quniform
    the number of steps. `place` tells two parameters of one name apart.
    """
    from hyperopt import hp

    found = {}
    for name, (kind, *options) in space.items():
        label = place + name
        if kind == "choice":
            found[name] = hp.choice(
                label,
                [
                    (k, expressions(hparams.more_of(option), f"{label}={k} "))
                    for k, option in enumerate(options)
                ],
            )
        elif kind == "uniform":
            found[name] = hp.uniform(label, *options)
        elif kind == "loguniform":
            found[name] = hp.loguniform(label, *map(math.log, options))
        else:
            # Hyperopt's own values are multiples of the step, may lie past the bounds, and have the
            # two at the ends half as often as the others.
            found[name] = hp.quniform(label, -0.5, n_steps(*options) + 0.5, 1)
    return found


def chosen(space: dict, point: dict) -> dict:
    """The parameters {name: value} of a point of `expressions`, as Python's own numbers."""
    parameters = {}
    for name, (kind, *options) in space.items():
        value = point[name]
        if kind == "choice":
            number, inner = value
            option = options[number]
            parameters[name] = hparams.value_of(option)
            parameters |= chosen(hparams.more_of(option), inner)
        elif kind == "quniform":
            low, _, step = options
            # 12 digits: 0.1 + 2 * 0.1 is 0.30000000000000004.
            value = low + min(max(int(value), 0), n_steps(*options)) * step
            parameters[name] = value if isinstance(value, int) else float(f"{value:.12g}")
        else:  # exp(log(high)) may be above high
            parameters[name] = float(min(max(value, options[0]), options[1]))
    return parameters


def n_steps(low, high, step) -> int:
    """How often the step goes into the distance: (0.7 - 0.1) / 0.2 is 2.9999999999999996."""
    return math.floor((high - low) / step + 1e-9)
