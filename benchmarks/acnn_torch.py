"""ACNN's attentive network in PyTorch, for benchmarks/run.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). Three views and a representation, clips without
padding; the network, the losses and the update are those of tfser/models/acnn.
"""

import sys
import time

import torch
from torch import nn

BATCH, FRAMES, BANDS, FILTERS, REPRESENTATION = int(sys.argv[1]), 748, 26, 200, 1024
WEIGHTS = {4: 0.6, 3: 0.2}  # of a view, by its number of classes
torch.set_num_threads(int(sys.argv[2]))


class Acnn(nn.Module):
    """ACNN of Figure 1."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(BANDS, FILTERS, 10, stride=3)
        self.pool = nn.MaxPool1d(30)
        self.attention = nn.Linear(FILTERS, 1, bias=False)
        self.dropout = nn.Dropout(0.8)
        self.heads = nn.ModuleList(nn.Linear(FILTERS + REPRESENTATION, n) for n in (4, 3, 3))

    def forward(self, x, representation, inside):
        """Return the logits of each view for [batch, bands, frames]."""
        x = self.pool(torch.relu(self.convolution(x))).transpose(1, 2)
        scores = self.attention(x)[..., 0].masked_fill(~inside, -1e9)
        pooled = torch.sum(torch.softmax(scores, dim=1)[..., None] * x, dim=1)
        hidden = self.dropout(torch.cat([pooled, representation], dim=1))
        return [head(hidden) for head in self.heads]


model = Acnn()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
x, representation = torch.randn(BATCH, BANDS, FRAMES), torch.randn(BATCH, REPRESENTATION)
labels = [torch.randint(n, (BATCH,)) for n in (4, 3, 3)]
loss_of = nn.CrossEntropyLoss()
print(sum(weight.numel() for weight in model.parameters()), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    inside = ~torch.isnan(x[:, 0, :: 3 * 30][:, :8])
    standardized = torch.nan_to_num(x).clamp(-10, 10)
    views = model(standardized, representation, inside)
    loss = sum(
        WEIGHTS[view.shape[1]] * loss_of(view, y) for view, y in zip(views, labels, strict=True)
    )
    loss.backward()
    optimizer.step()
    loss.item()
    print(time.perf_counter() - start, flush=True)
