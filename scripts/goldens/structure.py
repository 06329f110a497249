"""Makes test/model/families/structure: the tensors that transformers itself writes for a small model of each family.

Run through `npm run goldens`:

    python structure.py [--check] [MODEL ...]

A model of each family is made with random weights and odd sizes, saved as save_pretrained saves it by default (the layout of the hub's
checkpoints) and in the layout that transformers has in memory (save_original_format=False), and the names and shapes of both are
written down beside its config.json. --check compares instead of writing.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, Llama4ForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

OUT = Path(__file__).resolve().parents[2] / "test" / "model" / "families" / "structure"

common = dict(vocab_size=96, hidden_size=24, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
latent = dict(kv_lora_rank=10, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=8)
llama4_text = dict(
    common,
    head_dim=6,
    intermediate_size=14,
    intermediate_size_mlp=20,
    num_local_experts=5,
    interleave_moe_layer_step=2,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
tokens = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)

models = {
    "mixtral": dict(common, intermediate_size=14, num_local_experts=5, num_experts_per_tok=2),
    "qwen2_moe": dict(
        common, intermediate_size=20, moe_intermediate_size=14, shared_expert_intermediate_size=18, num_experts=5, num_experts_per_tok=2,
        mlp_only_layers=[1],
    ),
    "qwen3_moe": dict(common, head_dim=8, intermediate_size=20, moe_intermediate_size=14, num_experts=5, num_experts_per_tok=2, decoder_sparse_step=2),
    "olmoe": dict(common, intermediate_size=14, num_experts=5, num_experts_per_tok=2),
    "deepseek_v2": dict(
        common, **latent, q_lora_rank=12, intermediate_size=20, moe_intermediate_size=14, n_routed_experts=6, n_shared_experts=2,
        num_experts_per_tok=2, first_k_dense_replace=1, n_group=1, topk_group=1,
    ),
    "deepseek_v2-lite": dict(
        common, **latent, q_lora_rank=None, intermediate_size=20, moe_intermediate_size=14, n_routed_experts=6, n_shared_experts=2,
        num_experts_per_tok=2, first_k_dense_replace=1, n_group=1, topk_group=1,
    ),
    "deepseek_v3": dict(
        common, **latent, q_lora_rank=12, intermediate_size=20, moe_intermediate_size=14, n_routed_experts=8, n_shared_experts=1,
        num_experts_per_tok=2, first_k_dense_replace=2, n_group=4, topk_group=2,
    ),
    "glm4_moe": dict(
        common, head_dim=8, intermediate_size=20, moe_intermediate_size=14, n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2,
        first_k_dense_replace=1, attention_bias=True, use_qk_norm=True,
    ),
    "gpt_oss": dict(common, head_dim=8, intermediate_size=14, num_local_experts=5, num_experts_per_tok=2, layer_types=["sliding_attention", "full_attention"] * 2),
    "llama4": dict(
        text_config=llama4_text,
        vision_config=dict(
            hidden_size=16, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14,
            projector_input_dim=16, projector_output_dim=16, vision_output_dim=16, pixel_shuffle_ratio=0.5,
        ),
        boi_token_index=3, eoi_token_index=4, image_token_index=5,
    ),
    "llama4_text": llama4_text,
    "qwen3_next": dict(
        common, head_dim=8, intermediate_size=20, moe_intermediate_size=14, shared_expert_intermediate_size=18, num_experts=5,
        num_experts_per_tok=2, linear_key_head_dim=6, linear_value_head_dim=10, linear_num_key_heads=2, linear_num_value_heads=4,
    ),
    "phimoe": dict(common, **tokens, intermediate_size=14, num_local_experts=5, attention_bias=True, lm_head_bias=True),
    "jamba": dict(
        common, intermediate_size=14, num_experts=5, num_experts_per_tok=2, attn_layer_period=4, attn_layer_offset=2, mamba_d_state=6,
        mamba_dt_rank=3, mamba_d_conv=4, mamba_expand=2,
    ),
    "dbrx": dict(
        d_model=24, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=96, attn_config=dict(kv_n_heads=2, rope_theta=500_000.0, clip_qkv=8),
        ffn_config=dict(hidden_size=24, ffn_hidden_size=14, moe_num_experts=5, moe_top_k=2),
    ),
}


def shapes(directory):
    """Names and shapes of a saved model, in the order of their names."""
    with safe_open(Path(directory) / "model.safetensors", "pt") as file:
        return {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}


def document(value):
    """JSON as the repository's formatter leaves it."""
    text = re.sub(r"e-0(\d)", r"e-\1", json.dumps(value, indent=2) + "\n")
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + re.sub(r"\s+", " ", match[1]) + "]", text)


def structure(name, settings):
    config = AutoConfig.for_model(name.split("-")[0], **settings)
    torch.manual_seed(1)
    maker = Llama4ForConditionalGeneration._from_config if name == "llama4" else AutoModelForCausalLM.from_config
    model = maker(config)
    with tempfile.TemporaryDirectory() as hub, tempfile.TemporaryDirectory() as memory:
        model.save_pretrained(hub)
        model.save_pretrained(memory, save_original_format=False)
        saved = json.loads((Path(hub) / "config.json").read_text())
        result = {"transformers": transformers.__version__, "config": saved, "tensors": shapes(hub)}
        if shapes(memory) != result["tensors"]:
            result["inMemory"] = shapes(memory)
    return result


def main():
    disable_progress_bar()
    OUT.mkdir(exist_ok=True)
    differing = []
    chosen = [name for name in sys.argv[1:] if name in models] or models
    for name in chosen:
        path = OUT / f"{name}.json"
        text = document(structure(name, models[name]))
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            differing.append(path.name)
        print(name, flush=True)
    if differing:
        sys.exit(f"differ: {', '.join(differing)}")


if __name__ == "__main__":
    main()
