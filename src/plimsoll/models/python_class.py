"""Finds and imports the author's class: from a file, a folder with model.py, or `package.module:Class`."""

import difflib
import importlib
import importlib.util
import inspect
import itertools
import linecache
import os
import sys
from types import ModuleType

from plimsoll.core.errors import ModelLoadError
from plimsoll.models.authors_code import AuthorsCode, describe
from plimsoll.models.source import ModelSource, is_reference

_count = itertools.count(1)


class ClassLoader:
    """One source's way to its class. `search_path` entries that it added to sys.path are taken off again by `close`."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._reference = is_reference(source.path) and not os.path.exists(source.path)
        self._module_name = ""
        self._added: list[str] = []
        if self._reference:
            self.file, self.file_as_known = "", ""
            folders = [source.directory]
        elif os.path.isdir(source.path):
            self.file = self.file_as_known = os.path.join(os.path.abspath(source.path), "model.py")
            folders = [os.path.dirname(self.file), source.directory]
        else:
            # A single file may be a copy; data files and modules of the author's lie beside the original.
            self.file = os.path.abspath(source.path)
            self.file_as_known = os.path.abspath(source.origin or source.path)
            folders = [os.path.dirname(self.file_as_known), os.path.dirname(self.file), source.directory]
        self._folders = list(dict.fromkeys(os.path.abspath(folder) for folder in folders if folder))
        self.author = AuthorsCode(self._folders)
        self.shown = os.path.basename(self.file) if self.file else source.path

    def find(self) -> type:
        """Imports and returns the class. Raises ModelLoadError."""
        for folder in reversed(self._folders):
            if folder not in sys.path:
                sys.path.insert(0, folder)
                self._added.append(folder)
        if self._reference:
            module_name, _, class_name = self._source.path.rpartition(":")
            module = self._import(module_name)
            if module.__file__:
                depth = module_name.count(".") + 1
                root = os.path.abspath(module.__file__)
                for _ in range(depth + (os.path.basename(root) == "__init__.py")):
                    root = os.path.dirname(root)
                self.author = AuthorsCode([*self._folders, root])
            return self._named(module, class_name)
        module = self._execute()
        return self._named(module, self._source.class_name) if self._source.class_name else self._only(module)

    def failed(self, error: BaseException) -> ModelLoadError:
        """What the author needs to know of an error that left the author's code."""
        reason = describe(error)
        if isinstance(error, ModuleNotFoundError):
            reason += "; a package belongs in runtime.requirements and must be installed"
        file, line = self.author.place(error) or (self.shown, 0)
        return ModelLoadError(reason, file=file, line=line, detail=self.author.trace(error))

    def close(self) -> None:
        for folder in self._added:
            if folder in sys.path:
                sys.path.remove(folder)
        self._added.clear()
        if self._module_name:
            sys.modules.pop(self._module_name, None)

    def _import(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise self.failed(error) from error

    def _execute(self) -> ModuleType:
        try:
            with open(self.file, "rb") as opened:
                source = opened.read()
        except OSError as error:
            if os.path.isdir(self._source.path):
                raise ModelLoadError("the folder has no model.py that can be read", file=self._source.shown) from None
            raise ModelLoadError(f"can't be read: {error.strerror}", file=self.shown) from None
        known = self.file_as_known
        # A name of its own, so that two models called model.py can live in one process.
        self._module_name = f"plimsoll_model_{next(_count)}_{os.path.splitext(os.path.basename(known))[0]}"
        spec = importlib.util.spec_from_file_location(self._module_name, known)
        if spec is None:
            raise ModelLoadError("is no Python file: its name must end in .py", file=self.shown)
        # Tracebacks show the lines that run, not those that an editor has saved since.
        lines = source.decode("utf-8", "replace").splitlines(keepends=True)
        linecache.cache[known] = (len(source), None, lines, known)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self._module_name] = module  # dataclasses and pickle look their module up here
        try:
            exec(compile(source, known, "exec", dont_inherit=True), module.__dict__)
        except (Exception, SystemExit) as error:
            sys.modules.pop(self._module_name, None)
            raise self.failed(error) from error
        return module

    def _named(self, module: ModuleType, name: str) -> type:
        found = getattr(module, name, None)
        if isinstance(found, type):
            return found
        known = _classes(module)
        near = difflib.get_close_matches(name, [cls.__name__ for cls in known], n=1)
        hint = f"; did you mean {near[0]}?" if near else _listing(known)
        raise ModelLoadError(f"defines no class {name}{hint}", file=self.shown)

    def _only(self, module: ModuleType) -> type:
        known = _classes(module)
        able = [cls for cls in known if callable(getattr(cls, "predict", None))]
        if len(able) == 1:
            return able[0]
        if able:
            names = ", ".join(cls.__name__ for cls in able)
            raise ModelLoadError(
                f"defines {len(able)} classes with predict: {names}; name one in spec.model.className", file=self.shown
            )
        raise ModelLoadError(f"defines no class with a method predict(self, batch){_listing(known)}", file=self.shown)


def _classes(module: ModuleType) -> list[type]:
    """The public classes that the module itself defines, in the order of their lines."""
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.isabstract(value)
    ]


def _listing(classes: list[type]) -> str:
    return f"; it defines {', '.join(cls.__name__ for cls in classes)}" if classes else ""
