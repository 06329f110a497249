"""Trains the selected experts of a transformers model: the reference of docs/external-trainers.md.

    torchrun --nproc-per-node N trainers/torch/train.py job.json        (or: python trainers/torch/train.py job.json)

Weights that are trained and their AdamW state are fp32; on a GPU the computation is bf16. Several processes share each batch and average
their gradients, so every GPU holds the model.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

job = json.loads(Path(sys.argv[-1]).read_text())
settings = job["hyperparameters"]
world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
cuda = torch.cuda.is_available() and os.environ.get("CONNITO_TRAINER_DEVICE", "cuda") == "cuda"
device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
stopping = False


def stop(*_):
    global stopping
    stopping = True


def say(**line):
    if rank == 0:
        print(json.dumps(line), flush=True)


def sequences():
    """Rows of each domain, as int64 on demand: shards are mapped, not read."""
    domains = {}
    for shard in job["data"]:
        rows = np.memmap(shard["file"], mode="r", offset=shard["offset"], dtype="<u2" if shard["dtype"] == "u16" else "<u4",
                         shape=(shard["sequences"], job["sequenceLength"] + 1))
        domains.setdefault(shard["domain"], []).append(rows)
    return list(domains.values())


def batches(domains, skip):
    """Domains take turns, each in an order drawn from the seed. Every process draws the same and takes its own rows."""
    random = np.random.default_rng(job["seed"])
    orders = [[(shard, row) for shard, rows in enumerate(parts) for row in range(len(rows))] for parts in domains]
    for order in orders:
        random.shuffle(order)
    size = settings["batchSequences"]
    place = skip * size * settings["accumulation"]
    while True:
        rows = []
        for at in range(place, place + size):
            domain, turn = at % len(domains), at // len(domains)
            shard, row = orders[domain][turn % len(orders[domain])]
            rows.append(domains[domain][shard][row])
        place += size
        yield torch.from_numpy(np.stack(rows[rank::world]).astype(np.int64)).to(device) if rows[rank::world] else None


def open_model():
    # From the directory, and not tensor by tensor: transformers arranges experts side by side in one parameter.
    model = AutoModelForCausalLM.from_pretrained(Path(job["model"]["config"]).parent, dtype=torch.float32)
    model.config.use_cache = False
    return model


def masks(model):
    """Of each parameter the part that is trained: True, or a mask over its experts where they lie side by side."""
    wanted = {entry["name"] for entry in job["trainable"]}
    parts = {}
    for name, parameter in model.named_parameters():
        inside = names_inside(name, parameter)
        chosen = [one in wanted for one, _ in inside]
        parameter.requires_grad_(any(chosen))
        if any(chosen):
            parts[name] = [(one, view) for (one, view), hit in zip(inside, chosen) if hit]
    missing = wanted - {one for chosen in parts.values() for one, _ in chosen}
    if missing:
        raise SystemExit(f"the model has no {sorted(missing)[0]}, nor {len(missing) - 1} other tensors of the job")
    return parts


def names_inside(name, parameter):
    """The checkpoint's tensors in a parameter, each with what cuts it out."""
    if name.endswith("experts.gate_up_proj"):
        stem, half = name[: -len("gate_up_proj")], parameter.shape[1] // 2
        return [(f"{stem}{expert}.{which}.weight", lambda tensor, e=expert, s=start: tensor[e, s : s + half])
                for expert in range(parameter.shape[0]) for which, start in (("gate_proj", 0), ("up_proj", half))]
    if name.endswith("experts.down_proj"):
        stem = name[: -len("down_proj")]
        return [(f"{stem}{expert}.down_proj.weight", lambda tensor, e=expert: tensor[e]) for expert in range(parameter.shape[0])]
    return [(name, lambda tensor: tensor)]


def loss_of(model, rows):
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=cuda):
        logits = model(input_ids=rows[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


def main():
    signal.signal(signal.SIGTERM, stop)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    torch.backends.cuda.matmul.allow_tf32 = False
    model = open_model()
    parts = masks(model)
    model.gradient_checkpointing_enable()
    model.train().to(device)
    base = {name: parameter.detach().clone() for name, parameter in model.named_parameters() if name in parts}
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in parts}
    optimizer = torch.optim.AdamW(parameters.values(), lr=settings["learningRate"], betas=(settings["beta1"], settings["beta2"]),
                                  eps=settings["epsilon"], weight_decay=settings["weightDecay"])
    saved = Path(job["checkpoint"]) / f"state-{rank}-of-{world}.pt"
    step = 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        step = state["step"]
        optimizer.load_state_dict(state["optimizer"])
        for name, parameter in parameters.items():
            parameter.data.copy_(state["parameters"][name])
    # What is not trained of a parameter, whole experts or all but the places that can be sent, gets no gradient, and is put back after the step: weight decay moves it too.
    places = load_file(job["places"]) if "places" in job else None
    hold = {name: kept_mask(base[name], chosen, places) for name, chosen in parts.items()}
    source = batches(sequences(), step)
    limit = job.get("maximumSteps", float("inf"))
    rows_a_step = settings["batchSequences"] * settings["accumulation"]
    while not stopped() and step < limit:
        total = 0.0
        for _ in range(settings["accumulation"]):
            rows = next(source)
            if rows is None:
                continue
            # Each process's share of the mean over the whole step.
            loss = loss_of(model, rows) * (len(rows) / rows_a_step)
            loss.backward()
            total += loss.item()
        with torch.no_grad():
            for name, parameter in parameters.items():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                if hold[name] is not None:
                    parameter.grad.mul_(hold[name])
                if world > 1:
                    dist.all_reduce(parameter.grad)
        total = summed(total)
        torch.nn.utils.clip_grad_norm_(parameters.values(), settings["clipNorm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in parameters.items():
                if hold[name] is not None:
                    parameter.copy_(torch.where(hold[name], parameter, base[name]))
        step += 1
        say(event="step", step=step, loss=total, tokens=step * rows_a_step * job["sequenceLength"])
        if step % 50 == 0:
            save(saved, step, parameters, optimizer)
    save(saved, step, parameters, optimizer)
    write_result(parameters, parts)
    if world > 1:
        dist.destroy_process_group()


def kept_mask(tensor, chosen, places):
    mask = torch.zeros_like(tensor, dtype=torch.bool)
    for one, view in chosen:
        view(mask).copy_(places[one].bool() if places else torch.ones_like(view(mask)))
    return None if bool(mask.all()) else mask


def stopped():
    """All processes stop after the same step."""
    return summed(float(stopping)) > 0


def summed(value):
    if world == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.item()


def save(path, step, parameters, optimizer):
    part = path.with_suffix(".part")
    torch.save({"step": step, "optimizer": optimizer.state_dict(), "parameters": {n: p.data for n, p in parameters.items()}}, part)
    part.replace(path)


def write_result(parameters, parts):
    tensors = {}
    for name, parameter in parameters.items():
        for one, view in parts[name]:
            tensors[one] = view(parameter.detach()).to("cpu", torch.float32).contiguous()
    if rank == 0:
        part = Path(job["output"] + ".part")
        save_file(tensors, part, metadata={"base": job["base"]})
        part.replace(job["output"])


if __name__ == "__main__":
    main()
