"""A matrix put in order once, against the product that it stands for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmbench.models import products
from lmbench.models.products import product_with


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


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_numbers_that_the_operators_do_not_know_are_multiplied_by_torch(kind: torch.dtype) -> None:
    weight, x = torch.eye(3, dtype=kind), torch.ones(200, 3, dtype=kind)
    assert torch.equal(product_with(weight, 200)(x), x)


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
