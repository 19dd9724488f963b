"""Record values of the original speaker encoder, for tests/features/test_resemblyzer.py.

It runs Resemblyzer itself, in an environment of its own:

    pip install resemblyzer==0.1.4 torch soundfile scipy numpy librosa
    python benchmarks/resemblyzer_reference.py ../shared/data tests/features/resemblyzer.npz

Resemblyzer's voice activity detection is left out, as in tfser, and so `webrtcvad` is not needed.
"""

import sys
import types
from pathlib import Path

import numpy as np
import scipy.ndimage
import soundfile
import torch

# Resemblyzer imports both for the voice activity detection alone; SciPy has moved the second.
sys.modules["webrtcvad"] = types.ModuleType("webrtcvad")
sys.modules["scipy.ndimage.morphology"] = scipy.ndimage

from resemblyzer import VoiceEncoder, audio  # noqa: E402

RECORDINGS = (  # 16 kHz, mono: 1.8 s, one part; 3.3 s, three parts, quiet, so amplified
    "emodb-uncut/wav/08a02Na.flac",
    "RAVDESS/Actor_01/03-01-01-01-01-01-01.flac",
)
FRAMES = slice(0, None, 23)  # of a part
UNITS = slice(0, None, 5)


def encode(encoder, waveform) -> dict[str, np.ndarray]:
    """Return mel frames and the layers' outputs of the parts of a waveform, and its embedding."""
    waveform = audio.normalize_volume(waveform, -30, increase_only=True).astype("float32")
    parts, in_mel = encoder.compute_partial_slices(len(waveform), 1.3, 0.75)
    padded = np.pad(waveform, (0, max(0, parts[-1].stop - len(waveform))))
    mel = audio.wav_to_mel_spectrogram(padded)
    x = torch.from_numpy(np.stack([mel[part] for part in in_mel]))  # [parts, 160, 40]
    values = {"mel": x.numpy()[:, FRAMES]}
    for number in range(3):
        n_inputs = x.shape[-1]
        layer = torch.nn.LSTM(n_inputs, 256, batch_first=True)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layer.load_state_dict(
            {f"{name}_l0": getattr(encoder.lstm, f"{name}_l{number}") for name in names}
        )
        x, _ = layer(x)
        values[f"layer_{number}"] = x.numpy()[:, FRAMES, UNITS]
    last = torch.relu(encoder.linear(x[:, -1])).numpy()
    last /= np.linalg.norm(last, axis=1, keepdims=True)
    mean = last.mean(axis=0)
    values["embedding"] = encoder.embed_utterance(waveform)  # by its own code
    np.testing.assert_allclose(mean / np.linalg.norm(mean), values["embedding"], atol=1e-6)
    return values


def main():
    """Write {recording:name: values} for RECORDINGS."""
    root, out = map(Path, sys.argv[1:])
    encoder, values = VoiceEncoder("cpu", verbose=False), {}
    with torch.no_grad():
        for name in RECORDINGS:
            waveform, rate = soundfile.read(root / name, dtype="float32")
            assert rate == audio.sampling_rate and waveform.ndim == 1
            of_recording = encode(encoder, waveform)
            values |= {f"{name}:{key}": value for key, value in of_recording.items()}
            print(name, {key: value.shape for key, value in of_recording.items()})
    np.savez_compressed(out, **values)


if __name__ == "__main__":
    main()
