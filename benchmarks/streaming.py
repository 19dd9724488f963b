"""Memory of training the autoencoder on 1 h and on 20 h of speech that stays on the disk.

    python benchmarks/streaming.py [--hours 1 20] [--steps 30] [--out streaming.json]

Makes noise in files of 10 minutes, cut into clips of 7.5 s by their times as TED-LIUM's talks are,
and for each size starts a process that computes the spectrograms, then trains a small autoencoder
for `--steps` steps of an epoch, so that the shuffle buffer is full. Peak memory is the process's
own. Target: 20 h within 100 MB of 1 h.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TALK_SECONDS, CLIP_SECONDS = 600, 7.5

WORK = """
import resource, sys, time
from pathlib import Path
import numpy as np, soundfile
from tfser.cache import feature_cache, pipelines
from tfser.config.hparams import load_hparams
from tfser.corpora.utterance import Utterance
from tfser.models.acnn import pretraining

folder, hours, n_steps, talk, clip = Path(sys.argv[1]), *map(float, sys.argv[2:])
rng, utterances = np.random.default_rng(0), []
for i in range(round(hours * 3600 / talk)):
    path = folder / f"{i:03}.wav"
    if not path.exists():
        with soundfile.SoundFile(path, "w", 16000, 1, subtype="PCM_16") as file:
            for _ in range(int(talk)):
                file.write(rng.normal(0, 0.1, 16000).astype("float32"))
    utterances += [
        Utterance(path, f"{i}-{n}", str(i), start_seconds=n * clip, end_seconds=(n + 1) * clip)
        for n in range(int(talk / clip))
    ]
hp = load_hparams("acnn", "toy", overrides=["input.seconds=7.5", "autoencoder.units=16"])
layer = pretraining.make_spectrogram(hp)
start = time.perf_counter()
stored = feature_cache.store_features(utterances, layer, cache=folder / f"cache-{hours}")
extracted = time.perf_counter() - start
import keras
from tfser.models.acnn.autoencoder import SequenceAutoencoder
shape = layer.n_frames, layer.n_features
sizes = {name: hp["autoencoder"][name] for name in pretraining.NETWORK}
model = SequenceAutoencoder(*shape, **sizes)
model.compile(keras.optimizers.Adam())
batches = pipelines.stream_pieces(stored, n_frames=layer.n_frames, batch_size=64, seed=0, epoch=0)
start = time.perf_counter()
model.fit(batches.take(int(n_steps)), verbose=0)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(utterances), extracted, seconds, peak)
"""


def main():
    """Print the peak of each size and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 20])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for hours in args.hours:
            done = subprocess.run(
                [sys.executable, "-c", WORK, folder]
                + [str(x) for x in (hours, args.steps, TALK_SECONDS, CLIP_SECONDS)],
                cwd=Path(__file__).resolve().parents[1],
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            clips, extracted, seconds, peak = map(float, done.stdout.split()[-4:])
            sizes.append({
                "hours": hours, "clips": int(clips), "extraction_seconds": extracted,
                "training_seconds": seconds, "peak_mib": peak,
            })  # fmt: skip
            print(
                f"{hours:5.1f} h, {clips:6.0f} clips: peak {peak:6.0f} MiB; spectrograms in "
                f"{extracted:5.1f} s, {args.steps} steps in {seconds:5.1f} s"
            )
    print(f"last - first: {sizes[-1]['peak_mib'] - sizes[0]['peak_mib']:+.0f} MiB")
    if args.out:
        result = {"command": " ".join(["python", *sys.argv]), "sizes": sizes}
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
