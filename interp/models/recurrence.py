"""The recurrence of a convolutional LSTM as one operation, with a backward pass of its own.

Forward it is the loop of Shi et al. (NeurIPS 2015). Backward it is the same loop in reverse, written into buffers
made once, and the recurrent kernel's gradient is one convolution over all steps. Left to autograd, a third of the
time went into joining gates and steps again (measured: `tests/benchmarks/bench_networks.py`).

Axes: gates (T,B,4F,H,W) in the order input, forget, output, cell; states (T,B,F,H,W); kernel (4F,F,k,k).

    >>> gates, kernel = torch.randn(3, 2, 8, 5, 5), torch.randn(8, 2, 3, 3)
    >>> convolutional_lstm(gates, kernel, "sigmoid").shape
    torch.Size([3, 2, 2, 5, 5])
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SLOPE, MIDDLE = 0.2, 0.5  # of the hard sigmoid


def convolutional_lstm(gates: Tensor, kernel: Tensor, gate: str) -> Tensor:
    """Hidden states (T,B,F,H,W) from what the input says to the gates (T,B,4F,H,W), from a state of zeros.

    gate: "sigmoid" or "hard_sigmoid". The recurrent convolution is "same", the odd remainder at the end. Can be
    differentiated once.
    """
    return _Recurrence.apply(gates, kernel.to(gates.dtype), gate)


def _convolved(hidden: Tensor, kernel: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    (top, bottom), (left, right) = pads
    if top == bottom and left == right:
        return F.conv2d(hidden, kernel, None, 1, (top, left))
    return F.conv2d(F.pad(hidden, (left, right, top, bottom)), kernel)


def _back(grad: Tensor, hidden: Tensor, kernel: Tensor, pads: list[tuple[int, int]], to: str) -> Tensor:
    """The gradient of `_convolved` to its hidden states or to its kernel."""
    (top, bottom), (left, right) = pads
    padding = [top, left]
    if top != bottom or left != right:
        hidden, padding = F.pad(hidden, (left, right, top, bottom)), [0, 0]
    wanted = [to == "hidden", to == "kernel", False]
    found = torch.ops.aten.convolution_backward(
        grad, hidden, kernel, None, [1, 1], padding, [1, 1], False, [0, 0], 1, wanted
    )
    if to == "kernel":
        return found[1]
    inner = found[0]
    if padding == [0, 0]:
        inner = inner[..., top : inner.shape[-2] - bottom, left : inner.shape[-1] - right]
    return inner


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gates: Tensor, kernel: Tensor, gate: str) -> Tensor:
        num_frames, batch, filters = *gates.shape[:2], kernel.shape[1]
        pads = [((k - 1) // 2, k // 2) for k in kernel.shape[2:]]
        layout = torch.contiguous_format
        if gates[0].is_contiguous(memory_format=torch.channels_last):
            layout = torch.channels_last

        def buffer(steps: int, channels: int) -> Tensor:
            size = (steps * batch, channels, *gates.shape[3:])
            flat = torch.empty(size, dtype=gates.dtype, device=gates.device, memory_format=layout)
            return flat.unflatten(0, (steps, batch))

        kept = num_frames if any(ctx.needs_input_grad[:2]) else 1  # steps whose inner values are kept
        opened, news, cells = buffer(kept, 4 * filters), buffer(kept, filters), buffer(kept, filters)
        shown, states = buffer(kept, filters), buffer(num_frames, filters)
        for t in range(num_frames):
            now, before = t % kept, (t - 1) % kept
            z = opened[now]
            if t:
                torch.add(gates[t], _convolved(states[t - 1], kernel, pads), out=z)
            else:
                z.copy_(gates[0])
            new = news[now].copy_(z[:, 3 * filters :]).tanh_()
            # all four parts, though the last has no use: memory in one piece is faster than in strips
            z.sigmoid_() if gate == "sigmoid" else z.mul_(SLOPE).add_(MIDDLE).clamp_(0, 1)
            i, f, o, _ = z.chunk(4, dim=1)
            if t:
                torch.mul(f, cells[before], out=cells[now]).addcmul_(i, new)
            else:
                torch.mul(i, new, out=cells[now])
            torch.mul(o, torch.tanh(cells[now], out=shown[now]), out=states[t])
        ctx.save_for_backward(opened, news, cells, shown, states, kernel)
        ctx.gate, ctx.pads = gate, pads
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        opened, news, cells, shown, states, kernel = ctx.saved_tensors
        out = torch.empty_like(opened)  # its last part is written twice, at first with what is not read
        of_cell = from_next = None
        for t in reversed(range(len(states))):
            i, _, o, _ = opened[t].chunk(4, dim=1)
            to_i, to_f, to_o, to_new = out[t].chunk(4, dim=1)
            of_state = grad[t] if from_next is None else grad[t] + from_next
            here = torch.ops.aten.tanh_backward(of_state * o, shown[t])
            of_cell = here if of_cell is None else here.addcmul_(of_cell, opened[t + 1].chunk(4, dim=1)[1])
            torch.mul(of_state, shown[t], out=to_o)
            torch.mul(of_cell, news[t], out=to_i)
            torch.mul(of_cell, cells[t - 1], out=to_f) if t else to_f.zero_()
            if ctx.gate == "sigmoid":
                torch.ops.aten.sigmoid_backward.grad_input(out[t], opened[t], grad_input=out[t])
            else:
                out[t].mul_(SLOPE).mul_((opened[t] > 0) & (opened[t] < 1))
            torch.ops.aten.tanh_backward.grad_input(of_cell * i, news[t], grad_input=to_new)
            if t:
                from_next = _back(out[t], states[t - 1], kernel, ctx.pads, "hidden")
        of_kernel = None
        if ctx.needs_input_grad[1]:
            of_kernel = torch.zeros_like(kernel) if len(states) == 1 else _back(
                out[1:].flatten(0, 1), states[:-1].flatten(0, 1), kernel, ctx.pads, "kernel")
        return out, of_kernel, None
