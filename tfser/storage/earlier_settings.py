"""Settings of earlier runs, as a run of today records them.

A setting that is new has, in a run without it, the value that the run was made with.
"""

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
    if flat["hparams.labels.rounding"] == "nearest":  # its earlier name
        flat = flat | {"hparams.labels.rounding": "ties-to-neutral"}
    if flat.get("model") != "aae" or "hparams.model.system" not in flat:
        return flat
    if "hparams.optimized.batch_norm" not in flat:
        flat = _add_changes(flat)
    # A search may try systems that its own settings do not name.
    return flat if "algorithm" in flat else _drop_unused(flat)


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
