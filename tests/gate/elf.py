"""elf.py FOLDER…: every program and library below these folders is as a distribution would build it.

No search path is empty or relative (the dynamic linker would read the current folder), programs can be
placed anywhere, tables are read-only once they are bound, stacks cannot be executed.
"""
import os
import re
import subprocess
import sys


def elf_files(folders):
    for folder in folders:
        for place, below, names in os.walk(folder):
            below[:] = [name for name in below if name != "CMakeFiles"]  # what CMake tried
            for name in names:
                path = os.path.join(place, name)
                if os.path.islink(path) or not os.path.isfile(path) or path.endswith(".o"):
                    continue
                with open(path, "rb") as file:
                    if file.read(4) == b"\x7fELF":
                        yield path


def faults(path):
    said = subprocess.run(["readelf", "-Whdl", path], capture_output=True, text=True, check=True).stdout
    kind = re.search(r"Type:\s+(\w+)", said).group(1)
    if kind == "REL":
        return  # an object file
    if kind != "DYN":
        yield f"is of type {kind}, expected a position independent program or library"
    for paths in re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", said):
        for entry in paths.split(":"):
            if not entry.startswith(("/", "$ORIGIN")):
                yield f'has the search path "{paths}", whose entry "{entry}" is no absolute folder'
    if "GNU_RELRO" not in said:
        yield "has no GNU_RELRO segment"
    if "BIND_NOW" not in said and not re.search(r"FLAGS.*\bNOW\b", said):
        yield "does not bind its symbols when it is loaded"
    stack = re.search(r"GNU_STACK\s.*?\s([R ][W ][E ])\s", said)
    if stack is None or "E" in stack.group(1):
        yield "asks for a stack that can be executed"


def main():
    files = sorted(elf_files(sys.argv[1:]))
    found = [f"{path}: {fault}" for path in files for fault in faults(path)]
    print("\n".join(found + [f"{len(files)} files, {len(found)} faults"]))
    sys.exit(1 if found or not files else 0)


main()
