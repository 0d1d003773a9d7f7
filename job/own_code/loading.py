"""Loading the user's module under a name of its own, so that it is in nobody's way, and workers load the same."""

import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from job.own_code.blame import describe
from job.own_code.own_code import OwnCode, code_error

_loading = threading.Lock()


def load_object(code: OwnCode) -> object:
    """What the spec's `function` names in the module.

    A module is run once per process; loading it again gives the same classes, so that what Keras has registered stays.

    Raises:
        ModelCodeError, DataError: the module cannot be loaded, or has no such name; with the user's own line.
    """
    with _loading:
        module = load_module(code)
    found = getattr(module, code.function, None)
    if found is None:
        names = sorted(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
        own = [name for name in names if getattr(getattr(module, name), "__module__", None) == code.module]
        hint = f"it defines {', '.join(own)}" if own else "it defines none"
        raise code_error(
            code.section,
            f"{code.shown}, line 1: there is no function or class {code.function} in it; {hint}",
            advice=f"{code.section}.function names what to call.",
        )
    return found


def load_module(code: OwnCode) -> ModuleType:
    """Run the module, unless this process has. Raises as `load_object` does."""
    loaded = sys.modules.get(code.module)
    if loaded is not None and (code.is_installed or getattr(loaded, "__file__", None) == str(code.file)):
        return loaded
    try:
        if code.is_installed:
            return importlib.import_module(code.module)
        _make_importable(code)
        return _run(code)
    # An exit would end this process without a word.
    except (Exception, SystemExit) as error:
        raise code_error(code.section, describe(error, code)) from error


def objects_by_name(code: OwnCode) -> dict[str, Any]:
    """Return the classes and functions of the user's modules, by the names that Keras saves unregistered ones by."""
    found: dict[str, Any] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(code.root):
            found |= {
                name: value
                for name, value in vars(module).items()
                if callable(value) and getattr(value, "__module__", None) == module.__name__
            }
    return found


def _run(code: OwnCode) -> ModuleType:
    spec = importlib.util.spec_from_file_location(code.module, code.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code.file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Before it runs: dataclasses and pickle look a class's module up there.
    sys.modules[code.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[code.module]
        raise
    return module


def _make_importable(code: OwnCode) -> None:
    """Let the module import what lies beside it: after everything that is installed, which nothing may hide behind."""
    folder = str(code.root)
    if folder in sys.path:
        return
    for path in sorted(code.root.iterdir()):
        name = path.stem if path.suffix == ".py" else path.name if path.is_dir() else None
        if name is None or path == code.file or not name.isidentifier() or not _holds_modules(path):
            continue
        if _is_found(name):
            there = getattr(sys.modules.get(name), "__file__", None) or "an installed module"
            raise ImportError(
                f"{path.name} beside {code.file.name} has the name of another module ({there}): rename it"
            )
    sys.path.append(folder)
    importlib.invalidate_caches()


def _holds_modules(path: Path) -> bool:
    """Whether a file or folder can be imported; a folder of word lists or tables is nobody's module."""
    return path.suffix == ".py" or any(path.rglob("*.py"))


def _is_found(name: str) -> bool:
    """Whether an import would find a module elsewhere: a mere folder of that name, which hides nothing, is none."""
    if name in sys.modules:
        loaded = sys.modules[name]
        # A built-in module has no file; what was imported from a mere folder has a path, but no file either.
        return getattr(loaded, "__file__", None) is not None or not hasattr(loaded, "__path__")
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
