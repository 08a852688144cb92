"""The recurrence of a convolutional LSTM as one operation with its own backward pass.

Backward it is the same loop in reverse, written into buffers that are made once, and the recurrent kernel's gradient is
one convolution over all steps. With autograd a third of the time goes into concatenating gates and steps.
Axes: gates (T,B,4F,H,W) in the order input, forget, output, cell; states (T,B,F,H,W); kernel (4F,F,k,k).
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SLOPE, MIDDLE = 0.2, 0.5  # of the hard sigmoid


def convolutional_lstm(gates: Tensor, kernel: Tensor, gate: str) -> Tensor:
    """Hidden states (T,B,F,H,W) from the input's part of the gates (T,B,4F,H,W), starting at a state of zeros.

    gate: "sigmoid" or "hard_sigmoid". The result can be differentiated once.
    """
    return _Recurrence.apply(gates, _odd(kernel.to(gates.dtype)), gate)


def lstm_step(gates: Tensor, state: tuple[Tensor, Tensor] | None, kernel: Tensor, gate: str) -> tuple[Tensor, Tensor]:
    """(hidden, cell), each (B,F,H,W), after one step from the state (hidden, cell), None for zeros."""
    z = gates if state is None else gates + _convolve(state[0], _odd(kernel))
    i, f, o, new = z.chunk(4, dim=1)
    i, f, o = (torch.sigmoid(x) if gate == "sigmoid" else (SLOPE * x + MIDDLE).clamp(0, 1) for x in (i, f, o))
    cell = i * new.tanh() if state is None else f * state[1] + i * new.tanh()
    return o * cell.tanh(), cell


def _odd(kernel: Tensor) -> Tensor:
    """The kernel, a zero put before an even number of rows or columns: "same" padding is then equal on both sides."""
    even_rows, even_columns = (1 - size % 2 for size in kernel.shape[2:])
    return F.pad(kernel, (even_columns, 0, even_rows, 0)) if even_rows or even_columns else kernel


def _convolve(hidden: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(hidden, kernel, padding=[size // 2 for size in kernel.shape[2:]])


def _convolve_backward(grad: Tensor, hidden: Tensor, kernel: Tensor, mask: list[bool]) -> tuple[Tensor, Tensor, None]:
    """The gradients of `_convolve` to the hidden states and to the kernel, where `mask` is True."""
    padding = [size // 2 for size in kernel.shape[2:]]
    return torch.ops.aten.convolution_backward(
        grad, hidden, kernel, None, [1, 1], padding, [1, 1], False, [0, 0], 1, mask)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gates: Tensor, kernel: Tensor, gate: str) -> Tensor:
        num_frames, filters = len(gates), kernel.shape[1]
        kept = num_frames if any(ctx.needs_input_grad[:2]) else 1  # steps whose inner values are kept
        states, opened = torch.empty_like(gates[:, :, :filters]), torch.empty_like(gates[:kept])
        news, cells, squashed = (torch.empty_like(states[:kept]) for _ in range(3))  # squashed: tanh of the cells
        for t in range(num_frames):
            now, before = t % kept, (t - 1) % kept
            z = opened[now]
            if t:
                torch.add(gates[t], _convolve(states[t - 1], kernel), out=z)
            else:
                z.copy_(gates[0])
            new = news[now].copy_(z[:, 3 * filters :]).tanh_()
            # all four parts, though the last is not used: memory in one piece is faster than in strips
            z.sigmoid_() if gate == "sigmoid" else z.mul_(SLOPE).add_(MIDDLE).clamp_(0, 1)
            i, f, o, _ = z.chunk(4, dim=1)
            if t:
                torch.mul(f, cells[before], out=cells[now]).addcmul_(i, new)
            else:
                torch.mul(i, new, out=cells[now])
            torch.mul(o, torch.tanh(cells[now], out=squashed[now]), out=states[t])
        ctx.save_for_backward(opened, news, cells, squashed, states, kernel)
        ctx.gate = gate
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        opened, news, cells, squashed, states, kernel = ctx.saved_tensors
        out = torch.empty_like(opened)  # its last part is written twice, at first with values that are not read
        d_cell = d_next = None
        for t in reversed(range(len(states))):
            i, _, o, _ = opened[t].chunk(4, dim=1)
            d_i, d_f, d_o, d_new = out[t].chunk(4, dim=1)
            d_state = grad[t] if d_next is None else grad[t] + d_next
            d_tanh = torch.ops.aten.tanh_backward(d_state * o, squashed[t])
            d_cell = d_tanh if d_cell is None else d_tanh.addcmul_(d_cell, opened[t + 1].chunk(4, dim=1)[1])
            torch.mul(d_state, squashed[t], out=d_o)
            torch.mul(d_cell, news[t], out=d_i)
            torch.mul(d_cell, cells[t - 1], out=d_f) if t else d_f.zero_()
            if ctx.gate == "sigmoid":
                torch.ops.aten.sigmoid_backward.grad_input(out[t], opened[t], grad_input=out[t])
            else:
                out[t].mul_(SLOPE).mul_((opened[t] > 0) & (opened[t] < 1))
            torch.ops.aten.tanh_backward.grad_input(d_cell * i, news[t], grad_input=d_new)
            if t:
                d_next = _convolve_backward(out[t], states[t - 1], kernel, [True, False, False])[0]
        d_kernel = torch.zeros_like(kernel) if ctx.needs_input_grad[1] else None
        if d_kernel is not None and len(states) > 1:
            steps = out[1:].flatten(0, 1), states[:-1].flatten(0, 1)
            d_kernel = _convolve_backward(*steps, kernel, [False, True, False])[1]
        return out, d_kernel, None
