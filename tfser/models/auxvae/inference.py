"""The Aux-VAE and its probes as a function of waveforms."""

import tensorflow as tf

from tfser.errors import UsageError
from tfser.evaluation import regression_report
from tfser.features.mel_pieces import make_mel_pieces
from tfser.inference import served_model
from tfser.inference.finished_run import check_exists
from tfser.models.auxvae import pretraining


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from waveforms to latent means and the outputs of the best probe."""
    if run.hp["probe"]["latents"] == "samples":
        raise UsageError(
            f"{run.folder}: its probes are of samples, which are others each time; train with "
            "--set probe.latents=means (and another --workdir) to serve"
        )
    layer = make_mel_pieces(run.hp)
    check_exists(run.network / "vae.keras")
    network = pretraining.load_network(run.network / "vae.keras", run.hp, layer)
    probes = served_model.load_network(run.network / "probes.keras")
    best, _, loss = list(run.scores["systems"])[-1].rpartition(": ")[2].partition(", ")

    def function(waveform, lengths):
        batch = tf.shape(waveform)[0]
        (pieces, piece_lengths), owner = cut_pieces(
            layer, served_model.mask_padding(waveform, lengths), lengths
        )
        mel = layer(pieces, piece_lengths)
        _, means = network.encode(mel, sampled=False)
        latents = {name: tf.reduce_mean(x, axis=1) for name, x in {"mel": mel, **means}.items()}
        probed = probes(latents, training=False)
        values = {name: x for name, x in latents.items() if name != "mel"}
        if run.classes:
            values["probabilities"] = probed[best]
        else:
            ratings = [probed[f"{best}-{loss}-{a}"] for a in regression_report.ATTRIBUTES]
            values["ratings"] = tf.concat(ratings, axis=1)
        return {name: tf.math.unsorted_segment_mean(x, owner, batch) for name, x in values.items()}

    n, outputs = run.hp["model"]["n_latent"], {}
    if run.classes:
        outputs["probabilities"] = f"[batch, classes], of a linear probe on {best}"
    else:
        outputs["ratings"] = f"[batch, 2], arousal and valence, of a probe on {best} ({loss})"
    scales = {"h": "a piece of 4 s", "m": "a second", "z": "a frame"}
    if not run.hp["model"]["medium"]:
        del scales["m"]
    for name, scale in scales.items():
        outputs[name] = f"[batch, {n}], the latent variable of {scale}: mean over the utterance"
    embeddings = {
        name: served_model.Embedding(f"latent variable of {scale}, mean over the window")
        for name, scale in scales.items()
    }
    return served_model.InferenceFunction(
        function,
        {"pieces": layer, "vae": network, "probes": probes},
        outputs,
        layer.sample_rate_hz,
        embeddings=embeddings,
    )


def cut_pieces(layer, waveform, lengths):
    """Cut waveforms as `MelPieces.lengths` does: ((pieces [n, samples], lengths [n]), owners [n]).

    A waveform that is too short for a piece is filled up with zeros to the shortest piece.
    """
    whole, least = layer.n_samples, layer.n_fft // 2 + 1  # samples
    lengths = tf.maximum(lengths, least)
    n_whole, rest = lengths // whole, lengths % whole
    long_enough = tf.cast(rest, "float32") >= (
        layer.arguments["shortest_seconds"] * layer.sample_rate_hz
    )
    counts = (rest >= least) & (long_enough | (n_whole == 0))
    if layer.arguments["drop_short"]:
        counts &= n_whole == 0
    most = served_model.ceil_divide(tf.maximum(tf.shape(waveform)[1], least), whole)
    padded = tf.pad(waveform, [[0, 0], [0, most * whole - tf.shape(waveform)[1]]])
    padded = tf.reshape(padded, [-1, most, whole])
    inside = tf.sequence_mask(n_whole + tf.cast(counts, "int32"), most)
    number = tf.range(most)[None]
    piece_lengths = tf.where(number < n_whole[:, None], whole, rest[:, None])
    pieces = tf.boolean_mask(padded, inside), tf.boolean_mask(piece_lengths, inside)
    return pieces, tf.cast(tf.where(inside)[:, 0], "int32")
