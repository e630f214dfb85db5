"""Names of what a plan adds lead back to the tensor they were made from."""

import pytest
from hwc.toolchain.naming import FORMS, base, derived
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("form", sorted(FORMS))
def test_there_and_back(form: str) -> None:
    assert base(derived("block/conv.1", form)) == "block/conv.1"


@given(st.lists(st.sampled_from(sorted(FORMS)), max_size=4))
def test_through_several_forms(forms: list[str]) -> None:
    name = "t"
    for form in forms:
        name = derived(name, form)
    assert base(name) == "t"


@pytest.mark.parametrize(
    "name", ["t", "layer__1", "a__b__c", "", "__", "dq", "x_q", "x__Q", "x__q_", "model__quant"]
)
def test_any_other_name_is_its_own(name: str) -> None:
    assert base(name) == name
