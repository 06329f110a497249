"""Steps of torch.optim.Muon on a few matrices: the golden file test/engine/muon.json.

Its Newton-Schulz iterations are bfloat16 in torch; here its own code runs with that type replaced by float64, so that a comparison shows more than rounding.
"""

import inspect
import json
import sys
from pathlib import Path

import torch
from torch.optim import _muon

target = Path(__file__).parents[2] / "test" / "engine" / "muon.json"
exec(inspect.getsource(_muon._zeropower_via_newtonschulz).replace("torch.bfloat16", "torch.float64"), _muon.__dict__)

cases = [
    dict(shape=[3, 5], lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True, ns_steps=5),
    dict(shape=[6, 2], lr=0.02, weight_decay=0.0, momentum=0.9, nesterov=False, ns_steps=3),
    dict(shape=[4, 4], lr=0.05, weight_decay=0.01, momentum=0.5, nesterov=True, ns_steps=1, ns_coefficients=[1.5, -0.5, 0.0]),
]
generator = torch.Generator().manual_seed(11)
golden = []
for case in cases:
    shape, options = case["shape"], {key: value for key, value in case.items() if key != "shape"}
    weight = torch.nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator))
    gradients = torch.randn([3, *shape], dtype=torch.float64, generator=generator)
    start = weight.detach().clone()
    optimizer = torch.optim.Muon([weight], adjust_lr_fn="match_rms_adamw", **options)
    steps = []
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
        state = optimizer.state[weight]["momentum_buffer"]
        steps.append({"gradient": gradient.flatten().tolist(), "weight": weight.flatten().tolist(), "m": state.flatten().tolist()})
    coefficients = optimizer.defaults["ns_coefficients"]
    golden.append({**case, "ns_coefficients": list(coefficients), "start": start.flatten().tolist(), "steps": steps})


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 9) if isinstance(value, float) else value


golden = rounded({"torch": torch.__version__.split("+")[0], "cases": golden})
if "--check" in sys.argv:
    same = json.loads(target.read_text())
    assert {**same, "torch": ""} == {**golden, "torch": ""}, "muon.json is another one now"
else:
    target.write_text(json.dumps(golden) + "\n")
