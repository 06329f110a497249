"""Muon (docs/protocol.md, section 3) for the parameters of a transformers model: every matrix of the checkpoint by itself, all experts of a parameter at once.

A GPU iterates in bfloat16, as torch.optim.Muon does, a CPU in fp32. Under FSDP each process updates its own experts, which nobody has to
send; a single matrix that is cut in parts is put together by every process for the iterations.
"""

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from checkpoint import matrices_inside


class Muon(torch.optim.Optimizer):
    def __init__(self, named, settings):
        self.names = {parameter: name for name, parameter in named}
        super().__init__(list(self.names), dict(lr=settings["learningRate"], weight_decay=settings["weightDecay"], **settings["muon"]))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if "m" not in state:
                    state["m"] = torch.zeros_like(parameter)
                state["m"].lerp_(parameter.grad, 1 - group["momentum"])
                direction = parameter.grad.lerp(state["m"], group["momentum"]) if group["nesterov"] else state["m"]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                self.move(parameter, direction, group)

    def move(self, parameter, direction, group):
        if not isinstance(parameter, DTensor):
            change = direction.clone()
            self.orthogonalize(parameter, change, group)
            parameter.sub_(change)
        elif parameter.dim() == 3:
            # FSDP cuts along the first axis: what is here are whole experts.
            change = direction.to_local().clone()
            self.orthogonalize(parameter, change, group)
            parameter.to_local().sub_(change)
        else:
            whole = direction.full_tensor()
            self.orthogonalize(parameter, whole, group)
            parameter.to_local().sub_(distribute_tensor(whole, parameter.device_mesh, parameter.placements).to_local())

    def orthogonalize(self, parameter, tensor, group):
        """Puts the step in the place of each matrix of `tensor`."""
        for matrix in matrices_inside(self.names[parameter], tensor):
            size = group["lr"] * group["updateSize"] * max(matrix.shape[-2:]) ** 0.5
            matrix.copy_(orthogonal(matrix, group["iterations"], group["coefficients"]).mul_(size))


def orthogonal(matrix, iterations, coefficients):
    """[..., rows, columns] with singular values near 1, by Newton-Schulz iterations on the shorter side."""
    a, b, c = coefficients
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    x = x.bfloat16() if x.is_cuda else x
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)
