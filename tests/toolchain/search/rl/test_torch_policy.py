"""The network that is trained is the policy that is shipped."""

import numpy as np
import pytest
import torch
from hwc.toolchain.search.rl.policy import Policy
from hwc.toolchain.search.rl.torch_policy import TorchPolicy

CONTEXT, OPTION = ("a", "b"), ("c", "d", "e")


@pytest.fixture
def policy() -> Policy:
    rng = np.random.default_rng(0)
    drawn = Policy.drawn(CONTEXT, OPTION, hidden=(8, 4), rng=rng)
    drawn.mean[:] = rng.normal(size=5)
    drawn.spread[:] = rng.uniform(0.5, 2.0, 5)
    return drawn


@pytest.fixture
def seen() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(50, 2)), rng.normal(size=(50, 6, 3))
    return features[0].astype(np.float32), features[1].astype(np.float32)


def test_both_give_the_same_scores(policy: Policy, seen: tuple[np.ndarray, np.ndarray]) -> None:
    with torch.no_grad():
        scores = TorchPolicy(policy)(*map(torch.from_numpy, seen)).numpy()
    assert np.allclose(scores, policy.scores(*seen), rtol=1e-5, atol=1e-5)


def test_what_was_trained_comes_back(policy: Policy, seen: tuple[np.ndarray, np.ndarray]) -> None:
    net = TorchPolicy(policy)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    context, options = map(torch.from_numpy, seen)
    for _ in range(3):
        loss = (net(context, options) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = net.trained()
    with torch.no_grad():
        scores = net(context, options).numpy()
    assert np.allclose(trained.scores(*seen), scores, rtol=1e-5, atol=1e-5)
    assert not np.allclose(trained.scores(*seen), policy.scores(*seen), atol=1e-3)


def test_softening_divides_the_scores(policy: Policy, seen: tuple[np.ndarray, np.ndarray]) -> None:
    net = TorchPolicy(policy)
    net.soften(4.0)
    assert np.allclose(net.trained().scores(*seen), policy.scores(*seen) / 4.0, atol=1e-5)
