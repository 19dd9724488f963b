"""Hyperopt's proposals for the trials of a search, reproducible after an interruption."""

import functools
import math

import numpy as np

from tfser.config import search_space

FIRST_AT_RANDOM = 5  # Hyperopt's default of 20 would leave TPE no trial of --evals 20


class Sampler:
    """Sampler of Hyperopt: proposes the parameters of trial 0, 1, ...

    A proposal depends on the space, the algorithm, the seed and the known scores alone.
    """

    def __init__(self, space: dict, algorithm: str, seed: int):
        import hyperopt  # a second to import, which --help and errors must not wait for

        self.space, self.seed = space, seed
        self.suggest = {
            "tpe": functools.partial(
                hyperopt.tpe.suggest, n_startup_jobs=FIRST_AT_RANDOM, verbose=False
            ),
            "random": hyperopt.rand.suggest,
            "anneal": hyperopt.anneal.suggest,
        }[algorithm]
        self.expression = hyperopt_expressions(space)
        self.domain = hyperopt.base.Domain(None, self.expression)
        self.documents = []  # Hyperopt's records of the proposed trials

    def propose(self, scores: dict[int, float | None]) -> dict:
        """Propose the parameters of the next trial, given scores (None: failed) of trials."""
        import hyperopt

        history = hyperopt.Trials()
        for n, score in sorted(scores.items()):
            result = (
                {"status": hyperopt.STATUS_FAIL}
                if score is None
                else {"status": hyperopt.STATUS_OK, "loss": -score}
            )
            outcome = {"result": result, "state": hyperopt.JOB_STATE_DONE}
            history.insert_trial_doc(self.documents[n] | outcome)
        history.refresh()
        n = len(self.documents)
        state = int(np.random.default_rng([self.seed, n]).integers(2**31 - 1))
        [document] = self.suggest([n], self.domain, history, state)
        self.documents.append(document)
        point = {name: values[0] for name, values in self.proposed_values(n).items() if values}
        return decode_point(self.space, hyperopt.space_eval(self.expression, point))

    def proposed_values(self, n: int) -> dict[str, list]:
        """Return Hyperopt's own values of a proposed trial, in lists: empty where not selected."""
        return self.documents[n]["misc"]["vals"]


def hyperopt_expressions(space: dict, place: str = "") -> dict:
    """Return a space as Hyperopt's expressions.

    The value of a choice is (number of the option, the space under it), that of a quniform the
    number of steps. `place` tells two parameters of one name apart.
    """
    from hyperopt import hp

    expressions = {}
    for name, (kind, *options) in space.items():
        label = place + name
        if kind == "choice":
            expressions[name] = hp.choice(
                label,
                [
                    (k, hyperopt_expressions(search_space.option_space(option), f"{label}={k} "))
                    for k, option in enumerate(options)
                ],
            )
        elif kind == "uniform":
            expressions[name] = hp.uniform(label, *options)
        elif kind == "loguniform":
            expressions[name] = hp.loguniform(label, *map(math.log, options))
        else:
            # Hyperopt's own quniform values are multiples of the step, may lie past the bounds, and
            # are drawn half as often at both ends as between them.
            expressions[name] = hp.quniform(label, -0.5, count_steps(*options) + 0.5, 1)
    return expressions


def decode_point(space: dict, point: dict) -> dict:
    """Return the parameters {name: value} of a point of `hyperopt_expressions`."""
    parameters = {}
    for name, (kind, *options) in space.items():
        value = point[name]
        if kind == "choice":
            number, inner = value
            option = options[number]
            parameters[name] = search_space.option_value(option)
            parameters |= decode_point(search_space.option_space(option), inner)
        elif kind == "quniform":
            low, _, step = options
            # 12 digits: 0.1 + 2 * 0.1 is 0.30000000000000004.
            value = low + min(max(int(value), 0), count_steps(*options)) * step
            parameters[name] = value if isinstance(value, int) else float(f"{value:.12g}")
        else:  # exp(log(high)) may exceed high
            parameters[name] = float(min(max(value, options[0]), options[1]))
    return parameters


def count_steps(low, high, step) -> int:
    """Count the steps from low to high; (0.7 - 0.1) / 0.2 is 2.9999999999999996 in floats."""
    return math.floor((high - low) / step + 1e-9)
