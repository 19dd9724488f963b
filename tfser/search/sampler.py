"""Who proposes the settings of a search: Hyperopt, in a way that can be stopped and goes on."""

import functools
import math

import numpy as np

from tfser.config import search_space

FIRST_AT_RANDOM = 5  # Hyperopt's 20 would leave TPE nothing of --evals 20


class Sampler:
    """What Hyperopt proposes for trial 0, 1, ..: decided by the space, the algorithm, the seed and
    the scores that were known, whenever and wherever it is asked.
    """

    def __init__(self, space: dict, algorithm: str, seed: int):
        import hyperopt  # a second to import

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
        self.documents = []  # Hyperopt's, of the trials that were proposed

    def next(self, scores: dict[int, float | None]) -> dict:
        """The parameters of the next trial; scores (None: failed) of those it may follow."""
        import hyperopt

        told = hyperopt.Trials()
        for n, score in sorted(scores.items()):
            end = (
                {"status": hyperopt.STATUS_FAIL}
                if score is None
                else {"status": hyperopt.STATUS_OK, "loss": -score}
            )
            done = {"result": end, "state": hyperopt.JOB_STATE_DONE}
            told.insert_trial_doc(self.documents[n] | done)
        told.refresh()
        n = len(self.documents)
        state = int(np.random.default_rng([self.seed, n]).integers(2**31 - 1))
        [document] = self.suggest([n], self.domain, told, state)
        self.documents.append(document)
        point = {name: values[0] for name, values in self.point(n).items() if values}
        return decode_point(self.space, hyperopt.space_eval(self.expression, point))

    def point(self, n: int) -> dict[str, list]:
        """Hyperopt's own values of a trial that was proposed, in lists: empty where not chosen."""
        return self.documents[n]["misc"]["vals"]


def hyperopt_expressions(space: dict, place: str = "") -> dict:
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
                    (k, hyperopt_expressions(search_space.option_space(option), f"{label}={k} "))
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
            found[name] = hp.quniform(label, -0.5, count_steps(*options) + 0.5, 1)
    return found


def decode_point(space: dict, point: dict) -> dict:
    """The parameters {name: value} of a point of `expressions`, as Python's own numbers."""
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
        else:  # exp(log(high)) may be above high
            parameters[name] = float(min(max(value, options[0]), options[1]))
    return parameters


def count_steps(low, high, step) -> int:
    """How often the step goes into the distance: (0.7 - 0.1) / 0.2 is 2.9999999999999996."""
    return math.floor((high - low) / step + 1e-9)
