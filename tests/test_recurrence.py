"""The recurrence against its equations and autograd: values, gradients, gates, even kernels, half precision."""

import pytest
import torch
import torch.nn.functional as F

from interp.models.recurrence import convolutional_lstm


def plain(gates, kernel, gate):
    """The equations, a step at a time, differentiated by autograd."""
    filters, (rows, columns) = kernel.shape[1], kernel.shape[2:]
    squash = torch.sigmoid if gate == "sigmoid" else (lambda z: (0.2 * z + 0.5).clamp(0, 1))
    hidden = cell = gates.new_zeros(gates.shape[1], filters, *gates.shape[3:])
    states = []
    for z in gates:
        around = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
        z = z + F.conv2d(F.pad(hidden, around), kernel)
        i, f, o = (squash(z[:, n * filters : (n + 1) * filters]) for n in range(3))
        cell = f * cell + i * z[:, 3 * filters :].tanh()
        hidden = o * cell.tanh()
        states.append(hidden)
    return torch.stack(states)


def drawn(num_frames=4, size=(3, 5), channels_last=False):
    generator = torch.Generator().manual_seed(1)
    gates = 2 * torch.randn(num_frames * 2, 8, 5, 4, generator=generator, dtype=torch.float64)
    if channels_last:
        gates = gates.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(8, 2, *size, generator=generator, dtype=torch.float64)
    return gates.unflatten(0, (num_frames, 2)).requires_grad_(), kernel.requires_grad_()


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("size", [(3, 5), (2, 4), (1, 2)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("num_frames", [1, 4])
def test_values_and_gradients_are_the_equations(gate, size, channels_last, num_frames):
    gates, kernel = drawn(num_frames, size, channels_last)
    states, expected = convolutional_lstm(gates, kernel, gate), plain(gates, kernel, gate)
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(expected)
    grads = (torch.autograd.grad((x * weights).sum(), (gates, kernel)) for x in (states, expected))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradient_against_finite_differences():
    assert torch.autograd.gradcheck(lambda *inputs: convolutional_lstm(*inputs, "sigmoid"), drawn(3))


@pytest.mark.parametrize("fixed", [0, 1])
def test_the_gradient_to_one_side_alone(fixed):
    inputs = drawn()
    expected = torch.autograd.grad(plain(*inputs, "sigmoid").sum(), inputs)[1 - fixed]
    inputs[fixed].requires_grad_(False)
    (grad,) = torch.autograd.grad(convolutional_lstm(*inputs, "sigmoid").sum(), inputs[1 - fixed])
    torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-12)


def test_without_gradients_the_states_are_the_same_and_the_gates_unchanged():
    gates, kernel = drawn()
    before = gates.detach().clone()
    states = convolutional_lstm(gates, kernel, "sigmoid")
    with torch.no_grad():
        assert torch.equal(convolutional_lstm(gates, kernel, "sigmoid"), states)
    assert torch.equal(gates, before)


def test_bfloat16_stays_near_float64():
    gates, kernel = drawn()
    kernel = kernel.detach() * 0.2
    expected = plain(gates, kernel, "sigmoid")
    states = convolutional_lstm(gates.bfloat16(), kernel, "sigmoid")  # the kernel follows the gates' type
    assert states.dtype == torch.bfloat16
    torch.testing.assert_close(states.double(), expected, rtol=0, atol=0.03)


def test_a_second_derivative_is_refused():
    gates, kernel = drawn()
    (first,) = torch.autograd.grad(convolutional_lstm(gates, kernel, "sigmoid").sum(), gates, create_graph=True)
    with pytest.raises(RuntimeError, match="grad"):
        first.sum().backward()
