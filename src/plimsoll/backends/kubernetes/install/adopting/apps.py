"""A web app's source, read without running it: the function behind a POST route, and a model class that calls it.

FastAPI and Flask in the shapes that tutorials have: `@app.post("/analyze") def analyze(input: TextInput)`, and
`@app.route("/analyze", methods=["POST"])`.
"""

import ast
import keyword
import re
from dataclasses import dataclass

from plimsoll.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`parameter`: the name of its one body parameter; `model`: the pydantic class of it, "" for a plain value.
    `fields`: of that class, in order, with what they take."""

    module: str
    app: str
    function: str
    path: str
    is_async: bool = False
    parameter: str = ""
    model: str = ""
    fields: tuple[tuple[str, str], ...] = ()


_PLAIN = {"str": "what a lovely day", "int": 1, "float": 1.0, "bool": True}


def endpoints(source: str, module: str) -> list[Endpoint]:
    """POST routes of the module's app, in order. Raises UserError where the source is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise UserError(f"{module}.py:{error.lineno}  {error.msg}; expected Python") from None
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                one = _endpoint(node, decorator, classes, module)
                if one is not None:
                    found.append(one)
    return found


def _endpoint(
    node: ast.FunctionDef | ast.AsyncFunctionDef, decorator: ast.expr, classes: dict[str, ast.ClassDef], module: str
) -> Endpoint | None:
    if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.args):
        return None
    path = decorator.args[0]
    app = decorator.func.value
    if not (isinstance(path, ast.Constant) and isinstance(path.value, str) and isinstance(app, ast.Name)):
        return None
    if decorator.func.attr != "post" and not (decorator.func.attr in ("route", "api_route") and _posts(decorator)):
        return None
    parameter, model = _body(node, classes)
    return Endpoint(
        module, app.id, node.name, path.value, isinstance(node, ast.AsyncFunctionDef), parameter, model,
        _fields(classes[model]) if model else (),
    )  # fmt: skip


def _posts(decorator: ast.Call) -> bool:
    methods = next((one.value for one in decorator.keywords if one.arg == "methods"), None)
    return isinstance(methods, ast.List | ast.Tuple | ast.Set) and any(
        isinstance(one, ast.Constant) and one.value == "POST" for one in methods.elts
    )


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef, classes: dict[str, ast.ClassDef]) -> tuple[str, str]:
    """Its first parameter; with the class from this module that it is annotated with."""
    arguments = [*node.args.posonlyargs, *node.args.args]
    if not arguments:
        return "", ""
    annotation = arguments[0].annotation
    name = annotation.id if isinstance(annotation, ast.Name) else ""
    return arguments[0].arg, name if name in classes else ""


def _fields(node: ast.ClassDef) -> tuple[tuple[str, str], ...]:
    return tuple(
        (one.target.id, ast.unparse(one.annotation))
        for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    )


def request_of(endpoint: Endpoint) -> object:
    """A body that its class takes, as far as that can be told."""
    return {name: _value(kind) for name, kind in endpoint.fields} if endpoint.fields else {"text": _PLAIN["str"]}


def _value(kind: str) -> object:
    inner = re.match(r"(?:list|List|Sequence)\[(\w+)\]", kind)
    if inner:
        return [_PLAIN.get(inner[1], "…")]
    return _PLAIN.get(kind.split("|")[0].strip(), "…")


def class_name(name: str) -> str:
    """`sentiment-inference` to `SentimentInference`."""
    made = "".join(part.capitalize() for part in name.split("-"))
    return f"Model{made}" if not made.isidentifier() or keyword.iskeyword(made) else made


def model_source(name: str, endpoint: Endpoint | None) -> str:
    """model.py: around the app's own function where it is known, else with the place for it marked."""
    return _wrapping(name, endpoint) if endpoint is not None else _EMPTY.format(name=name, cls=class_name(name))


def _wrapping(name: str, one: Endpoint) -> str:
    call = f"self.app.{one.function}({'given' if one.parameter else ''})"
    if one.is_async:
        call = f"asyncio.run({call})"
    if one.model:
        given = f"self.app.{one.model}(**item)"
        expected = ", ".join(field for field, _ in one.fields)
        check = f"""        try:
            given = {given}
        except (TypeError, ValueError) as error:  # pydantic's own is a ValueError
            return Invalid(f"expected {expected}: {{error}}")
"""
        imports = "from plimsoll.core.errors import Invalid\n\n\n"
    else:
        check = "        given = item\n" if one.parameter else ""
        imports = ""
    asyncio = "import asyncio\n\n" if one.is_async else ""
    head = (
        f'"""{name}: the function behind POST {one.path} of {one.module}.py, called for each input of a batch."""\n\n'
    )
    gap = "" if imports else "\n"
    return f"""{head}{asyncio}{imports}{gap}class {class_name(name)}:
    def load(self):
        \"\"\"Runs once, before the first request: importing the app builds what it builds.\"\"\"
        import {one.module}

        self.app = {one.module}

    def predict(self, batch):
        \"\"\"A list of inputs in, a list of as many outputs out. If the model takes a list at once, call it so.\"\"\"
        return [self.answer(item) for item in batch]

    def answer(self, item):
{check}        return {call}
"""


_EMPTY = '''"""{name}: put what your app does into this class (adopt --app app.py writes it for a FastAPI module)."""


class {cls}:
    def load(self):
        """Runs once, before the first request: what your app does when it starts, such as pipeline("…")."""
        raise NotImplementedError("load() and predict() are still to be written: your app's own code goes here")

    def predict(self, batch):
        """A list of inputs in, a list of as many outputs out: what your app does for one request, for each of them."""
        return [self.model(item["text"])[0] for item in batch]
'''
