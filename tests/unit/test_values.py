"""Value classes do what `dataclasses` does, for less."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle

import pytest

from barman import values

SLOW = ("dataclasses", "typing")


class Plain:
    name: str
    size: int = 0
    tags: list[str] = values.field(default_factory=list)
    note: str = values.field(default="", repr=False, compare=False)


class Twin:
    name: str
    size: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    note: str = dataclasses.field(default="", repr=False, compare=False)


@values.dataclass(frozen=True, slots=True, order=True)
class Point:
    x: int
    y: int = 0

    def moved(self) -> Point:
        return values.replace(self, x=self.x + 1)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class OtherPoint:
    x: int
    y: int = 0


Changeable = values.dataclass(slots=True)(Plain)
ChangeableTwin = dataclasses.dataclass(slots=True)(Twin)


def test_an_instance_is_made_as_by_dataclasses():
    for ours, theirs in (
        (Changeable("a"), ChangeableTwin("a")),
        (Changeable("a", 3, ["t"]), ChangeableTwin("a", 3, ["t"])),
        (Changeable(size=2, name="b", note="n"), ChangeableTwin(size=2, name="b", note="n")),
    ):
        assert values.asdict(ours) == dataclasses.asdict(theirs)
        assert repr(ours) == repr(theirs).replace("Twin", "Plain")
        assert not hasattr(ours, "__dict__")
    assert Changeable("a", note="x") == Changeable("a", note="y")
    assert Changeable("a").tags is not Changeable("a").tags
    assert Changeable.__match_args__ == ChangeableTwin.__match_args__


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("a", 1, [], "", 5), {}), (("a",), {"other": 1}), (("a",), {"name": 1})]
)
def test_wrong_arguments_are_a_type_error_also_the_first_time(args, kwargs):
    fresh = values.dataclass(frozen=True, slots=True)(type("Fresh", (), {"__annotations__": {"name": "str"}}))
    for cls in (Changeable, ChangeableTwin, fresh):
        with pytest.raises(TypeError):
            cls(*args, **kwargs)


def test_equality_order_and_hash_are_those_of_dataclasses():
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    for a in pairs:
        for b in pairs:
            ours, theirs = (Point(*a), Point(*b)), (OtherPoint(*a), OtherPoint(*b))
            for operation in ("__eq__", "__lt__", "__le__", "__gt__", "__ge__"):
                assert getattr(ours[0], operation)(ours[1]) == getattr(theirs[0], operation)(theirs[1])
            assert (hash(ours[0]) == hash(ours[1])) == (a == b)
    assert Point(1) != OtherPoint(1)
    with pytest.raises(TypeError):
        _ = Point(1) < OtherPoint(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Changeable("a"))


def test_a_frozen_value_is_changed_only_by_making_another():
    point = Point(1, 2)
    with pytest.raises(AttributeError, match="cannot assign to field 'x'"):
        point.x = 5  # type: ignore[misc]  what the test is about
    with pytest.raises(AttributeError, match="cannot delete field 'x'"):
        del point.x  # type: ignore[misc]  what the test is about
    with pytest.raises(AttributeError):
        point.z = 5  # type: ignore[attr-defined]  what the test is about
    assert point.moved() == Point(2, 2)
    assert point == Point(1, 2)
    with pytest.raises(TypeError):
        values.replace(point, z=1)


def test_a_value_is_copied_and_pickled_with_its_fields():
    point = Point(1, 2)
    assert copy.copy(point) == point
    assert copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point


def test_nested_values_become_plain_dictionaries():
    outer = Changeable("a", tags=[Point(1)])  # type: ignore[list-item]  any value will do
    assert values.asdict(outer) == {"name": "a", "size": 0, "tags": [{"x": 1, "y": 0}], "note": ""}


def test_a_field_is_never_inherited_in_silence():
    with pytest.raises(TypeError, match="extends a value class"):

        @values.dataclass(frozen=True, slots=True)
        class Sub(Point):
            z: int = 0


def test_no_module_of_the_package_imports_what_values_and_typing_stand_for():
    package = os.path.dirname(values.__file__)
    own = {os.path.join(package, name) for name in ("values.py", "typing.py")}
    read = 0
    for directory, _, names in os.walk(package):
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".py") and path not in own:
                with open(path) as file:
                    lines = [line.split() for line in file]
                imports = [words for words in lines if words[:1] in (["from"], ["import"]) and words[1] in SLOW]
                assert imports == [], path
                read += 1
    assert read > 200
