"""AAE's encoder as a function of openSMILE's features, which TensorFlow cannot compute."""

from tfser.features.standardize import Standardize
from tfser.inference import served_model

FRAME_SECONDS = 0.01  # openSMILE's descriptors


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from features to emotion probabilities and, of an autoencoder, z."""
    settings = run.hp["features"]
    served_model.refuse_speaker_normalization(run)
    network = served_model.load_network(run.network / "model.keras")
    is_baseline = run.hp["model"]["system"] == "baseline"

    def function(features):
        if is_baseline:
            return {"probabilities": network(features, training=False)}
        y, z = network.encode(network.standardize(features))
        return {"probabilities": y, "z": z}

    outputs = {"probabilities": "[batch, classes]"}
    if not is_baseline:
        outputs["z"] = f"[batch, {run.hp['model']['n_z']}], the latent variable beside the class"
    in_frames = run.hp["model"]["level"] == "frame"
    # By its type: files of earlier versions do not keep the layer's name.
    [standardize] = [layer for layer in network.layers if isinstance(layer, Standardize)]
    mean = standardize.mean
    shape = (run.hp["frames"]["n_frames"], *mean.shape) if in_frames else tuple(mean.shape)
    return served_model.InferenceFunction(
        function,
        {"network": network},
        outputs,
        settings["sample_rate_hz"],
        served_model.OpenSmileInput(
            settings["feature_set"], "lld" if in_frames else "functionals", shape
        ),
        input_seconds=shape[0] * FRAME_SECONDS if in_frames else None,
        embeddings={"probabilities": served_model.Embedding("y, the latent class")}
        | ({} if is_baseline else {"z": served_model.Embedding("z, the latent style")}),
    )
