"""Reads the text of a compiled program, and counts what a device has to do for it.

The text is XLA's, after all optimizations: what is a fusion or a custom call there is one kernel on
a GPU.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator

# Instructions that cost nothing, or whose cost is that of the computations they call.
FREE = {
  "parameter",
  "constant",
  "tuple",
  "get-tuple-element",
  "bitcast",
  "after-all",
  "add-dependency",
  "opt-barrier",
  "partition-id",
  "replica-id",
  "while",
  "conditional",
  "call",
}
BYTES = {"pred": 1, "bf16": 2, "f16": 2, "token": 0, "opaque": 0, "c64": 8, "c128": 16}
ARRAY = re.compile(r"\b(pred|token|opaque|bf16|[a-z]\d+\w*)\[([\d,]*)\](\{[^}]*\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a compiled program."""

  name: str
  shape: str  # of the result, in XLA's words
  code: str  # for example "fusion"
  operands: tuple[str, ...]  # names
  rest: str  # attributes
  root: bool  # whether its result is that of the computation

  @property
  def origin(self) -> str:
    """The path of the JAX operation that it comes from."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found[1] if found else ""

  def calls(self, attribute: str) -> str:
    """The computation that an attribute names, for example "body"; "" if there is none."""
    found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.rest)
    return found[1] if found else ""


Computation = list[Instruction]


class Program:
  """The computations of a compiled program by name, and the name of the first one, `entry`."""

  def __init__(self, text: str):
    self.computations: dict[str, Computation] = {}
    self.entry, current = "", []
    for line in text.splitlines():
      if line[:1] in ("%", "E") and line.endswith("{"):
        name = re.match(r"(?:ENTRY )?%?([\w.\-]+)", line)
        current = self.computations.setdefault(name[1] if name else "", [])
        self.entry = name[1] if name and line.startswith("ENTRY") else self.entry
      elif " = " in line and line.startswith("  "):
        current.append(_instruction(line))

  def find(self, computation: str, name: str) -> Instruction | None:
    """The instruction of this name in a computation."""
    return next((x for x in self.computations.get(computation, []) if x.name == name), None)

  def trips(self, loop: Instruction) -> int | None:
    """How often the body of a loop is executed; None if that depends on data."""
    found = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if found:
      return int(found[1])
    condition = self.computations.get(loop.calls("condition"), [])
    roots = [x for x in condition if x.root and x.code == "compare" and "direction=LT" in x.rest]
    limits = [x for x in condition if roots and x.name == roots[0].operands[1]]
    if limits and limits[0].code == "constant":
      return int(re.findall(r"constant\((\d+)\)", limits[0].rest)[0])
    return None

  def walk(
    self, computation: str, trips: Callable[[Instruction], float], executions: float = 1
  ) -> Iterator[tuple[str, Instruction, float]]:
    """All instructions that are executed: their computation, they themselves, and how often.

    Of a conditional the branch with the most instructions is executed.

    Args:
      computation: where to start.
      trips: how often the body of a loop is executed where that depends on data.
      executions: how often `computation` is executed.
    """
    for one in self.computations.get(computation, []):
      yield computation, one, executions
      if one.code == "while":
        known = self.trips(one)
        count = trips(one) if known is None else known
        yield from self.walk(one.calls("body"), trips, executions * count)
        if known is None:
          yield from self.walk(one.calls("condition"), trips, executions * (count + 1))
      elif one.code == "conditional":
        branches = re.search(r"branch_computations=\{([^}]*)\}", one.rest)
        names = re.findall(r"[\w.\-]+", branches[1]) if branches else []
        names += [one.calls("true_computation"), one.calls("false_computation")]
        largest = max(names, key=lambda name: len(self.computations.get(name, [])))
        yield from self.walk(largest, trips, executions)
      elif one.code == "call":
        yield from self.walk(one.calls("to_apply"), trips, executions)

  def moved(self, computation: str, one: Instruction) -> int:
    """The bytes of the device's main memory that a kernel reads and writes.

    Of an array that a kernel only slices, or updates in place, the slice counts. What the compiler
    has placed in another memory, such as a TPU's VMEM, counts where it is copied from or to there.
    """
    shapes = {x.name: x.shape for x in self.computations[computation]}
    operands = [shapes.get(name, "") for name in one.operands]
    if one.code in ("slice", "slice-start", "dynamic-slice", "gather"):
      result = _slice(one)
      return (nbytes(result) if main_memory(operands[0]) else 0) + main_memory(result)
    if one.code == "dynamic-update-slice":
      return main_memory(operands[1]) + (nbytes(operands[1]) if main_memory(operands[0]) else 0)
    if one.code.endswith("-start"):
      return main_memory(one.shape)  # it contains the operand
    body = self.computations.get(one.calls("calls"), []) if one.code == "fusion" else []
    if not body:
      return sum(map(main_memory, operands)) + main_memory(one.shape)
    return sum(self._read(body, operands)) + self._written(body, one)

  def _read(self, body: Computation, operands: list[str]) -> list[int]:
    read, update = list(map(main_memory, operands)), "dynamic-update-slice"
    slices = ("slice", "dynamic-slice", "gather", update)
    for parameter in (x for x in body if x.code == "parameter"):
      number = int(re.findall(r"parameter\((\d+)\)", parameter.rest)[0])
      if not read[number]:
        continue
      names = {parameter.name}  # with what is the same array in another layout
      for x in body:
        if x.operands and x.operands[0] in names and x.code in ("bitcast", "copy", "fusion"):
          names |= {x.name} if nbytes(x.shape) == nbytes(operands[number]) else set()
      users = [x for x in body if names & set(x.operands) and x.name not in names]
      if users and all(x.code in slices and x.operands[0] in names for x in users):
        read[number] = sum(nbytes(x.shape) for x in users if x.code != update)
    return read

  def _written(self, body: Computation, one: Instruction) -> int:
    shapes = {x.name: x.shape for x in body}
    updates = [x for x in body if x.code == "dynamic-update-slice"]
    inside = sum(nbytes(x.shape) - nbytes(shapes[x.operands[1]]) for x in updates)
    return max(main_memory(one.shape) - inside, 0)

  def in_place(self, one: Instruction) -> bool:
    """Whether a kernel updates a slice of an array, and so does not write the rest of it."""
    codes = ("dynamic-update-slice", "scatter")
    body = self.computations.get(one.calls("calls"), [])
    return one.code in codes or any(x.code in codes for x in body)


def is_kernel(one: Instruction) -> bool:
  """Whether a device has to start something for an instruction."""
  return one.code not in FREE and not one.code.endswith("-done")


def nbytes(shape: str) -> int:
  """The bytes of all arrays in a shape, without the padding of layouts."""
  return _total(arrays(shape))


def main_memory(shape: str) -> int:
  """The bytes of those arrays in a shape that are in the device's main memory.

  Arrays in another memory space have S(n) in their layout.
  """
  return _total([found for found in arrays(shape) if "S(" not in found[2]])


Found = tuple[str, tuple[int, ...], str]  # an array: dtype, dimensions, layout


def arrays(shape: str) -> list[Found]:
  """The arrays in a shape: dtype, dimensions, layout."""
  return [
    (dtype, tuple(map(int, dims.split(","))) if dims else (), layout)
    for dtype, dims, layout in ARRAY.findall(shape)
  ]


def _total(found: list[Found]) -> int:
  return int(sum(math.prod(dims) * _itemsize(dtype) for dtype, dims, _ in found))


def _itemsize(dtype: str) -> float:
  if dtype in BYTES:
    return BYTES[dtype]
  return int(re.findall(r"\d+", dtype)[0]) / 8


def _slice(one: Instruction) -> str:
  """The shape of a slice; that of `slice-start` is ((array), slice, context)."""
  if one.code != "slice-start":
    return one.shape
  _, rest = _split(one.shape[1:-1])
  return _split(rest)[0]


def _instruction(line: str) -> Instruction:
  name, _, text = line.strip().partition(" = ")
  root = name.startswith("ROOT ")
  shape, text = _split(text)
  code, _, _ = text.partition("(")
  inside, rest = _split(text[len(code) :])
  operands = tuple(re.findall(r"%([\w.\-]+)", inside))
  if code in ("parameter", "constant"):
    rest = f"{code}{inside} {rest}"
  return Instruction(
    name.removeprefix("ROOT ").lstrip("%"), shape, code.strip(), operands, rest, root
  )


def _split(text: str) -> tuple[str, str]:
  """Splits off what comes first: something in parentheses, or a word."""
  if not text.startswith("("):
    first, _, rest = text.partition(" ")
    return first, rest
  depth = 0
  for end, character in enumerate(text):
    depth += (character == "(") - (character == ")")
    if not depth:
      return text[: end + 1], text[end + 1 :].lstrip(" ,")
  return text, ""
