"""What transformers computes for small random checkpoints: the golden files of test/engine/goldens.

Run through `npm run goldens`. One JSON file a family, one entry a case of cases.json. Weights and tokens are not stored: both sides make them from names and
seeds as test/engine/golden-values.ts describes. For each case:

    python generate.py cases.json DIRECTORY [FAMILY ...]

- a model of the case's configuration is saved by transformers, which tells how its checkpoints name and shape their tensors;
- every tensor is replaced by the values that its name gives, and the model is loaded from that checkpoint;
- logits and the mean cross-entropy of the next token are computed in fp32 with eager attention, in evaluation mode;
- the gradients are put in the place of the weights and saved likewise, so that they too go by the checkpoint's names.

Stored are the logits, the loss, and of each gradient its norm and two products with vectors of given values; the gradients of the experts in the case's
`whole` are stored whole, where experts are fused those of all. Floats are base64 of little-endian fp32.
"""

import base64
import json
import logging
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar


def hash_text(text):
    """FNV-1a, 32 bits."""
    state = 2166136261
    for byte in text.encode():
        state = (state ^ byte) * 16777619 % 2**32
    return state


def values(name, count):
    """`count` numbers in [-1, 1), multiples of 2^-23: a counter from the name's hash on, mixed by MurmurHash3's finaliser."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(hash_text(name))
    for shift, factor in (16, 0x85EBCA6B), (13, 0xC2B2AE35):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) / 2**23 - 1


def weight(seed, name, shape):
    """Norms are 1 + u / 4, all else is u / 2."""
    u = values(f"{seed}/{name}", int(np.prod(shape))).reshape(shape)
    is_norm = "norm" in name and name.endswith(".weight")
    return (1 + u / 4 if is_norm else u / 2).astype(np.float32)


def with_twins(tensors, twins, combine):
    """Makes each pair of twin experts alike, router included: `combine(first, second)` gives the value of both. A name says which expert's a tensor is,
    or else its leading dimension is the experts."""
    fused = [name for name in tensors if re.search(r"\.experts\.\D", name) or re.search(r"\.(gate|router)\.(weight|bias|e_score_correction_bias)$", name)]
    for first, second in twins:
        for name in fused:
            tensors[name][[first, second]] = combine(tensors[name][first], tensors[name][second])
        for name in [name for name in tensors if f".experts.{first}." in name]:
            other = name.replace(f".experts.{first}.", f".experts.{second}.")
            tensors[name] = tensors[other] = combine(tensors[name], tensors[other])


def read(directory):
    tensors = {}
    for file in sorted(Path(directory).glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def run(name, family, case):
    settings = {"model_type": name, "torch_dtype": "float32", **family["config"], **case.get("config", {})}
    config = AutoConfig.for_model(**settings)
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary, "saved")
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(saved)
        shapes = {name: array.shape for name, array in read(saved).items()}
        weights = {name: weight(case["seed"], name, shape) for name, shape in shapes.items()}
        with_twins(weights, case.get("twins", []), lambda first, _: first.copy())
        for file in saved.glob("*.safetensors*"):
            file.unlink()
        save_file(weights, saved / "model.safetensors", {"format": "pt"})
        model, report = AutoModelForCausalLM.from_pretrained(
            saved, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
        )
        for key, names in report.items():
            if names:
                raise ValueError(f"{key}: {names}")
        model.eval()

        sequences, positions = case["sequences"], case["positions"]
        vocabulary = settings["vocab_size"]
        u = values(f"{case['seed']}/tokens", sequences * (positions + 1))
        tokens = torch.tensor(np.floor((u + 1) / 2 * vocabulary).astype(np.int64).reshape(sequences, positions + 1))
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, vocabulary), tokens[:, 1:].reshape(-1))
        loss.backward()

        untrained = {name for name, _ in model.named_buffers()}
        for parameter in model.parameters():
            parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients_at = Path(temporary, "gradients")
        model.save_pretrained(gradients_at)
        gradients = {name: array for name, array in read(gradients_at).items() if name not in untrained}
    with_twins(gradients, case.get("twins", []), lambda first, second: first + second)

    entry = {**case, "config": settings, "logits": encode(logits.detach().numpy()), "loss": loss.item(), "tensors": {}}
    for name, shape in sorted(shapes.items()):
        entry["tensors"][name] = {"shape": list(shape)}
        if name not in gradients:
            continue
        gradient = gradients[name].astype(np.float64).reshape(-1)
        products = [gradient @ values(f"{which}/{name}", gradient.size) for which in ("a", "b")]
        entry["tensors"][name]["gradient"] = [float(f"{value:.9g}") for value in (np.linalg.norm(gradient), *products)]
        if any(re.search(rf"\.experts\.({expert}\.|\D)", name) for expert in case.get("whole", [])):
            entry["tensors"][name]["whole"] = encode(gradients[name])
    return entry


def document(entries):
    """JSON of a family's cases, a line for each tensor."""

    def entry(case):
        tensors = ",\n".join(f"   {json.dumps(name)}: {json.dumps(tensor)}" for name, tensor in case["tensors"].items())
        head = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items() if key != "tensors")
        return f' {{\n{head},\n  "tensors": {{\n{tensors}\n  }}\n }}'

    return "[\n" + ",\n".join(map(entry, entries)) + "\n]\n"


def main(cases_file, directory, *wanted):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    disable_progress_bar()
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, family in json.loads(Path(cases_file).read_text()).items():
        if wanted and name not in wanted:
            continue
        entries = [run(name, family, case) for case in family["cases"]]
        Path(directory, f"{name}.json").write_text(document(entries))
        print(f"{name}: {len(entries)} cases", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
