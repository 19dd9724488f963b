"""Nothing is traced again once training is under way: a trace takes as long as many steps."""

import sys

import pytest
from running import called, slow
from test_extract import SMALL, on, table  # noqa: F401

from tfser.cli import train
from tfser.models.epr import network as of_epr
from tfser.training import epoch

# Folds whose batches have one size, as those of a corpus that is larger than a batch.
EPOCHS = {
    "aae": ["train.max_epochs=3", "train.batch_size=4"],
    # Of several rounds: test_epr.py::test_networks_share_one_trace.
    "epr": ["train.max_epochs=3", "train.batch_size=4", "refinery.rounds=1"],
    "acnn": ["train.max_epochs=3", "train.batch_size=4", "autoencoder.max_epochs=3"],
    "auxvae": ["vae.max_epochs=9", "vae.batch_size=4"],
    "began": ["train.max_epochs=3", "train.batch_size=3", "began.max_epochs=3"],
}
STEPS = {
    "train_epoch": "train_step", "evaluate_batches": "test_step", "predict_batches": "predict_step"
}  # fmt: skip


class Counted:
    """A step of a network, which Python runs where it is traced."""

    def __init__(self, step):
        self.step, self.traces, self.after_each_pass = step, 0, []

    def __call__(self, data):
        self.traces += 1
        return self.step(data)


@pytest.mark.usefixtures("own_networks")
@pytest.mark.parametrize("model", slow(EPOCHS, but=["aae", "epr"]))
def test_no_trace_after_the_first_pass(model, table, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(of_epr, "_VGG_E_BLOCKS", ((1, 64),) * 5)  # a block has up to four
    steps = []

    def counting(name, run):
        def counted(network, batches):
            if not isinstance(step := getattr(network, STEPS[name]), Counted):
                step = Counted(step)
                setattr(network, STEPS[name], step)
                steps.append((network.name, name, step))
            found = run(network, batches)
            step.after_each_pass.append(step.traces)
            return found

        return counted

    for name in STEPS:
        run = getattr(epoch, name)
        counted = counting(name, run)
        for module in [m for key, m in sys.modules.items() if key.startswith("tfser.")]:
            if getattr(module, name, None) is run:
                monkeypatch.setattr(module, name, counted)
    sets = [word for override in EPOCHS[model] for word in ("--set", override)]
    flags = on(model, table, tmp_path / "cache", "--protocol", "loso", "--folds", 3, *sets)
    answer = called(train.main, *flags, "--workdir", tmp_path / "run")
    assert answer.code == 0, answer.err
    trained = [step.after_each_pass for _, name, step in steps if name == "train_epoch"]
    assert max(map(len, trained)) >= 9  # epochs of three folds, or of the Aux-VAE
    for network, name, step in steps:
        first, last = step.after_each_pass[0], step.traces
        # The first time twice, where metrics make their variables. Predictions have batches of two
        # sizes: full ones, and the last.
        several = name == "predict_batches"
        assert last <= 2 and (last == first or several), (network, name, step.__dict__)
