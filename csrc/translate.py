"""C of the compiled searches: translates the functions that `@jit` marks in xenmem/planning/search/compiled.

What it understands is the part of Python and NumPy that these files use: whole numbers of 64 bits, floats, arrays of up
to three dimensions, loops, and element by element what one line says of whole arrays. It computes as numba does, floor
divisions and the order of equals in a sort included, so that both give the same answers. What it does not understand is
an error of the build. Knows nothing of what is searched for; imports nothing but the standard library.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

SCALARS = {"int": "int64_t", "float": "double", "bool": "bool", "None": "void"}
ELEMENTS = {
    "int32": "int32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float64": "double",
    "bool_": "bool",
}
RANK = ("bool", "int64_t", "double")
EXTENTS = "nml"
POINTER = "const int64_t *"
"""A tuple of a model's constants."""
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}


class Array(NamedTuple):
    """The type of a contiguous array."""

    element: str
    dimensions: int

    @property
    def c(self) -> str:
        return f"xm_{self.element.removesuffix('_t')}_{self.dimensions}"


class Record(NamedTuple):
    """The type of a NamedTuple, passed by value."""

    c: str
    fields: dict[str, "Type"]
    access: str = "."


class Several(NamedTuple):
    """The type of what a function gives that gives a tuple."""

    members: tuple[str, ...]

    @property
    def c(self) -> str:
        return "xm_" + "_".join(member.removesuffix("_t") for member in self.members)


Type = str | Array | Record | Several


class Vector(NamedTuple):
    """What is said of a whole array of one dimension, to be computed element by element: ``at`` gives one's text."""

    element: str
    length: str
    at: Callable[[str], str]


class UnknownError(Exception):
    """The type of a variable is not known yet."""


@dataclass
class Module:
    """What a file says: its constants, aliases of types, and functions; and from where it has names that it uses."""

    name: str
    constants: dict[str, int | float] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    records: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


def c_type(known: Type) -> str:
    return known if isinstance(known, str) else known.c


def names_of(node: ast.AST | None) -> str:
    """The last name of ``np.int32``, ``NDArray``, ``jit``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def element_of(node: ast.expr) -> str | None:
    """The C type in ``NDArray[np.int32]``."""
    if isinstance(node, ast.Subscript) and names_of(node.value) == "NDArray":
        return ELEMENTS.get(names_of(node.slice))
    return None


def read(path: Path) -> Module:
    """A file's names; of its statements only those that are functions, constants, aliases and imports."""
    module = Module(path.stem)
    for statement in _InFull().visit(ast.parse(path.read_text())).body:
        match statement:
            case ast.ImportFrom(module=source, names=names):
                module.imports |= {alias.asname or alias.name: str(source).rpartition(".")[2] for alias in names}
            case ast.FunctionDef(decorator_list=[decorator]) if names_of(decorator) in ("jit", "inlined"):
                module.functions[statement.name] = statement
            case ast.ClassDef(bases=[base]) if names_of(base) == "NamedTuple":
                module.records[statement.name] = statement
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if element := element_of(value):
                    module.arrays[name] = element
                elif (constant := _constant(value, module.constants)) is not None:
                    module.constants[name] = constant
    return module


class _InFull(ast.NodeTransformer):
    """Writes ``x += 1`` as ``x = x + 1``."""

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign:
        value = ast.BinOp(left=ast.parse(ast.unparse(node.target), mode="eval").body, op=node.op, right=node.value)
        return ast.fix_missing_locations(ast.copy_location(ast.Assign(targets=[node.target], value=value), node))


def _constant(node: ast.expr, known: dict[str, int | float]) -> int | float | None:
    """The number that an expression of numbers and known constants is."""
    try:
        value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}, "float": float}, known)
    except (NameError, TypeError):
        return None
    return value if type(value) in (int, float) else None


class Translation:
    """All files together.

    Attributes
    ----------
    types, definitions, exports : C
    declarations : what of it Python may call
    """

    def __init__(self, modules: dict[str, Module], foreign: dict[str, Type] | None = None) -> None:
        self.modules, self.foreign = modules, foreign or {}
        self.several: dict[str, Several] = {}
        self.records: dict[str, Record] = {}
        self.dimensions: dict[tuple[str, str, str], int] = {}
        functions = [(module, name) for module in modules.values() for name in module.functions]
        while sum(self._look(*function) for function in functions):
            pass
        signatures = [self.signature(*function) for function in functions]
        bodies = [Body(self, *function).text for function in functions]
        in_records = [kind for record in self.records.values() for kind in record.fields.values()]
        self.types = "\n".join(
            [
                *(
                    self._array_type(element, count)
                    for element in ELEMENTS.values()
                    for count in (1, 2, 3)
                    if not foreign or Array(element, count) in in_records
                ),
                *map(self._record_type, self.records.values()),
                *map(self._several_type, self.several.values()),
            ]
        )
        self.definitions = "\n".join([*(f"static {signature};" for signature in signatures), *bodies])
        exported = [function for function in functions if not function[1].startswith("_")]
        self.exports = "\n".join(self._export(*function) for function in exported)
        self.declarations = "\n".join(
            [
                *(self._several_type(several) for several in self.several.values()),
                *(f"{self._exported(*function)};" for function in exported),
            ]
        )

    def find(self, module: Module, name: str, kind: str) -> tuple[Module, str] | None:
        """The module that has this name, of the given kind, directly or by import."""
        if name in getattr(module, kind):
            return module, name
        source = self.modules.get(module.imports.get(name, ""))
        return (source, name) if source and name in getattr(source, kind) else None

    # ---------------------------------------------------------------------------------------------------------- types

    def _look(self, module: Module, name: str) -> int:
        """How many dimensions parameters have, as far as the body shows; how much of that is new."""
        changes = 0
        function = module.functions[name]
        own = {argument.arg: argument.arg for argument in function.args.args}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                for target, value in zip(_parts(node.targets[0]), _parts(node.value), strict=False):
                    match value:
                        case ast.Call(func=ast.Attribute(value=ast.Name(id=array), attr="copy")) if array in own:
                            own[names_of(target)] = array  # what a copy is used for says the same

        def note(key: tuple[str, str, str], count: int) -> None:
            nonlocal changes
            if count > self.dimensions.get(key, 1):
                self.dimensions[key] = count
                changes += 1

        for node in ast.walk(function):
            match node:
                case ast.Subscript(value=ast.Name(id=array), slice=ast.Tuple(elts=places)) if array in own:
                    note((module.name, name, own[array]), len(places))
                case ast.Subscript(value=ast.Attribute(value=ast.Name(id=record), attr=array), slice=index):
                    named = next((names_of(one.annotation) for one in function.args.args if one.arg == record), "")
                    if found := self.find(module, named, "records"):
                        places = index.elts if isinstance(index, ast.Tuple) else [index]
                        note((found[0].name, found[1], array), len(places))
                case ast.Call(func=ast.Name(id=callee), args=arguments):
                    if (found := self.find(module, callee, "functions")) and not any(
                        isinstance(argument, ast.Starred) for argument in arguments
                    ):
                        parameters = found[0].functions[callee].args.args
                        for argument, parameter in zip(arguments, parameters, strict=True):
                            if isinstance(argument, ast.Name) and argument.id in own:
                                count = self.dimensions.get((found[0].name, callee, parameter.arg), 1)
                                note((module.name, name, own[argument.id]), count)
        return changes

    def type_of(self, module: Module, annotation: ast.expr, *key: str) -> Type:
        """What an annotation says; ``key``: the function and the parameter, or the record and its field."""
        name = names_of(annotation)
        if name in self.foreign:
            return self.foreign[name]
        if isinstance(annotation, ast.Constant) and annotation.value is None:
            return "void"
        if name in SCALARS:
            return SCALARS[name]
        if isinstance(annotation, ast.Subscript) and names_of(annotation.value) == "tuple":
            assert isinstance(annotation.slice, ast.Tuple)
            several = Several(tuple(SCALARS[names_of(member)] for member in annotation.slice.elts))
            return self.several.setdefault(several.c, several)
        element = element_of(annotation)
        if not element and (found := self.find(module, name, "arrays")):
            element = found[0].arrays[name]
        if element:
            return Array(element, self.dimensions.get((module.name, *key), 1))  # type: ignore[arg-type]
        if found := self.find(module, name, "records"):
            source = found[0]
            if name not in self.records:
                fields = {
                    member.target.id: self.type_of(source, member.annotation, name, member.target.id)
                    for member in source.records[name].body
                    if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
                }
                self.records[name] = Record(f"xm_{name}", fields)
            return self.records[name]
        raise TypeError(f"{module.name}: what is {ast.unparse(annotation)}?")

    def parameters(self, module: Module, name: str) -> dict[str, Type]:
        return {
            argument.arg: self.type_of(module, argument.annotation or argument, name, argument.arg)  # type: ignore[arg-type]
            for argument in module.functions[name].args.args
        }

    def returned(self, module: Module, name: str) -> Type:
        returns = module.functions[name].returns
        assert returns is not None
        return self.type_of(module, returns)

    # -------------------------------------------------------------------------------------------------------------- C

    def signature(self, module: Module, name: str) -> str:
        parameters = ", ".join(f"{c_type(kind)} v_{one}" for one, kind in self.parameters(module, name).items())
        return f"{c_type(self.returned(module, name))} {module.name}_{name}({parameters})"

    def _array_type(self, element: str, count: int) -> str:
        return f"typedef struct {{ {element} *at; int64_t {', '.join(EXTENTS[:count])}; }} {Array(element, count).c};"

    def _record_type(self, record: Record) -> str:
        return f"typedef struct {{ {' '.join(f'{c_type(k)} {n};' for n, k in record.fields.items())} }} {record.c};"

    def _several_type(self, several: Several) -> str:
        members = " ".join(f"{kind} m{number};" for number, kind in enumerate(several.members))
        return f"typedef struct {{ {members} }} {several.c};"

    def _flat(self, module: Module, name: str) -> list[tuple[str, Type]]:
        flat: list[tuple[str, Type]] = []
        for parameter, kind in self.parameters(module, name).items():
            members = kind.fields if isinstance(kind, Record) else {"": kind}
            flat += [
                (f"v_{parameter}_{member}" if member else f"v_{parameter}", one) for member, one in members.items()
            ]
        return flat

    def _exported(self, module: Module, name: str) -> str:
        """A declaration that Python can go by: a pointer and its extents, which are size_t and nothing else is."""
        parts = []
        for parameter, kind in self._flat(module, name):
            if isinstance(kind, Array):
                parts.append(f"{kind.element} *{parameter}")
                parts += [f"size_t {parameter}_{extent}" for extent in EXTENTS[: kind.dimensions]]
            else:
                parts.append(f"{c_type(kind)} {parameter}")
        return f"{c_type(self.returned(module, name))} search_{module.name}_{name}({', '.join(parts)})"

    def _export(self, module: Module, name: str) -> str:
        def value(text: str, kind: Type) -> str:
            if isinstance(kind, Record):
                members = ", ".join(value(f"{text}_{member}", one) for member, one in kind.fields.items())
                return f"({kind.c}){{ {members} }}"
            if isinstance(kind, Array):
                extents = ", ".join(f"(int64_t){text}_{extent}" for extent in EXTENTS[: kind.dimensions])
                return f"({kind.c}){{ {text}, {extents} }}"
            return text

        arguments = ", ".join(value(f"v_{one}", kind) for one, kind in self.parameters(module, name).items())
        returned = self.returned(module, name)
        call = f"{module.name}_{name}({arguments});"
        if returned == "void":
            return f"{self._exported(module, name)}\n{{\n    XM_ENTER()\n    {call}\n}}\n"
        return f"{self._exported(module, name)}\n{{\n    XM_ENTER({{0}})\n    return {call}\n}}\n".replace(
            "XM_ENTER({0})", f"XM_ENTER(({c_type(returned)}){{0}})"
        )


class Body:
    """One function: translated again and again until the types of all its variables are known."""

    def __init__(self, whole: Translation, module: Module, name: str) -> None:
        self.whole, self.module, self.name = whole, module, name
        self.function = module.functions[name]
        self.parameters = whole.parameters(module, name)
        self.returned = whole.returned(module, name)
        self.types: dict[str, Type] = dict(self.parameters)
        self.tuples: dict[str, list[ast.expr]] = {}
        self.numbers: set[int] = set()
        while True:
            before = dict(self.types)
            self.lines: list[str] = []
            self.locals: dict[str, str] = {}
            self.owners = 0
            self.depth = 1
            self.unknown = False
            self.block(self.function.body)
            if before == self.types:
                break
        if self.unknown:
            self.fail(self.function, "the types of not all variables can be found")
        locals_ = {
            self.variable(variable): c_type(kind)
            for variable, kind in self.types.items()
            if variable not in self.parameters
        }
        declared = [f"    {kind} {local} = {{0}};" for local, kind in {**locals_, **self.locals}.items()]
        declared += [f"    XM_OWNER *own{number} = NULL;" for number in range(self.owners)]
        says = (ast.get_docstring(self.function) or "").partition("\n")[0]
        begin = [*([f"/* {says} */"] if says else []), f"static {whole.signature(module, name)}", "{", *declared]
        self.text = "\n".join([*begin, *self.lines, "}\n"])

    def fail(self, node: ast.AST, problem: str) -> NoReturn:
        line = getattr(node, "lineno", 0)
        raise SyntaxError(f"{self.module.name}.py:{line}: {problem}: {ast.unparse(node)}")

    def say(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def local(self, kind: Type) -> str:
        name = f"t{len(self.locals)}"
        self.locals[name] = c_type(kind)
        return name

    def variable(self, name: str) -> str:
        return f"v_{name}"

    def learn(self, name: str, kind: Type) -> None:
        known = self.types.get(name)
        self.types[name] = kind if known is None else self.join(known, kind)

    def join(self, one: Type, other: Type) -> Type:
        if one == other:
            return one
        if one in RANK and other in RANK:
            return max(one, other, key=RANK.index)
        if "uint64_t" in (one, other):
            return "uint64_t"
        raise TypeError(f"{self.module.name}.{self.name}: {one} and {other} for one variable")

    # ----------------------------------------------------------------------------------------------------- statements

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            try:
                self.statement(statement)
            except UnknownError:
                self.unknown = True

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=array, attr="sort"), args=[])):
                text, kind = self.value(array)
                self.say(f"xm_sort_{c_type(kind)}({text});")
            case ast.Expr(value=value):
                self.say(f"{self.value(value)[0]};")
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple(elts=elements)):
                self.tuples[name] = elements
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                self.several(targets, value)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self.assign(target, value)
            case ast.If(test=test, body=body, orelse=orelse):
                self.say(f"if ({self.scalar(test)}) {{")
                self.inner(body)
                if orelse:
                    self.say("} else {")
                    self.inner(orelse)
                self.say("}")
            case ast.While(test=test, body=body, orelse=[]):
                self.say("for (;;) {")
                self.depth += 1
                self.say(f"if (!({self.scalar(test)})) break;")
                self.depth -= 1
                self.inner(body)
                self.say("}")
            case ast.For(target=ast.Name(id=name), iter=iterated, body=body, orelse=[]):
                self.loop(name, iterated, body)
            case ast.Break():
                self.say("break;")
            case ast.Continue():
                self.say("continue;")
            case ast.Return(value=None):
                self.say("return;")
            case ast.Return(value=ast.Tuple(elts=elements)):
                parts = ", ".join(self.scalar(element) for element in elements)
                self.say(f"return ({c_type(self.returned)}){{ {parts} }};")
            case ast.Return(value=ast.expr() as value):
                self.say(f"return {self.value(value)[0]};")
            case _:
                self.fail(node, "a statement that is not translated")

    def inner(self, statements: list[ast.stmt]) -> None:
        self.depth += 1
        self.block(statements)
        self.depth -= 1

    def loop(self, name: str, iterated: ast.expr, body: list[ast.stmt]) -> None:
        """The variable is set anew in each turn, so that it may be changed in the body and keeps its last value."""
        counter = self.local("int64_t")
        match iterated:
            case ast.Call(func=ast.Name(id="range"), args=arguments):
                texts = [self.scalar(argument) for argument in arguments]
                begin, end = ("0", texts[0]) if len(texts) == 1 else texts[:2]
                step = texts[2] if len(texts) == 3 else "1"
                limit = self.local("int64_t")
                self.say(f"{limit} = {end};")
                down = isinstance(arguments[-1], ast.UnaryOp) and len(arguments) == 3
                value: tuple[str, Type] = counter, "int64_t"
                head = f"{counter} = {begin}; {counter} {'>' if down else '<'} {limit}; {counter} += {step}"
            case ast.Tuple(elts=elements):
                values = ", ".join(self.scalar(element) for element in elements)
                table = f"(const int64_t[]){{ {values} }}"
                value = f"{table}[{counter}]", "int64_t"
                head = f"{counter} = 0; {counter} < {len(elements)}; {counter}++"
            case _:
                text, kind = self.value(iterated)
                assert isinstance(kind, Array)
                array = self.local(kind)
                self.say(f"{array} = {text};")
                value = f"{array}.at[{counter}]", "int64_t" if kind.element == "int32_t" else kind.element
                head = f"{counter} = 0; {counter} < {array}.n; {counter}++"
        self.say(f"for ({head}) {{")
        if name != "_":
            self.learn(name, value[1])
            self.say(f"    {self.variable(name)} = {value[0]};")
        self.inner(body)
        self.say("}")

    def several(self, targets: list[ast.expr], value: ast.expr) -> None:
        if isinstance(value, ast.Tuple):
            temporaries = []
            for element in value.elts:
                text, kind = self.value(element)
                temporary = self.local(kind)
                self.say(f"{temporary} = {text};")
                temporaries.append((temporary, kind))
        else:
            text, kind = self.value(value)
            assert isinstance(kind, Several)
            result = self.local(kind)
            self.say(f"{result} = {text};")
            temporaries = [(f"{result}.m{number}", member) for number, member in enumerate(kind.members)]
        for target, (temporary, kind) in zip(targets, temporaries, strict=True):
            if names_of(target) != "_":
                self.put(target, temporary, kind)

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.put(target, *self.value(value))
            return
        assert isinstance(target, ast.Subscript)
        text, kind = self.subscript(target)
        if not isinstance(kind, Array):
            self.say(f"{text} = {self.scalar(value)};")
            return
        vector = self.vector(value)
        step = self.local("int64_t")
        into = self.local(kind)
        self.say(f"{into} = {text};")
        one = vector.at(step) if vector else self.scalar(value)
        self.say(f"for ({step} = 0; {step} < {into}.n; {step}++) {into}.at[{step}] = {one};")

    def put(self, target: ast.expr, text: str, kind: Type) -> None:
        if isinstance(target, ast.Name):
            self.learn(target.id, "int64_t" if kind == "int32_t" else kind)
            self.say(f"{self.variable(target.id)} = {text};")
        else:
            assert isinstance(target, ast.Subscript)
            self.say(f"{self.subscript(target)[0]} = {text};")

    # ---------------------------------------------------------------------------------------------------- expressions

    def scalar(self, node: ast.expr) -> str:
        text, kind = self.value(node)
        if not isinstance(kind, str):
            self.fail(node, "a number is needed")
        return text

    def value(self, node: ast.expr) -> tuple[str, Type]:
        """An expression and its type; what is computed element by element is computed into an array before."""
        match node:
            case ast.BinOp(op=ast.Pow()) if (power := _constant(node, {})) is not None:
                return repr(float(power)), "double"
            case ast.Constant(value=bool(constant)):
                return ("true" if constant else "false"), "bool"
            case ast.Constant(value=int(constant)):
                return f"INT64_C({constant})", "int64_t"
            case ast.Constant(value=float(constant)):
                return repr(constant), "double"
            case ast.Name(id=name):
                return self.of_name(node, name)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Subscript(value=ast.Attribute(value=array, attr="shape"), slice=ast.Constant(value=int(extent))):
                return f"{self.value(array)[0]}.{EXTENTS[extent]}", "int64_t"
            case ast.Subscript():
                if vector := self.chosen(node):
                    return self.computed(vector)
                return self.subscript(node, is_read=True)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"!{self.scalar(operand)}", "bool"
            case ast.BoolOp(op=op, values=values):
                sign = " && " if isinstance(op, ast.And) else " || "
                return f"({sign.join(self.scalar(one) for one in values)})", "bool"
            case ast.IfExp(test=test, body=body, orelse=orelse):
                (yes, one), (no, other) = self.value(body), self.value(orelse)
                return f"({self.scalar(test)} ? {yes} : {no})", self.join(one, other)
            case ast.Call():
                return self.call(node)
        if vector := self.elementwise(node):
            return self.computed(vector)
        return self.arithmetic(node, self.value)

    def of_name(self, node: ast.expr, name: str) -> tuple[str, Type]:
        if name in self.types:
            return self.variable(name), self.types[name]
        if found := self.whole.find(self.module, name, "constants"):
            constant = found[0].constants[name]
            if isinstance(constant, int):
                return f"INT64_C({constant})", "int64_t"
            return repr(constant), "double"
        if any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(self.function)):
            raise UnknownError(name)
        self.fail(node, "an unknown name")

    def attribute(self, node: ast.Attribute) -> tuple[str, Type]:
        match node:
            case ast.Attribute(value=ast.Name(id="np"), attr="inf"):
                return "INFINITY", "double"
            case ast.Attribute(value=ast.Call(func=ast.Attribute(attr="iinfo")), attr="max"):
                return "INT64_MAX", "int64_t"
        text, kind = self.value(node.value)
        if not isinstance(kind, Record):
            self.fail(node, "not an attribute of a record")
        return f"{text}{kind.access}{node.attr}", kind.fields[node.attr]

    def arithmetic(self, node: ast.expr, value: Callable[[ast.expr], tuple[str, Type]]) -> tuple[str, Type]:
        """Operators on numbers; ``value`` gives their operands."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                text, kind = value(operand)
                return f"(-{text})", kind
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                operands = [value(one)[0] for one in (left, *comparators)]
                parts = [
                    f"({one} {COMPARISONS[type(op)]} {other})"
                    for one, op, other in zip(operands, ops, operands[1:], strict=False)
                ]
                return f"({' && '.join(parts)})", "bool"
            case ast.BinOp(left=left, op=op, right=right):
                (one, first), (other, second) = value(left), value(right)
                joined = self.join(first, second)
                if isinstance(op, ast.Div):
                    return f"((double){one} / (double){other})", "double"
                if isinstance(op, (ast.FloorDiv, ast.Mod)):
                    if joined != "int64_t":
                        self.fail(node, "only whole numbers are divided so")
                    return f"xm_{'div' if isinstance(op, ast.FloorDiv) else 'mod'}({one}, {other})", joined
                if isinstance(op, ast.Pow):
                    if not (isinstance(right, ast.Constant) and right.value == 2):
                        self.fail(node, "only squares are taken")
                    return f"xm_square({one})", joined
                return f"({one} {OPERATORS[type(op)]} {other})", joined
        self.fail(node, "an expression that is not translated")

    def subscript(self, node: ast.Subscript, is_read: bool = False) -> tuple[str, Type]:
        """An element, or a part of an array that is contiguous."""
        if isinstance(node.value, ast.Call):
            text, kind = self.value(node.value)
            assert isinstance(kind, Several)
            assert isinstance(node.slice, ast.Constant)
            number = node.slice.value
            assert isinstance(number, int)
            return f"{text}.m{number}", kind.members[number]
        array, kind = self.value(node.value)
        if kind == POINTER:
            return f"{array}[{self.scalar(node.slice)}]", "int64_t"
        if not isinstance(kind, Array):
            self.fail(node, "not an array")
        places = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        extents = EXTENTS[: kind.dimensions]
        if len(places) == 1 and isinstance(places[0], ast.Slice):
            first = self.scalar(places[0].lower) if places[0].lower else "0"
            last = f"xm_min_int64_t({self.scalar(places[0].upper)}, {array}.n)" if places[0].upper else f"{array}.n"
            rest = "".join(f", {array}.{extent}" for extent in extents[1:])
            span = "".join(f" * {array}.{extent}" for extent in extents[1:])
            return f"(({kind.c}){{ {array}.at + ({first}){span}, xm_span({first}, {last}){rest} }})", kind
        if isinstance(places[-1], ast.Slice) and not (places[-1].lower or places[-1].upper):
            places.pop()
        offset = ""
        for place, extent in zip(places, extents, strict=False):
            index = f"XM_AT({self.scalar(place)}, {array}.{extent})"
            offset = f"({offset}) * {array}.{extent} + {index}" if offset else index
        if len(places) == kind.dimensions:
            text = f"{array}.at[{offset}]"
            if is_read and kind.element == "int32_t":
                return f"(int64_t){text}", "int64_t"
            return text, kind.element
        left = extents[len(places) :]
        span = "".join(f" * {array}.{extent}" for extent in left)
        part = Array(kind.element, len(left))
        return f"(({part.c}){{ {array}.at + ({offset}){span}, {', '.join(f'{array}.{one}' for one in left)} }})", part

    def vector(self, node: ast.expr) -> Vector | None:
        """What can be had element by element: arithmetic of arrays, and arrays themselves."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="arange"), args=[count]):
                return Vector("int64_t", self.scalar(count), lambda at: at)
            case ast.Call(func=ast.Attribute(value=array_node, attr="astype"), args=[element]):
                if inner := self.vector(array_node):
                    return Vector(ELEMENTS[names_of(element)], inner.length, inner.at)
            case ast.BinOp() | ast.UnaryOp() | ast.Compare():
                return self.elementwise(node)
            case ast.Name() | ast.Subscript():
                if isinstance(node, ast.Subscript) and (chosen := self.chosen(node)):
                    return chosen
                text, kind = self.value(node) if isinstance(node, ast.Name) else self.subscript(node)
                if isinstance(kind, Array) and kind.dimensions == 1:
                    return Vector(kind.element, f"{text}.n", lambda at: f"{text}.at[{at}]")
        return None

    def chosen(self, node: ast.Subscript) -> Vector | None:
        """A column of an array, or the elements of one that another names."""
        match node.slice:
            case ast.Tuple(elts=[ast.Slice(lower=None, upper=None), place]):
                array, kind = self.value(node.value)
                if isinstance(kind, Array):
                    column = self.scalar(place)
                    return Vector(kind.element, f"{array}.n", lambda at: f"{array}.at[{at} * {array}.m + {column}]")
            case ast.Name():
                places, kind = self.value(node.slice)
                array, of = self.value(node.value)
                if isinstance(kind, Array) and isinstance(of, Array):
                    return Vector(of.element, f"{places}.n", lambda at: f"{array}.at[{places}.at[{at}]]")
        return None

    def elementwise(self, node: ast.expr) -> Vector | None:
        if id(node) in self.numbers:
            return None
        operands = {"operand", "left", "right", "comparators"}
        parts = [one for name, part in ast.iter_fields(node) if name in operands for one in _listed(part)]
        vectors = [(part, self.vector(part)) for part in parts if not isinstance(part, ast.Constant)]
        length = next((vector.length for _, vector in vectors if vector), None)
        if length is None:
            self.numbers.add(id(node))
            return None
        known = {id(part): vector for part, vector in vectors}
        others = {id(part): self.value(part) for part in parts if not known.get(id(part))}

        def value_at(at: str) -> Callable[[ast.expr], tuple[str, Type]]:
            def value(part: ast.expr) -> tuple[str, Type]:
                if vector := known.get(id(part)):
                    wide = "int64_t" if vector.element == "int32_t" else vector.element
                    return f"({wide}){vector.at(at)}", wide
                return others[id(part)]

            return value

        element = self.arithmetic(node, value_at("0"))[1]
        return Vector(c_type(element), length, lambda at: self.arithmetic(node, value_at(at))[0])

    def allocated(self, element: str, extents: list[str]) -> tuple[str, Array]:
        """A new array, which is given back when the function ends or this place is passed again."""
        kind = Array(element, len(extents))
        array = self.local(kind)
        for name, extent in zip(EXTENTS, extents, strict=False):
            self.say(f"{array}.{name} = {extent};")
        product = " * ".join(f"{array}.{name}" for name in EXTENTS[: len(extents)])
        self.say(f"{array}.at = xm_own(&own{self.owners}, {product}, sizeof({element}));")
        self.owners += 1
        return array, kind

    def computed(self, vector: Vector) -> tuple[str, Array]:
        array, kind = self.allocated(vector.element, [vector.length])
        step = self.local("int64_t")
        self.say(f"for ({step} = 0; {step} < {array}.n; {step}++) {array}.at[{step}] = {vector.at(step)};")
        return array, kind

    def array(self, node: ast.expr) -> tuple[str, Array]:
        text, kind = self.value(node)
        if not isinstance(kind, Array):
            self.fail(node, "an array is needed")
        return text, kind

    def call(self, node: ast.Call) -> tuple[str, Type]:
        match node:
            case ast.Call(func=ast.Name(id="len"), args=[array]):
                return f"{self.array(array)[0]}.n", "int64_t"
            case ast.Call(func=ast.Name(id="int" | "float" | "bool" as name), args=[argument]):
                return f"({SCALARS[name]})({self.scalar(argument)})", SCALARS[name]
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=[first, *others]):
                text, kind = self.value(first)
                for other in others:
                    right, its_kind = self.value(other)
                    kind = self.join(kind, its_kind)
                    text = f"xm_{name}_{c_type(kind)}({text}, {right})"
                return text, kind
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self.own_call(node, self.whole.find(self.module, name, "functions"), arguments)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=source), attr=name), args=arguments) if (
                source in self.whole.modules and source in self.module.imports
            ):
                return self.own_call(node, (self.whole.modules[source], name), arguments)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=name), args=arguments):
                return self.numpy(node, name, arguments)
            case ast.Call(func=ast.Attribute(value=array_node, attr="copy"), args=[]):
                text, kind = self.array(array_node)
                made, _ = self.allocated(kind.element, [f"{text}.{extent}" for extent in EXTENTS[: kind.dimensions]])
                count = " * ".join(f"{text}.{extent}" for extent in EXTENTS[: kind.dimensions])
                self.say(f"memcpy({made}.at, {text}.at, sizeof({kind.element}) * (size_t)({count}));")
                return made, kind
            case ast.Call(func=ast.Attribute(value=array_node, attr="max" | "min" | "argmax" | "argmin" as name)):
                text, kind = self.array(array_node)
                element = "int64_t" if name.startswith("arg") else kind.element
                return f"xm_{name}_of_{kind.element}({text})", element
            case ast.Call(func=ast.Attribute(value=array_node, attr="all"), args=[]):
                if vector := self.vector(array_node):
                    result, step = self.local("bool"), self.local("int64_t")
                    self.say(f"{result} = true;")
                    head = f"for ({step} = 0; {step} < {vector.length} && {result}; {step}++)"
                    self.say(f"{head} {result} = {vector.at(step)};")
                    return result, "bool"
            case ast.Call(func=ast.Attribute(attr="astype")):
                if vector := self.vector(node):
                    return self.computed(vector)
        self.fail(node, "a call that is not translated")

    def own_call(self, node: ast.Call, found: tuple[Module, str] | None, arguments: list[ast.expr]) -> tuple[str, Type]:
        if not found:
            self.fail(node, "a function that is not translated")
        given = []
        for argument in arguments:
            match argument:
                case ast.Starred(value=ast.Name(id=several)):
                    given += self.tuples[several]
                case _:
                    given.append(argument)
        texts = []
        for argument, kind in zip(given, self.whole.parameters(*found).values(), strict=True):
            text, its_kind = self.value(argument)
            if not isinstance(kind, str) and kind != its_kind:
                self.fail(argument, f"{c_type(its_kind)} where {found[1]} takes {c_type(kind)}")
            texts.append(text)
        return f"{found[0].name}_{found[1]}({', '.join(texts)})", self.whole.returned(*found)

    def numpy(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> tuple[str, Type]:
        if name in ELEMENTS:
            element = ELEMENTS[name]
            if isinstance(arguments[0], ast.Constant):
                return f"({element}){arguments[0].value!r}{'U' if element[0] == 'u' else ''}LL", element
            return f"({element})({self.scalar(arguments[0])})", element
        if name in ("empty", "zeros", "ones", "full"):
            shape = arguments[0].elts if isinstance(arguments[0], ast.Tuple) else [arguments[0]]
            extents = [self.scalar(extent) for extent in shape]
            values = {"zeros": ("0", "double"), "ones": ("1", "double"), "empty": ("", "double")}
            text, kind = values[name] if name in values else self.value(arguments[1])
            more = arguments[1 if name in values else 2 :]
            element = ELEMENTS[names_of(more[0])] if more else c_type(kind)
            array, made = self.allocated(element, extents)
            if text:
                product = " * ".join(f"{array}.{extent}" for extent in EXTENTS[: len(extents)])
                step = self.local("int64_t")
                self.say(f"for ({step} = 0; {step} < {product}; {step}++) {array}.at[{step}] = {text};")
            return array, made
        if name == "eye":
            array, made = self.allocated("double", [self.scalar(arguments[0])] * 2)
            self.say(f"xm_eye({array});")
            return array, made
        if name == "argsort":
            keys, kind = self.array(arguments[0])
            array, made = self.allocated("int64_t", [f"{keys}.n"])
            how = "stable" if node.keywords else "quick"
            self.say(f"xm_argsort_{kind.element}_{how}({keys}, {array});")
            return array, made
        if name == "flatnonzero" and (vector := self.vector(arguments[0])):
            array, made = self.allocated("int64_t", [vector.length])
            step, length = self.local("int64_t"), self.local("int64_t")
            self.say(f"{length} = 0;")
            self.say(
                f"for ({step} = 0; {step} < {array}.n; {step}++) "
                f"if ({vector.at(step)}) {array}.at[{length}++] = {step};"
            )
            self.say(f"{array}.n = {length};")
            return array, made
        self.fail(node, "a function of NumPy that is not translated")


def _parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _listed(part: object) -> list[ast.expr]:
    return part if isinstance(part, list) else [part] if isinstance(part, ast.expr) else []


def translate(*paths: Path, foreign: dict[str, Type] | None = None) -> Translation:
    """Files together; ``foreign``: types that C has of its own, by their name in Python."""
    return Translation({path.stem: read(path) for path in paths}, foreign)
