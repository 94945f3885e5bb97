"""Checks that stand under a formula: one printed line if it holds, an AssertionError with the place if it does not.

The line names the tolerance and never the difference itself, so that it is the same on every machine.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Values = Sequence | np.ndarray  # or a torch tensor, a string, a number


def check_equal(name: str, *values: Values, tolerance: float = 0.0) -> None:
    """Check that two or more results are equal, elementwise, to within an absolute tolerance.

    Prints ``ok  attention: naive = fmnotes = library   (1,024 values, largest difference below 1e-12)``. If the name
    reads so, with as many parts as there are values, a failure names the parts.

    Args:
        name: what is checked.
        values: tensors, arrays, numbers, strings, bytes, or nested lists; all of one shape, which is never broadcast.
        tolerance: the largest absolute difference allowed; 0 for exact equality.

    Raises:
        AssertionError: naming the largest difference (the first, where values are not numbers), and for a NaN
            anywhere: two NaN agree in nothing.
        ValueError: if there are fewer than two values, or they are empty, or the tolerance is infinite, so that nothing
            would be checked; if the tolerance is negative or NaN.
    """
    _check_tolerance(name, tolerance)
    if len(values) < 2:
        raise ValueError(f"{name}: check_equal compares two or more results, got {len(values)}")
    labels = name.rsplit(":", 1)[-1].strip().split(" = ")
    if len(labels) != len(values):
        labels = ["actual", "expected"] if len(values) == 2 else [f"result {i + 1}" for i in range(len(values))]
    arrays = [_array(value) for value in values]
    if arrays[0].size == 0 and all(array.size == 0 for array in arrays):
        raise ValueError(f"{name}: there is nothing to compare, all results are empty")
    for label, array in zip(labels[1:], arrays[1:], strict=True):
        _compare(name, labels[0], arrays[0], label, array, tolerance)
    bound = f"largest difference below {tolerance:g}" if tolerance else "equal"
    print(f"ok  {name}   ({_count(arrays[0])}, {bound})")


def check_gradient(name: str, f: Callable, analytic: Callable, *inputs, tolerance: float = 1e-6) -> None:
    """Check a derived gradient against autograd and against central finite differences, all in float64.

    The finite difference of coordinate i is (f(x + h e_i) - f(x - h e_i)) / 2h with h = 6e-6 max(1, |x_i|): the cube
    root of float64's rounding error balances truncation, O(h²), and cancellation, O(1/h) (Press et al., Numerical
    Recipes, section 5.7). It calls f twice a coordinate, so keep the inputs small.

    Args:
        name: what is checked.
        f: a function of the inputs with a scalar result; what has no gradient (targets, masks) it closes over.
        analytic: a function of the inputs that returns the gradient of f, or one gradient for each input.
        inputs: floating-point tensors or arrays, any shapes; they are copied to float64.
        tolerance: the largest difference allowed, as a share of the largest entry of the input's gradient.

    Raises:
        AssertionError: naming the pair that differs and where, or if a gradient is zero everywhere, which proves
            nothing.
        ValueError: if f's result is no scalar, analytic returns the wrong number of gradients, or the tolerance is
            negative, infinite or NaN.
        TypeError: if an input is not floating-point.
    """
    import torch

    _check_tolerance(name, tolerance)
    points = [torch.as_tensor(x).detach() for x in inputs]
    if not points or not all(x.is_floating_point() for x in points):
        raise TypeError(f"{name}: the inputs must be floating-point tensors; let f close over the others")
    points = [x.to(torch.float64).clone(memory_format=torch.contiguous_format).requires_grad_() for x in points]
    result = f(*points)
    if result.shape != ():
        raise ValueError(f"{name}: f must return a scalar, it returned the shape {tuple(result.shape)}")
    autograd = torch.autograd.grad(result, points, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        points = [x.detach() for x in points]
        derived = analytic(*(x.clone() for x in points))
        derived = list(derived) if isinstance(derived, (tuple, list)) else [derived]
        if len(derived) != len(points):
            raise ValueError(f"{name}: analytic returned {len(derived)} gradients for {len(points)} inputs")
        numeric = [_central_difference(f, points, which) for which in range(len(points))]
    for which, (a, b, c) in enumerate(zip(derived, autograd, numeric, strict=True)):
        where = f"{name}, input {which + 1}" if len(points) > 1 else name
        scale = b.abs().max().item()
        if scale == 0:
            raise AssertionError(f"{where}: autograd's gradient is zero everywhere, which proves nothing")
        _compare(where, "analytic", _array(a), "autograd", _array(b), tolerance * scale)
        _compare(where, "autograd", _array(b), "finite differences", _array(c), tolerance * scale)
    count = sum(x.numel() for x in points)
    values = f"{count:,} value" + "s" * (count != 1)
    print(f"ok  {name}: analytic = autograd = finite differences   ({values}, relative difference below {tolerance:g})")


def _central_difference(f: Callable, points: list, which: int):
    """The gradient of f for one of its inputs, by moving one coordinate at a time."""
    import torch

    gradient = torch.zeros_like(points[which])
    for i in range(gradient.numel()):
        h = 6e-6 * max(1.0, points[which].flatten()[i].abs().item())
        ends = []
        for step in (h, -h):
            moved = [x.clone() for x in points]
            moved[which].view(-1)[i] += step
            ends.append(f(*moved).item())
        gradient.view(-1)[i] = (ends[0] - ends[1]) / (2 * h)
    return gradient


def same(a: object, b: object, tolerance: float = 0.0) -> bool:
    """Whether two results of any kind are equal, as ``check_equal`` has it; text never equals a list of its letters.

    What cannot be compared as an array, like a sparse tensor, equals nothing.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in a)
    if isinstance(a, (str, bytes)) or isinstance(b, (str, bytes)):
        return type(a) is type(b) and a == b
    try:
        _compare("", "", _array(a), "", _array(b), tolerance)
    except (AssertionError, TypeError, ValueError):
        return False
    return True


def _check_tolerance(name: str, tolerance: float) -> None:
    if not 0 <= tolerance < math.inf:  # true for NaN
        raise ValueError(f"{name}: the tolerance must be a finite number, 0 or greater, not {tolerance}")


def _array(value: Values) -> np.ndarray:
    """As a NumPy array: numbers where possible, else one object an element (characters, pairs of bytes)."""
    if hasattr(value, "detach"):  # a torch tensor, without importing torch
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if isinstance(value, (str, bytes)):
        value = list(value)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = None
    if array is not None and (array.dtype.kind in "biufc" or array.ndim == 0):
        return array
    array = np.empty(len(value), dtype=object)
    for i, element in enumerate(value):
        array[i] = element.tolist() if hasattr(element, "tolist") else element
    return array


def _compare(name: str, label_a: str, a: np.ndarray, label_b: str, b: np.ndarray, tolerance: float) -> None:
    if a.shape != b.shape:
        raise AssertionError(f"{name}: {label_a} has the shape {a.shape}, {label_b} has {b.shape}")
    numbers = a.dtype.kind in "biufc" and b.dtype.kind in "biufc"
    with np.errstate(invalid="ignore"):
        differs = np.asarray(a != b)
        if numbers and not (a.dtype.kind in "biu" and b.dtype.kind in "biu" and tolerance == 0):
            kind = np.complex128 if "c" in a.dtype.kind + b.dtype.kind else np.float64
            size = np.where(differs, np.abs(a.astype(kind) - b.astype(kind)), 0.0)  # infinities may be equal
            differs = ~(size <= tolerance)  # true for NaN
        else:
            size = differs.astype(float)
    if differs.any():
        size = np.where(differs, size, -1.0)
        at = np.unravel_index(np.argmax(np.where(np.isnan(size), np.inf, size)), a.shape)
        place = f" at [{', '.join(str(int(i)) for i in at)}]" if a.ndim else ""
        x, y = (array[at].item() if isinstance(array[at], np.generic) else array[at] for array in (a, b))
        by = f"a difference of {size[at]:.3g} where {tolerance:.3g} is allowed; " if numbers else ""
        raise AssertionError(
            f"{name}: {label_a} has {x!r}{place}, {label_b} has {y!r} "
            f"({by}{int(differs.sum()):,} of {_count(a)} differ)"
        )


def _count(array: np.ndarray) -> str:
    return "1 value" if array.size == 1 else f"{array.size:,} values"
