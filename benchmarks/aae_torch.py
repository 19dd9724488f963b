"""The optimized AAE in PyTorch, for benchmarks/run.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). The networks, the losses and the four updates are
those of tfser/models/aae/network.py; for utterances (6373 functionals) where the number of frames
is 0.
"""

import sys
import time

import torch
from torch import nn

BATCH, FRAMES = int(sys.argv[1]), int(sys.argv[2])
UNITS, N_Z, CLASSES, KERNEL, POOL = 256, 100, 4, 4, 4
FILTERS = (128, 128, 256, 256, 256)
SHAPE = (65, FRAMES) if FRAMES else (6373,)  # channels first
torch.set_num_threads(int(sys.argv[3]))


class Same(nn.ConvTranspose1d):
    """Crop to the input's number of frames: KERNEL - 1 frames are too many."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs, KERNEL, padding=1, bias=False)

    def forward(self, x):
        """[batch, n_inputs, frames] -> [batch, n_outputs, frames]."""
        return super().forward(x)[..., :-1]


def dense(n_inputs, n_outputs):
    """Build a dense layer with batch normalization in place of a bias."""
    return [nn.Linear(n_inputs, n_outputs, bias=False), nn.BatchNorm1d(n_outputs)]


def encoder():
    """Build the encoder: standardized features -> logits and z, concatenated [batch, K + n_z]."""
    modules, size = [], SHAPE[0]
    if FRAMES:
        for i, filters in enumerate(FILTERS):
            convolution = nn.Conv1d(size, filters, KERNEL, padding="same", bias=False)
            modules += [convolution, nn.BatchNorm1d(filters), nn.ReLU()]
            modules += [nn.MaxPool1d(POOL)] if i < len(FILTERS) - 1 else [nn.Flatten()]
            size = filters
        size *= FRAMES // POOL ** (len(FILTERS) - 1)
    modules += [*dense(size, UNITS), nn.ReLU(), nn.Dropout(0.5), *dense(UNITS, UNITS), nn.ReLU()]
    return nn.Sequential(*modules, *dense(UNITS, CLASSES + N_Z))


def decoder():
    """Build the decoder: y and z, concatenated -> standardized features."""
    modules = [*dense(CLASSES + N_Z, UNITS), nn.ReLU(), *dense(UNITS, UNITS), nn.ReLU()]
    if not FRAMES:
        return nn.Sequential(*modules, *dense(UNITS, SHAPE[0]))
    first, *unpooled = reversed(FILTERS)
    n_steps = FRAMES // POOL ** (len(FILTERS) - 1)
    modules += [*dense(UNITS, n_steps * first), nn.ReLU(), nn.Unflatten(1, (first, n_steps))]
    modules += [Same(first, first), nn.BatchNorm1d(first), nn.ReLU()]
    size = first
    for filters in unpooled:
        modules += [Same(size, filters), nn.BatchNorm1d(filters), nn.ReLU()]
        modules.append(nn.Upsample(scale_factor=POOL))
        size = filters
    return nn.Sequential(*modules, Same(size, SHAPE[0]), nn.BatchNorm1d(SHAPE[0]))


def discriminator(n):
    """Build a discriminator: latent variables -> logits [batch, 1]."""
    modules = []
    for size in (n, UNITS):
        modules += [nn.Linear(size, UNITS), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*modules, nn.Linear(UNITS, 1))


def real(logits):
    """Return the cross-entropy of a discriminator whose target is 1."""
    return nn.functional.softplus(-logits).mean()


def fake(logits):
    """Return the cross-entropy of a discriminator whose target is 0."""
    return nn.functional.softplus(logits).mean()


enc, dec, d_y, d_z = encoder(), decoder(), discriminator(CLASSES), discriminator(N_Z)
discriminators = [*d_y.parameters(), *d_z.parameters()]
rates = {"reconstruction": 1e-4, "discriminators": 1e-5, "generator": 1e-4, "loss": 1e-4}
weights = {
    "reconstruction": [*enc.parameters(), *dec.parameters()],
    "discriminators": discriminators,
    "generator": [*enc.parameters()],
    "loss": [*enc.parameters()],
}
nadams = {name: torch.optim.NAdam(weights[name], lr=rates[name]) for name in rates}
x = torch.randn(BATCH, *SHAPE)
labels = torch.randint(CLASSES, (BATCH,))
prior_y = nn.functional.one_hot(torch.randint(CLASSES, (BATCH,)), CLASSES).float()
prior_z = torch.randn(BATCH, N_Z)


def encode(standardized):
    """Return y of the input, on the simplex, and z."""
    latent = enc(standardized)
    return torch.softmax(latent[:, :CLASSES], dim=1), latent[:, CLASSES:]


def step(name, loss):
    """Update the weights of one optimizer."""
    loss.backward()
    nadams[name].step()
    nadams[name].zero_grad(set_to_none=True)
    return loss


print(sum(weight.numel() for weight in [*weights["reconstruction"], *discriminators]), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    standardized = torch.nan_to_num(x).clamp(-10, 10)
    y_z = torch.cat(encode(standardized), dim=1)
    step("reconstruction", torch.mean((standardized - dec(y_z)) ** 2))
    with torch.no_grad():
        y, z = encode(standardized)
    step("discriminators", real(d_y(prior_y)) + fake(d_y(y)) + real(d_z(prior_z)) + fake(d_z(z)))
    for weight in discriminators:
        weight.requires_grad_(False)
    y, z = encode(standardized)
    step("generator", real(d_y(y)) + real(d_z(z)))
    for weight in discriminators:
        weight.requires_grad_(True)
    logits = enc(standardized)[:, :CLASSES]
    step("loss", nn.functional.cross_entropy(logits, labels)).item()
    print(time.perf_counter() - start, flush=True)
