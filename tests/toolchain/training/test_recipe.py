"""Recipes in words, as the command line takes them."""

import pytest
from hwc.toolchain.errors import UsageError
from hwc.toolchain.training.recipe import Optimizer, Recipe, Unfreeze


def test_words_go_before_what_is_known_otherwise() -> None:
    recipe = Recipe.parse(
        "lr=0.01 batch=64 unfreeze=head optimizer=adamw norms=false alpha=0.7", alpha=0.5, seed=3
    )
    assert recipe == Recipe(
        lr=0.01,
        batch=64,
        unfreeze=Unfreeze.HEAD,
        optimizer=Optimizer.ADAMW,
        norms=False,
        alpha=0.7,
        seed=3,
    )
    assert Recipe.parse("") == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=10", "sets nothing"),
        ("lrr=1", "sets nothing"),
        ("lr", "lr is a number"),
        ("lr=inf", "lr is a number"),
        ("batch=1.5", "batch is a number"),
        ("unfreeze=sideways", "one of all, head, changed"),
        ("norms=yes", "one of true, false"),
        ("alpha=2", "alpha"),
        ("lr=-1", "lr"),
    ],
    ids=lambda text: text,
)
def test_what_means_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recipe.parse(text)
    assert message in f"{refused.value.message} {refused.value.hint}"
