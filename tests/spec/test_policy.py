"""Policies tighten: what several accept together is exactly what each of them accepts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.spec.policy import ImagePolicy, Policy, covers, tightened

part = st.sampled_from(["a", "ab", "abc", "b", "x"])
starred = st.one_of(part, st.just("*"), part.map(lambda text: f"{text}*"))
patterns = st.tuples(starred, starred).map("/".join)
entries = st.tuples(part, part).map("/".join)
policies = st.builds(
    Policy,
    servers=st.one_of(st.none(), st.lists(patterns, max_size=4).map(tuple)),
    images=st.builds(
        ImagePolicy,
        require=st.sampled_from([None, "digest"]),
        signed_by=st.lists(st.sampled_from(["p", "q"]), max_size=2).map(tuple),
    ),
)


@given(st.lists(policies, max_size=4), entries)
def test_an_entry_is_accepted_together_when_each_accepts_it(several: list[Policy], entry: str) -> None:
    assert tightened(several).accepts(entry) == all(policy.accepts(entry) for policy in several)


@given(st.lists(policies, max_size=4))
def test_requirements_add_up(several: list[Policy]) -> None:
    together = tightened(several).images

    assert together.wants_digests == any(policy.images.wants_digests for policy in several)
    assert set(together.signed_by) == {file for policy in several for file in policy.images.signed_by}


@given(patterns, patterns, entries)
def test_what_a_pattern_covers_it_accepts(wide: str, narrow: str, entry: str) -> None:
    if covers(wide, narrow) and covers(narrow, entry):
        assert covers(wide, entry)


@given(st.lists(policies, min_size=1, max_size=3))
def test_order_and_repetition_do_not_matter(several: list[Policy]) -> None:
    one, other = tightened(several), tightened([*reversed(several), several[0]])

    assert set(one.servers or ()) == set(other.servers or ())
    assert (one.servers is None) == (other.servers is None)
    assert set(one.images.signed_by) == set(other.images.signed_by)
