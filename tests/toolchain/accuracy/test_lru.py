"""A cache forgets what was not used for the longest time, and never holds more than it may."""

from hwc.toolchain.accuracy.lru import Lru
from hypothesis import given
from hypothesis import strategies as st


def test_the_least_recently_used_goes_first() -> None:
    cache: Lru[str, int] = Lru(10)
    for key in "abc":
        cache.put(key, ord(key), 3)
    assert cache.get("a") == ord("a")
    cache.put("d", 1, 3)
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert cache.get("b") is None
    assert cache.used == 9


def test_what_is_larger_than_all_is_not_kept() -> None:
    cache: Lru[str, int] = Lru(10)
    cache.put("a", 1, 10)
    cache.put("b", 2, 11)
    assert ("a" in cache, "b" in cache, cache.used) == (True, False, 10)
    cache.put("a", 3, 11)
    assert (len(cache), cache.used) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60))
def test_the_limit_holds(puts: list[tuple[int, int]]) -> None:
    cache: Lru[int, int] = Lru(100)
    sizes = {}
    for key, size in puts:
        cache.put(key, size, size)
        sizes[key] = size
        assert cache.used == sum(sizes[k] for k in range(10) if k in cache) <= 100
        assert cache.get(key) == size
    cache.clear()
    assert (cache.used, len(cache)) == (0, 0)
