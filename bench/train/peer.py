"""The peer of `npm run bench -- train`: the same decoder in PyTorch, written for speed on a CPU, trained by torch.optim.AdamW.

Reads one JSON line (the job: checkpoint, shape, trained tensors, threads, compiled or not), answers {"ready": ...}, then for each line
{"steps": n} takes n steps and answers their times and losses. Batches come from a counter, the same on both sides.
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rms_norm(x, weight, epsilon):
    return F.rms_norm(x, (x.shape[-1],), weight, epsilon)


def rotate(x, cosine, sine):
    low, high = x.chunk(2, -1)
    return x * cosine + torch.cat((-high, low), -1) * sine


def attention(x, w, cosine, sine, shape):
    batch, positions, _ = x.shape
    heads, groups, width, epsilon = shape
    normed = rms_norm(x, w["input_layernorm"], epsilon)
    split = lambda name, count: F.linear(normed, w[f"self_attn.{name}"]).view(batch, positions, count, width)
    query = rms_norm(split("q_proj", heads), w["self_attn.q_norm"], epsilon).transpose(1, 2)
    key = rms_norm(split("k_proj", groups), w["self_attn.k_norm"], epsilon).transpose(1, 2)
    value = split("v_proj", groups).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(
        rotate(query, cosine, sine), rotate(key, cosine, sine), value, is_causal=True, enable_gqa=heads != groups
    )
    return x + F.linear(mixed.transpose(1, 2).reshape(batch, positions, heads * width), w["self_attn.o_proj"])


def route(x, w, top_k, epsilon):
    normed = rms_norm(x, w["post_attention_layernorm"], epsilon).flatten(0, 1)
    gates, chosen = F.linear(normed, w["mlp.gate"]).softmax(-1).topk(top_k)
    return normed, gates / gates.sum(-1, keepdim=True), chosen


def expert(rows, gate, up, down, weight):
    return F.linear(F.silu(F.linear(rows, gate)) * F.linear(rows, up), down) * weight


class Decoder:
    def __init__(self, job):
        a = job["architecture"]
        weights = load_file(job["checkpoint"])
        trained = set(job["trained"])
        self.parameters = []
        for name, tensor in weights.items():
            if name in trained:
                self.parameters.append(tensor.requires_grad_())
        self.outside = {name: weights[f"{name}.weight"] for name in ("model.embed_tokens", "model.norm", "lm_head")}
        self.layers, self.experts = [], []
        for layer in range(a["layers"]):
            prefix = f"model.layers.{layer}."
            own = {n[len(prefix) : -len(".weight")]: t for n, t in weights.items() if n.startswith(prefix) and ".experts." not in n}
            self.layers.append(own)
            part = lambda e, name: weights[f"{prefix}mlp.experts.{e}.{name}_proj.weight"]
            self.experts.append([tuple(part(e, name) for name in ("gate", "up", "down")) for e in range(a["experts"])])
        rules = a["computation"]
        heads = rules["attention"]
        self.shape = (heads["heads"], heads["keyValueHeads"], heads["headDimension"], rules["norm"]["epsilon"])
        self.top_k, self.epsilon, self.count = a["expertsPerToken"], rules["norm"]["epsilon"], a["experts"]
        angles = torch.outer(
            torch.arange(job["sequenceLength"]).float(),
            torch.tensor(rules["rope"]["frequencies"]),
        ).repeat(1, 2)
        self.cosine, self.sine = angles.cos(), angles.sin()
        compiled = (lambda f, **options: torch.compile(f, **options)) if job["compiled"] else (lambda f, **options: f)
        self.attention, self.route, self.expert = compiled(attention), compiled(route), compiled(expert, dynamic=True)
        self.head = compiled(lambda x, norm, head, targets: F.cross_entropy(F.linear(rms_norm(x, norm, self.epsilon), head).flatten(0, 1), targets))

    def loss(self, tokens, targets):
        x = F.embedding(tokens, self.outside["model.embed_tokens"])
        for w, experts in zip(self.layers, self.experts):
            x = self.attention(x, w, self.cosine, self.sine, self.shape)
            normed, gates, chosen = self.route(x, w, self.top_k, self.epsilon)
            # Slots sorted by expert, so that each expert reads neighbouring rows.
            order = chosen.flatten().argsort(stable=True)
            counts = torch.bincount(chosen.flatten(), minlength=self.count).tolist()
            token = order // self.top_k
            rows = normed[token].split(counts)
            weights = gates.flatten()[order].unsqueeze(-1).split(counts)
            parts = [self.expert(r, *e, g) for r, e, g in zip(rows, experts, weights) if len(r)]
            x = x + torch.zeros_like(normed).index_add(0, token, torch.cat(parts)).view_as(x)
        return self.head(x, self.outside["model.norm"], self.outside["lm_head"], targets.flatten())


def batches(job):
    state = 1
    while True:
        values = []
        for _ in range(job["batchSequences"] * (job["sequenceLength"] + 1)):
            state = (state * 1664525 + 1013904223) % 2**32
            values.append((state >> 8) % job["architecture"]["vocabularySize"])
        yield torch.tensor(values).view(job["batchSequences"], -1)


def answer(value):
    print(json.dumps(value), flush=True)


def main():
    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(job["threads"])
    imported = peak_bytes()
    decoder, source, options = Decoder(job), batches(job), job["optimizer"]
    adamw = torch.optim.AdamW(
        decoder.parameters,
        lr=options["learningRate"],
        betas=(options["beta1"], options["beta2"]),
        eps=options["epsilon"],
        weight_decay=options["weightDecay"],
        fused=True,
    )
    answer({"ready": True, "version": torch.__version__})
    for line in sys.stdin:
        times, losses = [], []
        for _ in range(json.loads(line)["steps"]):
            sequences = next(source)
            started = time.perf_counter()
            loss = decoder.loss(sequences[:, :-1], sequences[:, 1:])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(decoder.parameters, options["clipNorm"])
            adamw.step()
            adamw.zero_grad()
            losses.append(loss.item())
            times.append(1000 * (time.perf_counter() - started))
        answer({"times": times, "losses": losses, "peakBytes": peak_bytes(), "importedBytes": imported})


main()
