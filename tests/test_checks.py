import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fmnotes.checks import check_equal, check_gradient, same


def softmax_cross_entropy(x):
    return -torch.log_softmax(x, -1)[..., 0].sum()


def its_gradient(x):
    gradient = torch.softmax(x, -1)
    gradient[..., 0] -= 1
    return gradient


X = torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]])


@pytest.mark.parametrize(
    ("values", "tolerance", "line"),
    [
        ((torch.ones(4, 256), np.ones((4, 256))), 1e-12, "1,024 values, largest difference below 1e-12"),
        ((torch.ones(2, dtype=torch.bfloat16), [1.0, 1.004]), 0.01, "2 values, largest difference below 0.01"),
        (([1, 2, 3], (1, 2, 3), np.array([1, 2, 3])), 0, "3 values, equal"),
        (("한글", "한글"), 0, "2 values, equal"),
        ((b"ab", b"ab"), 0, "2 values, equal"),
        (([b"a", b"bc"], [b"a", b"bc"]), 0, "2 values, equal"),
        (([(b"a", b"b"), (b"c", b"d")], [(b"a", b"b"), (b"c", b"d")]), 0, "2 values, equal"),
        (({"a": 1}, {"a": 1}), 0, "1 value, equal"),
        (([[1, 2], [3]], [[1, 2], [3]]), 0, "2 values, equal"),
        (([[1], []], [torch.tensor([1]), torch.tensor([])]), 0, "2 values, equal"),
        ((3, 3.0), 0, "1 value, equal"),
        (([float("-inf"), 1.0], [float("-inf"), 1.0]), 1e-9, "2 values, largest difference below 1e-09"),
        ((torch.tensor([True, False]), [True, False]), 0, "2 values, equal"),
        (([1 + 1j], [1 + 1j]), 0, "1 value, equal"),
    ],
)
def test_equal_results_print_one_line(capsys, values, tolerance, line):
    check_equal("attention", *values, tolerance=tolerance)
    assert capsys.readouterr().out == f"ok  attention   ({line})\n"


@pytest.mark.parametrize(
    ("values", "tolerance", "match"),
    [
        (
            ([1.0, 2.0, 3.5], [1.1, 2.0, 3.0]),
            0.01,
            r"a: actual has 3.5 at \[2\], expected has 3.0 \(a difference of 0.5",
        ),
        (([1.0, 2.0, 3.5], [1.1, 2.0, 3.0]), 0.01, r"where 0.01 is allowed; 2 of 3 values differ"),
        (([[1, 2], [3, 4]], [[1, 2], [9, 4]]), 0, r"has 3 at \[1, 0\], expected has 9"),
        (([2**60 + 1], [2**60]), 0, "1 of 1 value differ"),
        (("hallo", "hello"), 0, r"has 'a' at \[1\], expected has 'e' \(1 of 5 values differ\)"),
        (("hello", "hell"), 0, r"actual has the shape \(5,\), expected has \(4,\)"),
        ((torch.ones(2, 1), torch.ones(2)), 0, r"shape \(2, 1\), expected has \(2,\)"),
        (([[1, 2], [3]], [[1, 2], [4]]), 0, r"has \[3\] at \[1\], expected has \[4\]"),
        (([float("nan")], [float("nan")]), 1.0, r"has nan at \[0\]"),
        (([1.0, 5.0, float("nan")], [1.0, 0.0, 1.0]), 1.0, r"has nan at \[2\].*2 of 3"),
        (([float("inf")], [float("-inf")]), 1.0, "has inf"),
        (([float("inf")], [1.0]), 1.0, "has inf"),
        (([1j], [0j]), 0.5, "a difference of 1 "),
        (({1, 2}, {1}), 0, r"actual has \{1, 2\}, expected has \{1\} "),
        ((None, 1.0), 0.5, "actual has None, expected has 1.0"),
        (([("a", 1), ("b", 2)], [("a", 1), ("b", 3)]), 0, r"has \('b', 2\) at \[1\], expected has \('b', 3\)"),
        (([1], ["1"]), 0, "has 1 at .*, expected has '1'"),
        ((3.0, 4.0), 0, r"actual has 3.0, expected has 4.0"),
        (([1], [1], [2]), 0, r"result 1 has 1 at \[0\], result 3 has 2"),
        (([1], []), 0, "shape"),
    ],
)
def test_a_difference_is_named_and_nothing_printed(capsys, values, tolerance, match):
    with pytest.raises(AssertionError, match=match):
        check_equal("a", *values, tolerance=tolerance)
    assert capsys.readouterr().out == ""


def test_parts_of_the_name_name_the_results():
    with pytest.raises(AssertionError, match="library: naive has 1 at .0., library has 2"):
        check_equal("attention: naive = fmnotes = library", [1], [1], [2])


def test_a_check_of_nothing_is_refused():
    with pytest.raises(ValueError, match="all results are empty"):
        check_equal("a", [], torch.ones(0))
    with pytest.raises(ValueError, match="two or more results, got 1"):
        check_equal("a", [1])


@pytest.mark.parametrize("tolerance", [float("inf"), -1e-9, float("-inf"), float("nan")])
def test_a_tolerance_that_checks_nothing_is_refused(capsys, tolerance):
    with pytest.raises(ValueError, match=f"a: the tolerance must be a finite number, 0 or greater, not {tolerance}"):
        check_equal("a", [1], [2], tolerance=tolerance)
    with pytest.raises(ValueError, match=f"a: the tolerance must be a finite number, 0 or greater, not {tolerance}"):
        check_gradient("a", softmax_cross_entropy, its_gradient, X, tolerance=tolerance)
    assert capsys.readouterr().out == ""


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5),
    st.floats(1e-6, 10),
    st.floats(0, 3).filter(lambda share: abs(share - 1) > 1e-3),
    st.data(),
)
def test_the_tolerance_is_the_border(values, tolerance, share, data):
    other = list(values)
    other[data.draw(st.integers(0, len(values) - 1))] += share * tolerance
    if share < 1:
        check_equal("a", values, other, tolerance=tolerance)
    else:
        with pytest.raises(AssertionError):
            check_equal("a", values, other, tolerance=tolerance)


def test_a_right_gradient_prints_one_line(capsys):
    check_gradient("cross-entropy", softmax_cross_entropy, its_gradient, X)
    line = "analytic = autograd = finite differences   (6 values, relative difference below 1e-06)"
    assert capsys.readouterr().out == f"ok  cross-entropy: {line}\n"
    check_gradient(
        "product", lambda a, b: (a @ b).sum(), lambda a, b: (b.sum(1) + 0 * a, a.sum(0)[:, None] + 0 * b), X, X.T
    )
    assert "(12 values" in capsys.readouterr().out
    check_gradient("far away", lambda x: (x**2).sum(), lambda x: 2 * x, np.array([1e5, -3e4]))
    check_gradient("at zero", lambda x: x.sin().sum(), torch.cos, torch.zeros(2))
    assert X.requires_grad is False and X.dtype == torch.float32


def lying(x):
    """x³ with a backward of 2x²: autograd is wrong, and finite differences see it."""
    return Lying.apply(x).sum()


class Lying(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(context, gradient):
        return gradient * 2 * context.saved_tensors[0] ** 2


@pytest.mark.parametrize(
    ("f", "analytic", "inputs", "error", "match"),
    [
        (softmax_cross_entropy, lambda x: torch.softmax(x, -1), (X,), AssertionError, r"analytic has .* at \[\d, 0\]"),
        (softmax_cross_entropy, lambda x: its_gradient(x) * (1 + 1e-5), (X,), AssertionError, "analytic"),
        (
            softmax_cross_entropy,
            lambda x: its_gradient(x).T,
            (X,),
            AssertionError,
            r"shape \(3, 2\), autograd has \(2, 3\)",
        ),
        (lying, lambda x: 2 * x**2, (X,), AssertionError, "autograd has .* finite differences has"),
        (lambda x: (0 * x).sum(), torch.zeros_like, (X,), AssertionError, "zero everywhere, which proves nothing"),
        (lambda x, y: x.sum(), lambda x, y: (torch.ones_like(x), 0 * y), (X, X), AssertionError, "a, input 2: .*zero"),
        (lambda x: x, torch.ones_like, (X,), ValueError, r"must return a scalar, it returned the shape \(2, 3\)"),
        (lambda x, y: (x * y).sum(), lambda x, y: y, (X, X), ValueError, "returned 1 gradients for 2 inputs"),
        (lambda x: x.sum(), torch.ones_like, (torch.tensor([1]),), TypeError, "floating-point"),
    ],
)
def test_a_wrong_gradient_is_named(capsys, f, analytic, inputs, error, match):
    with pytest.raises(error, match=match):
        check_gradient("a", f, analytic, *inputs)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "equal"),
    [
        ([1, 2], (1, 2), 0, True),
        ([1, 2], np.array([1.0, 2.05]), 0.1, True),
        ([1, 2], torch.tensor([1.0, 2.2]), 0.1, False),
        ([], [], 0, True),
        ([], [1], 0, False),
        ("ab", ["a", "b"], 0, False),
        (b"ab", [97, 98], 0, False),
        ("ab", "ab", 0, True),
        ("ab", b"ab", 0, False),
        ("ab", np.array(["ab"]), 0, False),
        ([5], [6], 1, True),
        ([5], [7], 1, False),
        ({"a": 1.0}, {"a": 1.01}, 0.1, True),
        ({"a": 1.0}, {"a": 1.2}, 0.1, False),
        ({"a": 1.0}, {"b": 1.0}, 0.1, False),
        ({"a": np.ones(2)}, {"a": np.ones(2)}, 0, True),
        ({1, 2}, {2, 1}, 0, True),
        ({1, 2}, {2}, 0, False),
        (None, None, 0, True),
        (None, 0, 1, False),
        (None, [1], 1, False),
        ((x for x in [1]), [1], 0, False),
        (float("nan"), float("nan"), 1, False),
        (torch.eye(2).to_sparse(), torch.eye(2), 0, False),
        ([np.ones(2)], [np.ones((2, 2))], 0, False),
    ],
)
def test_same(a, b, tolerance, equal):
    assert same(a, b, tolerance) is equal
