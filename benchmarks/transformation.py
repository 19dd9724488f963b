"""Move of a transformed voice toward the style's voice, by f0 and spectrum instead of listeners.

    python benchmarks/transformation.py --run RUN --root RAVDESS [--out pitch.json]

RUN is a run of auxvae. The script takes pairs of a man's and a woman's recording of the same words,
each once as the content and once as the style. It computes the median f0 (librosa's pyin, 60 to 500
Hz) of four sounds: the content, the style, the content rebuilt by the network from its own latent
variables (the effect of the mel bands alone), and the content with the style's h or m. "moved" is
the share of the way from rebuilt to style in semitones: 0 nothing, 1 all of it; "spectrum" the same
share for the mean mel spectrum (dB) of frames louder than -40 dB, on the line from the rebuilt
content to the rebuilt style. Where "rebuilt" has another pitch than the content, the network has
lost the pitch.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import librosa
import numpy as np

from tfser.audio import decode
from tfser.corpora.loader import load_corpus
from tfser.features.mel_pieces import make_mel_pieces
from tfser.models.auxvae import pretraining, transformation
from tfser.storage import atomic_files


def median_f0_hz(sound, rate):
    """Compute the median f0 of the voiced frames, nan where there are none."""
    f0, voiced, _ = librosa.pyin(sound, fmin=60, fmax=500, sr=rate)
    return float(np.median(f0[voiced])) if voiced.any() else float("nan")


def mean_spectrum(spectrogram, pieces, layer):
    """Compute the mean [n_bands] in dB over frames where the recording is above -40 dB."""
    own = transformation.join_spectrogram(pieces.spectrograms, pieces.lengths, layer)
    mel = transformation.join_spectrogram(spectrogram, pieces.lengths, layer)
    return mel[own.max(axis=1) > -40].mean(axis=0)


def main():
    """Print medians over the pairs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--values", choices=("samples", "means"), default="samples")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    hp = atomic_files.read_json(args.run / "hparams.json")["hparams"]
    layer = make_mel_pieces(hp)
    rate = layer.sample_rate_hz
    file = sorted(args.run.glob("seed-*/fold-*/vae.keras"))[0]
    network = pretraining.load_network(file, hp, layer)
    sampled = args.values == "samples"
    # Neutral speech of one sentence by each speaker.
    spoken = {}
    for u in load_corpus("ravdess", args.root):
        if u.emotion == "neutral" and u.name.split("-")[4:6] == ["01", "01"]:
            spoken.setdefault(u.gender, []).append(u)
    pairs = list(zip(spoken["male"], spoken["female"], strict=True))
    pairs = [*pairs, *(pair[::-1] for pair in pairs)]  # in both directions
    latents = ["h", "m"] if hp["model"]["medium"] else ["h"]
    rows = []
    for content_utterance, style_utterance in pairs:
        waveforms = [
            decode.load_audio(u.path, sample_rate_hz=rate)
            for u in (content_utterance, style_utterance)
        ]
        content, style = (transformation.cut_pieces(w, layer) for w in waveforms)
        sounds = dict(zip(("content", "style"), waveforms, strict=True))
        own = transformation.reconstruct(network, content, sampled=sampled)
        sounds["rebuilt"] = transformation.invert_spectrogram(own, content, layer)
        here = mean_spectrum(own, content, layer)
        rebuilt_style = transformation.reconstruct(network, style, sampled=sampled)
        there = mean_spectrum(rebuilt_style, style, layer)
        way, of_spectrum = there - here, {}
        for latent in latents:
            mel = transformation.transform(network, content, style, latent, layer, sampled=sampled)
            sounds[latent] = transformation.invert_spectrogram(mel, content, layer)
            gone = mean_spectrum(mel, content, layer) - here
            of_spectrum[f"spectrum_{latent}"] = float(gone @ way / (way @ way))
        f0 = {name: median_f0_hz(sound, rate) for name, sound in sounds.items()}
        semitones = {name: 12 * np.log2(f0[name] / f0["rebuilt"]) for name in ("style", *latents)}
        rows.append(
            {"content": content_utterance.name, "style": style_utterance.name, "f0_hz": f0}
            | {"gender_of_content": content_utterance.gender}
            | {f"moved_{name}": semitones[name] / semitones["style"] for name in latents}
            | of_spectrum
        )
        print(content_utterance.name, {name: f"{hz:.0f}" for name, hz in f0.items()}, of_spectrum)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "pairs": rows,
        "median_moved": {
            name: float(np.nanmedian([row[f"moved_{name}"] for row in rows])) for name in latents
        },
        "median_spectrum": {
            name: float(np.median([row[f"spectrum_{name}"] for row in rows])) for name in latents
        },
        "median_f0_hz": medians(rows),
        "median_f0_hz_of": {
            gender: medians([row for row in rows if row["gender_of_content"] == gender])
            for gender in spoken
        },
        "voiced": {
            name: int(np.sum([np.isfinite(row["f0_hz"][name]) for row in rows])) for name in f0
        },
    }
    for name in ("median_moved", "median_spectrum", "median_f0_hz", "median_f0_hz_of", "voiced"):
        print(name, result[name])
    if args.out:
        text = json.dumps(result, indent=1).replace("NaN", "null")  # no voiced frame
        args.out.write_text(text + "\n")


def medians(rows) -> dict:
    """Return the median f0 in Hz of each sound over the rows that are voiced."""
    return {
        name: float(np.nanmedian([row["f0_hz"][name] for row in rows])) for name in rows[0]["f0_hz"]
    }


if __name__ == "__main__":
    main()
