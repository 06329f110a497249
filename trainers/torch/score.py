"""Measures the losses of a transformers model and of candidates that differ from it: the reference scorer of docs/external-trainers.md.

    python trainers/torch/score.py job.json

fp32 throughout, TF32 off: losses are compared to a millionth of a nat. A candidate's tensors are added to the model's and taken back by copies.
"""

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from checkpoint import names_inside

job = json.loads(Path(sys.argv[-1]).read_text())
cuda = torch.cuda.is_available() and os.environ.get("CONNITO_TRAINER_DEVICE", "cuda") == "cuda"
device = torch.device("cuda") if cuda else torch.device("cpu")
BATCH = 8


def open_model():
    model = AutoModelForCausalLM.from_pretrained(Path(job["model"]["config"]).parent, dtype=torch.float32)
    model.config.use_cache = False
    return model.eval().to(device)


def losses_of(model, rows):
    """The mean cross-entropy of each row's last tokens."""
    losses = []
    for start in range(0, len(rows), BATCH):
        part = torch.from_numpy(rows[start : start + BATCH].astype(np.int64)).to(device)
        logits = model(input_ids=part[:, :-1]).logits
        entropy = torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="none")
        losses += entropy.view(len(part), -1).double().mean(1).tolist()
        print(json.dumps({"event": "heartbeat"}), flush=True)
    return [loss if math.isfinite(loss) else None for loss in losses]


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    model = open_model()
    places = {one: (parameter, view) for name, parameter in model.named_parameters() for one, view in names_inside(name, parameter)}
    rows = np.fromfile(job["sequences"]["file"], dtype="<u4").reshape(job["sequences"]["count"], job["sequenceLength"] + 1)
    with torch.inference_mode():
        losses = {"base": losses_of(model, rows)}
        for candidate in job["candidates"]:
            deltas = load_file(candidate["deltas"], device=str(device))
            before = {}
            for name, delta in deltas.items():
                parameter, view = places[name]
                before[name] = view(parameter.data).clone()
                view(parameter.data).add_(delta)
            losses[candidate["name"]] = losses_of(model, rows)
            for name, values in before.items():
                parameter, view = places[name]
                view(parameter.data).copy_(values)
    part = Path(job["output"] + ".part")
    part.write_text(json.dumps({"base": job["base"], "losses": losses}))
    part.replace(job["output"])


if __name__ == "__main__":
    main()
