"""A matrix put in order once, against the product that it stands for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmbench.models import products
from lmbench.models.products import Linear, linear, product_with


@given(
    rows=st.integers(1, 40), inputs=st.integers(1, 70), outputs=st.integers(1, 70),
    turned=st.booleans(), biased=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_the_product(rows: int, inputs: int, outputs: int, turned: bool, biased: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(inputs, outputs, generator=generator).t() if turned else torch.randn(outputs, inputs)
    bias = torch.randn(outputs, generator=generator) if biased else None
    product = product_with(weight, rows, products.WORTH, bias)
    for n in (rows, max(1, rows // 2)):  # the last block of a text is shorter
        x = torch.randn(n, inputs, generator=generator)
        exact = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
        torch.testing.assert_close(product(x), exact.float(), rtol=1e-5, atol=1e-4)


@given(
    rows=st.lists(st.integers(1, 40), max_size=2), inputs=st.integers(1, 70), outputs=st.integers(1, 70),
    biased=st.booleans(), kind=st.sampled_from((torch.float32, torch.bfloat16)), seed=st.integers(0, 99),
)  # fmt: skip
def test_linear_is_that_of_torch(
    rows: list[int], inputs: int, outputs: int, biased: bool, kind: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, x, bias = (
        torch.randn(*size, generator=generator) for size in ((outputs, inputs), (*rows, inputs), (outputs,))
    )
    given_bias = bias.to(kind) if biased else None
    exact = x.to(kind).double() @ weight.to(kind).double().t() + (0 if given_bias is None else given_bias.double())
    for _ in range(2):  # also of a weight that was changed in place
        with torch.no_grad():
            found = linear(x.to(kind), weight.to(kind), given_bias)
        tolerance = {"rtol": 1e-5, "atol": 1e-4} if kind == torch.float32 else {"rtol": 1e-2, "atol": 0.1}
        torch.testing.assert_close(found, exact.to(kind), **tolerance)
        weight.mul_(-1)
        exact = 2 * (0 if given_bias is None else given_bias.double()) - exact


def test_a_gradient_passes_through_linear() -> None:
    layer = Linear(3, 2)
    layer(torch.ones(5, 3)).sum().backward()
    assert torch.equal(layer.weight.grad, torch.full((2, 3), 5.0))


@pytest.mark.skipif(not products._packs(torch.float32), reason="torch has no oneDNN here")
def test_a_matrix_is_put_in_order_where_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = []
    reorder = torch.ops.mkldnn._reorder_linear_weight

    class Watched:
        _linear_pointwise = torch.ops.mkldnn._linear_pointwise

        @staticmethod
        def _reorder_linear_weight(weight: Tensor, rows: int) -> Tensor:
            ordered.append(rows)
            return reorder(weight, rows)

    monkeypatch.setattr(torch.ops, "mkldnn", Watched)
    weight = torch.randn(4, 3)
    product_with(weight, products.WORTH - 1)
    assert not ordered
    product_with(weight, products.WORTH)
    product_with(weight, 1, products.WORTH)
    assert ordered == [products.WORTH, 1]


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_numbers_that_the_operators_do_not_know_are_multiplied_by_torch(kind: torch.dtype) -> None:
    weight, x = torch.eye(3, dtype=kind), torch.ones(200, 3, dtype=kind)
    assert torch.equal(product_with(weight, 200)(x), x)
    assert torch.equal(linear(x, weight, weight[0]), x + weight[0])


def test_without_the_operators_torch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def __getattr__(self, name: str) -> None:
            raise AttributeError(name)

    products._packs.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", Nothing())
    try:
        x = torch.randn(200, 3)
        assert torch.equal(product_with(torch.eye(3), 200)(x), x)
        assert not products._packs(torch.float32)
    finally:
        products._packs.cache_clear()
