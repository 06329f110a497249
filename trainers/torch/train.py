"""Trains the selected experts of a transformers model: the reference of docs/external-trainers.md.

    torchrun --nproc-per-node N trainers/torch/train.py job.json        (or: python trainers/torch/train.py job.json)

Weights that are trained and the state of their optimizer, AdamW or Muon as the job says, are fp32; on a GPU the computation is bf16, layer by layer recomputed on the way back. Several processes
shard the model among themselves (FSDP) and share each batch: none of them holds more than its part and one layer.
"""

import json
import os
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import AutoModelForCausalLM

from checkpoint import names_inside
from muon import Muon

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


def mapped(part):
    """The rows of a part of the data: mapped, not read."""
    return np.memmap(part["file"], mode="r", offset=part["offset"], dtype="<u2" if part["dtype"] == "u16" else "<u4",
                     shape=(part["sequences"], job["sequenceLength"] + 1))


def batches(skip):
    """The walk first, where there is one. Then domains take turns, each in an order drawn from the seed. Every process draws the same and takes its own rows."""
    parts = [mapped(part) for part in job["data"]]
    walk = np.memmap(job["walk"], mode="r", dtype="<u4").reshape(-1, 2) if "walk" in job else []
    domains = {}
    for number, part in enumerate(job["data"]):
        domains.setdefault(part["domain"], []).extend((number, row) for row in range(part["sequences"]))
    orders = list(domains.values())
    random = np.random.default_rng(job["seed"])
    for order in orders:
        random.shuffle(order)
    size = settings["batchSequences"]
    place = skip * size * settings["accumulation"]
    while True:
        rows = []
        for at in range(place, place + size):
            if at < len(walk):
                part, row = walk[at]
            else:
                turn, domain = divmod(at - len(walk), len(orders))
                part, row = orders[domain][turn % len(orders[domain])]
            rows.append(parts[part][row])
        place += size
        # Who has no row of its own computes one that does not count: all take part in every exchange.
        own = rows[rank::world]
        yield torch.from_numpy(np.stack(own or rows[:1]).astype(np.int64)).to(device), len(own)


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


def shard(model):
    """Each layer's parameters in parts of the processes; they are gathered when the layer is computed, in bf16 on a GPU."""
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if cuda else MixedPrecisionPolicy()
    for layer in model.model.layers:
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)


def local(tensor):
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_like(tensor, parameter):
    """This process's part of a tensor that is as large as the parameter."""
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements).to_local() if isinstance(parameter, DTensor) else tensor


def loss_of(model, rows):
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=cuda):
        logits = model(input_ids=rows[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


def main():
    signal.signal(signal.SIGTERM, stop)
    if world > 1:
        if cuda:
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if cuda else "gloo")
    torch.backends.cuda.matmul.allow_tf32 = False
    model = open_model()
    parts = masks(model)
    # Experts that are not trained get no gradient. They, and all but the places that can be sent, are put back after the step: weight decay moves them too.
    places = load_file(job["places"]) if "places" in job else None
    own = {name: kept_mask(parameter, parts[name], None) for name, parameter in model.named_parameters() if name in parts}
    hold = own if places is None else {name: kept_mask(parameter, parts[name], places) for name, parameter in model.named_parameters() if name in parts}
    model.gradient_checkpointing_enable()
    model.train()
    if world > 1:
        shard(model)
    model.to(device)
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in parts}
    own, hold = [{name: mask if mask is None else part_like(mask.to(device), parameters[name]) for name, mask in masks.items()} for masks in (own, hold)]
    base = {name: local(parameter.detach()).clone() for name, parameter in parameters.items()}
    optimizers = open_optimizers(parameters)
    saved = Path(job["checkpoint"]) / f"state-{rank}-of-{world}.pt"
    step = restore(saved, parameters, optimizers) if saved.exists() else 0
    source = batches(step)
    limit = job.get("maximumSteps", float("inf"))
    rows_a_step = settings["batchSequences"] * settings["accumulation"]
    wait_for_window()
    while not stopped() and step < limit:
        total = 0.0
        for _ in range(settings["accumulation"]):
            rows, count = next(source)
            # Each process's share of the mean over the whole step. FSDP averages the processes' gradients: they are to be added.
            loss = loss_of(model, rows) * (count / rows_a_step)
            (loss * world).backward()
            total += loss.item()
        with torch.no_grad():
            for name, parameter in parameters.items():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                if own[name] is not None:
                    local(parameter.grad).mul_(own[name])
        total = summed(total)
        torch.nn.utils.clip_grad_norm_(parameters.values(), settings["clipNorm"])
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in parameters.items():
                if hold[name] is not None:
                    values = local(parameter)
                    values.copy_(torch.where(hold[name], values, base[name]))
        step += 1
        say(event="step", step=step, loss=total, tokens=step * rows_a_step * job["sequenceLength"])
        if step % 50 == 0:
            save(saved, step, parameters, optimizers)
    if step == 0:
        # Told to stop before the first step: there is nothing to give.
        raise SystemExit(75)
    save(saved, step, parameters, optimizers)
    write_result(parameters, parts)
    if world > 1:
        dist.destroy_process_group()


def open_optimizers(parameters):
    """AdamW, or, where the job says so, Muon for matrices and AdamW for what is none."""
    matrices = {name: parameter for name, parameter in parameters.items() if "muon" in settings and parameter.dim() > 1}
    others = [parameter for name, parameter in parameters.items() if name not in matrices]
    adamw = torch.optim.AdamW(others, lr=settings["learningRate"], betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"],
                              weight_decay=settings["weightDecay"]) if others else None
    muon = Muon(matrices.items(), settings) if matrices else None
    return [optimizer for optimizer in (adamw, muon) if optimizer is not None]


def state_of(parameter, optimizers):
    return next(optimizer.state for optimizer in optimizers if any(parameter is one for one in optimizer.param_groups[0]["params"]))


def wait_for_window():
    """The program may be started before the train window opens."""
    opens = datetime.fromisoformat(job["opens"].replace("Z", "+00:00")).timestamp()
    while time.time() < opens and not stopped():
        say(event="heartbeat")
        time.sleep(1)


def kept_mask(tensor, chosen, places):
    mask = torch.zeros(tensor.shape, dtype=torch.bool)
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


def save(path, step, parameters, optimizers):
    """Each process writes its own parts."""
    state = {name: {key: local(value) for key, value in state_of(parameter, optimizers)[parameter].items()} for name, parameter in parameters.items()}
    part = path.with_suffix(".part")
    torch.save({"step": step, "optimizer": state, "parameters": {name: local(p.data) for name, p in parameters.items()}}, part)
    part.replace(path)


def restore(path, parameters, optimizers):
    saved = torch.load(path, weights_only=True)
    for name, parameter in parameters.items():
        local(parameter.data).copy_(saved["parameters"][name])
        like = lambda value: value.to(device) if value.dim() == 0 or not isinstance(parameter, DTensor) else DTensor.from_local(
            value.to(device), parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride())
        # A step count stays on the CPU, as AdamW keeps it.
        state_of(parameter, optimizers)[parameter] = {key: value if key == "step" else like(value) for key, value in saved["optimizer"][name].items()}
    return saved["step"]


def write_result(parameters, parts):
    tensors = {}
    for name, parameter in parameters.items():
        whole = parameter.detach()
        whole = whole.full_tensor() if isinstance(whole, DTensor) else whole
        if rank == 0:
            for one, view in parts[name]:
                tensors[one] = view(whole).to("cpu", torch.float32).contiguous()
    if rank == 0:
        part = Path(job["output"] + ".part")
        save_file(tensors, part, metadata={"base": job["base"]})
        part.replace(job["output"])


if __name__ == "__main__":
    main()
