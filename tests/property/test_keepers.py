"""Keepers: everybody who knows the same nodes agrees, and a node that comes or goes moves little."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.keepers import KEEPERS, Keepers, rank

_nodes = st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=1, max_size=8, unique=True)
_index = st.integers(0, 255)


@given(_nodes, _index, st.randoms())
def test_keepers_do_not_depend_on_the_order_in_which_nodes_are_known(nodes: list[str], index: int, random: object) -> None:
    """Two nodes, or all where there are fewer."""
    keepers = Keepers(nodes).of("app", index)
    shuffled = list(nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Keepers(shuffled).of("app", index) == keepers == tuple(rank("app", index, nodes)[:KEEPERS])
    assert len(keepers) == len(set(keepers)) == min(KEEPERS, len(nodes))


@given(_nodes, _index)
def test_a_node_that_leaves_is_followed_by_the_next(nodes: list[str], index: int) -> None:
    """The others keep their order, so the second keeper becomes the first."""
    order = rank("app", index, nodes)
    for gone in nodes:
        keepers = Keepers(nodes)
        keepers.of("app", index)
        keepers.replace(node for node in nodes if node != gone)
        assert keepers.of("app", index) == tuple(node for node in order if node != gone)[:KEEPERS]


def test_keepers_are_spread_over_the_nodes() -> None:
    """Nobody is the first keeper of much more than its share."""
    nodes = [f"node {number}" for number in range(10)]
    keepers = Keepers(nodes)
    firsts = [keepers.of(f"app {number // 256}", number % 256)[0] for number in range(2560)]
    assert all(180 < firsts.count(node) < 340 for node in nodes)
