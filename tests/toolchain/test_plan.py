"""Plans: canonical, ordered, and read back exactly or not at all."""

import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from hypothesis import given
from hypothesis import strategies as st

FP32, INT8 = NodeChoice(), NodeChoice(Precision.INT8)
PLANS = st.dictionaries(
    st.text(), st.sampled_from([NodeChoice(p) for p in Precision]), max_size=8
).map(Plan.of)


def test_fp32_is_what_a_slot_runs_in_unless_told_otherwise() -> None:
    assert NodeChoice().precision is Precision.FP32


def test_the_same_from_pairs_and_from_a_mapping() -> None:
    assert Plan.of({"a": INT8, "b": FP32}) == Plan.of([("a", INT8), ("b", FP32)])


def test_counts() -> None:
    assert Plan.of({"a": INT8, "b": FP32, "c": INT8}).counts() == {"int8": 2, "fp32": 1}


@given(PLANS)
def test_there_and_back(plan: Plan) -> None:
    again = Plan.from_json(plan.to_json())
    assert again.as_dict() == plan.as_dict()
    assert again.to_json() == plan.to_json()
    assert again.digest == plan.digest


def test_the_digest_goes_with_the_choices_and_not_with_their_order() -> None:
    first, second = Plan.of({"a": INT8, "b": FP32}), Plan.of({"b": FP32, "a": INT8})
    assert first.digest == second.digest
    assert first.digest != Plan.of({"a": FP32, "b": INT8}).digest
    assert len(first.digest) == 64


def test_the_text_is_canonical() -> None:
    text = Plan.of({"b": FP32, "å": INT8, "a": INT8}).to_json()
    assert text == '{"a":{"precision":"int8"},"b":{"precision":"fp32"},"å":{"precision":"int8"}}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "3", "[]", '"x"', '{"a":1}', '{"a":null}', '{"a":[]}', '{"a":{}}'),
        *('{"a":{"precision":"int7"}}', '{"a":{"precision":8}}', '{"a":{"precision":null}}'),
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a plan"):
        Plan.from_json(text)


@pytest.mark.parametrize(
    ("precision", "weight", "activation"),
    [("fp32", 32, 32), ("fp16", 16, 16), ("bf16", 16, 16), ("int8", 8, 8), ("int4", 4, 32)],
)
def test_bits(precision: str, weight: int, activation: int) -> None:
    assert Precision(precision).weight_bits == weight
    assert Precision(precision).activation_bits == activation


def test_every_precision_has_bits() -> None:
    assert all(p.weight_bits <= p.activation_bits for p in Precision)


def test_dense_choices_are_written_as_ever() -> None:
    plain = NodeChoice(Precision.INT8, Sparsity.DENSE, "", 1.0, ())
    assert plain.to_json() == {"precision": "int8"}
    assert [NodeChoice(p).kernel for p in Precision] == [p.value for p in Precision]
    assert [NodeChoice(p).weight_bits for p in Precision] == [p.weight_bits for p in Precision]


def test_a_kernel_is_told_by_its_precision_and_sparsity_alone() -> None:
    sparse = NodeChoice(Precision.INT8, Sparsity.TWO_FOUR)
    assert sparse.kernel == "int8 2:4"
    stored = NodeChoice(Precision.INT8, Sparsity.TWO_FOUR, "int4")
    assert stored.kernel == sparse.kernel
    assert stored.computed == sparse
    assert sparse.computed is sparse


@pytest.mark.parametrize(
    ("precision", "bits"), [(Precision.FP16, 9), (Precision.INT8, 5)], ids=["fp16", "int8"]
)
def test_of_four_sparse_weights_two_are_kept_with_their_places(
    precision: Precision, bits: int
) -> None:
    assert NodeChoice(precision, Sparsity.TWO_FOUR).weight_bits == bits
