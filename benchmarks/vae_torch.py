"""The Aux-VAE in PyTorch, for benchmarks/run.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). The networks, the bound and the update of
tfser/models/auxvae/network.py, in the form a PyTorch user would write them: nn.Conv1d over [batch,
channels, frames].
"""

import math
import sys
import time

import torch
from torch import nn

BATCH, FRAMES, BANDS, LATENT, CHUNK = int(sys.argv[1]), 176, 140, 512, 44
torch.set_num_threads(int(sys.argv[2]))


def stack(n_inputs, sizes, n_outputs, kernel):
    """Build convolutions, each with tanh and batch normalization, and one of a single frame."""
    modules = []
    for size in sizes:
        modules += [nn.Conv1d(n_inputs, size, kernel), nn.Tanh(), nn.BatchNorm1d(size)]
        n_inputs = size
    return nn.Sequential(*modules, nn.Conv1d(n_inputs, n_outputs, 1))


class AuxVAE(nn.Module):
    """Aux-VAE of Figure 1, with Eq. (5) as its output."""

    def __init__(self):
        super().__init__()
        sizes = [LATENT // 4, LATENT // 2, LATENT]
        self.h_net = stack(BANDS, sizes, 2 * LATENT, 3)
        self.m_net = stack(BANDS + LATENT, sizes, 2 * LATENT, 3)
        self.z_net = stack(BANDS + LATENT, [LATENT] * 2, 2 * LATENT, 1)
        self.decoder = stack(LATENT, [BANDS] * 3, BANDS, 1)
        self.h_predictor = stack(LATENT, [LATENT], 2 * LATENT, 1)
        self.m_predictor = stack(2 * LATENT, [2 * LATENT] * 2, 2 * LATENT, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        """Return the loss of [batch, bands, frames]."""

        def draw(parameters):
            mean, log_variance = parameters.chunk(2, dim=1)
            log_variance = log_variance.clamp(-10, 10)
            noise = torch.randn_like(mean)
            return mean, log_variance, mean + torch.exp(0.5 * log_variance) * noise

        def log_density(sample, mean, log_variance):
            square = (sample - mean) ** 2 * torch.exp(-log_variance)
            return -0.5 * torch.mean(math.log(2 * math.pi) + log_variance + square)

        n = x.shape[2]
        *q_h, h = draw(self.h_net(x).mean(dim=2, keepdim=True).repeat(1, 1, n))
        of_m = self.m_net(torch.cat([self.dropout(x), h], dim=1))
        means = [part.mean(dim=2, keepdim=True) for part in of_m.split(CHUNK, dim=2)]
        rest = n - CHUNK * (len(means) - 1)
        lengths = [CHUNK] * (len(means) - 1) + [rest]
        repeated = [m.repeat(1, 1, k) for m, k in zip(means, lengths, strict=True)]
        *q_m, m = draw(torch.cat(repeated, dim=2))
        *q_z, z = draw(self.z_net(torch.cat([self.dropout(x), m], dim=1)))
        x_hat = torch.sigmoid(self.decoder(z))
        p_h = self.h_predictor(z).chunk(2, dim=1)
        p_m = self.m_predictor(torch.cat([h, z], dim=1)).chunk(2, dim=1)
        zero = torch.zeros_like(z)
        loss = torch.mean(torch.sum((x - x_hat) ** 2, dim=1))
        for sample, p, q in ((z, (zero, zero), q_z), (m, p_m, q_m), (h, p_h, q_h)):
            loss = loss - 0.01 * (log_density(sample, *p) - log_density(sample, *q))
        return loss


model = AuxVAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
x = torch.rand(BATCH, BANDS, FRAMES)
print(sum(weight.numel() for weight in model.parameters()), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    loss = model(x)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()
    print(time.perf_counter() - start, flush=True)
