"""What trainer and scorer share: where a checkpoint's tensors lie in the parameters of a transformers model."""


def names_inside(name, parameter):
    """The checkpoint's tensors in a parameter, each with what cuts it out: transformers arranges experts side by side in one parameter."""
    if name.endswith("experts.gate_up_proj"):
        stem, half = name[: -len("gate_up_proj")], parameter.shape[1] // 2
        return [(f"{stem}{expert}.{which}.weight", lambda tensor, e=expert, s=start: tensor[e, s : s + half])
                for expert in range(parameter.shape[0]) for which, start in (("gate_proj", 0), ("up_proj", half))]
    if name.endswith("experts.down_proj"):
        stem = name[: -len("down_proj")]
        return [(f"{stem}{expert}.down_proj.weight", lambda tensor, e=expert: tensor[e]) for expert in range(parameter.shape[0])]
    return [(name, lambda tensor: tensor)]


def matrices_inside(name, tensor):
    """Views of a parameter, or of some of its experts, in which the last two axes are a matrix of the checkpoint."""
    return tensor.chunk(2, dim=1) if name.endswith("experts.gate_up_proj") else [tensor]
