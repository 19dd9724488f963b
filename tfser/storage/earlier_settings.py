"""Settings of earlier runs, as a run of today records them.

A setting that is new has, in a run without it, the value that the run was made with.
"""

# Settings that some runs do not record, and their values in these runs: labels.rounding was removed
# from the models that never read it, the other settings were added after the first runs.
UNRECORDED = {
    "hparams.train.precision": "float32",
    "hparams.audio.decoder": "soundfile",
    "hparams.audio.channel": 0,
    "hparams.schedule.staircase": True,
    "hparams.schedule.warmup_epochs": 0.0,
    "hparams.labels.rounding": "between",
    "hparams.labels.scale": [1, 5],
    "hparams.features.normalize": "corpus",
    "hparams.model.standardizes_representation": False,
    "hparams.protocol.dev": "utterances",
    "hparams.plots.baseline": "",
    "hparams.features.scale": "mel",
    "hparams.protocol.lists": "",
    "hparams.svm.balance": [],
    "hparams.train.balance": [],
    "hparams.train.init": "",
    "hparams.train.freeze": [],
    "hparams.features.from": "",
    "hparams.features.layer": "",
}
PRETRAINING = ("autoencoder", "vae", "began")  # sections with a corpus and a group of it
# Of runs of the AAE from before each change of section 5.2 had a setting.
AAE = {
    "hparams.baseline.batch_norm": False,
    "hparams.vanilla.batch_norm": False,
    "hparams.vanilla.discriminator_dropout": 0.0,
    "hparams.vanilla.discriminator_ratio": 1.0,
    "hparams.vanilla.regularization": True,
    "hparams.optimized.batch_norm": True,
    "hparams.optimized.regularization": True,
    "hparams.optimizer.schedule_decay": 1.0,
    "hparams.frames.masked": False,
    "hparams.train.unlabelled_corpus": "",
    "hparams.train.unlabelled_group": "",
}
SYSTEMS = ("baseline", "vanilla", "optimized")


def update_settings(flat: dict) -> dict:
    """Return settings {"section.key": value} of a run as a run of today records them."""
    flat = _add_groups(UNRECORDED | flat)
    if flat["hparams.labels.rounding"] == "nearest":  # its earlier name
        flat = flat | {"hparams.labels.rounding": "ties-to-neutral"}
    if flat.get("model") != "aae" or "hparams.model.system" not in flat:
        return flat
    if "hparams.optimized.batch_norm" not in flat:
        flat = _add_changes(flat)
    # A search may try systems that its own settings do not name.
    return flat if "algorithm" in flat else _drop_unused(flat)


def _add_groups(flat: dict) -> dict:
    """Add the group of each pre-training.

    It is all ("") in older runs, and where it is not of librispeech, the only corpus whose groups
    it selects.
    """
    for section in PRETRAINING:
        name, corpus = f"hparams.{section}.group", flat.get(f"hparams.{section}.corpus")
        flat[name] = flat.get(name, "") if corpus == "librispeech" else ""
    return flat


def _add_changes(flat: dict) -> dict:
    """Add the changes of section 5.2 as they were in each system, and all other new settings."""
    ratio = flat.pop("hparams.train.discriminator_ratio", None)
    flat = AAE | flat | {
        "hparams.optimized.discriminator_ratio": ratio,
        "hparams.optimized.discriminator_dropout": flat.get("hparams.model.dropout"),
    }  # fmt: skip
    if flat["hparams.train.labelled_fraction"] < 1 or flat["hparams.train.unlabelled"]:
        flat["batches of phase 3"] = "those of phases 1 and 2, some without a label"
    return flat


def _drop_unused(flat: dict) -> dict:
    """Drop what a run does not read: a change of it makes no other run."""
    system = flat["hparams.model.system"]
    unused = tuple(f"hparams.{other}." for other in SYSTEMS if other != system)
    if flat["hparams.model.level"] == "utterance" or system == "baseline":
        unused += ("hparams.frames.masked",)
    if flat["hparams.labels.target"] == "emotion":
        unused += ("hparams.labels.rounding",)
    return {name: value for name, value in flat.items() if not name.startswith(unused)}
