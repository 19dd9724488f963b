"""BEGAN's head in PyTorch, for benchmarks/run.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). The network and the update of
tfser/models/began/heads.py on feature maps, channels first as in PyTorch.
"""

import sys
import time

import torch
from torch import nn

BATCH, HEIGHT, WIDTH, CHANNELS, CLASSES = *map(int, sys.argv[1:5]), 7
LAYOUT = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}[sys.argv[5]]
torch.set_num_threads(int(sys.argv[6]))

model = nn.Sequential(
    nn.Conv2d(CHANNELS, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.Flatten(),
    nn.Linear(-(-HEIGHT // 2) * -(-WIDTH // 2) * 32, 128),
    nn.ReLU(),
    nn.Dropout(0.25),
    nn.Linear(128, CLASSES),
).to(memory_format=LAYOUT)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
x = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH).contiguous(memory_format=LAYOUT)
y = torch.randint(CLASSES, (BATCH,))
loss_of = nn.CrossEntropyLoss()
print(sum(weight.numel() for weight in model.parameters()), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(model(x), y)
    loss.backward()
    optimizer.step()
    loss.item()
    print(time.perf_counter() - start, flush=True)
