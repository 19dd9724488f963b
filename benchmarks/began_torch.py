"""BEGAN in PyTorch, for benchmarks/run.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). The networks, the losses and the update of
tfser/models/began/network.py, in the form a PyTorch user would write them.
"""

import sys
import time

import torch
from torch import nn

BATCH, MODE, N, HIDDEN = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), 64
HEIGHT, WIDTH = (512, 32) if MODE == "crop512" else (520, 96)
LAYOUT = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}[sys.argv[4]]
torch.set_num_threads(int(sys.argv[5]))


def convolution(n_inputs, n_outputs, stride=1):
    """Build a 3 x 3 convolution with ELU."""
    return nn.Sequential(nn.Conv2d(n_inputs, n_outputs, 3, stride, padding=1), nn.ELU())


def encoder():
    """Build the encoder: images -> codes."""
    modules, size = [], 1
    for block in range(1, 5):
        modules += [
            convolution(size, block * N),
            convolution(block * N, block * N, 2 if block < 4 else 1),
        ]
        size = block * N
    return nn.Sequential(
        *modules, nn.Flatten(), nn.Linear(HEIGHT // 8 * (WIDTH // 8) * size, HIDDEN)
    )


def decoder():
    """Build the decoder: codes -> images; the generator has the same layout."""
    height, width = HEIGHT // 8, WIDTH // 8
    modules = [nn.Linear(HIDDEN, height * width * N), nn.Unflatten(1, (N, height, width))]
    for block in range(1, 5):
        modules += [convolution(N, N), convolution(N, N)]
        if block < 4:
            modules.append(nn.Upsample(scale_factor=2))
    return nn.Sequential(*modules, nn.Conv2d(N, 1, 3, padding=1))


discriminator, generator = nn.Sequential(encoder(), decoder()), decoder()
discriminator, generator = (net.to(memory_format=LAYOUT) for net in (discriminator, generator))
of_d = torch.optim.Adam(discriminator.parameters(), lr=5e-5, fused=True)
of_g = torch.optim.Adam(generator.parameters(), lr=5e-5, fused=True)


def distance(pictures):
    """Compute L(v)."""
    return torch.mean(torch.abs(pictures - discriminator(pictures)))


magnitudes = torch.rand(BATCH, 1, 513, 32)
z_d, z_g = torch.rand(2, BATCH, HIDDEN) * 2 - 1
k = 0.0
print(
    sum(weight.numel() for weight in [*discriminator.parameters(), *generator.parameters()]),
    flush=True,
)
for _ in sys.stdin:
    start = time.perf_counter()
    if MODE == "crop512":
        x = magnitudes[:, :, :512]
    else:
        x = nn.functional.interpolate(magnitudes, (HEIGHT, WIDTH), mode="bilinear")
    x = x.contiguous(memory_format=LAYOUT)
    of_d.zero_grad(set_to_none=True)
    with torch.no_grad():
        fake = generator(z_d)
    real, generated = distance(x), distance(fake)
    (real - k * generated).backward()
    of_d.step()
    of_g.zero_grad(set_to_none=True)
    discriminator.requires_grad_(False)
    distance(generator(z_g)).backward()
    discriminator.requires_grad_(True)
    of_g.step()
    k = min(max(k + 1e-3 * (0.7 * real.item() - generated.item()), 0.0), 1.0)
    print(time.perf_counter() - start, flush=True)
