"""Value classes: the part of `dataclasses` that this project uses, at a tenth of its start-up time.

`dataclasses` imports `inspect` and compiles six methods for every class as soon as its module is imported: a third of
the time of a short command. Here a class costs its creation, and one method is compiled when the first instance is
made (ADR 22). Type checkers see `dataclasses` itself, so both must mean the same; `tests/unit/test_values.py` compares.

All classes have slots; every annotated name is a field; fields are not inherited.
"""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

__all__ = ["asdict", "dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:
    from operator import attrgetter

    class _Missing:
        def __repr__(self):
            return "<required>"

    _MISSING = _Missing()

    class _Field:
        """The default of one field: a value, or a function that makes one."""

        __slots__ = ("compare", "default", "factory", "repr")

        def __init__(self, default=_MISSING, *, default_factory=None, repr=True, compare=True):
            self.default, self.factory, self.repr, self.compare = default, default_factory, repr, compare

    field = _Field

    def dataclass(*, frozen=False, slots, order=False):
        """Make a value class of the annotated names: `__init__`, `==`, `repr`, and with `frozen` also `hash`."""
        if not slots:
            raise TypeError("value classes have slots")
        return lambda cls: _value_class(cls, frozen, order)

    def _value_class(cls, frozen, order):
        if any(hasattr(base, "_value_fields") for base in cls.__bases__):
            raise TypeError(f"{cls.__qualname__} extends a value class: fields are not inherited")
        namespace = dict(cls.__dict__)
        fields = {}
        for name in cls.__annotations__:
            default = namespace.pop(name, _MISSING)
            fields[name] = default if type(default) is _Field else _Field(default)
        compared = [name for name, declared in fields.items() if declared.compare]
        for name in ("__dict__", "__weakref__"):
            namespace.pop(name, None)
        namespace["__slots__"] = namespace["__match_args__"] = tuple(fields)
        namespace["_value_fields"] = fields
        namespace["_value_key"] = staticmethod(attrgetter(*compared) if compared else _no_key)
        namespace.setdefault("__repr__", _repr)
        namespace.setdefault("__reduce__", _reduce)
        if "__eq__" not in namespace:
            namespace["__eq__"] = _equal
            if "__hash__" not in namespace or namespace["__hash__"] is None:
                namespace["__hash__"] = _hash if frozen else None
        if order:
            namespace.update(__lt__=_less, __le__=_less_or_equal, __gt__=_greater, __ge__=_greater_or_equal)
        if frozen:
            namespace.update(__setattr__=_refuse_change, __delattr__=_refuse_deletion)
        made = type(cls)(cls.__name__, cls.__bases__, namespace)
        made.__qualname__ = cls.__qualname__
        if "__init__" not in namespace:
            made.__init__ = _first_init(made)
        return made

    def _first_init(cls):
        """Return an `__init__` that compiles the real one, puts it in its own place and calls it."""

        def __init__(self, *args, **kwargs):
            init = cls.__init__ = _compiled_init(cls)
            init(self, *args, **kwargs)

        return __init__

    def _compiled_init(cls):
        scope = {"_MISSING": _MISSING}
        parameters, lines = ["self"], []
        for name, declared in cls._value_fields.items():
            parameter = value = name
            if declared.factory is not None:
                scope[f"_make_{name}"] = declared.factory
                parameter, value = f"{name}=_MISSING", f"_make_{name}() if {name} is _MISSING else {name}"
            elif declared.default is not _MISSING:
                scope[f"_default_{name}"] = declared.default
                parameter = f"{name}=_default_{name}"
            scope[f"_set_{name}"] = getattr(cls, name).__set__
            parameters.append(parameter)
            lines.append(f" _set_{name}(self, {value})")
        exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), scope)  # names of fields only
        init = scope["__init__"]
        init.__qualname__ = f"{cls.__qualname__}.__init__"
        return init

    def _no_key(value):
        return ()

    def _equal(self, other):
        return self._value_key(self) == self._value_key(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(self._value_key(self))

    def _less(self, other):
        return self._value_key(self) < self._value_key(other) if other.__class__ is self.__class__ else NotImplemented

    def _less_or_equal(self, other):
        return self._value_key(self) <= self._value_key(other) if other.__class__ is self.__class__ else NotImplemented

    def _greater(self, other):
        return self._value_key(self) > self._value_key(other) if other.__class__ is self.__class__ else NotImplemented

    def _greater_or_equal(self, other):
        return self._value_key(self) >= self._value_key(other) if other.__class__ is self.__class__ else NotImplemented

    def _repr(self):
        shown = (name for name, declared in self._value_fields.items() if declared.repr)
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def _reduce(self):
        return _rebuilt, (type(self), _by_name(self))

    def _rebuilt(cls, values):
        return cls(**values)

    def _refuse_change(self, name, value):
        raise AttributeError(f"cannot assign to field '{name}' of {type(self).__qualname__}")

    def _refuse_deletion(self, name):
        raise AttributeError(f"cannot delete field '{name}' of {type(self).__qualname__}")

    def _by_name(value):
        return {name: getattr(value, name) for name in value._value_fields}

    def asdict(value):
        """Return the fields of a value by name, value classes inside turned into dictionaries as well."""
        return {name: _plain(part) for name, part in _by_name(value).items()}

    def _plain(part):
        if hasattr(part, "_value_fields"):
            return asdict(part)
        if type(part) in (list, tuple):
            return type(part)(_plain(item) for item in part)
        if type(part) is dict:
            return {key: _plain(item) for key, item in part.items()}
        return part

    def replace(value, /, **changes):
        """Return a value of the same class with some fields changed. Raises TypeError for names that are no fields."""
        return type(value)(**(_by_name(value) | changes))
