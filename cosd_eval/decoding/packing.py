"""Linear layers with their weights laid out once for oneDNN, instead of anew in every call (CPU only).

The same sums in the same precision; only the layout in memory changes. For few tokens at once, where reading weights is
all the work there is, this saves a quarter to a half of the time.
"""

from typing import Any

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """x [..., in] -> [..., out]. Holds the packed weight only, so that memory stays what it was."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


def can_pack() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def pack_linear_layers(model: Any) -> None:
    """Replace the plain linear layers of a model on the CPU, in place. A weight that is also an embedding stays usable there."""
    if not can_pack() or getattr(model, "hf_device_map", None) or hasattr(model, "peft_config"):
        return
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer.weight.device.type == "cpu" and _worth_it(layer.weight):
                setattr(parent, name, PackedLinear(layer))
    for parameter in model.parameters():  # a few are left; copied, they let go of the weights' mapped file
        parameter.data = parameter.data.clone()


def _worth_it(weight: Tensor) -> bool:
    """Packing small layers costs more in calls than it saves in memory traffic."""
    return weight.dtype in (torch.bfloat16, torch.float32) and weight.numel() >= 1 << 18
