"""ACNN as a function of waveforms."""

import keras
import tensorflow as tf

from tfser.inference import served_model
from tfser.models.acnn import pretraining
from tfser.models.acnn.dataset import make_input_layer


def make_inference_function(run) -> served_model.InferenceFunction:
    """Return the function from waveforms to the probabilities of all views and the attention."""
    served_model.refuse_speaker_normalization(run)
    spectrogram = encoder = None
    if run.hp["autoencoder"]["corpus"] or run.hp["autoencoder"]["weights"]:
        spectrogram = pretraining.make_spectrogram(run.hp)
        encoder = served_model.load_network(run.folder / "encoder.keras")
    layer, n_frames = make_input_layer(run.hp)
    network = served_model.load_network(run.network / "model.keras")
    _, alpha = network.get_layer("attention").output
    hidden = {"attention": alpha, "hidden": network.get_layer("hidden").output}
    layers = keras.Model(network.input, hidden)
    network = keras.Model(network.input, {**network.output, "attention": alpha})

    def make_inputs(waveform, lengths):
        waveform = served_model.mask_padding(waveform, lengths)
        frames = layer(waveform)[:, :n_frames]
        missing = n_frames - tf.shape(frames)[1]
        frames = tf.pad(frames, [[0, 0], [0, missing], [0, 0]])
        inside = tf.range(n_frames)[None] < served_model.count_frames(layer, lengths)[:, None]
        frames = tf.where(inside[..., None], frames, float("nan"))
        inputs = {"log_mel": frames}
        if encoder:
            inputs["representation"] = encoder(spectrogram(waveform), training=False)
        return inputs

    def function(waveform, lengths):
        outputs = network(make_inputs(waveform, lengths), training=False)
        return {"probabilities": outputs.pop("emotion"), **outputs}

    def embed(waveform, lengths):
        inputs = make_inputs(waveform, lengths)
        own = {"representation": inputs["representation"]} if encoder else {}
        return layers(inputs, training=False) | own

    model = run.hp["model"]
    step = model["stride_frames"] * model["pool_steps"] * layer.hop / layer.sample_rate_hz
    outputs = {
        "probabilities": "[batch, classes]",
        "attention": f"[batch, steps], the weight of each {1000 * step:g} ms",
    }
    for name in sorted(set(network.output) - {"emotion", "attention"}):
        outputs[name] = "[batch, 3]: low, neutral, high"
    embeddings = {
        "attention": served_model.Embedding(f"weight of each {1000 * step:g} ms, Eq. (1)"),
        "hidden": served_model.Embedding("the vector below the softmax layers"),
    }
    if encoder:
        about = "numbers of the recurrent autoencoder"
        embeddings["representation"] = served_model.Embedding(about)
    return served_model.InferenceFunction(
        function,
        {"log_mel": layer, "network": network}
        | ({"spectrogram": spectrogram, "encoder": encoder} if encoder else {}),
        outputs,
        layer.sample_rate_hz,
        input_seconds=run.hp["input"]["seconds"],
        embeddings=embeddings,
        embed=embed,
    )
