"""The Python side of scripts/check-export.ts: loads a directory, unpacked where it is packed, and compares the losses of given sequences."""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

job = json.loads(Path(sys.argv[1]).read_text())
# In the element type of the job, as packed weights are unpacked to; computed in fp32 then.
model, loading = AutoModelForCausalLM.from_pretrained(job["directory"], dtype=getattr(torch, job["dtype"]), output_loading_info=True)
model = model.float()
for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
    assert not loading[kind], (kind, loading[kind])
tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(job["directory"]) / "tokenizer.json"))
assert tokenizer.decode(tokenizer.encode("To be, or not to be?")) == "To be, or not to be?"

sequences = torch.tensor(job["sequences"])
with torch.no_grad():
    logits = model.eval()(sequences[:, :-1]).logits
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), sequences[:, 1:], reduction="none").mean(1)
difference = (losses.double() - torch.tensor(job["losses"], dtype=torch.float64)).abs().max().item()
shards = len(list(Path(job["directory"]).glob("*.safetensors")))
print(f"loaded from {shards} files, {len(losses)} sequences, largest difference of a mean loss {difference:.2e} nats")
assert difference < 1e-5
