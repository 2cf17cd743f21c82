"""run_conan_recipe.py RECIPE SCRATCH: exports and packages by a Conan recipe, with what it asks of Conan played here.

Prints the version. Also compiles the recipe's test package."""

import fnmatch
import os
import shutil
import sys
import types

recipe, scratch = sys.argv[1:]


class ConanFile:
    """What a recipe's functions read and call of their base."""

    def __init__(self):
        self.recipe_folder = recipe
        self.export_sources_folder = self.source_folder = os.path.join(scratch, "source")
        self.package_folder = os.path.join(scratch, "package")
        self.required, self.properties, self.cleared = [], {}, False
        self.info = types.SimpleNamespace(clear=lambda: setattr(self, "cleared", True))
        self.cpp_info = types.SimpleNamespace(set_property=self.properties.__setitem__)

    def requires(self, reference, **traits):
        self.required.append((reference, traits))


def copy(_, pattern, src, dst):
    src = os.path.normpath(src)
    copied = 0
    for folder, _, names in os.walk(src):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), src)
            if fnmatch.fnmatch(path, pattern):
                os.makedirs(os.path.dirname(os.path.join(dst, path)), exist_ok=True)
                shutil.copyfile(os.path.join(src, path), os.path.join(dst, path))
                copied += 1
    assert copied, f"nothing in {src} is called {pattern}"


def load(_, path):
    with open(path, encoding="utf-8") as file:
        return file.read()


checked = []
for module, members in {
    "conan": {"ConanFile": ConanFile},
    "conan.tools": {},
    "conan.tools.build": {"check_min_cppstd": lambda _, standard: checked.append(standard), "can_run": None},
    "conan.tools.files": {"copy": copy, "load": load},
    "conan.tools.cmake": {"CMake": None, "cmake_layout": None},
}.items():
    sys.modules[module] = types.ModuleType(module)
    vars(sys.modules[module]).update(members)


def recipe_in(path):
    names = {}
    exec(compile(load(None, path), path, "exec"), names)
    (made,) = [n for n in names.values() if isinstance(n, type) and issubclass(n, ConanFile) and n is not ConanFile]
    return made


attend = recipe_in(os.path.join(recipe, "conanfile.py"))()
assert (attend.name, attend.license, attend.package_type) == ("attend", "MIT", "header-library")
attend.set_version()
attend.export_sources()
attend.requirements()
attend.validate()
attend.package()
attend.package_info()
attend.package_id()
assert attend.required[0][0].startswith("eigen/") and attend.required[0][1]["transitive_headers"]
assert checked == [20] and attend.cleared
assert attend.properties["cmake_target_name"] == "attend::attend"
recipe_in(os.path.join(recipe, "test_package", "conanfile.py"))
print(attend.version)
