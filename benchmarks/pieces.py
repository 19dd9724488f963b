"""Speed of the Aux-VAE's pieces of 140 mel bands: ours against librosa's loop.

    python benchmarks/pieces.py --root FOLDER_OF_SOUND [--rounds 5] [--out pieces.json]

Both start from waveforms at 22,050 Hz in memory. Ours runs as in the feature cache, a thread for
each core; librosa one recording after another, as in the authors' code, and again with a thread for
each core; the ratio is to the faster of the two. They take turns; figures are medians.
"""

import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import librosa
import numpy as np

from tfser.audio import decode
from tfser.config.hparams import load_hparams
from tfser.features.mel_pieces import make_mel_pieces

HP = load_hparams("auxvae", "librispeech")
LAYER = make_mel_pieces(HP)
RATE = LAYER.sample_rate_hz


def extract_by_librosa(waveform):
    """Compute the pieces [n, 176, 140] of a recording by librosa."""
    pieces = []
    for number, length in enumerate(LAYER.lengths(len(waveform))):
        piece = waveform[number * LAYER.n_samples :][:length]
        mel = librosa.feature.melspectrogram(
            y=piece, sr=RATE, n_fft=2048, hop_length=512, n_mels=140, pad_mode="reflect"
        )
        fall = librosa.power_to_db(mel, ref=np.max).T / -80
        pieces.append(np.pad(fall, [(0, 176 - len(fall)), (0, 0)], constant_values=1))
    return np.concatenate(pieces)


def main():
    """Print seconds of speech per second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    files = sorted(p for p in args.root.rglob("*") if p.suffix in (".wav", ".flac"))[: args.files]
    waveforms = [decode.load_audio(file, sample_rate_hz=RATE) for file in files]
    for waveform in waveforms[:: max(1, len(waveforms) // 10)]:
        [ours] = LAYER.extract([waveform])
        np.testing.assert_allclose(ours, extract_by_librosa(waveform), atol=1e-4)
    seconds = {"ours": [], "librosa": [], "librosa, threads": []}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        candidates = {
            "ours": lambda: list(pool.map(lambda w: LAYER.extract([w])[0], waveforms)),
            "librosa": lambda: list(map(extract_by_librosa, waveforms)),
            "librosa, threads": lambda: list(pool.map(extract_by_librosa, waveforms)),
        }
        for number in range(args.rounds + 1):  # the first to warm up
            for name, run in list(candidates.items())[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    seconds_of_speech = sum(map(len, waveforms)) / RATE
    for name, value in median.items():
        print(f"{name:<17} {seconds_of_speech / value:7.0f} s of speech a second")
    ratio = min(median["librosa"], median["librosa, threads"]) / median["ours"]
    print(f"ratio             {ratio:7.2f}")
    if args.out:
        result = {
            "command": " ".join(["python", *sys.argv]),
            "recordings": len(waveforms),
            "seconds_of_speech": seconds_of_speech,
            "seconds": seconds,
            "ratio": ratio,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
