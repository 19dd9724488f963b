"""Speed of feature extraction from files: the feature cache against a plain loop of librosa.

    python benchmarks/features.py --root FOLDER_OF_SOUND [--files 351] [--rounds 5] [--out FILE]

The cache finds, hashes and decodes the files, computes with a thread for each core, and writes
shards into an empty cache. The loop loads one file after the other by librosa (decoding and
resampling), computes with librosa, for ACNN's autoencoder with NumPy and SciPy as auDeep does, and
holds the arrays in memory: it checks and writes nothing. Both take turns; figures are medians,
after a warm-up round. openSMILE's features: benchmarks/functionals.py.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import librosa
import numpy as np
import pieces
import spectrograms

from tfser.audio import decode
from tfser.cache import feature_cache
from tfser.config.hparams import load_hparams
from tfser.corpora.utterance import Utterance
from tfser.features.magnitude_slices import make_magnitude_slices
from tfser.models.epr.dataset import make_log_mel


def extract_log_mel(waveform):
    """Compute EPR's 64 bands [frames, 64]."""
    power = librosa.feature.melspectrogram(
        y=waveform, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=64
    )
    return np.log(np.maximum(power, 1e-10)).T


def extract_slices(waveform):
    """Compute BEGAN's slices of a second [n, 32, 513]."""
    starts = range(0, max(1, round(len(waveform) / 16000)) * 16000, 16000)
    parts = [waveform[start : start + 16000] for start in starts]
    padded = [np.pad(part, (0, 16000 - len(part))) for part in parts]
    return np.concatenate([np.abs(librosa.stft(x, n_fft=1024, hop_length=512)).T for x in padded])


def list_features() -> dict:
    """Return {name of the feature: (the feature, name of the peer, the peer's function)}."""
    return {
        "EPR, log-mel": (
            make_log_mel(load_hparams("epr", "librispeech")),
            "librosa",
            extract_log_mel,
        ),
        "ACNN's autoencoder": (spectrograms.LAYER, "SciPy", spectrograms.extract_by_recipe),
        "Aux-VAE": (pieces.LAYER, "librosa", pieces.extract_by_librosa),
        "BEGAN": (
            make_magnitude_slices(load_hparams("began", "librispeech")),
            "librosa",
            extract_slices,
        ),
    }


def main():
    """Print files per second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="a folder of .flac or .wav")
    parser.add_argument("--files", type=int, default=351, help="at most so many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="writes the figures as JSON")
    args = parser.parse_args()
    files = sorted(p for p in args.root.rglob("*") if p.suffix in (".wav", ".flac"))[: args.files]
    utterances = [Utterance(file, str(i), "speaker") for i, file in enumerate(files)]
    hours = sum(map(decode.duration_seconds, files)) / 3600
    result = {}
    for name, (feature, peer, function) in list_features().items():

        def extract_by_cache(feature=feature):
            with tempfile.TemporaryDirectory() as cache:
                return sum(
                    map(
                        sum,
                        feature_cache.store_features(
                            utterances, feature, cache=Path(cache)
                        ).n_frames,
                    )
                )

        def extract_by_loop(feature=feature, function=function):
            rate = feature.sample_rate_hz
            arrays = [function(librosa.load(file, sr=rate)[0]) for file in files]
            return sum(map(len, arrays))

        seconds = {"store": [], peer: []}
        for number in range(args.rounds + 1):
            n_frames = {}
            for candidate in list(seconds)[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                n_frames[candidate] = (
                    extract_by_cache if candidate == "store" else extract_by_loop
                )()
                seconds[candidate].append(time.perf_counter() - start)
            # librosa pads EPR's windows to 512 samples, so the last window may be missing.
            assert np.ptp([*n_frames.values()]) <= len(files), n_frames
        median = {candidate: statistics.median(times[1:]) for candidate, times in seconds.items()}
        result[name] = {
            "peer": peer,
            "files": len(files),
            "hours": hours,
            "seconds": seconds,
            "median": median,
            "files_a_second": len(files) / median["store"],
            "hours_a_second": hours / median["store"],
            "times_peer": median[peer] / median["store"],
        }
        times = result[name]["times_peer"]
        print(f"{name:20} {times:.2f} times the speed of {peer}", file=sys.stderr)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
