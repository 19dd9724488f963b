"""`tfser-train` in 16 bits on a processor without 16-bit products.

    python benchmarks/widened.py --model epr --precision mixed_bfloat16 ...

Factors are widened to 32 bits, sums are in 32 bits and results are rounded to 16 bits, as AMX and
AVX-512 BF16 do. TensorFlow's own way there is many times as slow as float32; this way is as slow as
float32.
"""

import os
import sys

from tfser import tensorflow_startup
from tfser.cli import train

# Without the flag XLA, which compiles AAE's steps, drops roundings before a widening.
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{flags} --xla_allow_excess_precision=false".strip()
tensorflow_startup.import_keras()

import tensorflow as tf  # noqa: E402
from keras.src import backend  # noqa: E402


def widen(function):
    """Return a product of tensors that computes 16-bit inputs, and their gradients, in float32."""

    def product(a, b, *arguments, **options):
        dtype = a.dtype
        if dtype not in (tf.bfloat16, tf.float16):
            return function(a, b, *arguments, **options)
        a, b = (tf.cast(x, tf.float32) for x in (a, b))
        return tf.cast(function(a, b, *arguments, **options), dtype)

    return product


for module, name in (
    (backend.nn, "conv"),
    (backend.nn, "conv_transpose"),
    (backend.numpy, "matmul"),
):
    setattr(module, name, widen(getattr(module, name)))

if __name__ == "__main__":
    sys.exit(train.main())
