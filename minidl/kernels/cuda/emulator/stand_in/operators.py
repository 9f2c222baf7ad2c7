"""The operators and methods of arrays that are functions of the library: ``a + b``, ``a.sum()``."""

METHODS = ("all", "any", "argmax", "clip", "max", "mean", "min", "nonzero", "sum")
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
ARITHMETIC = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
PRODUCT = {"matmul": "matmul"}
UNARY = {"neg": "negative", "abs": "absolute", "invert": "invert"}


def _method(function):
    return lambda self, *arguments, **keywords: function(self, *arguments, **keywords)


def _operator(function):
    """``self . other``; as in CuPy, an operand of higher priority than an array handles the operator itself."""

    def operator(self, other):
        if getattr(other, "__array_priority__", 0) > self.__array_priority__:
            return NotImplemented
        return function(self, other)

    return operator


def _reflected(function):
    return lambda self, other: function(other, self)


def _in_place(function):
    return lambda self, other: function(self, other, out=self)


def give_operators(array_class, library):
    """Set the operators and methods of a class of arrays."""
    for name in METHODS:
        setattr(array_class, name, _method(library[name]))
    for name, function in UNARY.items():
        setattr(array_class, f"__{name}__", _method(library[function]))
    for name, function in (COMPARISONS | ARITHMETIC | PRODUCT).items():
        setattr(array_class, f"__{name}__", _operator(library[function]))
    for name, function in (ARITHMETIC | PRODUCT).items():
        setattr(array_class, f"__r{name}__", _reflected(library[function]))
    for name, function in ARITHMETIC.items():
        setattr(array_class, f"__i{name}__", _in_place(library[function]))
