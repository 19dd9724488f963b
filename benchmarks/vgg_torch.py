"""EPR's network in PyTorch, for benchmarks/run.py: one training step per input line.

It needs PyTorch alone (measured with 2.13.0). The network is tfser.models.EPR: VGG
configuration E on segments of 32 frames x 64 bands after a z-score, two hidden dense layers with
dropout 0.5, float32, cross-entropy against soft labels, Adam, one constant batch.

PyTorch has its best plain form: in-place ReLU, Adam in one fused kernel, gradients dropped and not
zeroed, the loss from logits. torch.compile is left out, as is XLA on the other side.
"""

import sys
import time

import torch
from torch import nn

BATCH, WIDTH, LAYOUT = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))  # convolutions, filters
DENSE_UNITS = (4096, 4096)
FRAMES, BANDS, CLASSES = 32, 64, 6
FORMAT = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}[LAYOUT]
torch.set_num_threads(int(sys.argv[4]))


def vgg():
    """Build VGG-E: [batch, 1, FRAMES, BANDS] -> logits [batch, CLASSES]."""
    modules = [nn.BatchNorm2d(1, eps=1e-6, affine=False).eval()]  # the z-score, never in training
    previous = 1
    for n_convolutions, filters in BLOCKS:
        for _ in range(n_convolutions):
            units = max(1, round(filters * WIDTH))
            modules += [nn.Conv2d(previous, units, 3, padding=1), nn.ReLU(inplace=True)]
            previous = units
        modules.append(nn.MaxPool2d(2))
    modules.append(nn.Flatten())
    previous *= (FRAMES // 32) * (BANDS // 32)
    for units in DENSE_UNITS:
        units = max(1, round(units * WIDTH))
        modules += [nn.Linear(previous, units), nn.ReLU(inplace=True), nn.Dropout(0.5)]
        previous = units
    modules.append(nn.Linear(previous, CLASSES))
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return nn.Sequential(*modules)


model = vgg().to(memory_format=FORMAT)
x = torch.randn(BATCH, 1, FRAMES, BANDS).to(memory_format=FORMAT)
y = torch.distributions.Dirichlet(torch.ones(CLASSES)).sample((BATCH,))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, eps=1e-7, fused=True)
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
