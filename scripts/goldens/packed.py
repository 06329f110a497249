"""Values of packed weights as PyTorch and transformers unpack them: every FP8 byte, and MXFP4 blocks of all codes and many scales."""
import json
import sys
from pathlib import Path

import torch
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

target = Path(__file__).parents[2] / "test" / "model" / "packed.json"

codes = torch.arange(256, dtype=torch.uint8)
fp8 = codes.view(torch.float8_e4m3fn).to(torch.float32)

generator = torch.Generator().manual_seed(7)
rows, blocks = 3, 2
packed = torch.randint(0, 256, (2, rows, blocks, 16), dtype=torch.uint8, generator=generator)
scales = torch.randint(110, 140, (2, rows, blocks), dtype=torch.uint8, generator=generator)
unpacked = convert_moe_packed_tensors(packed, scales, dtype=torch.bfloat16)

golden = {
    "torch": torch.__version__.split("+")[0],
    "fp8": ["NaN" if value != value else value for value in fp8.tolist()],
    "mxfp4": {
        "rows": rows,
        "blocks": packed.flatten(1).tolist(),
        "scales": scales.flatten(1).tolist(),
        "values": unpacked.to(torch.float32).flatten(1).tolist(),
    },
}
text = json.dumps(golden) + "\n"
if "--check" in sys.argv:
    same = json.loads(target.read_text())
    assert {**same, "torch": ""} == {**golden, "torch": ""}, "packed.json is another one now"
else:
    target.write_text(text)
