"""ACNN's autoencoder in PyTorch, for benchmarks/recurrent.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). nn.GRU applies the reset gate after the product, as
Keras' reset_after=True does: not auDeep's cell, but the same amount of work.
"""

import sys
import time

import torch
from torch import nn

BATCH, FRAMES, BANDS, UNITS = int(sys.argv[1]), 186, 128, 256
torch.set_num_threads(int(sys.argv[2]))


class Autoencoder(nn.Module):
    """Autoencoder of 2 x 256 GRUs; the decoder has a stack per direction, joined at the top."""

    def __init__(self):
        super().__init__()
        stack = {"num_layers": 2, "dropout": 0.2, "batch_first": True}
        self.encoder = nn.GRU(BANDS, UNITS, **stack)
        self.dense = nn.Linear(2 * UNITS, 4 * UNITS)
        self.forwards, self.backwards = (nn.GRU(BANDS, UNITS, **stack) for _ in range(2))
        self.out = nn.Linear(2 * UNITS, BANDS)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        """Reconstruct [batch, frames, bands], reversed in time."""
        _, last = self.encoder(self.dropout(x))  # [layers, batch, units]
        code = torch.tanh(self.dense(last.transpose(0, 1).reshape(len(x), -1)))
        first = code.reshape(len(x), 2, 2, UNITS).permute(2, 1, 0, 3).contiguous()
        before = nn.functional.pad(x.flip(1), (0, 0, 1, 0))[:, :-1]
        one, _ = self.forwards(self.dropout(before), first[0])
        other, _ = self.backwards(self.dropout(before.flip(1)), first[1])
        return torch.tanh(self.out(self.dropout(torch.cat([one, other.flip(1)], dim=-1))))


model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
x = torch.rand(BATCH, FRAMES, BANDS) * 2 - 1
print(sum(weight.numel() for weight in model.parameters()), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    loss = torch.sqrt(torch.mean((model(x) - x.flip(1)) ** 2))
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 2.0)
    optimizer.step()
    loss.item()
    print(time.perf_counter() - start, flush=True)
