"""One paper a module (or a package of its name): `train(utterances, hp, run) -> scores`."""
